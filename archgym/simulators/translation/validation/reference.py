"""The model against independent tools, published trends and its own recorded rows."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, final

import numpy as np

from archgym.errors import FileFormatError
from archgym.simulators.translation.metrics import METRICS
from archgym.simulators.translation.validation.golden import golden_rows, recorded_rows
from archgym.simulators.translation.validation.trends import (
    GENERATED_TRACES,
    TRACES,
    Trend,
    generated_trends,
    trends,
)
from archgym.traces import MemoryTrace, generated_trace, read_planes

if TYPE_CHECKING:
    from archgym.simulators.translation.validation.independent_tools import ExactRow

__all__ = ["Line", "Validation", "expected_text", "markdown", "validate"]

# Recorded with 12 digits.
_RECORDED: Final = 1e-9
# Committed figures of trends have so many digits.
_DIGITS: Final = 4
# The unit of what is compared row by row.
_ROWS: Final = "rows"


@final
@dataclass(frozen=True)
class Line:
    """One row of the table: what is compared, where, with what, and whether it is as it must be.

    `shortfall` is 0 where it is met, and grows with the distance from that.
    """

    subject: str
    where: str
    unit: str
    published: str
    ours: float
    accepted: str
    shortfall: float

    @property
    def is_met(self) -> bool:
        """True if it is as it must be."""
        return self.shortfall == 0.0

    @property
    def key(self) -> str:
        """What identifies the row."""
        return f"{self.subject} / {self.where}"


@final
@dataclass(frozen=True)
class Validation:
    """A table of comparisons, and where it is worse than the committed one.

    Attributes:
      lines: One a comparison.
      problems: In words; empty where nothing got worse.
    """

    lines: tuple[Line, ...]
    problems: tuple[str, ...]

    columns: ClassVar[tuple[str, ...]] = (
        *("subject", "where", "unit", "published", "ours", "accepted", "met"),
    )

    @property
    def rows(self) -> tuple[tuple[str | int | float, ...], ...]:
        """The table's cells by `columns`."""
        return tuple(
            (
                *(line.subject, line.where, line.unit, line.published),
                *(line.ours, line.accepted, "yes" if line.is_met else "NO"),
            )
            for line in self.lines
        )


def validate(
    reference: Path | None = None, progress: Callable[[str], None] | None = None
) -> Validation:
    """Run what is compared, and compares.

    Args:
      reference: A folder with the results of independent tools and `traces/*.npz`, or one that
        holds it as `translation`; None for only what ships: recorded rows and generated trends.
      progress: Told what is run next.

    Raises:
      FileFormatError: A results file or trace is not what it should be.
    """
    # A wrong folder is told at once.
    folder = None if reference is None else _folder(reference)
    traces = {} if folder is None else _traces(folder)
    lines = [*_golden_lines(progress)]
    if folder is not None:
        from archgym.simulators.translation.validation.independent_tools import exact_rows

        lines += [_of_exact(row) for row in exact_rows(folder, progress)]
    made = {name: partial(generated_trace, name) for name in GENERATED_TRACES}
    lines += [_of_trend(trend) for trend in generated_trends(made, progress)]
    if folder is not None:
        lines += [_of_trend(trend) for trend in trends(traces, progress)]
    return Validation(tuple(lines), _problems(lines, are_all=folder is not None))


def expected_text(validation: Validation) -> str:
    """Return the content of `data/accuracy.json` that makes a validation the committed one."""
    entries = [
        f"  {json.dumps(line.key)}: {json.dumps([_short(line.ours), _short(line.shortfall)])}"
        for line in validation.lines
    ]
    return "{\n" + ",\n".join(entries) + "\n}\n"


def markdown(validation: Validation) -> str:
    """Return the table of the README."""
    text = [
        "| compared | where | published | ours | accepted | met |",
        "|---|---|---|---:|---|---|",
    ]
    for line in validation.lines:
        met = "yes" if line.is_met else "**no**"
        cells = (line.subject, line.where, line.published, f"{line.ours:.4g} {line.unit}".strip())
        text.append(f"| {' | '.join(cells)} | {line.accepted} | {met} |")
    return "\n".join(text) + "\n"


def _golden_lines(progress: Callable[[str], None] | None) -> list[Line]:
    """By workload, how many recorded rows the model still gives."""
    recorded = recorded_rows()
    met: dict[str, list[bool]] = {}
    for workload, changes, values in golden_rows(progress):
        expected = recorded.get((workload, changes), {})
        wanted = np.array([expected.get(spec.name, np.nan) for spec in METRICS])
        close = np.abs(values - wanted) <= _RECORDED * np.maximum(1.0, np.abs(wanted))
        met.setdefault(workload, []).append(bool(close.all()))
    return [
        _counted("recorded rows that are equal", workload, sum(rows), len(rows))
        for workload, rows in met.items()
    ]


def _counted(subject: str, where: str, n_met: int, n: int) -> Line:
    return Line(subject, where, _ROWS, str(n), n_met, str(n), float(n - n_met))


def _of_exact(row: "ExactRow") -> Line:
    how = f"within {row.allowed}" if row.allowed else "equal"
    return _counted(f"misses of {row.results}, {how}", row.trace, row.n_met, row.n_rows)


def _of_trend(trend: Trend) -> Line:
    low, high = trend.low, trend.high
    if high == np.inf:
        accepted = f"above {low:g}"
    elif low == -np.inf:
        accepted = f"below {high:.3g}"
    else:
        accepted = f"{low:.4g} to {high:.4g}"
    return Line(
        *(trend.subject, trend.traces, trend.unit, trend.published, trend.ours, accepted),
        trend.distance,
    )


def _folder(reference: Path) -> Path:
    folder = reference / "translation" if (reference / "translation").is_dir() else reference
    if not list(folder.glob("pycachesim_*.csv")):
        raise FileFormatError(
            reference, None, "holds no pycachesim_*.csv", "Name the folder of reference results"
        )
    if not (folder / "traces").is_dir():
        raise FileFormatError(
            reference, None, "holds results but no folder traces", "Copy the whole folder"
        )
    return folder


def _traces(folder: Path) -> Mapping[str, Callable[[], MemoryTrace]]:
    def reader(path: Path) -> Callable[[], MemoryTrace]:
        return lambda: read_planes(path)

    found = {path.stem: reader(path) for path in sorted((folder / "traces").glob("*.npz"))}
    absent = [name for name in TRACES if name not in found]
    if absent:
        raise FileFormatError(
            folder, None, f"must hold the traces {', '.join(absent)}", "Copy the whole folder"
        )
    return found


def _problems(lines: list[Line], *, are_all: bool = False) -> tuple[str, ...]:
    """What got worse: rows further from being met than they were, and what is compared no more.

    Args:
      lines: The rows.
      are_all: Whether every committed row must be among them.
    """
    path = resources.files("archgym.simulators.translation").joinpath("data/accuracy.json")
    expected = json.loads(path.read_text("utf-8"))
    problems = []
    for line in lines:
        if line.key not in expected:
            problems.append(f"{line.key} must be in data/accuracy.json; it is not.")
            continue
        ours, shortfall = expected[line.key]
        # A figure that is not a number is no better than any.
        if not _short(line.shortfall) <= shortfall:
            problems.append(
                f"{line.key} must be {line.accepted}, or {ours:g} as it was; got {line.ours:g} "
                f"{line.unit}."
            )
        elif line.unit == _ROWS and line.ours < ours:
            problems.append(
                f"{line.key} must be compared in {ours:g} rows; there are {line.ours:g}."
            )
    if are_all:
        absent = sorted(expected.keys() - {line.key for line in lines})
        problems += [f"{key} must be compared; it is not." for key in absent]
    return tuple(problems)


def _short(number: float) -> float:
    return float(f"{number:.{_DIGITS}g}")
