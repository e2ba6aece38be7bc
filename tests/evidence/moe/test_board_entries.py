"""ArchGym's entry and the rooflines predict from what they are given."""

import csv
import sys
from pathlib import Path

import pytest

from archgym.bench.accuracy import QUESTION_COLUMNS, TIMES, group_files, measured_rows
from evidence.moe import entry, roofline


def _asked(
    folder: Path, every: int, main: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, dict[str, float]]:
    """Ask an entry some questions on H100, of which it may learn from some rows."""
    for name, text in group_files("gpu", "H100").items():
        head, *rows = text.splitlines()
        (folder / name).write_text("\n".join([head, *rows[::every]]) + "\n")
    module, *arguments = main.split()
    monkeypatch.setattr(sys, "argv", [*arguments, str(folder)])
    {"entry": entry, "roofline": roofline}[module].main()
    with (folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {row.pop("id"): {name: float(text) for name, text in row.items()} for row in rows}


def test_roofline_is_bytes_over_bandwidth_plus_operations_over_peak() -> None:
    row = dict.fromkeys(QUESTION_COLUMNS, "") | {
        "model": "gpt-oss-120b", "gpu": "H100", "gpus": "1", "precision": "mxfp4",
        "prompt_tokens": "1000", "output_tokens": "1000", "shortest": "1.0", "clients": "1",
    }  # fmt: skip

    tpot, ttft = roofline.roofline(row)

    # 5.1e9 active weights: 3.6e9 in 4 experts of 36 layers at 4.25 bits, others at 16 (3.35 TB/s).
    assert tpot == pytest.approx(1.7, rel=0.25)
    # All 60 GB of weights, and 1,000 tokens of 10.2e9 operations (989 TFLOP/s).
    assert ttft == pytest.approx(29.0, rel=0.25)


def test_scaled_roofline_learns_a_factor_of_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = _asked(tmp_path, 10, "roofline", monkeypatch)
    scaled = _asked(tmp_path, 10, "roofline --scaled", monkeypatch)

    for name in ("tpot_ms", "ttft_ms"):
        factors = {round(scaled[one][name] / plain[one][name], 6) for one in plain}
        assert len(factors) == 1
        assert factors.pop() > 1.5
    assert all(of["tpot_low_ms"] < of["tpot_ms"] < of["tpot_high_ms"] for of in scaled.values())


@pytest.mark.slow
def test_own_entry_beats_the_rooflines_on_a_gpu_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _asked(tmp_path, 8, "entry", monkeypatch)

    goals = {row["id"]: float(row["tpot_mean_ms"]) for row in measured_rows() if row["id"] in found}
    off = sorted(abs(found[one]["tpot_ms"] / goal - 1.0) for one, goal in goals.items())
    held = [
        found[one]["tpot_low_ms"] <= goal <= found[one]["tpot_high_ms"]
        for one, goal in goals.items()
    ]
    assert set(next(iter(found.values()))) == {*TIMES}
    assert off[len(off) // 2] < 0.2
    # An eighth of the rows states intervals less well than all do, which hold 90 % of this group.
    assert sum(held) > 0.5 * len(held)
