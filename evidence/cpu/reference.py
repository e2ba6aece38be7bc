"""The model against rows and event logs of ChampSim, in any folder of the same form.

A folder holds `results/*.csv` (a run a row: trace, warmup, simulated, the design by parameter, and
counters), `traces/NAME.champsimtrace.xz` and, if it has any, `debug/SCENARIO/` (`design.txt`,
`run.txt`, `events.log.xz`). Every counter must be equal; there is no tolerance.
"""

import lzma
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.errors import FileFormatError, InvalidArgumentError
from archgym.simulators.cpu.kernel import layout as lay
from archgym.simulators.cpu.kernel.run import COUNTERS, TYPES, run, run_logged
from archgym.simulators.cpu.machine import machine
from archgym.simulators.cpu.simulator import CpuSimulator
from archgym.simulators.cpu.space import design_space, machine_of
from archgym.simulators.cpu.workloads.programs import InstructionTrace, read_trace
from archgym.spaces.parameter import Value
from archgym.traces.instructions.records import MIN_RECORDS
from evidence.agreement import Agreement, Differences, validation_of
from evidence.cpu.golden import golden_line
from evidence.cpu.mcpat import NAME, compare_mcpat
from evidence.recorded import read_rows
from evidence.validation import Group, Progress, Validation, chosen, metrics_of, no_reports

_RUN: Final = ("trace", "warmup", "simulated")
_IGNORED: Final = ("id", "oracle_cpu_s")
# Accesses that a program waits for, as the metrics count them.
_DEMAND: Final = ("load", "rfo", "write", "translation")
# chosen: twice as many events as the longest scenario logs.
_MAX_EVENTS: Final = 1 << 17
_EVENT: Final = re.compile(
    r"\[(?P<cache>\w+)\] (?P<kind>try_hit|handle_fill) instr_id: \d+ address: (?P<address>\w+) "
    r"v_address: (?P<virtual>\w+) (?:data: \w+ )?set: (?P<set>\d+) way: (?P<way>\d+) "
    r"(?:\(\w+\) )?type: (?P<type>\w+) .*?cycle: (?P<cycle>\d+)$"
)


@final
@dataclass(frozen=True)
class Run:
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


_FREE: Final = (
    "ChampSim takes latencies, queues and policies freely; a design's latencies follow from its "
    "sizes"
)
GROUPS: Final = (
    Group("designs", "runs of ChampSim on machines that a design of a space is"),
    Group("counters", "runs of ChampSim on any machine, in every counter", _FREE),
    Group("events", "caches' look-ups and fills in event logs of ChampSim", "a log has no metrics"),
    Group("mcpat", "area, leakage and switching power of McPAT, over the default design"),
    Group("recorded", "our own recorded runs, in every counter", _FREE),
)
SPACES: Final = ("default", "as-shipped")


def validate(
    reference: Path | None = None, progress: Progress | None = None, *, group: str | None = None
) -> Validation[Agreement]:
    """Run what is compared, and compare it.

    Args:
      reference: A folder of the form above, or one that holds it as `cpu`; None for only the
        recorded rows that ship.
      progress: Called with what is run next.
      group: Group to compare; all by default.

    Raises:
      FileFormatError: A file is not what it should be; the message names file and line.
      UnknownNameError: There is no such group.
    """
    wanted = chosen(GROUPS, group)
    tell = progress if progress is not None else _ignore
    folder = None if reference is None else _folder(reference)
    tell("recorded rows")
    lines = [golden_line()] if "recorded" in wanted else []
    if folder is not None:
        for path in sorted((folder / "results").glob("*.csv")):
            tell(path.name)
            rows = list(reference_rows(path))
            if "designs" in wanted:
                lines += compare_designs(folder, path.stem, rows)
            if "counters" in wanted:
                lines.append(_results(folder, path.stem, rows))
        if NAME in wanted:
            tell(NAME)
            lines += compare_mcpat(folder)
        if "events" in wanted:
            for scenario in sorted((folder / "debug").glob("*/")):
                tell(f"events of {scenario.name}")
                lines += _scenario(folder, scenario)
    return validation_of(lines, GROUPS)


def _ignore(text: str) -> None:
    del text


def reference_rows(path: Path) -> Iterator[Run]:
    """Yield the rows of a file of results.

    Raises:
      FileFormatError: A row is not one; the message names file and line.
    """
    for record in read_rows(path, _RUN):
        yield _row(path, record.line, record.cells)


def _row(path: Path, number: int, cells: Mapping[str, str]) -> Run:
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
    return Run(
        place=f"{path.name}:{number}",
        trace=cells["trace"],
        warmup=warmup,
        length=length,
        design=design,
        counters=counters,
        seconds=seconds,
    )


def compare_row(row: Run, trace: InstructionTrace) -> list[str]:
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


def compare_designs(folder: Path, name: str, rows: list[Run]) -> list[Agreement]:
    """Return how metrics of the rows that are designs agree, as a search gets them.

    Cycles, and misses and mispredictions for each thousand instructions, follow from counters
    that ChampSim prints.
    """
    searched: dict[tuple[str, str, int, int], list[tuple[Run, npt.NDArray[np.int64]]]] = (
        defaultdict(list)
    )
    for row in rows:
        for space in SPACES:
            indices = _indices(space, row)
            if indices is not None:
                searched[space, row.trace, row.warmup, row.length].append((row, indices))
                break
    differences = Differences("designs", name, 1e-12)
    for (space, trace, warmup, length), found in searched.items():
        simulator = CpuSimulator(space, instructions=warmup + length, warmup=warmup)
        workload = simulator.workload(_trace_path(folder, trace))
        with no_reports():
            values = metrics_of(simulator, workload, np.array([indices for _, indices in found]))
        for place, (row, _) in enumerate(found):
            for quantity, expected in _expected(row).items():
                ours = float(values[quantity][place])
                differences.number(int(row.place.rpartition(":")[2]), quantity, ours, expected)
    return differences.lines


@cache
def _settings(space: str) -> dict[str, list[tuple[Value, dict[str, int]]]]:
    """Return what each value of a parameter sets in the machine, where other values set others."""
    made = design_space(space)
    default = dict(made.design_at(made.default_indices))
    found = {}
    for parameter in made.parameters:
        values = [parameter.value(index) for index in range(parameter.size)]
        built = [machine_of(space, {**default, parameter.name: value}) for value in values]
        own = {key for each in built for key in each if each[key] != built[0][key]}
        found[parameter.name] = [
            (value, {key: each[key] for key in own})
            for value, each in zip(values, built, strict=True)
        ]
    return found


def _indices(space: str, row: Run) -> npt.NDArray[np.int64] | None:
    """Return a row's machine as a design of a space, or None if no design is this machine."""
    if row.warmup + row.length < MIN_RECORDS:
        return None
    wanted = machine(row.design)
    design: dict[str, Value] = {}
    for name, settings in _settings(space).items():
        fitting = [
            value for value, sets in settings if all(wanted[key] == n for key, n in sets.items())
        ]
        if not fitting:
            return None
        design[name] = fitting[0]
    if machine_of(space, design) != wanted:
        return None
    indices: npt.NDArray[np.int64] = design_space(space).indices_of(design)
    return indices


def _expected(row: Run) -> dict[str, float]:
    counts, kilo = row.counters, row.counters["instructions"] / 1000.0
    found: dict[str, float] = {"total_cycles": counts["cycles"]}
    found["branch_mpki"] = sum(n for name, n in counts.items() if name.startswith("mp_")) / kilo
    for level in ("l1i", "l1d", "llc"):
        misses = [counts.get(f"{level.upper()}_{kind}_miss", 0) for kind in _DEMAND]
        found[f"{level}_mpki"] = sum(misses) / kilo
    return found


def _results(folder: Path, name: str, rows: list[Run]) -> Agreement:
    problems = []
    for row in rows:
        different = compare_row(row, _trace(folder, row.trace))
        if different:
            problems.append(f"{row.place} ({row.trace}): {'; '.join(different[:3])}")
    n, note = len(rows), "; ".join(problems[:3])
    return Agreement("counters", name, "every counter", n, n - len(problems), note=note)


@lru_cache(maxsize=32)
def _trace(folder: Path, name: str) -> InstructionTrace:
    return read_trace(_trace_path(folder, name))


def _trace_path(folder: Path, name: str) -> Path:
    if not re.fullmatch(r"[\w.-]+", name):
        raise FileFormatError(folder, None, f"names a trace {name!r} that cannot be a file")
    for ending in (".champsimtrace.xz", ".champsimtrace.gz", ".champsimtrace"):
        path = folder / "traces" / f"{name}{ending}"
        if path.exists():
            return path
    raise FileFormatError(
        folder, None, f"must hold traces/{name}.champsimtrace.xz", "Copy the whole folder"
    )


def _folder(reference: Path) -> Path:
    folder = reference / "cpu" if (reference / "cpu").is_dir() else reference
    if not list((folder / "results").glob("*.csv")) and not (folder / NAME).is_dir():
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


def _scenario(folder: Path, scenario: Path) -> list[Agreement]:
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
    made = partial(Agreement, "events", scenario.name)
    is_met = not different and counters is not None
    line = made("every counter", n_rows=1, n_met=int(is_met), note="; ".join(different[:3]))
    expected = _events(scenario / "events.log.xz")
    ours = _comparable(events, expected)
    n = len(expected)
    equal = sum(a == b for a, b in zip(ours, expected, strict=False))
    # Events beyond those of the log are a difference, too.
    equal = equal if len(ours) == n else min(equal, n - 1)
    return [line, made("look-ups and fills of caches in order", n_rows=n, n_met=equal)]


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
