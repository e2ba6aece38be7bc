"""Area, leakage and switching power of designs against McPAT 1.3, by a search's own path.

A folder holds `mcpat/rows.jsonl.gz`: a line for each design and program, with what McPAT prints for
the processor and its last level. Absolute numbers of the default design must agree within 1 %, and
those of others, over the default's, within 25 %.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from archgym.simulators.cpu.metrics import CHANNEL_MM2
from archgym.simulators.cpu.simulator import CpuSimulator
from evidence.agreement import Agreement, Differences
from evidence.recorded import json_lines, reading
from evidence.validation import metrics_of, no_reports

NAME: Final = "mcpat"
_QUANTITIES: Final = ("area", "leakage", "switching power")
_DEFAULT_TOLERANCE, _RATIO_TOLERANCE = 0.01, 0.25


def compare_mcpat(folder: Path) -> list[Agreement]:
    """Return how designs agree with McPAT, on the programs whose counters it was given.

    Args:
      folder: Folder with the file; without it nothing is compared.

    Raises:
      FileFormatError: A row is not one; the message names file and line.
    """
    path = folder / NAME / "rows.jsonl.gz"
    if not path.exists():
        return []
    rows = [row for _, row in json_lines(path)]
    simulator = CpuSimulator(node="22nm")
    by_program: dict[str, list[int]] = defaultdict(list)
    with reading(path):
        for number, row in enumerate(rows):
            by_program[row["program"]].append(number)
        theirs = np.array([_theirs(row["mcpat"]) for row in rows])
        designs = np.array([simulator.space.indices_of(row["design"]) for row in rows])
        is_default = np.array([bool(row["is_default"]) for row in rows])
    ours = np.empty_like(theirs)
    for program, numbers in by_program.items():
        with no_reports():
            found = metrics_of(simulator, simulator.workload(program), designs[numbers])
        channels = [simulator.space.design_at(one)["dram_channels"] for one in designs[numbers]]
        area = found["area_mm2"] - CHANNEL_MM2 * np.array(channels, dtype=np.float64)
        ours[numbers] = np.transpose(
            [area, found["leakage_power_mw"] / 1e3, found["dynamic_power_mw"] / 1e3]
        )
    # The default design's area and leakage are those of all programs.
    base = {row["program"]: n for n, row in enumerate(rows) if row["is_default"]}
    absolute = Differences(NAME, "rows", _DEFAULT_TOLERANCE)
    relative = Differences(NAME, "rows", _RATIO_TOLERANCE)
    errors = np.full(theirs.shape, np.nan)
    for number, row in enumerate(rows):
        reference = base.get(row["program"], next(iter(base.values())))
        for column, quantity in enumerate(_QUANTITIES):
            came, wanted = ours[number, column], theirs[number, column]
            if is_default[number]:
                absolute.number(number + 1, f"{quantity} of the default design", came, wanted)
            else:
                came, wanted = came / ours[reference, column], wanted / theirs[reference, column]
                relative.number(number + 1, f"{quantity} over the default's", came, wanted)
                errors[number, column] = abs(came / wanted - 1.0)
    return [*absolute.lines, *_noted(relative.lines, ours, theirs, errors, ~is_default)]


def _theirs(printed: Sequence[Sequence[Any]]) -> tuple[float, float, float]:
    """Return McPAT's area [mm2], leakage [W] and switching power [W] with the last level."""
    whole, last = printed[0][2], printed[1][2]

    def both(*names: str) -> float:
        return sum(float(part[name]) for part in (whole, last) for name in names)

    return both("Area"), both("Subthreshold Leakage", "Gate Leakage"), both("Runtime Dynamic")


def _noted(
    lines: Sequence[Agreement],
    ours: np.ndarray,
    theirs: np.ndarray,
    errors: np.ndarray,
    is_counted: np.ndarray,
) -> list[Agreement]:
    """Return lines with median, ninth decile and rank correlation of a quantity in their note."""
    found = []
    for column, line in enumerate(lines):
        median, decile = np.quantile(errors[is_counted, column], (0.5, 0.9))
        ranks = [np.argsort(np.argsort(each[is_counted, column])) for each in (ours, theirs)]
        correlation = float(np.corrcoef(ranks[0], ranks[1])[0, 1])
        note = (
            f"median {100 * median:.1f} %, ninth decile {100 * decile:.1f} %, rank correlation "
            f"{correlation:.3f}"
        )
        found.append(replace(line, note=note))
    return found
