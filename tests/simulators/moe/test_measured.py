"""Measured kernels in place of rooflines."""

import gzip
from pathlib import Path

import pytest

from archgym.errors import FileFormatError
from archgym.simulators.moe import MoeSimulator, gpu, model
from archgym.simulators.moe.machine.measured import measured_ratios

HEADING = (
    "system,hidden_size,inter_size,topk,num_experts,moe_dtype,moe_tp_size,moe_ep_size,"
    "distribution,num_tokens,latency_ms"
)
ROW = "l40s,2048,1024,8,64,bfloat16,1,1,balanced,{tokens},{latency}"


def _table(path: Path, *rows: str) -> Path:
    path.write_text("\n".join((HEADING, *rows)) + "\n")
    return path


def test_ratio_is_measured_over_modelled_time(tmp_path: Path) -> None:
    path = _table(tmp_path / "k.csv", *(ROW.format(tokens=n, latency=1.0) for n in (8, 1)))

    found = measured_ratios(path, gpu("l40s"), model("olmoe-1b-7b"))

    tokens, ratio = found[16]
    assert tokens.tolist() == [1.0, 8.0]
    # One token: 20 us, and 8 experts of 12.58 MB at 80 % of 864 GB/s are 146 us.
    assert ratio[0] == pytest.approx(1000.0 / 165.7, rel=0.01)
    assert ratio[1] < ratio[0]


def test_slower_kernels_make_slower_tokens(tmp_path: Path) -> None:
    path = tmp_path / "k.csv.gz"
    rows = "\n".join(
        (HEADING, ROW.format(tokens=1, latency=9.0), ROW.format(tokens=64, latency=9.0))
    )
    path.write_bytes(gzip.compress(rows.encode()))
    choices = {"hardware": "l40s", "model": "olmoe-1b-7b"}
    plain = MoeSimulator("edge-offload", **choices)
    slowed = MoeSimulator("edge-offload", **choices, kernels=str(path))
    default = plain.space.design_at(plain.space.default_indices)
    design = {**default, "cache_percent": 100, "expert_bits": 16}

    tpot = [s.evaluate(design, s.workload("chat"))["tpot_mean_ms"] for s in (plain, slowed)]

    assert tpot[1] > 10 * tpot[0]
    assert slowed.options["kernels"] == str(path)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ((), "it has none"),
        ((ROW.format(tokens="many", latency=1),), r":2: a row must hold numbers"),
        ((ROW.format(tokens=1, latency="nan"),), "must be above 0"),
        ((ROW.format(tokens=1, latency=1).replace("2048", "99"),), "olmoe-1b-7b on l40s"),
        (("l40s,2048",), r":2: a row must have the columns"),
    ],
)
def test_other_tables_are_refused(tmp_path: Path, rows: tuple[str, ...], words: str) -> None:
    path = _table(tmp_path / "k.csv", *rows)

    with pytest.raises(FileFormatError, match=words):
        measured_ratios(path, gpu("l40s"), model("olmoe-1b-7b"))
