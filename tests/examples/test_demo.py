"""The demo searches, and ends with the best design, what it beat and where the report is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_demo_ends_with_what_the_best_design_beat(tmp_path: Path) -> None:
    program = tmp_path / "archgym"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m archgym "$@"\n')
    program.chmod(0o755)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])

    ran = subprocess.run(
        ["sh", ROOT / "examples" / "demo.sh", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )

    last = ran.stdout[ran.stdout.index("Best design (evaluation") :]
    assert "tpot_mean_ms" in last
    assert "Limits: met" in last
    assert "Best study: auto, seed 3; it beat genetic" in last
    assert "Report with the reasons: runs/demo/report.html" in last
    assert (tmp_path / "runs" / "demo" / "report.html").is_file()
