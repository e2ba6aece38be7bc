"""Measured designs from a CSV file, checked against a task before anything is kept."""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from numbers import Real
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from archgym.checks import check_line, check_mapping
from archgym.errors import ArchGymError, FileFormatError, InvalidArgumentError, error_text, sentence
from archgym.evaluation.limits import unit_factor
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.options import declared_options
from archgym.evaluation.task import Task
from archgym.files.storage import open_file, storage_errors
from archgym.measurements.file import MAX_MEASUREMENTS, Measurement, check_value
from archgym.measurements.points import facts_of
from archgym.spaces.texts import with_values

_MAX_BYTES: Final = 2**26
_MAX_CELL: Final = 1000
_HEADING: Final = re.compile(r"(?P<name>[^\[\]]+?)\s*(\[(?P<unit>[^\[\]]*)\])?")
_DATE: Final = re.compile(r"\d{4}-\d\d?-\d\d?([T ]|$)")
_EVALUATION: Final = "evaluation"
_WORDS: Final = ("date", "machine", "workload", _EVALUATION)
"""Columns that are neither a parameter nor a metric."""
# chosen: how near the logarithm of a median error lies to a power of 1,000 that is a wrong unit.
_NEAR_THOUSAND: Final = 0.45
_REMEDY: Final = "Correct it; nothing was kept"


@final
@dataclass(frozen=True)
class Imported:
    """Measurements of a CSV file.

    Attributes:
      rows: The measurements.
      unused: Columns that are no metric of the simulator; numbers of them are kept and not used.
      completed: Parameters that a row leaves out and that took the default design's value.
    """

    rows: tuple[Measurement, ...]
    unused: tuple[str, ...]
    completed: tuple[str, ...]


def read_spreadsheet(
    path: str | Path, task: Task, designs: Mapping[str, Mapping[str, Any]] | None = None
) -> Imported:
    """Return the measurements of a CSV file, each checked against a task.

    A column is a parameter, a metric with an optional unit in brackets such as `latency_ns [us]`,
    or one of `date`, `machine`, `workload` and `evaluation`. Parameters that are left out take the
    default design's values; rows of equal designs are repeats.

    Args:
      path: The file.
      task: Task that the designs belong to.
      designs: Designs of a study by the number of their evaluation, as a text.

    Raises:
      FileFormatError: A cell, design, unit or workload does not fit; nothing of the file counts.
      StorageError: It cannot be read.
    """
    path = Path(path)
    heading, table = _table(path)
    columns = [_column(path, text, task) for text in heading]
    names = [column[0] for column in columns]
    if len(set(names)) != len(names):
        raise FileFormatError(path, 1, f"each column must come once; got {', '.join(heading)}")
    metrics = {spec.name: spec for spec in task.simulator.metrics}
    if not set(names) & set(metrics):
        known = ", ".join([n for n, s in metrics.items() if s.goal != "none"][:8])
        problem = f"a column must be a metric of {task.simulator.name}, such as {known}"
        raise FileFormatError(path, 1, problem, _REMEDY)
    source = type(task.simulator.bare)
    options = {"simulator", "space", *(option.name for option in declared_options(source))}
    if of_task := sorted(options & {*names} - {*metrics, *task.space.names, *_WORDS}):
        problem = f"`{of_task[0]}` belongs to the task, which all rows share"
        remedy = "Leave the column out; measurements of another set-up belong to a study of that"
        raise FileFormatError(path, 1, problem, remedy)
    if _EVALUATION in names and designs is None:
        raise FileFormatError(path, 1, f"`{_EVALUATION}` names evaluations; name the study instead")
    rows: list[Measurement] = []
    unused: set[str] = set()
    for number, cells in table:
        values = dict(zip(names, cells, strict=True))
        found = {}
        for (name, factor), cell in zip(columns, cells, strict=True):
            if name in _WORDS or name in task.space.names or not cell:
                continue
            try:
                found[name] = float(cell) * factor
            except ValueError:
                if name in metrics:
                    problem = f"`{name}` must be a number; got {cell[:40]!r}"
                    raise FileFormatError(path, number, problem, _REMEDY) from None
                unused.add(name)
        unused |= {*found} - {*metrics}
        rows.append(_row(path, number, task, values, found, designs or {}))
    if off := wrong_unit(task, rows):
        name, problem, unit = off
        in_heading = f"If the unit differs, write it in the heading, such as `{name} [{unit}]`"
        raise FileFormatError(path, 1, problem, in_heading if unit else _REMEDY)
    left_out = tuple(name for name in task.space.names if name not in names)
    return Imported(tuple(rows), tuple(sorted(unused)), () if _EVALUATION in names else left_out)


def measured(
    task: Task,
    design: Mapping[str, Any],
    metrics: Mapping[str, float],
    workload: str | None = None,
    date: str = "",
    machine: str = "",
) -> Measurement:
    """Return the measurement of one design, with what the simulator says of it.

    Args:
      task: Task of the design.
      design: Values by parameter; those left out are the default design's.
      metrics: Measured values by metric, in the simulator's units.
      workload: Name of the task's workload that ran; may be left out where there is one.
      date: Day or time of the run.
      machine: Machine of the run.

    Raises:
      InvalidDesignError: The design is not in the space.
      InvalidArgumentError: A number, the workload or the design is impossible.
    """
    given = check_mapping("metrics", metrics)
    metrics = {name: _number(name, value) for name, value in given.items()}
    names = [w.workload.name for w in task.workloads]
    if workload is None and len(names) > 1:
        raise InvalidArgumentError(
            f"`workload` must say which of {', '.join(names)} was measured; got none."
        )
    if workload is not None and workload not in names:
        raise InvalidArgumentError(
            f"`workload` must be one of the task's, {', '.join(names)}; got {workload!r}."
        )
    for word, text in {"date": date, "machine": machine}.items():
        if text != "":
            check_line(word, text)
    _check_date(date)
    chosen = task.workloads[0 if workload is None else names.index(workload)].workload
    specs = {spec.name: spec for spec in task.simulator.metrics}
    if not set(metrics) & set(specs):
        known = ", ".join([n for n, s in specs.items() if s.goal != "none"][:8])
        raise InvalidArgumentError(
            f"A row must have a metric of {task.simulator.name}, such as {known}; "
            f"got {', '.join(metrics) or 'none'}."
        )
    for name in metrics:
        near = [] if name in specs else get_close_matches(name, specs, 1, 0.85)
        if near:
            raise InvalidArgumentError(f"Unknown metric {name!r}. Did you mean {near[0]!r}?")
    space = task.space
    default = dict(space.default)
    filled = space.design({**default, **design})
    indices = space.indices_of(filled)[None, :]
    violated = int(space.violations(indices)[0])
    if violated >= 0:
        raise InvalidArgumentError(
            f"The design breaks: {sentence(space.constraints[violated].reason)}"
        )
    source = task.simulator.bare
    at = source.space.indices_of({n: filled[n] for n in source.space.names})[None, :]
    result = source.evaluate_batch(at, chosen)
    if result.reason[0]:
        why = result.failures.get(0) or source.reasons[int(result.reason[0])]
        raise InvalidArgumentError(
            f"The simulator cannot build the design: {why.removesuffix('.')}."
        )
    simulated = {
        spec.name: float(value)
        for spec, value in zip(source.metrics, result.values[0], strict=True)
        if spec.goal != "none" or spec.name in metrics
    }
    for name, value in metrics.items():
        _check_metric(name, value, specs.get(name), simulated.get(name, 0.0))
        check_value(name, value)
    return Measurement(
        simulator=source.name,
        version=source.version,
        space=source.space.name,
        options=dict(source.options),
        workload=chosen.name,
        facts=facts_of(source, chosen),
        design={n: list(v) if isinstance(v, tuple) else v for n, v in filled.items()},
        metrics=metrics,
        simulated=simulated,
        date=date,
        machine=machine,
    )


def _check_date(text: str) -> None:
    """Refuse a date of ISO 8601 that does not exist; other texts are kept as they are."""
    try:
        if _DATE.match(text):
            datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidArgumentError(
            f"`date` must be a day or time that exists; got {text!r}: {error}."
        ) from None


def _table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the heading and the rows of a CSV file, with their lines."""
    with storage_errors(path, "read"), open_file(path) as handle:
        content = handle.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise FileFormatError(path, None, f"the file must be below {_MAX_BYTES} bytes", _REMEDY)
    try:
        text = content.decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text), strict=True)
        heading = [cell.strip() for cell in next(reader, [])]
        marks = [mark for mark in ";\t|" if len(heading) == 1 and mark in heading[0]]
        if marks:
            problem = f"cells must be separated by commas; the heading has {marks[0]!r}"
            raise FileFormatError(path, 1, problem, "Export it with commas, and points in numbers")
        table = []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(heading) or any(len(cell) > _MAX_CELL for cell in cells):
                problem = f"a row must have {len(heading)} cells, as the heading; got {len(cells)}"
                raise FileFormatError(path, reader.line_num, problem, _REMEDY)
            table.append((reader.line_num, [cell.strip() for cell in cells]))
            if len(table) > MAX_MEASUREMENTS:
                problem = f"at most {MAX_MEASUREMENTS:,} rows can be read; there are more"
                raise FileFormatError(path, None, problem, "Average repeats, or split the file")
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileFormatError(path, None, f"the file must be CSV in UTF-8; {error}") from None
    if not heading or not table:
        raise FileFormatError(path, 1, "the file must have a heading and rows; it has not")
    return heading, table


def _column(path: Path, text: str, task: Task) -> tuple[str, float]:
    """Return the name of a column, and the factor to the metric's unit."""
    match = _HEADING.fullmatch(text)
    name = match["name"] if match else text
    specs = {spec.name: spec for spec in task.simulator.metrics}
    if name in specs and match is not None and match["unit"]:
        unit = specs[name].unit
        factor = 1.0 if match["unit"] == unit else unit_factor(match["unit"], unit)
        if factor is None:
            problem = f"`{name}` must be in {unit or 'no unit'}, or a multiple of it; got {text!r}"
            raise FileFormatError(path, 1, problem, _REMEDY)
        return name, factor
    if name in specs or name in task.space.names or name in _WORDS:
        return name, 1.0
    known = [*task.space.names, *specs, *_WORDS]
    near = [_EVALUATION] if name == "design" else get_close_matches(name, known, 1, 0.85)
    if near or not name:
        remedy = f"Did you mean {near[0]!r}?" if near else _REMEDY
        raise FileFormatError(path, 1, f"unknown column {text[:80]!r}", remedy)
    return text, 1.0


def _number(name: str, value: Any) -> float:
    """Return a number of any kind as a float; a size that floats lack is infinite."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidArgumentError(f"`{name}` must be a number; got {value!r}.")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _check_metric(name: str, value: float, spec: MetricSpec | None, simulated: float) -> None:
    """Refuse a value that a metric cannot have; others' metrics may be anything finite.

    Times and other costs are above 0. Counts, shares, gains and what is simulated as 0 may be 0.

    Raises:
      InvalidArgumentError: It is one.
    """
    may_be_0 = spec is None or spec.goal != "minimise" or spec.unit in ("", "%") or not simulated
    if spec is None or spec.signed:
        what, is_right = "a finite number", math.isfinite(value)
    else:
        what = "0 or above" if may_be_0 else "a number above 0"
        is_right = 0 < value < math.inf or (value == 0 and may_be_0)
    if spec is not None and value > spec.highest:
        what, is_right = f"at most {spec.highest:g} {spec.unit}", False
    if not is_right:
        raise InvalidArgumentError(f"`{name}` must be {what}; got {value:g}.")


def _row(
    path: Path,
    line: int,
    task: Task,
    values: Mapping[str, str],
    metrics: Mapping[str, float],
    designs: Mapping[str, Mapping[str, Any]],
) -> Measurement:
    start = dict(task.space.default)
    try:
        number = values.get(_EVALUATION)
        if number and number not in designs:
            raise InvalidArgumentError(
                f"{number!r} is not the number of an evaluation of the study"
            )
        start = dict(designs[number]) if number else start
        given = {n: values[n] for n in task.space.names if values.get(n)}
        design = with_values(task.space, start, given)
        for name in given if number else ():
            if design[name] != start[name]:
                was = f"evaluation {number} has {name}={start[name]}"
                raise InvalidArgumentError(f"{was}, not {design[name]}")
        words = {name: values.get(name, "") for name in ("date", "machine")}
        return measured(task, design, metrics, values.get("workload") or None, **words)
    except ArchGymError as error:
        text = error_text(error).removesuffix(".")
        raise FileFormatError(path, line, text, _REMEDY) from None


def wrong_unit(task: Task, rows: Sequence[Measurement]) -> tuple[str, str, str] | None:
    """Return the metric, what is wrong and the unit it seems to have, where all values are off.

    They are about a power of 1,000 from those simulated, or percentages are fractions; the unit is
    "" where a heading cannot name it.
    """
    for spec in sorted(task.simulator.metrics, key=lambda spec: spec.name):
        name = spec.name
        ratios = [
            math.log10(row.metrics[name] / row.simulated[name])
            for row in rows
            if row.metrics.get(name, 0) > 0 and row.simulated.get(name, 0) > 0
        ]
        if not ratios:
            continue
        median = float(np.median(ratios))
        thousands = round(median / 3.0)
        is_fraction = spec.unit == "%" and abs(median + 2.0) <= _NEAR_THOUSAND
        if is_fraction and all(row.metrics.get(name, 0) <= 1 for row in rows):
            return name, f"`{name}` must be in percent, 100 times a fraction", ""
        if thousands and abs(median - 3.0 * thousands) <= _NEAR_THOUSAND:
            how = "larger" if thousands > 0 else "smaller"
            times = 1000 ** abs(thousands)
            problem = f"`{name}` is about {times:,} times {how} than simulated, {10**median:.4g}"
            return name, problem, _unit_times(1000.0**-thousands, spec.unit)
    return None


def _unit_times(factor: float, unit: str) -> str:
    """Return the unit that is a factor times another one, "" where no heading may name it."""
    units = [prefix + unit[n:] for n in (0, 1) for prefix in ("", *"pnumkMGT")]
    known = (name for name in units if math.isclose(unit_factor(name, unit) or 0.0, factor))
    return next(known, "")
