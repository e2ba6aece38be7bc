"""Confirmation of designs: the tool of others runs them, and its numbers are compared with ours.

A study keeps its confirmations in `confirmations.jsonl`, a checksummed line for each design and
workload.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, final

import msgspec
import numpy as np

from archgym.errors import (
    ArchGymError,
    FileFormatError,
    InvalidArgumentError,
    InvalidDesignError,
    MissingProgramError,
    SimulatorError,
)
from archgym.evaluation.capabilities import Files
from archgym.evaluation.external import run_in_folder
from archgym.files.json_types import typed
from archgym.files.lines import append_line, read_lines
from archgym.files.storage import open_file
from archgym.report.export import (
    GENERAL_FORMATS,
    export_formats,
    files_by_workload,
    unknown_format,
)
from archgym.simulators.kit.exports import EXPECTED, RUN, STDOUT, Number, Tool, expected
from archgym.studies.metadata import read_header
from archgym.tasks.task import Task

FILE_NAME: Final = "confirmations.jsonl"
EQUAL: Final = "equal"
"""Result of a run whose numbers all equal ours."""
TIME_LIMIT_S: Final = 600.0
"""chosen: time that the tool may take for a design and workload [s]."""
# chosen: what no tool of ours comes near, and a machine can bear.
_OUTPUT_BYTES: Final = 64 * 2**20
_FILE_BYTES: Final = 4 * 2**30
_MEMORY_BYTES: Final = 32 * 2**30
_MOST_LETTERS: Final = 500
# chosen: relative, above what changes of units lose of a double.
_ROUNDING: Final = 1e-12


@final
class Compared(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Number of ours next to a tool's, both in the tool's unit."""

    metric: str
    unit: str
    stated: float
    tool: float
    tolerance: float

    @property
    def difference(self) -> float:
        """The tool's number less ours."""
        return self.tool - self.stated

    @property
    def is_equal(self) -> bool:
        """True if the difference is within the tolerance, but for last bits of our own number."""
        return abs(self.difference) <= self.tolerance + _ROUNDING * abs(self.stated)


@final
class Confirmation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Comparison of one design on one workload, or the reason why there is none."""

    form: str
    """Format that the design was exported in."""
    tool: str
    release: str
    workload: str
    design: dict[str, Any]
    numbers: tuple[Compared, ...] = ()
    problem: str = ""

    @property
    def is_equal(self) -> bool:
        """True if the tool ran, and all its numbers equal ours."""
        return not self.problem and all(number.is_equal for number in self.numbers)

    @property
    def result(self) -> str:
        """The result in words."""
        if self.problem:
            return self.problem
        unequal = [number.metric for number in self.numbers if not number.is_equal]
        return f"{', '.join(unequal)} differ" if unequal else EQUAL

    def to_json(self) -> dict[str, Any]:
        """Return the confirmation as a record."""
        made: dict[str, Any] = msgspec.to_builtins(self)
        return made


def confirm(
    task: Task,
    designs: Sequence[np.ndarray],
    form: str,
    *,
    at: Path | None = None,
    output: Path | None = None,
    time_limit_s: float = TIME_LIMIT_S,
) -> Iterator[Confirmation]:
    """Run designs in a tool, and yield the comparison for each design and workload.

    Args:
      task: Task that the designs are evaluated on.
      designs: (n_parameters,) each.
      form: Format of the tool, one of the simulator's `exports`.
      at: Place of the tool, its program or folder; None to find it in PATH.
      output: Output of a run that was made elsewhere: its folder, or the file of its standard
        output. Nothing runs then.
      time_limit_s: Wall time of a run [s].

    Raises:
      UnknownNameError: The simulator has no such format.
      InvalidArgumentError: The format has no numbers to compare, or `output` holds one run and
        there are several.
      MissingProgramError: The tool is not installed; the message says how to get it.
    """
    formats = export_formats(task.simulator).keys() - GENERAL_FORMATS.keys()
    if form not in formats:
        raise unknown_format(task.simulator, form, formats)
    if output is not None and len(designs) * len(task.workloads) != 1:
        raise InvalidArgumentError(
            f"`--output` is of one run; there are {len(designs)} designs and "
            f"{len(task.workloads)} workloads. Name a design, and a task with one workload."
        )
    for indices in task.space.canonical(np.array(designs, dtype=np.int64)):
        design = dict(task.space.design_at(indices))
        try:
            exports = files_by_workload(task, indices, form)
        except InvalidDesignError as error:
            name = task.workloads[0].workload.name
            yield Confirmation(
                form=form, tool=form, release="", workload=name, design=design,
                problem=f"not expressible: {_line(error)}",
            )  # fmt: skip
            continue
        for workload, files in exports.items():
            tool, numbers = expected(files) if EXPECTED in files else (None, [])
            if tool is None or not numbers:
                raise InvalidArgumentError(
                    f"Format {form!r} has no number that a tool prints and ArchGym states, so that "
                    "nothing can be confirmed. `archgym export` writes its files."
                )
            found: tuple[Compared, ...] = ()
            problem = ""
            try:
                texts = (
                    _run(tool, files, numbers, at, time_limit_s)
                    if output is None
                    else _given(output, numbers)
                )
                found = tuple(_compared(number, texts) for number in numbers)
            except (SimulatorError, FileFormatError) as error:
                problem = _line(error)
            yield Confirmation(
                form=form, tool=tool.name, release=tool.release, workload=workload, design=design,
                numbers=found, problem=problem,
            )  # fmt: skip


def _compared(number: Number, texts: dict[str, str]) -> Compared:
    return Compared(
        metric=number.metric, unit=number.unit, stated=number.stated, tool=number.read(texts),
        tolerance=number.tolerance,
    )  # fmt: skip


def _run(
    tool: Tool,
    files: Files,
    numbers: Sequence[Number],
    at: Path | None,
    time_limit_s: float,
) -> dict[str, str]:
    """Return what a tool prints and writes for exported files."""
    wanted = sorted({number.file for number in numbers} - {STDOUT})
    place = [] if at is None else [str(at.absolute())]
    try:
        printed, written = run_in_folder(
            ["/bin/sh", RUN, *place], files, wanted, time_limit_s, _OUTPUT_BYTES,
            memory_limit_bytes=_MEMORY_BYTES, file_limit_bytes=_FILE_BYTES,
        )  # fmt: skip
    except SimulatorError as error:
        if tool.missing in str(error):
            raise MissingProgramError(f"{tool.missing} Name its place with `--at`.") from None
        raise
    return {STDOUT: printed, **dict(zip(wanted, written, strict=True))}


def _given(output: Path, numbers: Sequence[Number]) -> dict[str, str]:
    """Return the output of a run that was made elsewhere."""
    names = {number.file for number in numbers}
    is_folder = output.is_dir()
    texts = {}
    for name in names if is_folder else {STDOUT} & names:
        path = output / (f"{STDOUT}.txt" if name == STDOUT else name) if is_folder else output
        try:
            with open_file(path) as handle:
                content = handle.read(_OUTPUT_BYTES + 1)
        except OSError:
            raise FileFormatError(path, None, "holds numbers of the run, and is absent") from None
        if len(content) > _OUTPUT_BYTES:
            raise FileFormatError(path, None, f"has more than {_OUTPUT_BYTES} bytes")
        texts[name] = content.decode(errors="replace")
    return texts


def _line(error: ArchGymError) -> str:
    """Return an error as one line: its first, and the last that the tool printed."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    text = " ".join(dict.fromkeys((lines[0], lines[-1])))[:_MOST_LETTERS]
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def keep(folder: Path, made: Confirmation) -> None:
    """Add a confirmation to those that a study keeps.

    Raises:
      StorageError: It cannot be written; what was kept before is there.
    """
    append_line(folder / FILE_NAME, made.to_json(), read_header(folder).key)


def kept(folder: Path, key: int) -> tuple[Confirmation, ...]:
    """Return the confirmations that a study keeps, of each design and workload the last one.

    Args:
      folder: Folder of the study.
      key: Key of the study's header.

    Raises:
      FileFormatError: The file is damaged, or of another study.
    """
    found: dict[tuple[str, str, str], Confirmation] = {}
    for number, data in enumerate(read_lines(folder / FILE_NAME, key), 1):
        try:
            made = typed(data, Confirmation)
        except ValueError as error:
            raise FileFormatError(folder / FILE_NAME, number, str(error)) from None
        found[made.form, made.workload, repr(sorted(made.design.items()))] = made
    return tuple(found.values())


def verdicts(found: Sequence[Confirmation]) -> list[str]:
    """Return a line for each tool, such as "Confirmed by BookSim: 5 of 5 equal".

    A design is equal if it is on all its workloads.
    """
    equal: dict[str, dict[str, bool]] = {}
    names: dict[str, str] = {}
    for each in found:
        designs = equal.setdefault(each.form, {})
        design = repr(sorted(each.design.items()))
        designs[design] = designs.get(design, True) and each.is_equal
        if each.release or each.form not in names:
            names[each.form] = each.tool
    return [
        f"Confirmed by {names[form]}: {sum(of.values())} of {len(of)} equal"
        for form, of in equal.items()
    ]
