"""Row V19: placements of experts against DeepSeek's load balancer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from archgym.simulators.moe.eplb import balance, balancedness
from archgym.simulators.moe.validation.row import Progress, Row, read_json, reading

__all__ = ["balance_rows"]

_NOTE: Final = (
    "where two copies are equally busy, PyTorch's sort, which is not stable, orders them as the "
    "processor's vector instructions do; slots that differ hold copies of equal load"
)


def balance_rows(reference: Path, progress: Progress) -> list[Row]:
    """Return V19: the slots of every case, and how even their loads are."""
    path = reference / "eplb" / "expected.json"
    rows: list[Row] = []
    with reading(path):
        for name, case in read_json(path).items():
            progress(f"V19: {name}")
            rows += _case_rows(name, case)
    return rows


def _case_rows(name: str, case: Mapping[str, Any]) -> list[Row]:
    weight = np.asarray(case["weight"], dtype=np.float64)
    wanted = np.asarray(case["phy2log"], dtype=np.int64)
    placed = balance(weight, *(int(value) for value in case["args"]))
    copies = np.asarray(case["logcnt"], dtype=np.int64)
    shares = (weight / placed.copies).astype(np.float32)
    equal = np.take_along_axis(shares, wanted, 1) == np.take_along_axis(shares, placed.slots, 1)
    same = placed.slots == wanted
    wrong = int((~(same | equal)).sum()) + int((placed.copies != copies).sum())
    even = np.asarray(case["balancedness_mean_over_max"], dtype=np.float64)
    ours = balancedness(placed.loads(weight))
    worst = int(np.argmax(np.abs(ours - even)))
    identical = int(same.sum())
    return [
        Row(
            "V19",
            f"{name}: slots with the reference's expert, or with one of equal load",
            wanted.size,
            wanted.size - wrong,
            "slots",
            float(wrong),
            0.0,
            "slots",
            note="" if identical == wanted.size else f"{identical} are identical; {_NOTE}",
        ),
        Row(
            "V19",
            f"{name}: mean over largest load of a layer",
            float(even[worst]),
            float(ours[worst]),
            "ratio",
            float(np.abs(ours - even).max()),
            1e-6,
            "absolute",
        ),
    ]
