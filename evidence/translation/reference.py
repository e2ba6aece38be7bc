"""Comparison of the model with independent tools, published trends and golden rows."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from archgym.errors import FileFormatError
from archgym.simulators.translation.metrics import METRICS
from archgym.simulators.translation.simulator import TranslationSimulator
from archgym.traces import MemoryTrace, generated_trace
from evidence.recorded import read_table
from evidence.translation.planes import read_trace
from evidence.translation.trends import (
    GENERATED_TRACES,
    PUBLISHED,
    TRACES,
    Trend,
    generated_trends,
    trends,
)
from evidence.validation import Cells, Group, Progress, Validation, chosen, evaluated

if TYPE_CHECKING:
    from evidence.translation.independent_tools import ExactRow

RECORDED, MEASURED, TRENDS = "recorded", "measured", "trends"
_DATA: Final = Path(__file__).parent / "data"
# Recorded with 12 digits.
_RECORDED: Final = 1e-9
# Digits of recorded figures of trends.
_DIGITS: Final = 4
# The unit of what is compared row by row.
_ROWS: Final = "rows"

_SPACE: Final = "limits"
_CHANGES: Final = (
    "",
    "mechanism=victima",
    "mechanism=victima victima_predictor=always cluster_pages=4 victima_probe=serial",
    "mechanism=victima l2_cache_replacement=lru victima_insertion=walk",
    "mechanism=victima victima_insertion=eviction victima_max_block_ways=4 l2_cache_kib=1024",
    "mechanism=victima execution=virtualised huge_page_percent=60",
    "mechanism=pom_tlb far_tlb_entries=16384",
    "mechanism=pom_tlb pom_tlb_insertion=walk",
    "mechanism=l3_tlb l3_tlb_latency_cycles=30",
    "mechanism=cluster cluster_pages=16 fragmentation_percent=50",
    "mechanism=prefetch tlb_replacement=fifo",
    "mechanism=hash huge_page_percent=0",
    "mechanism=perfect",
    "execution=virtualised nested_tlb_entries=16",
    "l2_tlb_entries=65536 l2_tlb_ways=16",
    "l2_tlb_entries=65536 l2_tlb_ways=16 l2_tlb_latency=ideal",
    "l2_tlb_entries=4096 l2_tlb_ways=4 l2_tlb_latency=cacti-ratio tlb_replacement=srrip",
    "l2_tlb_fill=victim tlb_replacement=random l1_tlb_ways=full l1_tlb_entries=96",
    "walk_cache_entries=0 l1_tlb_entries=16 l1_tlb_ways=1 l1_huge_tlb_entries=8",
    "huge_page_percent=100 fragmentation_percent=90 l2_cache_kib=8192",
)
GOLDEN_WORKLOADS: Final = ("kmer-count", "graph-search", "sort")
"""Built-in traces of the golden rows, with the fidelity `short`."""


@final
@dataclass(frozen=True)
class Line:
    """Row of the table.

    `shortfall` is the distance from the accepted range, 0 if the row is met. `kind` is the
    evidence: `recorded` for our own earlier results, `measured` for counts of independent tools on
    the same traces, else as in `trends`. `is_near` is true if ours is within a quarter of a
    published figure.
    """

    subject: str
    where: str
    unit: str
    published: str
    ours: float
    accepted: str
    shortfall: float
    kind: str = PUBLISHED
    is_near: bool = False

    @property
    def is_met(self) -> bool:
        """True if the row is met."""
        return self.shortfall == 0.0

    @property
    def key(self) -> str:
        """Identifier of the row."""
        return f"{self.subject} / {self.where}"

    @property
    def group(self) -> str:
        """Name of its group."""
        return self.kind if self.kind in (RECORDED, MEASURED) else TRENDS

    @property
    def cells(self) -> Cells:
        """Cells by `COLUMNS`."""
        near = ("yes" if self.is_near else "no") if self.kind == PUBLISHED else ""
        return (
            self.kind, self.subject, self.where, self.unit, self.published, self.ours,
            self.accepted, "yes" if self.is_met else "NO", near,
        )  # fmt: skip


GROUPS: Final = (
    Group(RECORDED, "our own recorded designs of the space limits, in every metric"),
    Group(
        MEASURED,
        "misses that independent tools counted on the same traces",
        "tools count one cache or two levels of TLBs alone, on pages that are scaled for them",
    ),
    Group(
        TRENDS,
        "published trends of Victima and its rivals",
        "they compare designs of the paper that no space offers, on memories that are spread",
    ),
)
COLUMNS: Final = (
    "kind", "subject", "where", "unit", "published", "ours", "accepted", "met", "near",
)  # fmt: skip


def validate(
    reference: Path | None = None, progress: Progress | None = None, *, group: str | None = None
) -> Validation[Line]:
    """Compare the model with recorded results.

    Args:
      reference: Folder with results of independent tools, any of `independent_tools.RESULTS`, and
        their traces as `traces/*.npz`, or one that contains it as `translation`; None for only
        golden rows and generated trends. Trends of recorded programs need all of `TRACES`.
      progress: Callback that receives the next step's name.
      group: Group to compare; all by default.

    Raises:
      FileFormatError: A results file or trace is malformed.
      UnknownNameError: There is no such group.
    """
    wanted = chosen(GROUPS, group)
    # A wrong folder is an error before anything is run.
    folder = None if reference is None else _folder(reference)
    traces = {} if folder is None else _traces(folder)
    absent = [name for name in TRACES if name not in traces]
    lines: list[Line] = _golden_lines(progress) if RECORDED in wanted else []
    if folder is not None and MEASURED in wanted:
        from evidence.translation.independent_tools import exact_rows

        lines += [_of_exact(row) for row in exact_rows(folder, progress)]
    if TRENDS in wanted:
        made = {name: partial(generated_trace, name) for name in GENERATED_TRACES}
        lines += [_of_trend(trend) for trend in generated_trends(made, progress)]
        if folder is not None and not absent:
            lines += [_of_trend(trend) for trend in trends(traces, progress)]
        elif folder is not None and progress is not None:
            missing = ", ".join(absent)
            progress(f"no trends of recorded programs: the folder lacks traces of {missing}")
    are_all = folder is not None and not absent and group is None
    return Validation(tuple(lines), COLUMNS, GROUPS, _problems(lines, are_all=are_all))


def expected_text(validation: Validation[Line]) -> str:
    """Return the text of `data/accuracy.json` that records a validation."""
    entries = [
        f"  {json.dumps(line.key)}: {json.dumps([_short(line.ours), _short(line.shortfall)])}"
        for line in validation.lines
    ]
    return "{\n" + ",\n".join(entries) + "\n}\n"


def markdown(validation: Validation[Line]) -> str:
    """Return the table of the README."""
    text = [
        "| kind | compared | where | other figure | ours | accepted | met | near |",
        "|---|---|---|---|---:|---|---|---|",
    ]
    for line in _joined(validation.lines):
        met = "yes" if line.is_met else "**no**"
        cells = (line.subject, line.where, line.published, f"{line.ours:.4g} {line.unit}".strip())
        near = ("yes" if line.is_near else "no") if line.kind == PUBLISHED else ""
        text.append(f"| {line.kind} | {' | '.join(cells)} | {line.accepted} | {met} | {near} |")
    return "\n".join(text) + "\n"


def _joined(lines: Sequence[Line]) -> list[Line]:
    """Return lines with those of counted rows that are all met joined by what they compare."""
    found: list[Line] = []
    for line in lines:
        before = found[-1] if found else line
        is_counted = line.kind in (RECORDED, MEASURED) and line.is_met and before.is_met
        if found and is_counted and (line.kind, line.subject) == (before.kind, before.subject):
            rows = str(int(before.published) + int(line.published))
            found[-1] = replace(
                before,
                where=f"{before.where}, {line.where}",
                published=rows,
                ours=before.ours + line.ours,
                accepted=rows,
            )
        else:
            found.append(line)
    return found


def _golden_lines(progress: Progress | None) -> list[Line]:
    """Return the number of golden rows that the model still meets, by workload."""
    recorded = recorded_rows()
    met: dict[str, list[bool]] = {}
    for workload, changes, values in golden_rows(progress):
        expected = recorded.get((workload, changes), {})
        wanted = np.array([expected.get(spec.name, np.nan) for spec in METRICS])
        close = np.abs(values - wanted) <= _RECORDED * np.maximum(1.0, np.abs(wanted))
        met.setdefault(workload, []).append(bool(close.all()))
    return [
        _counted("recorded rows that are equal", workload, sum(rows), len(rows), RECORDED)
        for workload, rows in met.items()
    ]


def _counted(subject: str, where: str, n_met: int, n: int, kind: str = MEASURED) -> Line:
    return Line(subject, where, _ROWS, str(n), n_met, str(n), float(n - n_met), kind)


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
        trend.subject, trend.traces, trend.unit, trend.published, trend.ours, accepted,
        trend.distance, trend.evidence, trend.is_near,
    )  # fmt: skip


def _folder(reference: Path) -> Path:
    from evidence.translation.independent_tools import RESULTS

    folder = reference / "translation" if (reference / "translation").is_dir() else reference
    if not any(list(folder.glob(pattern)) for pattern in RESULTS):
        raise FileFormatError(
            reference, None, f"holds none of {', '.join(RESULTS)}", "Name a folder of results"
        )
    if not (folder / "traces").is_dir():
        raise FileFormatError(
            reference, None, "holds results but no folder traces", "Copy the whole folder"
        )
    return folder


def _traces(folder: Path) -> Mapping[str, Callable[[], MemoryTrace]]:
    def reader(path: Path) -> Callable[[], MemoryTrace]:
        return lambda: read_trace(path)

    return {path.stem: reader(path) for path in sorted((folder / "traces").glob("*.npz"))}


def _problems(lines: list[Line], *, are_all: bool = False) -> tuple[str, ...]:
    """Return the rows that are worse than recorded; with `are_all`, missing rows too."""
    path = _DATA / "accuracy.json"
    expected = json.loads(path.read_text("utf-8"))
    problems = []
    for line in lines:
        if line.key not in expected and line.kind == MEASURED:
            # A trace of another folder: every count must agree.
            if not line.is_met:
                problems.append(f"{line.key} must agree in {line.accepted} rows; {line.ours:g} do.")
            continue
        if line.key not in expected:
            problems.append(f"{line.key} must be in data/accuracy.json; it is not.")
            continue
        ours, shortfall = expected[line.key]
        # NaN counts as worse.
        if not _short(line.shortfall) <= shortfall:
            problems.append(
                f"{line.key} must be {line.accepted}, or {ours:g} as it was; got {line.ours:g} "
                f"{line.unit}."
            )
        elif line.unit == _ROWS and line.ours < ours and (are_all or line.kind == RECORDED):
            problems.append(f"{line.key} must have {ours:g} rows; there are {line.ours:g}.")
    if are_all:
        absent = sorted(expected.keys() - {line.key for line in lines})
        problems += [f"{key} must be compared; it is not." for key in absent]
    return tuple(problems)


def _short(number: float) -> float:
    return float(f"{number:.{_DIGITS}g}")


def golden_rows(
    progress: Progress | None = None,
) -> list[tuple[str, str, np.ndarray]]:
    """Return workload, changes to the default design and metrics (n_metrics,) of each row."""
    simulator = TranslationSimulator(_SPACE, fidelity="short")
    space = simulator.space
    default = dict(space.design_at(space.default_indices))
    designs = [default | _changed(simulator, changes) for changes in _CHANGES]
    indices = space.indices_of_many(designs)
    rows = []
    for name in GOLDEN_WORKLOADS:
        if progress is not None:
            progress(f"golden rows on {name}")
        values = evaluated(simulator, simulator.workload(name), indices).values[:, 0]
        rows += [(name, changes, row) for changes, row in zip(_CHANGES, values, strict=True)]
    return rows


def golden_text(rows: Iterable[tuple[str, str, np.ndarray]]) -> str:
    """Return the text of `data/golden.csv` with these rows."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["workload", "changes", *(spec.name for spec in METRICS)])
    for name, changes, values in rows:
        writer.writerow([name, changes, *(f"{value:.12g}" for value in values)])
    return text.getvalue()


def recorded_rows() -> dict[tuple[str, str], dict[str, float]]:
    """Return the recorded metrics, by workload and changes."""
    return {
        (row.pop("workload"), row.pop("changes")): {name: float(v) for name, v in row.items()}
        for row in read_table(_DATA / "golden.csv")
    }


def _changed(simulator: TranslationSimulator, changes: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for change in changes.split():
        name, text = change.split("=")
        parameter = simulator.space.parameter(name)
        values = [parameter.value(number) for number in range(parameter.size)]
        found[name] = next(value for value in values if str(value) == text)
    return found
