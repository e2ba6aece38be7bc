"""The SoC simulator: systems of blocks that run a task graph."""

import json
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, Final, final

import numpy as np

from archgym.physics.economics import (
    NODES,
    ChipUse,
)
from archgym.physics.thermal import (
    ThermalWindow,
    hottest_c,
    worst_window,
)
from archgym.simulators.kit import (
    FEASIBLE,
    BatchResult,
    Bottleneck,
    Columns,
    Files,
    InvalidDesignError,
    KitSimulator,
    Laws,
    Option,
    P,
    SimulatorSpec,
    Workload,
    declared,
    require_kept,
    unknown_name,
)
from archgym.simulators.soc.bounds import FINISHED, SocBounds, laws_of
from archgym.simulators.soc.costs import COSTS, relieved
from archgym.simulators.soc.graph import BURST_BYTES, CLOCK_HZ, Floats, TaskGraph
from archgym.simulators.soc.kernel.state import (
    OUTPUTS,
    OWN,
    PROCESSOR_ENERGY,
    PROCESSOR_RATE,
    Designs,
    Log,
    Rules,
    empty_log,
    output_count,
    scratch,
)
from archgym.simulators.soc.machine import CLOCKS, KINDS, cacti
from archgym.simulators.soc.metrics import measure, metrics, objectives
from archgym.simulators.soc.space import REASONS, SPACE_NAMES, SocSpace, published_space, soc_space
from archgym.simulators.soc.traffic import traffic_files
from archgym.simulators.soc.workloads import SHIPPED, load_graph

FIDELITIES: Final[Mapping[str, Rules]] = {
    "default": Rules(exact_finish=True, fifo=True, exact_freeing=True, exact_power=True),
    "farsi": Rules(),
}
"""Rules of each fidelity."""
_DEFAULT_GRAPH: Final = SHIPPED[0]
_PUBLISHED: Final = "archgym-2023"
_require = partial(require_kept, "SoC")
_FORMAT: Final = 1
# chosen: no run is as thrifty, and nothing is divided by 0.
_LEAST_J: Final = 1e-30


@final
class SocSimulator(KitSimulator):
    """Domain-specific systems on a chip that run a task graph, as FARSI simulates them.

    A design is a system of processors, accelerators, buses and memories, with a place for each
    task and its output. The task graph belongs to the simulator, since its tasks are parameters.
    """

    spec = SimulatorSpec(
        name="soc",
        title="System on a chip",
        compared="equal to FARSI on 2,254 designs; not compared with silicon",
        version=0,
        # Measured with the benchmark's tasks; see archgym/bench/data/hardness.jsonl.
        evaluation_s=1e-5,
        space_names=SPACE_NAMES,
        fidelity_names=tuple(FIDELITIES),
        # Against FARSI's recorded results; `data/accuracy.json`.
        accuracy_percent={"farsi": 1e-7},
        table_space="table",
        costs=COSTS,
        partial_exports=("system", "traffic"),
        exports={
            "system": "Blocks and places of tasks as JSON.",
            "traffic": "Bursts between blocks as packets, a workload of `noc`.",
        },
        default_objective="budget",
    )

    @declared
    def __init__(
        self,
        space: str = "default",
        fidelity: str = "default",
        graph: Annotated[
            str,
            Option("Task graph, or several joined by `+`.", choices=SHIPPED, takes_file=True),
        ] = _DEFAULT_GRAPH,
        node: Annotated[
            str,
            Option("Technology node of SRAM alone, and of price and carbon.", choices=tuple(NODES)),
        ] = "",
        *,
        use: ChipUse,
        window: ThermalWindow,
    ) -> None:
        """Make the simulator of one space, fidelity and task graph.

        Args:
          space: One of `space_names`.
          fidelity: `farsi` keeps FARSI's deviations from its own model; `default` corrects them.
          graph: A task graph that ships, a file, or several joined with `+`.
          node: Node of SRAM, by arrays of `archgym.physics`, and of price and carbon of the area
            without DRAM. Processors and accelerators stay those of FARSI's library.
          dies: As its `Option` says; so do the others.

        Raises:
          UnknownNameError: There is no such space, fidelity or graph.
          FileFormatError: A file is not a task graph.
          InvalidArgumentError: An option is outside its limits, or needs a node.
        """
        self._memories_at = node
        self._rules = FIDELITIES[fidelity]
        self._graph_name = graph
        self.graph: TaskGraph = load_graph(graph)
        is_published = space == _PUBLISHED
        made = published_space(self.graph) if is_published else soc_space(space, self.graph)
        self._space: SocSpace = made
        self._window = window
        watts = P("mean_power_w")
        self.spec = self.spec.completed(
            space=made.space,
            metrics=(
                *metrics(self.graph),
                *window.metrics,
                *use.metrics(node, "area_no_dram_mm2", watts),
            ),
            model_reasons=REASONS if is_published else (),
            objectives=objectives(self.graph),
            groups=made.groups,
        )

    def workload_names(self) -> tuple[str, ...]:
        """Return the task graph that the simulator was made for."""
        return (self._graph_name,)

    def workload(self, name: str | Path) -> Workload:
        """Return the task graph as a workload.

        Raises:
          UnknownNameError: It is another one than the simulator's.
        """
        if str(name) != self._graph_name:
            known = unknown_name("workload", str(name), (self._graph_name,))
            if str(name) in SHIPPED or Path(name).is_file():
                raise type(known)(
                    f"Workload {str(name)!r} needs a simulator that is made for it, since its "
                    f"tasks are parameters. Give the option graph={name}."
                )
            raise known
        return Workload(self._graph_name, self.graph.digest, self.graph)

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results of designs that are known to be canonical and feasible in the space."""
        return self._simulate(indices, None)

    def simulate_without(self, cost: str, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results as `simulate` does, of a machine without one of `costs`."""
        return self._simulate(indices, cost)

    def _simulate(self, indices: np.ndarray, cost: str | None) -> BatchResult:
        designs, reason = self._space.machine_of(indices)
        values = np.full((len(indices), len(self.spec.simulated_metrics)), np.nan)
        built = reason == FEASIBLE
        if not built.all():
            columns: list[Any] = [column[built] for column in designs]
            designs = Designs(*columns)
        if built.any():
            outputs = run(self.graph, designs, self._rules, cost, table=self._memories)
            measured = measure(self.graph, outputs)
            values[built, : measured.shape[1]] = measured
            if self._window.window_us:
                values[built, measured.shape[1] :] = [
                    self._peaks(design, cost) for design in indices[built]
                ]
        return BatchResult(values, reason)

    def _peaks(self, indices: np.ndarray, cost: str | None) -> tuple[float, float]:
        """Return power and temperature of a design's worst window; see `hottest_c`.

        A memory's energy in a phase is its share of that of all memories. Temperatures are those at
        the ends of phases, within which powers are constant.
        """
        designs, _ = self._space.machine_of(indices[None, :])
        log = empty_log(len(self.graph.tasks), designs.memory_peak.shape[1])
        outputs = run(self.graph, designs, self._rules, cost, log=log, table=self._memories)
        found = dict(zip(OUTPUTS, outputs[0].tolist(), strict=False))
        is_own = designs.on[0] == OWN
        own = self.graph.arrays().accelerator_energy * designs.unroll[0]
        joules = log.instructions * np.where(is_own, own, PROCESSOR_ENERGY)
        parts = {"processor": joules[:, ~is_own].sum(axis=1)}
        parts["accelerator"] = joules[:, is_own].sum(axis=1)
        for kind, energy in parts.items():
            # An ideal machine may spend none.
            parts[kind] = energy * found[f"{kind}_energy_j"] / max(energy.sum(), _LEAST_J)
        moved = np.maximum(log.energy_j - parts["processor"] - parts["accelerator"], 0.0)
        for kind in KINDS:
            parts[kind] = moved * found[f"{kind}_energy_j"] / max(moved.sum(), _LEAST_J)
        areas = {kind: 1e6 * found[f"{kind}_area_m2"] for kind in parts} | {"dram": 0.0}
        lasting = log.length_s > 0
        seconds = log.length_s[lasting]
        watts = np.stack(list(parts.values()), axis=1)[lasting] / seconds[:, None]
        peak = worst_window(seconds, log.energy_j[lasting], 1e-6 * self._window.window_us)
        return 1e3 * peak, hottest_c(watts, seconds, areas, self._window.sink_k_per_w)

    def bounds(self, partial: np.ndarray, workload: Workload) -> np.ndarray:
        """Return metrics that no system with these choices betters; see `SocBounds`."""
        found = np.full((len(partial), len(self.metrics)), np.nan)
        if self.space.name != _PUBLISHED:
            known = self._bounds.metrics(partial)
            for column, spec in enumerate(self.metrics[: known.shape[1]]):
                if spec.goal != "none":
                    found[:, column] = known[:, column]
        return found

    @cached_property
    def _bounds(self) -> SocBounds:
        sizes = self._space.sizes
        return SocBounds(self.space, sizes, self.graph, self._rules, self._memories)

    @property
    def _memories(self) -> Floats:
        """Memories at the node, as `cacti` gives them."""
        return cacti(self._memories_at)

    def bottlenecks(self, indices: np.ndarray, workload: Workload) -> list[Bottleneck]:
        """Return what bounds a design, from its log of phases, and moves that relieve it."""
        if self.space.name == _PUBLISHED:
            return []
        from archgym.simulators.soc.bottlenecks import bottlenecks

        canonical = self.space.canonical(np.asarray(indices, dtype=np.int64)[None, :])[0]
        designs, log, _ = self.log(canonical)
        return bottlenecks(self.graph, self.space, canonical, designs, log, self._memories)

    def log(self, indices: np.ndarray) -> tuple[Designs, Log, np.ndarray]:
        """Return one design as blocks, its phases, and its metrics.

        Args:
          indices: (n_parameters,) of a system.
        """
        canonical = self.space.canonical(np.asarray(indices, dtype=np.int64)[None, :])
        designs, _ = self._space.machine_of(canonical)
        log = empty_log(len(self.graph.tasks), designs.memory_peak.shape[1])
        outputs = run(self.graph, designs, self._rules, log=log, table=self._memories)
        return designs, log, measure(self.graph, outputs)[0]

    def check(self, values: np.ndarray, workload: Workload) -> None:
        """Refuse results in which areas, energies or times do not add up.

        Raises:
          SimulatorError: Says which invariant, and by how much.
        """
        column = {spec.name: values[:, i] for i, spec in enumerate(self.metrics)}
        kinds = ("sram", "dram", "processor", "accelerator")
        area = np.sum([column[f"{kind}_area_mm2"] for kind in kinds], axis=0)
        _require("areas by kind add up to the total", area, column["area_mm2"])
        energy = np.sum([column[f"{kind}_energy_j"] for kind in kinds], axis=0)
        _require("energies by kind add up to the total", energy, column["energy_j"])
        tasks = float(len(self.graph.tasks))
        _require(
            "there are at most as many phases as tasks, and the first",
            column["phases"],
            np.minimum(column["phases"], tasks + 1.0),
        )

    def laws(self, indices: np.ndarray, column: Columns, workload: Workload) -> Laws:
        """Return laws of conservation for evaluated designs; see `Simulator.laws`."""
        designs, _ = self._space.machine_of(indices)
        # FARSI's own rules end a task with a hundredth of its work and data left.
        share = 1.0 if self._rules.exact_finish else FINISHED
        return laws_of(self.graph, designs, column, share)

    def export(self, form: str, indices: np.ndarray, workload: Workload) -> Files:
        """Return the blocks of a design and the places of its tasks, or its traffic."""
        canonical = self.space.canonical(np.asarray(indices, dtype=np.int64)[None, :])
        designs = self._space.machine_of(canonical)[0]
        return (traffic_files if form == "traffic" else system_files)(self.graph, designs)

    def file_settings(
        self, form: str, indices: np.ndarray, workload: Workload
    ) -> Mapping[str, Any]:
        """Return what `system.json` says of a design; see `Stating.file_settings`."""
        if form == "traffic":
            raise InvalidDesignError("Traffic is a workload, and states no design.")
        return _system(self.graph, self._space.machine_of(np.asarray(indices)[None, :])[0])

    def describe_workload(self, workload: Workload) -> Mapping[str, tuple[float | str, str]]:
        """Return numbers that characterise a task graph: name to (value, unit)."""
        graph = self.graph
        least = [task.work / PROCESSOR_RATE for task in graph.tasks]
        for t in graph.accelerated:
            ip = graph.tasks[t].accelerator
            if ip is not None:
                least[t] = min(least[t], ip.cycles / (CLOCKS[-1] * CLOCK_HZ) / ip.iterations)
        return {
            "tasks": (float(len(graph.tasks)), ""),
            "tasks_with_accelerator": (float(len(graph.accelerated)), ""),
            "edges": (float(len(graph.edges)), ""),
            "depth": (1.0 + max(graph.layers), "tasks"),
            "data": (sum(edge.bytes for edge in graph.edges), "bytes"),
            "work": (sum(task.work for task in graph.tasks), "instructions"),
            "latency_bound": (graph.longest_path(least), "s"),
            **({"source": (graph.source_text, "")} if graph.source_text else {}),
        }


def run(
    graph: TaskGraph,
    designs: Designs,
    rules: Rules,
    cost: str | None = None,
    *,
    burst_bytes: int = BURST_BYTES,
    order: list[int] | None = None,
    log: Log | None = None,
    table: Floats | None = None,
) -> np.ndarray:
    """Return the kernel's results, (n, n_outputs), of designs.

    Args:
      graph: The task graph.
      designs: Systems that fit it.
      rules: The machine's rules.
      cost: One of `COSTS` that the machine does not pay; None for a real one.
      burst_bytes: Burst size [byte].
      order: Order in which tasks that become ready at one time are launched.
      log: Filled with the last design's phases.
      table: Memories as `cacti` gives them; those that ship where None.
    """
    # Numba takes a while to import, which listing and describing should not wait for.
    from archgym.simulators.soc.kernel.phases import simulate

    arrays, memories, ruled = relieved(
        cost, graph.arrays(burst_bytes, order), cacti() if table is None else table, rules
    )
    tasks, n = len(graph.tasks), len(designs.on)
    sizes = [designs.bus_peak, designs.memory_peak, designs.processor_bus]
    outputs = np.empty((n, output_count(arrays)))
    work = scratch(tasks, *(array.shape[1] for array in sizes))
    simulate(arrays, designs, memories, ruled, work, empty_log() if log is None else log, outputs)
    return outputs


def system_files(graph: TaskGraph, designs: Designs) -> dict[str, str]:
    """Return the blocks of a system and the places of tasks as a file.

    Args:
      graph: The task graph.
      designs: A single design as the kernel reads it.
    """
    return {"system.json": json.dumps(_system(graph, designs), indent=2) + "\n"}


def _system(graph: TaskGraph, designs: Designs) -> dict[str, Any]:
    links, on = designs.links[0].tolist(), designs.on[0].tolist()
    buses = [
        {
            "name": f"bus{b}",
            "links": [f"bus{c}" for c in range(len(links)) if c != b and links[b] >> c & 1],
            "gb_per_s": designs.bus_peak[0, b] / 1e9,
        }
        for b in range(len(links))
    ]
    memories = [
        {
            "name": f"memory{m}",
            "kind": KINDS[designs.memory_kind[0, m]],
            "bus": f"bus{bus}",
            "gb_per_s": designs.memory_peak[0, m] / 1e9,
        }
        for m, bus in enumerate(designs.memory_bus[0].tolist())
    ]
    accelerators = [
        {
            "name": f"accelerator_{name}",
            "bus": f"bus{designs.task_bus[0, t]}",
            "unroll": float(designs.unroll[0, t]),
            "clock_mhz": float(designs.clock[0, t]) * CLOCK_HZ / 1e6,
        }
        for t, name in enumerate(graph.names)
        if on[t] == OWN
    ]
    tasks = [
        {
            "name": name,
            "runs_on": f"accelerator_{name}" if on[t] == OWN else f"processor{on[t]}",
            "writes_to": f"memory{designs.task_memory[0, t]}",
        }
        for t, name in enumerate(graph.names)
    ]
    hung = enumerate(designs.processor_bus[0].tolist())
    processors = [{"name": f"processor{p}", "bus": f"bus{bus}"} for p, bus in hung]
    return {
        "format": _FORMAT,
        "graph": graph.name,
        "buses": buses,
        "memories": memories,
        "processors": processors,
        "accelerators": accelerators,
        "tasks": tasks,
    }
