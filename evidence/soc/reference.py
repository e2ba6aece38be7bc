"""The model against recorded results of FARSI: rows, logs of phases, and a whole table."""

from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from archgym.errors import FileFormatError, InvalidArgumentError, InvalidDesignError
from archgym.evaluation.simulator import default_workload
from archgym.simulators.soc.graph import BURST_BYTES, CLOCK_HZ, Floats, Ints, TaskGraph
from archgym.simulators.soc.kernel.state import (
    MAX_BLOCKS,
    OUTPUTS,
    OWN,
    Designs,
    Log,
    Rules,
    empty_log,
)
from archgym.simulators.soc.machine import KINDS, cacti, read_cacti, tree_links
from archgym.simulators.soc.metrics import COLUMNS, is_met, measure, workload_metric
from archgym.simulators.soc.simulator import SocSimulator, run
from archgym.simulators.soc.workloads import load_graph, read_graph
from evidence.agreement import Agreement, Differences, validation_of
from evidence.recorded import json_lines, read_json, reading
from evidence.validation import Group, Progress, Validation, chosen, metrics_of

TOLERANCE: Final = 1e-9
"""Largest relative difference of any number that still agrees."""
GOLDEN: Final = "golden"
DESIGNS, TABLE, STEPS = "designs", "table", "steps"
GROUPS: Final = (
    Group(DESIGNS, "recorded designs of FARSI under its own rules, in the space farsi"),
    Group(TABLE, "all designs of the space table, by counts, sums and optima"),
    Group(
        STEPS,
        "recorded systems of FARSI with times of tasks, bytes of memories and logs of phases",
        "a task's metrics have no times of single tasks and no phases, and no option sets another "
        "order of launches or another sharing of memories",
    ),
)
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
_METRICS: Final = {
    "energy_j": "energy_j",
    "power_w": "power_w",
    "cost": "development_cost",
    "area_m2": "area_mm2",
    "farsi_distance": "farsi_distance",
    "phases": "phases",
}
_M2_PER_MM2: Final = 1e-6
_CHUNK: Final = 2**14


def validate(
    reference: Path | None = None,
    progress: Progress | None = None,
    *,
    group: str | None = None,
    stride: int = 1,
) -> Validation[Agreement]:
    """Run the recorded designs and compare.

    Args:
      reference: A folder with `results/*.jsonl.gz`, or one that holds it as `soc`; it may also
        hold `data/workloads/*.json`, `data/cacti.csv`, `debug/*.json` and `results/*_table.json`.
        None for only the rows that ship.
      progress: Receives the name of the file that is compared next.
      group: Group to compare; all by default.
      stride: Compare every so many rows.

    Raises:
      FileFormatError: A file is not as it must be; the error names the line.
      UnknownNameError: There is no such group.
    """
    wanted = chosen(GROUPS, group)
    announce = progress if progress is not None else lambda _: None
    announce(GOLDEN)
    golden = resources.files("evidence.soc").joinpath("data/golden.jsonl.gz")
    with resources.as_file(golden) as path:
        lines = _compare_rows(path, _Library(None), 1, GOLDEN, wanted)
    if reference is not None:
        folder = reference / "soc" if (reference / "soc").is_dir() else reference
        library = _Library(folder)
        paths = [
            *sorted((folder / "results").glob("*.jsonl*")),
            *sorted((folder / "debug").glob("*.json")),
            *sorted((folder / "results").glob("*_table.json")),
        ]
        if not paths:
            raise FileFormatError(
                reference,
                None,
                "holds no results/*.jsonl.gz, results/*_table.json or debug/*.json",
                "Name the folder of recorded results",
            )
        for path in paths:
            announce(path.name)
            if ".jsonl" in path.name:
                name = path.name.partition(".jsonl")[0]
                lines += _compare_rows(path, library, stride, name, wanted)
            elif path.parent.name == "debug":
                lines += _compare_log(path, library) if STEPS in wanted else []
            elif TABLE in wanted:
                lines += _compare_table(path, library)
    return validation_of(lines, GROUPS)


@final
class _Library:
    """Graphs and memories of a folder, or those that ship."""

    def __init__(self, folder: Path | None) -> None:
        found = sorted((folder / "data" / "workloads").glob("*.json")) if folder else []
        self._graphs = {path.stem: path for path in found}
        table = folder / "data" / "cacti.csv" if folder else None
        self.cacti = read_cacti(table) if table is not None and table.is_file() else cacti()

    @cache  # noqa: B019 - a library lives as long as its validation
    def graph(self, name: str) -> TaskGraph:
        """Return the graph with this name."""
        return read_graph(self._graphs[name]) if name in self._graphs else load_graph(name)

    @cache  # noqa: B019 - a library lives as long as its validation
    def simulator(self, name: str, space: str) -> SocSimulator:
        """Return the simulator that a search of this graph has, under FARSI's own rules."""
        return SocSimulator(space, "farsi", str(self._graphs.get(name, name)))


# ---- rows


def _compare_rows(
    path: Path, library: _Library, stride: int, name: str, wanted: frozenset[str]
) -> list[Agreement]:
    steps, designs = Differences(STEPS, name, TOLERANCE), Differences(DESIGNS, name, TOLERANCE)
    searched: dict[str, list[tuple[int, Mapping[str, Any], Ints]]] = {}
    for number, row in json_lines(path):
        if (number - 1) % stride == 0:
            with reading(path, number):
                if STEPS in wanted:
                    _compare_row(steps, number, row, *_run(row, library))
                if DESIGNS in wanted and _has_own_rules(row):
                    simulator = library.simulator(row["workload"], "farsi")
                    indices = _indices(row["design"], simulator)
                    searched.setdefault(row["workload"], []).append((number, row, indices))
    for workload, rows in searched.items():
        _compare_designs(designs, library.simulator(workload, "farsi"), rows)
    return [*designs.lines, *steps.lines]


def _has_own_rules(row: Mapping[str, Any]) -> bool:
    """Return True if a row has the order, sharing and bursts of every design."""
    rules = (row.get("order", "table"), row.get("sharing", "queue"))
    return rules == ("table", "queue") and row.get("burst_bytes", BURST_BYTES) == BURST_BYTES


def _indices(data: Mapping[str, Any], simulator: SocSimulator) -> Ints:
    """Return a recorded system as a design of the space `farsi`.

    Raises:
      InvalidDesignError: The space does not offer it.
    """
    design: dict[str, Any] = {}
    for b, (width, clock, parent) in enumerate(data["buses"]):
        design |= {f"bus{b}_width": width, f"bus{b}_clock": clock, f"bus{b}_parent": parent}
    for m, block in enumerate(data["memories"]):
        fields = ("kind", "width", "clock", "bus")
        design |= {f"memory{m}_{field}": x for field, x in zip(fields, block, strict=True)}
    design |= {f"processor{p}_bus": bus for p, bus in enumerate(data["processors"])}
    places = zip(simulator.graph.names, data["task_pe"], data["task_mem"], strict=True)
    for name, unit, memory in places:
        design |= {f"{name}_on": "own" if unit == OWN else f"p{unit}", f"{name}_memory": memory}
        if unit == OWN:
            unroll, clock, bus = data["accelerators"][name]
            design |= {f"{name}_unroll": unroll, f"{name}_clock": clock, f"{name}_bus": bus}
    space = simulator.space
    default = space.design_at(space.default_indices)
    indices: Ints = space.indices_of({name: design.get(name, default[name]) for name in default})
    return indices


def _compare_designs(
    found: Differences,
    simulator: SocSimulator,
    rows: list[tuple[int, Mapping[str, Any], Ints]],
) -> None:
    """Compare the metrics of designs, as a search gets them, with recorded ones."""
    workload = simulator.workload(default_workload(simulator))
    values = metrics_of(simulator, workload, np.array([indices for _, _, indices in rows]))
    for place, (number, row, _) in enumerate(rows):
        ours = {name: float(column[place]) for name, column in values.items()}
        found.number(number, "latency_s", ours["latency_s"], max(row["latency_s"].values()))
        if len(row["latency_s"]) > 1:
            ends = {name: ours[workload_metric(name)] for name in row["latency_s"]}
            found.numbers(number, "latency_s of workloads", ends, row["latency_s"])
        for quantity, name in _METRICS.items():
            if quantity in row:
                factor = _M2_PER_MM2 if quantity.endswith("_m2") else 1.0
                found.number(number, quantity, ours[name] * factor, row[quantity])
        if "area_by_kind_m2" in row:
            areas = {kind: ours[f"{kind}_area_mm2"] * _M2_PER_MM2 for kind in _KINDS}
            found.numbers(number, "area_by_kind_m2", areas, row["area_by_kind_m2"])


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
    n_tasks = len(graph.tasks)
    if order == "table":
        order = None
    elif not isinstance(order, list) or sorted(order) != list(range(n_tasks)):
        raise InvalidArgumentError(f"`order` must be the numbers 0 to {n_tasks - 1} in some order.")
    log = empty_log(n_tasks, designs.memory_peak.shape[1])
    outputs = run(
        graph,
        designs,
        Rules(shared=_SHARED[sharing]),
        burst_bytes=burst,
        order=order,
        log=log,
        table=library.cacti,
    )
    return graph, outputs, log


def _compare_row(
    found: Differences,
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


# ---- phase logs


def _compare_log(path: Path, library: _Library) -> list[Agreement]:
    found = Differences(STEPS, path.stem, TOLERANCE)
    with reading(path):
        data = read_json(path)
        graph, outputs, log = _run(data, library)
        arrays, names = graph.arrays(), graph.names
        units = {tuple(entry["edge"]): entry for entry in data["units"]}
        for e, edge in enumerate(graph.edges):
            recorded = units[names[edge.parent], names[edge.child]]
            came = [arrays.write_unit[e], arrays.read_unit[e]]
            found.equal(1, "work_units", came, [recorded["u_write"], recorded["u_read"]])
        tasks = [data["tasks"][name] for name in graph.names]
        columns = {"start_s": "start_s", "end_s": "end_s", "task_energy_j": "energy_j"}
        row = {key: [task[name] for task in tasks] for key, name in columns.items()}
        whole = {**data, **row, "phases": len(data["phases"])}
        _compare_row(found, 1, whole, graph, outputs, log)
        _compare_phases(found, data["phases"], graph, log)
    return found.lines


def _compare_phases(
    found: Differences, phases: list[Mapping[str, Any]], graph: TaskGraph, log: Log
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
    found = Differences(TABLE, path.stem, TOLERANCE)
    with reading(path):
        data = read_json(path)
        simulator = library.simulator(name, "table")
        graph = simulator.graph
        values, designs = _table(simulator)
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


def _table(simulator: SocSimulator) -> tuple[Floats, Callable[[int], Mapping[str, Any]]]:
    """Return metrics of all designs of the table space, and the space's designs by number."""
    space, workload = simulator.space, simulator.workload(default_workload(simulator))
    kept = [part for part in space.enumerate(chunk=_CHUNK, canonical=True) if len(part)]
    parts = [np.stack([*metrics_of(simulator, workload, part).values()], axis=1) for part in kept]
    indices = np.concatenate(kept)

    def design(number: int) -> Mapping[str, Any]:
        return space.design_at(indices[number])

    return np.concatenate(parts), design


def _compare_optimum(
    found: Differences,
    quantity: str,
    recorded: Mapping[str, Any],
    table: tuple[Any, ...],
    graph: Any,
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
