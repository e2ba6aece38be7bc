"""The model against rows and event logs of ChampSim, in any folder of the same form.

A folder holds `results/*.csv` (a run a row: trace, warmup, simulated, the design by parameter, and
counters), `traces/NAME.champsimtrace.xz` and, if it has any, `debug/SCENARIO/` (`design.txt`,
`run.txt`, `events.log.xz`). Every counter must be equal; there is no tolerance.
"""

import csv
import lzma
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Final, final

import numpy as np
import numpy.typing as npt

from archgym.errors import FileFormatError, InvalidArgumentError
from archgym.simulators.cpu.kernel import layout as lay
from archgym.simulators.cpu.kernel.run import COUNTERS, TYPES, run, run_logged
from archgym.simulators.cpu.machine import machine
from archgym.simulators.cpu.workloads import InstructionTrace, read_trace
from evidence.cpu.golden import golden_lines

_RUN: Final = ("trace", "warmup", "simulated")
_IGNORED: Final = ("id", "oracle_cpu_s")
# chosen: twice as many events as the longest scenario logs.
_MAX_EVENTS: Final = 1 << 17
_EVENT: Final = re.compile(
    r"\[(?P<cache>\w+)\] (?P<kind>try_hit|handle_fill) instr_id: \d+ address: (?P<address>\w+) "
    r"v_address: (?P<virtual>\w+) (?:data: \w+ )?set: (?P<set>\d+) way: (?P<way>\d+) "
    r"(?:\(\w+\) )?type: (?P<type>\w+) .*?cycle: (?P<cycle>\d+)$"
)


@final
@dataclass(frozen=True)
class Row:
    """One run of ChampSim.

    Attributes:
      place: File and line.
      trace: Name.
      warmup: Instructions before counting.
      length: Instructions that are counted.
      design: Parameters by name.
      counters: Expected counters by name.
      seconds: CPU time that ChampSim took, 0 if the file does not say.
    """

    place: str
    trace: str
    warmup: int
    length: int
    design: Mapping[str, int]
    counters: Mapping[str, int]
    seconds: float


@final
@dataclass(frozen=True)
class Validation:
    """A table of comparisons, and what differs.

    Attributes:
      lines: Subject, where, number compared and number equal.
      problems: Problems in words; empty if everything is equal.
    """

    lines: tuple[tuple[str, str, int, int], ...]
    problems: tuple[str, ...]

    columns: ClassVar[tuple[str, ...]] = ("subject", "where", "compared", "equal", "met")

    @property
    def rows(self) -> tuple[tuple[str | int | float, ...], ...]:
        """Return the table's cells by `columns`."""
        return tuple((*line, "yes" if line[2] == line[3] else "NO") for line in self.lines)


def validate(
    reference: Path | None = None, progress: Callable[[str], None] | None = None
) -> Validation:
    """Run what is compared, and compare it.

    Args:
      reference: A folder of the form above, or one that holds it as `cpu`; None for only the
        recorded rows that ship.
      progress: Called with what is run next.

    Raises:
      FileFormatError: A file is not what it should be; the message names file and line.
    """
    folder = None if reference is None else _folder(reference)
    lines, problems = golden_lines(progress)
    if folder is not None:
        for path in sorted((folder / "results").glob("*.csv")):
            if progress is not None:
                progress(path.name)
            lines.append(_results(folder, path, problems))
        for scenario in sorted((folder / "debug").glob("*/")):
            if progress is not None:
                progress(f"events of {scenario.name}")
            lines += _scenario(folder, scenario, problems)
    return Validation(tuple(lines), tuple(problems))


def reference_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file of results.

    Raises:
      FileFormatError: A row is not one; the message names file and line.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            absent = [name for name in _RUN if name not in (reader.fieldnames or ())]
            if absent:
                raise FileFormatError(path, 1, f"must have the columns {', '.join(absent)}")
            for number, cells in enumerate(reader, start=2):
                yield _row(path, number, cells)
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileFormatError(path, None, f"is not a table ({error})") from None


def _row(path: Path, number: int, cells: Mapping[str, str]) -> Row:
    try:
        design = {name: int(text) for name, text in cells.items() if "." in name}
        counters = {
            name: int(text)
            for name, text in cells.items()
            if "." not in name and name not in _RUN and name not in _IGNORED
        }
        warmup, length = int(cells["warmup"]), int(cells["simulated"])
        seconds = float(cells.get("oracle_cpu_s") or 0.0)
    except (TypeError, ValueError):
        raise FileFormatError(path, number, "must have a number in every column") from None
    if warmup < 0 or length < 1:
        raise FileFormatError(path, number, "must simulate an instruction or more")
    unknown = sorted(set(counters) - set(COUNTERS))
    if unknown:
        raise FileFormatError(path, number, f"has counters that are unknown: {unknown[0]}")
    try:
        machine(design)
    except InvalidArgumentError as error:
        raise FileFormatError(path, number, str(error).rstrip(".")) from None
    return Row(
        place=f"{path.name}:{number}",
        trace=cells["trace"],
        warmup=warmup,
        length=length,
        design=design,
        counters=counters,
        seconds=seconds,
    )


def compare_row(row: Row, trace: InstructionTrace) -> list[str]:
    """Return the counters in which the model differs from a row, in words."""
    if row.warmup + row.length > trace.n:
        return [f"{row.trace} has only {trace.n:,} instructions"]
    counters = run(machine(row.design), trace, row.warmup, row.length)
    if counters is None:
        return ["the run never ends"]
    ours = dict(zip(COUNTERS, counters.tolist(), strict=True))
    return [
        f"{name} {ours[name]:,} instead of {expected:,}"
        for name, expected in row.counters.items()
        if ours[name] != expected
    ]


def _results(folder: Path, path: Path, problems: list[str]) -> tuple[str, str, int, int]:
    n = equal = 0
    for row in reference_rows(path):
        n += 1
        different = compare_row(row, _trace(folder, row.trace))
        equal += not different
        if different:
            problems.append(
                f"{row.place} ({row.trace}) differs in {len(different)} counters: "
                f"{'; '.join(different[:3])}."
            )
    return "rows of ChampSim equal in every counter", path.stem, n, equal


@lru_cache(maxsize=32)
def _trace(folder: Path, name: str) -> InstructionTrace:
    if not re.fullmatch(r"[\w.-]+", name):
        raise FileFormatError(folder, None, f"names a trace {name!r} that cannot be a file")
    for ending in (".champsimtrace.xz", ".champsimtrace.gz", ".champsimtrace"):
        path = folder / "traces" / f"{name}{ending}"
        if path.exists():
            return read_trace(path)
    raise FileFormatError(
        folder, None, f"must hold traces/{name}.champsimtrace.xz", "Copy the whole folder"
    )


def _folder(reference: Path) -> Path:
    folder = reference / "cpu" if (reference / "cpu").is_dir() else reference
    if not list((folder / "results").glob("*.csv")):
        raise FileFormatError(
            reference, None, "holds no results/*.csv", "Name the folder of reference results"
        )
    return folder


def _words(path: Path) -> dict[str, str]:
    """Return the lines `name value` of a file."""
    found = {}
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(path, None, f"cannot be read ({error})") from None
    for line in text.splitlines():
        if len(parts := line.split()) == 2:
            found[parts[0]] = parts[1]
    return found


def _scenario(folder: Path, scenario: Path, problems: list[str]) -> list[tuple[str, str, int, int]]:
    """Compare counters and the caches' events of a debug scenario."""
    cells = {**_words(scenario / "design.txt"), **_words(scenario / "run.txt")}
    # Counters that the result leaves out are 0.
    counted = {name: "0" for name in COUNTERS if not name.startswith(("CPU_", "slots_"))}
    extra = [name for name in counted if name.endswith(("_pf_late", "_evicted_dirty"))]
    row = _row(
        scenario / "run.txt",
        1,
        {name: text for name, text in {**counted, **cells}.items() if name not in extra},
    )
    trace = _trace(folder, row.trace)
    counters, events = run_logged(machine(row.design), trace, row.warmup, row.length, _MAX_EVENTS)
    different = compare_row(row, trace)
    if different or counters is None:
        problems.append(f"{scenario.name} differs: {'; '.join(different[:3])}.")
    lines = [("scenarios equal in every counter", scenario.name, 1, int(not different))]
    expected = _events(scenario / "events.log.xz")
    ours = _comparable(events, expected)
    n = len(expected)
    equal = sum(a == b for a, b in zip(ours, expected, strict=False))
    if equal != n or len(ours) != n:
        problems.append(f"{scenario.name} has {n:,} events of caches; {equal:,} are equal.")
    return [*lines, ("look-ups and fills of caches equal in order", scenario.name, n, equal)]


_Event = tuple[str, str, int, int, str, int, int, int]


def _events(path: Path) -> list[_Event]:
    """Return the caches' look-ups and fills in a log of ChampSim."""
    found = []
    try:
        with lzma.open(path, "rt", encoding="utf-8") as stream:
            for line in stream:
                if match := _EVENT.match(line.rstrip("\n")):
                    found.append(
                        (
                            match["kind"], match["cache"],
                            int(match["address"], 16), int(match["virtual"], 16),
                            match["type"], int(match["set"]),
                            int(match["way"]), int(match["cycle"]),
                        )
                    )  # fmt: skip
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise FileFormatError(path, None, f"cannot be read ({error})") from None
    return found


def _comparable(events: npt.NDArray[np.int64], expected: list[_Event]) -> list[_Event]:
    """Return our events as those of a log, from its first cycle to its last."""
    if not expected:
        return []
    first, last = expected[0][-1], expected[-1][-1]
    kinds = {lay.EVENT_LOOK_UP: "try_hit", lay.EVENT_FILL: "handle_fill"}
    return [
        (
            kinds[kind], lay.COMPONENTS[component],
            address, virtual, TYPES[of].upper(), index, way, cycle,
        )
        for kind, component, address, virtual, of, index, way, cycle in events.tolist()
        if first <= cycle <= last
    ]  # fmt: skip
