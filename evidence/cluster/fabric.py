"""Loads of leaf-spine fabrics against the recorded fractions."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Final

from archgym.simulators.cluster.kernel.fabric import Fabric, ecmp_loads, flows_of, loads
from evidence.recorded import read_rows, reading
from evidence.validation import Row

_EXACT: Final = ("spray", "split", "round-robin")
# chosen: the mean of so many hashes differs from that of 1,000 by about a percent.
_HASHES: Final = 300


def fabric_lines(folder: Path, tell: Callable[[str], None]) -> list[Row]:
    """Return a line for each way of choosing paths."""
    path = folder / "paths.csv"
    if not path.is_file():
        return []
    tell("comparing paths of leaf-spine fabrics")
    rows = read_rows(path)
    good = dict.fromkeys(_EXACT, 0)
    worst = 0.0
    for row in rows:
        with reading(row.path, row.line):
            c = row.cells
            fabric = Fabric(int(c["leaves"]), int(c["hosts"]), int(c["spines"]))
            flows = flows_of(fabric, c["flows"] or c["pattern"])
            for paths in _EXACT:
                expected = (Fraction(c[f"{paths}_up"]), Fraction(c[f"{paths}_down"]))
                good[paths] += loads(fabric, flows, paths) == expected
            mean = float(c["ecmp_mean"])
            found = float(ecmp_loads(fabric, flows, _HASHES).mean())
            worst = max(worst, 100 * abs(found / mean - 1))
    what, n = "largest loads of uplinks and downlinks equal as fractions", len(rows)
    lines = [
        Row("F1", f"{paths}: {what}", n, found, "rows", n - found, 0, "rows")
        for paths, found in good.items()
    ]
    what = "ecmp: mean of the largest load, worst row"
    return [*lines, Row("F1", what, 0, worst, "percent", worst, 5, "percent")]
