"""The model against recorded results of FARSI: rows, logs of phases, and a whole table."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, Final, final

import numpy as np

from archgym.errors import FileFormatError, InvalidArgumentError, InvalidDesignError
from archgym.simulators.soc.blocks import Bus, Memory, Soc, Unit, cacti, designs_of, read_cacti
from archgym.simulators.soc.graph import TaskGraph
from archgym.simulators.soc.metrics import COLUMNS, is_met, measure
from archgym.simulators.soc.space import soc_space
from archgym.simulators.soc.state import (
    OUTPUTS,
    Floats,
    GraphArrays,
    Log,
    Rules,
    empty_log,
    output_count,
    scratch,
)
from archgym.simulators.soc.workloads import check_order, load_graph, read_graph

__all__ = ["TOLERANCE", "Agreement", "Validation", "validate"]

TOLERANCE: Final = 1e-9
"""Largest relative difference of any number that still agrees."""
GOLDEN: Final = "golden"
_SHARED: Final = {"queue": 0, "shared": 1}
_KINDS: Final = ("sram", "dram", "processor", "accelerator")
# Sums over a whole table, which add rounding of hundreds of thousands of logarithms.
_LOG_COLUMNS: Final = {
    "latency_s": "latency_s",
    "power_w": "power_w",
    "energy_j": "energy_j",
    "area_no_dram_m2": "area_no_dram_mm2",
    "dram_area_m2": "dram_area_mm2",
    "cost": "development_cost",
}
_M2_PER_MM2: Final = 1e-6
_RESTORE: Final = "Copy the file again"
_CHUNK: Final = 2**14


@final
@dataclass(frozen=True)
class Agreement:
    """Agreement of one quantity with one file.

    Attributes:
      results: Name of the file without its ending.
      quantity: The quantity that is compared.
      rows: Numbers of rows that were compared.
      worst: Largest relative difference; of counts, how many rows differ.
      first: Line of the first row that differs by more than `TOLERANCE`; 0 where none does.
    """

    results: str
    quantity: str
    rows: int
    worst: float
    first: int

    @property
    def is_met(self) -> bool:
        """True where every row agrees."""
        return self.first == 0


@final
@dataclass(frozen=True)
class Validation:
    """Agreements, and the disagreements in words."""

    lines: tuple[Agreement, ...]
    problems: tuple[str, ...]

    columns: ClassVar[tuple[str, ...]] = ("results", "quantity", "rows", "worst_error", "met")

    @property
    def rows(self) -> tuple[tuple[str | int | float, ...], ...]:
        """The table's cells by `columns`."""
        return tuple(
            (line.results, line.quantity, line.rows, line.worst, "yes" if line.is_met else "no")
            for line in self.lines
        )


def validate(
    reference: Path | None = None,
    progress: Callable[[str], None] | None = None,
    *,
    stride: int = 1,
) -> Validation:
    """Run the recorded designs and compare.

    Args:
      reference: A folder with `results/*.jsonl.gz`, or one that holds it as `soc`; it may also
        hold `data/workloads/*.json`, `data/cacti.csv`, `debug/*.json` and `results/*_table.json`.
        None for only the rows that ship.
      progress: Receives the name of the file that is compared next.
      stride: Compare every so many rows.

    Raises:
      FileFormatError: A file is not as it must be; the error names the line.
    """
    library = _Library(None)
    lines: list[Agreement] = []

    def announce(text: str) -> None:
        if progress is not None:
            progress(text)

    data = resources.files("archgym.simulators.soc").joinpath("data/golden.jsonl.gz")
    if data.is_file():
        announce(GOLDEN)
        with resources.as_file(data) as path:
            lines += _compare_rows(path, library, 1, GOLDEN)
    if reference is not None:
        folder = reference / "soc" if (reference / "soc").is_dir() else reference
        library = _Library(folder)
        tables = sorted((folder / "results").glob("*_table.json"))
        rows = sorted((folder / "results").glob("*.jsonl*"))
        logs = sorted((folder / "debug").glob("*.json"))
        if not (rows or tables or logs):
            raise FileFormatError(
                reference,
                None,
                "holds no results/*.jsonl.gz, results/*_table.json or debug/*.json",
                "Name the folder of recorded results",
            )
        for path in rows:
            announce(path.name)
            lines += _compare_rows(path, library, stride, path.name.partition(".jsonl")[0])
        for path in logs:
            announce(path.name)
            lines += _compare_log(path, library)
        for path in tables:
            announce(path.name)
            lines += _compare_table(path, library)
    return Validation(tuple(lines), tuple(_problem(line) for line in lines if not line.is_met))


def _problem(line: Agreement) -> str:
    return (
        f"{line.results}: {line.quantity} must agree within {TOLERANCE:g}; it differs by "
        f"{line.worst:.3g} at worst, first in line {line.first}."
    )


@final
class _Library:
    """Graphs and memories of a folder, or those that ship."""

    def __init__(self, folder: Path | None) -> None:
        self._graphs: dict[str, Path] = {}
        self.cacti = cacti()
        if folder is not None:
            for path in sorted((folder / "data" / "workloads").glob("*.json")):
                self._graphs[path.stem] = path
            if (folder / "data" / "cacti.csv").is_file():
                self.cacti = read_cacti(folder / "data" / "cacti.csv")
        self._read: dict[str, TaskGraph] = {}
        self._arrays: dict[tuple[str, int], GraphArrays] = {}

    def graph(self, name: str) -> TaskGraph:
        """Return the graph with this name."""
        if name not in self._read:
            path = self._graphs.get(name)
            self._read[name] = load_graph(name) if path is None else read_graph(path)
        return self._read[name]

    def arrays(self, name: str, burst_bytes: int) -> GraphArrays:
        """Return the graph as the kernel reads it, in table order."""
        key = (name, burst_bytes)
        if key not in self._arrays:
            self._arrays[key] = self.graph(name).arrays(burst_bytes)
        return self._arrays[key]


# ---- rows


def _compare_rows(path: Path, library: _Library, stride: int, name: str) -> list[Agreement]:
    found = _Worst(name)
    for number, row in _rows(path):
        if (number - 1) % stride:
            continue
        try:
            graph = library.graph(row["workload"])
            design = _soc(row["design"], graph)
            outputs, log = _run(row, graph, library, design)
            _compare_row(found, number, row, graph, outputs, log)
        except (KeyError, TypeError, ValueError, AttributeError, LookupError) as error:
            raise FileFormatError(path, number, _words(error), _RESTORE) from None
    return found.lines


def _words(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"a row must have {error.args[0]!r}; it has not"
    return str(error).rstrip(".")


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    number = 0
    is_packed = path.suffix == ".gz"
    try:
        with gzip.open(path, "rb") if is_packed else path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise FileFormatError(path, number, "a row must be a JSON object", _RESTORE)
                yield number, row
    except json.JSONDecodeError as error:
        raise FileFormatError(path, number, f"a row must be JSON; {error.msg}", _RESTORE) from None
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise FileFormatError(path, None, f"cannot be read: {error}", _RESTORE) from None


def _soc(data: Mapping[str, Any], graph: TaskGraph) -> Soc:
    place = {name: t for t, name in enumerate(graph.names)}
    unknown = sorted(set(data["accelerators"]) - set(place))
    if unknown:
        raise InvalidDesignError(f"an accelerator must be of a task; got {unknown[0]!r}")
    system = Soc(
        buses=tuple(Bus(*bus) for bus in data["buses"]),
        memories=tuple(Memory(*memory) for memory in data["memories"]),
        processors=tuple(data["processors"]),
        accelerators={place[name]: Unit(*unit) for name, unit in data["accelerators"].items()},
        on=tuple(data["task_pe"]),
        memory=tuple(data["task_mem"]),
    )
    system.check(graph)
    return system


def _run(
    row: Mapping[str, Any], graph: TaskGraph, library: _Library, system: Soc
) -> tuple[Floats, Log]:
    from archgym.simulators.soc.kernel import simulate

    burst = row.get("burst_bytes", 1024)
    sharing = row.get("sharing", "queue")
    order = row.get("order", "table")
    if type(burst) is not int or burst < 1 or sharing not in _SHARED:
        raise InvalidArgumentError(
            f"`burst_bytes` must be 1 or more and `sharing` queue or shared; got {burst!r} and "
            f"{sharing!r}"
        )
    arrays = library.arrays(row["workload"], burst)
    n_tasks = len(graph.tasks)
    if order != "table":
        checked = check_order(order, n_tasks)
        arrays = arrays._replace(order=np.array(checked, dtype=np.int64))
    designs = designs_of(graph, [system])
    n_memories = len(system.memories)
    log = empty_log(n_tasks, n_memories)
    outputs = np.empty((1, output_count(arrays)))
    work = scratch(n_tasks, len(system.buses), n_memories, len(system.processors))
    rules = Rules(shared=_SHARED[sharing])
    simulate(arrays, designs, library.cacti, rules, work, log, outputs)
    return outputs, log


def _compare_row(
    found: "_Worst",
    number: int,
    row: Mapping[str, Any],
    graph: TaskGraph,
    outputs: Floats,
    log: Log,
) -> None:
    values = dict(zip(OUTPUTS, outputs[0].tolist(), strict=False))
    latency = dict(zip(graph.last_tasks, outputs[0, len(OUTPUTS) :].tolist(), strict=True))
    areas = [values[f"{kind}_area_m2"] for kind in _KINDS]
    found.numbers(number, "latency_s", latency, row["latency_s"])
    for quantity in ("energy_j", "power_w", "cost"):
        found.number(number, quantity, values[quantity], row[quantity])
    found.number(number, "area_m2", sum(areas), row["area_m2"])
    if "area_by_kind_m2" in row:
        by_kind = dict(zip(_KINDS, areas, strict=True))
        found.numbers(number, "area_by_kind_m2", by_kind, row["area_by_kind_m2"])
    if "farsi_distance" in row:
        distance = measure(graph, outputs)[0, COLUMNS.index("farsi_distance")]
        found.number(number, "farsi_distance", float(distance), row["farsi_distance"])
    found.equal(number, "phases", [int(values["phases"])], [row["phases"]])
    found.equal(number, "memory_bytes", log.memory_bytes.tolist(), row["memory_bytes"])
    for column, quantity in enumerate(("start_s", "end_s", "task_energy_j")):
        if quantity in row:
            computed = dict(enumerate(log.task[:, column].tolist()))
            found.numbers(number, quantity, computed, dict(enumerate(row[quantity])))


@final
class _Worst:
    """Worst differences of one file, by quantity."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._found: dict[str, list[float]] = {}

    def number(self, line: int, quantity: str, came: float, wanted: float) -> None:
        """Compare one number."""
        self.numbers(line, quantity, {"": came}, {"": wanted})

    def numbers(
        self, line: int, quantity: str, came: Mapping[Any, float], wanted: Mapping[Any, float]
    ) -> None:
        """Compare numbers of the same names; a difference from 0 counts in full."""
        if came.keys() != wanted.keys():
            raise InvalidArgumentError(
                f"`{quantity}` must have the entries {', '.join(map(str, came))}; got "
                f"{', '.join(map(str, wanted))}"
            )
        worst = 0.0
        for name, value in came.items():
            size = abs(wanted[name])
            difference = abs(value - wanted[name]) / (size if size > 0.0 else 1.0)
            worst = difference if not difference <= worst else worst
        entry = self._found.setdefault(quantity, [0, 0.0, 0])
        entry[0] += 1
        entry[1] = max(entry[1], worst)
        if not worst <= TOLERANCE and not entry[2]:
            entry[2] = line

    def equal(self, line: int, quantity: str, came: list[Any], wanted: list[Any]) -> None:
        """Compare whole numbers, which must be equal; the difference is the number of rows."""
        entry = self._found.setdefault(quantity, [0, 0.0, 0])
        entry[0] += 1
        if came != wanted:
            entry[1] += 1.0
            entry[2] = entry[2] or line

    @property
    def lines(self) -> list[Agreement]:
        """One agreement a quantity."""
        return [
            Agreement(self._name, quantity, int(n), worst, int(first))
            for quantity, (n, worst, first) in self._found.items()
        ]


# ---- phase logs


def _compare_log(path: Path, library: _Library) -> list[Agreement]:
    found = _Worst(path.stem)
    try:
        data = json.loads(path.read_text("utf-8"))
        graph = library.graph(data["workload"])
        system = _soc(data["design"], graph)
        outputs, log = _run(data, graph, library, system)
        _compare_units(found, data, graph, library.arrays(data["workload"], 1024))
        latency = dict(zip(graph.last_tasks, outputs[0, len(OUTPUTS) :].tolist(), strict=True))
        values = dict(zip(OUTPUTS, outputs[0].tolist(), strict=False))
        found.numbers(1, "latency_s", latency, data["latency_s"])
        for quantity in ("energy_j", "power_w", "cost"):
            found.number(1, quantity, values[quantity], data[quantity])
        found.number(
            1, "area_m2", sum(values[f"{kind}_area_m2"] for kind in _KINDS), data["area_m2"]
        )
        found.equal(1, "memory_bytes", log.memory_bytes.tolist(), data["memory_bytes"])
        tasks = data["tasks"]
        for column, quantity in enumerate(("start_s", "end_s", "energy_j")):
            computed = dict(zip(graph.names, log.task[:, column].tolist(), strict=True))
            recorded = {name: task[quantity] for name, task in tasks.items()}
            found.numbers(1, f"task_{quantity}", computed, recorded)
        _compare_phases(found, data["phases"], graph, log, int(values["phases"]))
    except json.JSONDecodeError as error:
        raise FileFormatError(path, error.lineno, f"must be JSON; {error.msg}", _RESTORE) from None
    except (KeyError, TypeError, ValueError, AttributeError, LookupError) as error:
        raise FileFormatError(path, None, _words(error), _RESTORE) from None
    return found.lines


def _compare_units(
    found: _Worst, data: Mapping[str, Any], graph: TaskGraph, arrays: GraphArrays
) -> None:
    names = graph.names
    units = {tuple(entry["edge"]): entry for entry in data["units"]}
    for e, edge in enumerate(graph.edges):
        recorded = units[names[edge.parent], names[edge.child]]
        came = [arrays.write_unit[e], arrays.read_unit[e]]
        found.equal(1, "work_units", came, [recorded["u_write"], recorded["u_read"]])


def _compare_phases(
    found: _Worst, phases: list[Mapping[str, Any]], graph: TaskGraph, log: Log, n: int
) -> None:
    found.equal(1, "phases", [n], [len(phases)])
    latency = float(log.length_s.sum())
    for number, phase in enumerate(phases[:n]):
        length = float(log.length_s[number])
        # Lengths are differences of clocks, so they carry the rounding of the whole time.
        recorded = phase["length_s"]
        off = abs(length - recorded) / max(latency, 1e-300)
        found.number(1, "phase_length_s", length if off > TOLERANCE else recorded, recorded)
        found.number(1, "phase_energy_j", float(log.energy_j[number]), phase["energy_j"])
        running = {
            name: float(log.instructions[number, t])
            for t, name in enumerate(graph.names)
            if name in phase["instructions"]
        }
        found.numbers(1, "phase_instructions", running, phase["instructions"])
        others = [
            name
            for t, name in enumerate(graph.names)
            if log.instructions[number, t] > 0.0 and name not in phase["instructions"]
        ]
        found.equal(1, "phase_tasks", others, [])


# ---- the whole table


def _compare_table(path: Path, library: _Library) -> list[Agreement]:
    name = path.name.removesuffix("_table.json")
    found = _Worst(path.stem)
    try:
        data = json.loads(path.read_text("utf-8"))
        graph = library.graph(name)
        values, designs = _table(name, graph, library)
        column = {key: values[:, COLUMNS.index(ours)] for key, ours in _LOG_COLUMNS.items()}
        for key in ("area_no_dram_m2", "dram_area_m2"):
            column[key] = column[key] * _M2_PER_MM2
        within = {
            "": np.ones(len(values), dtype=bool),
            "_within_budgets": is_met(values, graph, graph.budgets),
            "_within_tight_budgets": is_met(values, graph, graph.tight_budgets),
        }
        for quantity, recorded in data.items():
            if quantity == "designs":
                found.equal(1, quantity, [len(values)], [recorded])
            elif quantity.startswith("meet_"):
                mask = within[f"_within_{quantity.removeprefix('meet_')}"]
                found.equal(1, quantity, [int(mask.sum())], [recorded])
            elif quantity == "sum_of_logs":
                sums = {key: float(np.log(column[key]).sum()) for key in recorded}
                found.numbers(1, quantity, sums, recorded)
            elif quantity.startswith("lowest_"):
                _compare_optimum(found, quantity, recorded, (column, within, designs), graph)
    except json.JSONDecodeError as error:
        raise FileFormatError(path, error.lineno, f"must be JSON; {error.msg}", _RESTORE) from None
    except (KeyError, TypeError, ValueError, AttributeError, LookupError) as error:
        raise FileFormatError(path, None, _words(error), _RESTORE) from None
    return found.lines


def _table(
    name: str, graph: TaskGraph, library: _Library
) -> tuple[Floats, list[Mapping[str, Any]] | Any]:
    """Return metrics of all designs of the table space, and the space's designs by number."""
    from archgym.simulators.soc.kernel import simulate

    made = soc_space("table", graph)
    arrays = library.arrays(name, 1024)
    work = scratch(len(graph.tasks), *made.sizes)
    parts, kept = [], []
    for indices in made.space.enumerate(chunk=_CHUNK, canonical=True):
        if len(indices):
            designs, _ = made.decode(indices)
            outputs = np.empty((len(indices), output_count(arrays)))
            simulate(arrays, designs, library.cacti, Rules(), work, empty_log(), outputs)
            parts.append(measure(graph, outputs))
            kept.append(indices)
    indices = np.concatenate(kept)

    def design(number: int) -> Mapping[str, Any]:
        return made.space.design_at(indices[number])

    return np.concatenate(parts), design


def _compare_optimum(
    found: _Worst, quantity: str, recorded: Mapping[str, Any], table: tuple[Any, ...], graph: Any
) -> None:
    column, within, designs = table
    key, suffix = quantity.removeprefix("lowest_"), ""
    for part in within:
        if part and key.endswith(part):
            key, suffix = key.removesuffix(part), part
    worth = column["energy_j"] * column["latency_s"] if key == "energy_x_latency" else column[key]
    number = int(np.argmin(np.where(within[suffix], worth, np.inf)))
    best = designs(number)
    came = [best["bus0_width"], best["memory0_kind"], best["memory0_width"]]
    wanted = [recorded["bus_width"], recorded["memory_kind"], recorded["memory_width"]]
    for name in recorded["tasks"]:
        came.append("processor" if best[f"{name}_on"] != "own" else best.get(f"{name}_unroll", 1))
        wanted.append(recorded["tasks"][name])
    found.equal(1, "optima", came, wanted)
    numbers = {key: float(column[key][number]) for key in _LOG_COLUMNS if key in recorded}
    found.numbers(1, "optima_metrics", numbers, {key: recorded[key] for key in numbers})
