"""Measured designs from a CSV file, checked against a task before anything is kept."""

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from numbers import Real
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from archgym.checks import check_choice, check_line, check_mapping
from archgym.errors import ArchGymError, FileFormatError, InvalidArgumentError, error_text, sentence
from archgym.evaluation.capabilities import option_names
from archgym.evaluation.limits import unit_factor
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.restriction import bare
from archgym.files.storage import file_checksums, open_file, storage_errors
from archgym.measurements.file import MAX_MEASUREMENTS, Measurement, check_value
from archgym.measurements.points import facts_of
from archgym.spaces.texts import with_values
from archgym.tasks.task import Task

_MAX_BYTES: Final = 2**26
_MAX_CELL: Final = 1000
_HEADING: Final = re.compile(r"(?P<name>[^\[\]]+?)\s*(\[(?P<unit>[^\[\]]*)\])?")
_PLAIN: Final = re.compile(r"[0-9a-zA-Z.+-]+")
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
    with _line(path, 1):
        columns = [_column(text, task) for text in heading]
        _check_columns([name for name, _ in columns], task)
    metrics = {spec.name for spec in bare(task.simulator).metrics}
    rows: list[Measurement] = []
    unused: set[str] = set()
    for number, cells in table:
        values, found = {}, {}
        with _line(path, number):
            for (name, factor), cell in zip(columns, cells, strict=True):
                values[name] = cell
                if name in _WORDS or name in task.space.names or not cell:
                    continue
                try:
                    # Python alone takes "1_000" and the digits of other scripts for numbers.
                    found[name] = float(cell if _PLAIN.fullmatch(cell) else "") * factor
                except ValueError:
                    if name in metrics:
                        text = f"`{name}` must be a number; got {cell[:40]!r}."
                        raise InvalidArgumentError(text) from None
                    unused.add(name)
            unused |= {*found} - metrics
            rows.append(_row(task, values, found, designs or {}))
    if off := wrong_unit(task, rows):
        name, problem, unit = off
        in_heading = f"If the unit differs, write it in the heading, such as `{name} [{unit}]`"
        raise FileFormatError(path, 1, problem, in_heading if unit else _REMEDY)
    left_out = tuple(name for name in task.space.names if name not in values)
    return Imported(tuple(rows), tuple(sorted(unused)), () if _EVALUATION in values else left_out)


@contextmanager
def _line(path: Path, number: int) -> Iterator[None]:
    """Name the file and the line in the error about what it holds."""
    try:
        yield
    except ArchGymError as error:
        problem, _, remedy = error_text(error).removesuffix(".").partition(". ")
        raise FileFormatError(path, number, problem, remedy or _REMEDY) from None


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
    names = [w.workload.name for w in task.workloads]
    if workload is None and len(names) > 1:
        raise InvalidArgumentError(
            f"`workload` must say which of {', '.join(names)} was measured; got none."
        )
    workload = check_choice("workload", names[0] if workload is None else workload, names)
    chosen = task.workloads[names.index(workload)].workload
    for word, text in {"date": date, "machine": machine}.items():
        if text != "":
            check_line(word, text)
    _check_date(date)
    # Not what calibration computes next to them, such as `p90_`.
    specs = {spec.name: spec for spec in bare(task.simulator).metrics}
    if not set(given) & set(specs):
        known = ", ".join([n for n, s in specs.items() if s.goal != "none"][:8])
        raise InvalidArgumentError(
            f"A row must have a metric of {task.simulator.name}, such as {known}; "
            f"got {', '.join(given) or 'none'}."
        )
    for name in given:
        for near in [] if name in specs else get_close_matches(name, specs, 1, 0.85):
            raise InvalidArgumentError(f"Unknown metric {name!r}. Did you mean {near!r}?")
    filled = task.space.filled(design)
    source = bare(task.simulator)
    built = source.evaluate({n: filled[n] for n in source.space.names}, chosen)
    if built.infeasible is not None:
        raise InvalidArgumentError(f"The design cannot be built: {sentence(built.infeasible)}")
    simulated = {
        spec.name: built[spec.name]
        for spec in source.metrics
        if spec.goal != "none" or spec.name in given
    }
    metrics = {
        name: _checked(name, value, specs.get(name), simulated.get(name, 0.0), built)
        for name, value in given.items()
    }
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
        files=file_checksums(source.options.values()),
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


def _column(text: str, task: Task) -> tuple[str, float]:
    """Return the name of a column, and the factor to the metric's unit."""
    match = _HEADING.fullmatch(text)
    name = match["name"] if match else text
    specs = {spec.name: spec for spec in task.simulator.metrics}
    if name in specs and match is not None and match["unit"]:
        unit = specs[name].unit
        factor = 1.0 if match["unit"] == unit else unit_factor(match["unit"], unit)
        if factor is None:
            raise InvalidArgumentError(
                f"`{name}` must be in {unit or 'no unit'}, or a multiple of it; got {text!r}."
            )
        return name, factor
    known = [*task.space.names, *specs, *_WORDS]
    if name in known:
        return name, 1.0
    near = [_EVALUATION] if name == "design" else get_close_matches(name, known, 1, 0.85)
    if near or not name:
        raise InvalidArgumentError(
            f"unknown column {text[:80]!r}. " + "".join(f"Did you mean {n!r}?" for n in near)
        )
    return text, 1.0


def _check_columns(names: Sequence[str], task: Task) -> None:
    """Refuse columns that come twice, or that belong to the task."""
    if len(set(names)) != len(names):
        raise InvalidArgumentError(f"each column must come once; got {', '.join(names)}.")
    options = {"simulator", "space", *option_names(type(bare(task.simulator)))}
    own = {*(spec.name for spec in task.simulator.metrics), *task.space.names, *_WORDS}
    if of_task := sorted(options & {*names} - own):
        raise InvalidArgumentError(
            f"`{of_task[0]}` belongs to the task, which all rows share. Leave the column out; "
            "measurements of another set-up belong to a study of that."
        )


def _checked(
    name: str, value: Any, spec: MetricSpec | None, simulated: float, built: Mapping[str, float]
) -> float:
    """Return a value that a metric can have; others' metrics may be anything finite.

    Times and other costs are above 0. Counts, shares, gains and what is simulated as 0 may be 0.
    Metrics of which only a goal was given have no sign where they are simulated above 0.

    Raises:
      InvalidArgumentError: It cannot have it.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidArgumentError(f"`{name}` must be a number; got {value!r}.")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    may_be_0 = spec is None or spec.goal != "minimise" or spec.unit in ("", "%") or not simulated
    is_positive = spec is not None and spec.is_undeclared and spec.unit and simulated > 0
    if spec is None or (spec.signed and not is_positive):
        what, is_right = "a finite number", math.isfinite(number)
    else:
        what = "0 or above" if may_be_0 else "a number above 0"
        is_right = 0 < number < math.inf or (number == 0 and may_be_0)
    highest = math.inf if spec is None else min(spec.highest, built.get(spec.below, math.inf))
    if spec is not None and number > highest:
        what, is_right = f"at most {highest:g} {spec.unit}", False
        what += f", as `{spec.below}` of the design" if highest < spec.highest else ""
    if not is_right:
        remedy = " If not, declare it with signed=True." if is_positive else ""
        raise InvalidArgumentError(f"`{name}` must be {what}; got {number:g}.{remedy}")
    check_value(name, number)
    return number


def _row(
    task: Task,
    values: Mapping[str, str],
    metrics: Mapping[str, float],
    designs: Mapping[str, Mapping[str, Any]],
) -> Measurement:
    """Return the measurement in the cells of a row, by the names of their columns."""
    start = dict(task.space.default)
    number = values.get(_EVALUATION)
    if number:
        if number not in designs:
            what = "the number of an evaluation of a study that is named"
            raise InvalidArgumentError(f"{number!r} is not {what}.")
        start = dict(designs[number])
    given = {n: values[n] for n in task.space.names if values.get(n)}
    design = with_values(task.space, start, given)
    for name in given if number else ():
        if design[name] != start[name]:
            was = f"evaluation {number} has {name}={start[name]}"
            raise InvalidArgumentError(f"{was}, not {design[name]}.")
    words = {name: values.get(name, "") for name in ("date", "machine")}
    return measured(task, design, metrics, values.get("workload") or None, **words)


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
