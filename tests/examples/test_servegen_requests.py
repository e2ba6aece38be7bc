"""Requests that are drawn from ServeGen's clients."""

import json
import sys
from pathlib import Path

import pytest

from archgym.simulators.kv.workloads.traces import read_trace
from examples.servegen_requests import generate, main


def test_generated_requests_keep_rates_and_repeat_with_a_seed(tmp_path: Path) -> None:
    windows = "".join(f"{600 * n},2.0,1.5,Gamma,0,0\n" for n in range(10))
    (tmp_path / "chunk-0-trace.csv").write_text(windows)
    lengths = {"0": {"input_tokens": "{100: 0.5, 300: 0.5}", "output_tokens": "{7: 1.0}"}}
    (tmp_path / "chunk-0-dataset.json").write_text(json.dumps(lengths))

    found = generate(tmp_path, 6000.0, 3)

    assert found == generate(tmp_path, 6000.0, 3)
    assert found != generate(tmp_path, 6000.0, 4)
    # Two a second for 6,000 s, within four standard deviations of a variation of 1.5.
    assert abs(len(found) - 12_000) < 4 * 1.5 * 12_000**0.5
    assert {row["input_length"] for row in found} == {100, 300}
    assert {row["output_length"] for row in found} == {7}


def test_trace_is_read_by_the_simulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "chunk-0-trace.csv").write_text("0,2.0,1.0,Gamma,0,0\n")
    lengths = {"0": {"input_tokens": "{100: 1.0}", "output_tokens": "{7: 1.0}"}}
    (tmp_path / "chunk-0-dataset.json").write_text(json.dumps(lengths))
    out = tmp_path / "trace.jsonl"
    monkeypatch.setattr(sys, "argv", ["", str(tmp_path), str(out), "--start", "0"])

    main()

    assert read_trace(out).prompt[0] == 100  # type: ignore[union-attr]
