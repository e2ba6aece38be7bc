"""`archgym confirm` with stand-ins for SCALE-Sim, and with itself where it is installed."""

import lzma
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from archgym.traces.instructions.generators import generate
from tests.cli.conftest import Archgym

NETWORK = """\
layer,kind,count,groups,channels,filters,output_x,output_y,kernel_x,kernel_y,stride_x,stride_y,\
dilation_x,dilation_y,batch
first,conv,2,1,3,20,9,7,3,3,2,2,1,1,1
depthwise,conv,1,8,8,8,7,7,3,3,1,1,1,1,1
grouped,conv,3,2,8,12,7,5,3,1,1,1,1,1,1
uneven,conv,1,1,4,10,6,5,3,3,2,1,1,1,2
matrix,matmul,1,1,24,33,6,1,1,1,1,1,1,1,1
"""


@pytest.fixture
def study(archgym: Archgym, tmp_path: Path) -> Path:
    (tmp_path / "net.csv").write_text(NETWORK)
    words = f"search accelerator --space systolic -w {tmp_path}/net.csv -n 4 --seed 1 -a random"
    ran = archgym(*words.split(), "--out", tmp_path / "study")
    assert ran.code == 0, ran.err
    return tmp_path / "study"


def python_that(script: str, folder: Path) -> Path:
    """Return an interpreter that has SCALE-Sim, and runs lines of a shell in its place."""
    path = folder / "python3"
    path.write_text(f"#!/bin/sh\n[ $1 != -c ] || exit 0\n{script}\n")
    path.chmod(0o755)
    return path


def test_study_keeps_confirmations_and_its_report_shows_them(
    archgym: Archgym, study: Path, tmp_path: Path
) -> None:
    made = archgym("export", study, "--as", "scalesim", "--out", "made")
    assert made.code == 0, made.err
    at = python_that(
        "mkdir output; printf 'Total Cycles\\n1\\n' > output/COMPUTE_REPORT.csv", tmp_path
    )

    ran = archgym("confirm", study, "--with", "scalesim", "--at", at, "--best", 2)

    assert ran.code == 1
    assert "Confirmed by SCALE-Sim: 0 of 2 equal." in ran.out
    assert (study / "confirmations.jsonl").read_bytes().count(b"\n") == 2
    assert archgym("report", study, "--no-evaluate", "--out", "page.html").code == 0
    page = Path("page.html").read_text()
    assert "<h3>Confirmed by SCALE-Sim: 0 of 2 equal</h3>" in page
    assert "must have 5 rows; got 1" in page


def test_forged_confirmation_is_refused(archgym: Archgym, study: Path, tmp_path: Path) -> None:
    at = python_that("exit 3", tmp_path)
    archgym("confirm", study, "--with", "scalesim", "--at", at, "--best", 1)
    path = study / "confirmations.jsonl"
    path.write_bytes(path.read_bytes().replace(b"exit code 3", b"exit code 4"))

    ran = archgym("report", study, "--no-evaluate")

    assert ran.code == 1
    assert "confirmations.jsonl:1: the line does not match its checksum" in ran.err


def test_tool_that_is_absent_is_said_in_one_line(archgym: Archgym, study: Path) -> None:
    ran = archgym("confirm", study, "--with", "scalesim", "--at", study)

    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert "pip install scalesim==3.0.0" in ran.err


def test_files_of_scale_sim_have_a_line_for_each_layer(archgym: Archgym, study: Path) -> None:
    assert archgym("export", study, "--as", "scalesim", "--out", "made").code == 0

    # Several images and unequal strides: a product of 60 x 36 with 36 x 10.
    assert Path("made/topology.csv").read_text().splitlines()[1:] == [
        "layer1,15,19,3,3,3,20,2,",
        "layer2,9,9,3,3,1,1,1,",
        "layer3,5,9,1,3,4,6,1,",
        "layer4,60,36,1,36,1,10,1,",
        "layer5,1,6,1,1,24,33,1,",
    ]


def test_trace_of_a_shipped_program_is_a_trace_of_champsim(archgym: Archgym) -> None:
    words = "trace export sort --instructions 500 --out a.champsimtrace.xz"

    assert archgym(*words.split()).code == 0
    assert (
        lzma.decompress(Path("a.champsimtrace.xz").read_bytes()) == generate("sort", 500).tobytes()
    )
    assert archgym(*words.split()).code == 1
    assert "Unknown program 'sorts'" in archgym(*words.replace("sort", "sorts").split()).err


@pytest.mark.slow
def test_killed_confirmation_loses_nothing(study: Path, tmp_path: Path) -> None:
    at = python_that(
        f"[ ! -e {tmp_path}/second ] || sleep 60; touch {tmp_path}/second; exit 3", tmp_path
    )
    command = [sys.executable, "-m", "archgym", "confirm", study, "--with", "scalesim", "--at", at]
    before = (study / "journal.jsonl").read_bytes()
    process = subprocess.Popen([*map(str, command), "--best", "2"], start_new_session=True)
    path = study / "confirmations.jsonl"
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (tmp_path / "second").unlink()
    at = python_that("exit 3", tmp_path)

    again = subprocess.run([*map(str, command), "--best", "1"], check=False)

    assert again.returncode == 1
    assert path.read_bytes().count(b"\n") == 2
    assert (study / "journal.jsonl").read_bytes() == before


@pytest.mark.slow
def test_best_designs_equal_scale_sim_itself(archgym: Archgym, study: Path) -> None:
    place = os.environ.get("ARCHGYM_SCALESIM")
    if place is None:
        pytest.skip("SCALE-Sim: ARCHGYM_SCALESIM must name an environment that has it")

    ran = archgym("confirm", study, "--with", "scalesim", "--at", place, "--best", 2)

    assert ran.code == 0, ran.err
    assert "Confirmed by SCALE-Sim: 2 of 2 equal." in ran.out
