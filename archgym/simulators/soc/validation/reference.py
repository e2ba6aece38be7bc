"""The model against recorded results of FARSI: rows, logs of phases, and a whole table."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, Final, final

import numpy as np

from archgym.errors import FileFormatError, InvalidArgumentError, InvalidDesignError
from archgym.simulators.soc.blocks import cacti, read_cacti, tree_links
from archgym.simulators.soc.graph import BURST_BYTES, TaskGraph
from archgym.simulators.soc.metrics import COLUMNS, is_met, measure
from archgym.simulators.soc.space import soc_space
from archgym.simulators.soc.state import (
    CLOCK_HZ,
    KINDS,
    MAX_BLOCKS,
    OUTPUTS,
    OWN,
    Designs,
    Floats,
    GraphArrays,
    Log,
    Rules,
    empty_log,
    output_count,
    scratch,
)
from archgym.simulators.soc.workloads import load_graph, read_graph

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
        if (number - 1) % stride == 0:
            with _reading(path, number):
                _compare_row(found, number, row, *_run(row, library))
    return found.lines


@contextmanager
def _reading(path: Path, line: int | None = None) -> Iterator[None]:
    """Turn errors of wrong content into one that names the file and the line."""
    try:
        yield
    except FileFormatError:
        raise
    except json.JSONDecodeError as error:
        raise FileFormatError(path, error.lineno, f"must be JSON; {error.msg}", _RESTORE) from None
    except KeyError as error:
        what = f"a row must have {error.args[0]!r}; it has not"
        raise FileFormatError(path, line, what, _RESTORE) from None
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        raise FileFormatError(path, line, str(error).rstrip("."), _RESTORE) from None


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


def _designs(data: Mapping[str, Any], graph: TaskGraph) -> Designs:
    """Return a recorded system, one alone, as the kernel reads it.

    Raises:
      InvalidDesignError: Its numbers do not fit together.
    """
    buses, memories, processors = (data[key] for key in ("buses", "memories", "processors"))
    units, on, memory = (data[key] for key in ("accelerators", "task_pe", "task_mem"))
    n_b, n_m, n_p, n = len(buses), len(memories), len(processors), len(graph.tasks)
    own = [units.get(name) for name in graph.names]
    hung = [*processors, *(u[2] for u in units.values()), *(m[3] for m in memories)]
    speeds = [x for block in (*buses, *units.values()) for x in block[:2]]
    speeds += [x for m in memories for x in m[1:3]]
    can = [u is not None and task.accelerator for u, task in zip(own, graph.tasks, strict=True)]
    writes = [m for t, m in enumerate(memory) if t != graph.sink]
    parents = [bus[2] for bus in buses]
    rules = {
        f"a bus and a memory, at most {MAX_BLOCKS} of both": n_b * n_m > 0
        and n_b + n_m <= MAX_BLOCKS,
        "buses on buses with smaller numbers": parents[:1] == [-1]
        and all(_is_in(p, b) for b, p in enumerate(parents[1:], start=1)),
        f"blocks on buses 0 to {n_b - 1}": all(_is_in(b, n_b) for b in hung),
        "finite widths, clocks and unroll factors above 0": all(0 < x < np.inf for x in speeds),
        f"memories of {' or '.join(KINDS)}": all(m[0] in KINDS for m in memories),
        "accelerators of tasks": set(units) <= set(graph.names),
        f"places for all {n} tasks": len(on) == n == len(memory),
        f"tasks on processors 0 to {n_p - 1} or accelerators of their own": all(
            can[t] if p == OWN else _is_in(p, n_p) for t, p in enumerate(on[:n])
        ),
        f"outputs in memories 0 to {n_m - 1}": all(_is_in(m, n_m) for m in writes),
    }
    for rule, holds in rules.items():
        if not holds:
            raise InvalidDesignError(f"A system must have {rule}.")

    def row(values: list[Any], kind: type = np.int64) -> Any:
        return np.array([values], dtype=kind)

    own = [unit or (1.0, 1.0, 0) for unit in own]
    return Designs(
        links=tree_links(row([max(p, 0) for p in parents])),
        bus_peak=row([CLOCK_HZ * clock * width for width, clock, _ in buses], np.float64),
        memory_kind=row([KINDS.index(kind) for kind, *_ in memories]),
        memory_peak=row([CLOCK_HZ * clock * width for _, width, clock, _ in memories], np.float64),
        memory_bus=row([bus for *_, bus in memories]),
        processor_bus=row(processors),
        on=row(on),
        task_bus=row([bus for *_, bus in own]),
        task_memory=row([0 if t == graph.sink else m for t, m in enumerate(memory)]),
        unroll=row([unroll for unroll, *_ in own], np.float64),
        clock=row([clock for _, clock, _ in own], np.float64),
    )


def _is_in(number: Any, n: int) -> bool:
    return type(number) is int and 0 <= number < n


def _run(row: Mapping[str, Any], library: _Library) -> tuple[TaskGraph, Floats, Log]:
    """Return the graph of a row, and outputs and phases of its system."""
    from archgym.simulators.soc.kernel import simulate

    graph = library.graph(row["workload"])
    designs = _designs(row["design"], graph)
    burst = row.get("burst_bytes", BURST_BYTES)
    sharing = row.get("sharing", "queue")
    order = row.get("order", "table")
    if type(burst) is not int or burst < 1 or sharing not in _SHARED:
        raise InvalidArgumentError(
            f"`burst_bytes` must be 1 or more and `sharing` queue or shared; got {burst!r} and "
            f"{sharing!r}"
        )
    arrays = library.arrays(row["workload"], burst)
    n_tasks, n_memories = len(graph.tasks), designs.memory_peak.shape[1]
    if order != "table":
        if not isinstance(order, list) or sorted(order) != list(range(n_tasks)):
            raise InvalidArgumentError(
                f"`order` must be the numbers 0 to {n_tasks - 1} in some order."
            )
        arrays = arrays._replace(order=np.array(order, dtype=np.int64))
    log = empty_log(n_tasks, n_memories)
    outputs = np.empty((1, output_count(arrays)))
    work = scratch(n_tasks, len(designs.bus_peak[0]), n_memories, len(designs.processor_bus[0]))
    rules = Rules(shared=_SHARED[sharing])
    simulate(arrays, designs, library.cacti, rules, work, log, outputs)
    return graph, outputs, log


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
    by_kind = {kind: values[f"{kind}_area_m2"] for kind in _KINDS}
    values["area_m2"] = sum(by_kind.values())
    values["farsi_distance"] = float(measure(graph, outputs)[0, COLUMNS.index("farsi_distance")])
    found.numbers(number, "latency_s", latency, row["latency_s"])
    for quantity in ("energy_j", "power_w", "cost", "area_m2", "farsi_distance"):
        if quantity in row or quantity != "farsi_distance":
            found.number(number, quantity, values[quantity], row[quantity])
    if "area_by_kind_m2" in row:
        found.numbers(number, "area_by_kind_m2", by_kind, row["area_by_kind_m2"])
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
    with _reading(path):
        data = json.loads(path.read_text("utf-8"))
        graph, outputs, log = _run(data, library)
        _compare_units(found, data, graph, library.arrays(data["workload"], BURST_BYTES))
        tasks = [data["tasks"][name] for name in graph.names]
        columns = {"start_s": "start_s", "end_s": "end_s", "task_energy_j": "energy_j"}
        row = {key: [task[name] for task in tasks] for key, name in columns.items()}
        whole = {**data, **row, "phases": len(data["phases"])}
        _compare_row(found, 1, whole, graph, outputs, log)
        _compare_phases(found, data["phases"], graph, log)
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
    found: _Worst, phases: list[Mapping[str, Any]], graph: TaskGraph, log: Log
) -> None:
    latency = float(log.length_s.sum())
    for number, phase in enumerate(phases[: len(log.length_s)]):
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
    with _reading(path):
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
    return found.lines


def _table(
    name: str, graph: TaskGraph, library: _Library
) -> tuple[Floats, list[Mapping[str, Any]] | Any]:
    """Return metrics of all designs of the table space, and the space's designs by number."""
    from archgym.simulators.soc.kernel import simulate

    made = soc_space("table", graph)
    arrays = library.arrays(name, BURST_BYTES)
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
