"""Task graphs: tasks, the data they hand on, budgets, and their form for the kernel."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Final, NamedTuple, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit import InvalidArgumentError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
CLOCK_HZ: Final = 1e8
"""Base clock of buses, memories and accelerators [Hz]; `data/blocks.json`."""


class GraphArrays(NamedTuple):
    """A task graph as arrays; T tasks, E edges.

    Attributes:
      work: (T,) instructions; 0 for dummies.
      parent, child: (E,) tasks of each edge.
      bytes: (E,) bytes of each edge.
      write_unit, read_unit: (E,) work units, seen from the parent and from the child.
      first_out: (T + 1,) start of each task's outgoing edges in `out_edge`.
      out_edge: (E,) edges by parent, in file order.
      first_in: (T + 1,) start of each task's incoming edges in `in_edge`.
      in_edge: (E,) edges by child, parents in table order.
      accelerator_rate: (T,) instructions/s at unroll 1 and the base clock; 0 without accelerator.
      accelerator_energy: (T,) J an instruction at unroll 1.
      accelerator_area: (T,) m2 at unroll 1.
      last: (L,) last task of each workload.
      ends: (2,) source and sink.
      order: (T,) order in which tasks that become ready at one time are launched.
    """

    work: Floats
    parent: Ints
    child: Ints
    bytes: Floats
    write_unit: Floats
    read_unit: Floats
    first_out: Ints
    out_edge: Ints
    first_in: Ints
    in_edge: Ints
    accelerator_rate: Floats
    accelerator_energy: Floats
    accelerator_area: Floats
    last: Ints
    ends: Ints
    order: Ints


MAX_TASKS: Final = 400
"""Tasks of one graph, at most. chosen: ten times FARSI's largest; codes of the log fit."""
BURST_BYTES: Final = 1024
"""Burst size that FARSI uses, from which work units of edges follow [byte]."""
# FARSI scales energy and area of accelerators and memories from the node of its tables.
ENERGY_SCALE: Final = 0.064
AREA_SCALE: Final = 0.0374
# FARSI: the reference processor executes two instructions a cycle.
_INSTRUCTIONS_PER_CYCLE: Final = 2.0
# FARSI offers powers of two and the number of iterations, 17 values at most.
_MAX_UNROLLS: Final = 17


@final
@dataclass(frozen=True)
class Accelerator:
    """Accelerator of one task, at unroll 1 and the base clock.

    Attributes:
      cycles: Cycles for the whole task.
      energy_fj: Energy for the whole task [fJ].
      area_um2: Area [um2].
      iterations: Iterations of the loop, which unrolling divides among copies.
    """

    cycles: float
    energy_fj: float
    area_um2: float
    iterations: int


@final
@dataclass(frozen=True)
class Task:
    """One task; a dummy takes no time and only orders others.

    Attributes:
      name: Name, unique in its graph.
      cpu_cycles: Cycles on the reference processor; 0 for a dummy.
      accelerator: The accelerator that can run it; None if only processors can.
    """

    name: str
    cpu_cycles: float
    accelerator: Accelerator | None = None

    @property
    def is_dummy(self) -> bool:
        """True for a task without work."""
        return self.cpu_cycles == 0.0

    @property
    def work(self) -> float:
        """Instructions of the task."""
        return _INSTRUCTIONS_PER_CYCLE * self.cpu_cycles


@final
@dataclass(frozen=True)
class Edge:
    """Data that one task writes once and another reads once.

    Attributes:
      parent, child: Indices of the tasks.
      bytes: Size [byte].
    """

    parent: int
    child: int
    bytes: float


@final
@dataclass(frozen=True)
class Budgets:
    """Limits that a system must meet.

    Attributes:
      latency_s: Latency of each workload [s].
      power_w: Highest mean power over 10 ms [W].
      area_m2: Area without DRAM, and DRAM's area, each [m2].
    """

    latency_s: Mapping[str, float]
    power_w: float
    area_m2: float


@final
@dataclass(frozen=True)
class TaskGraph:
    """Tasks in table order, edges in file order, last tasks of its workloads, and budgets.

    The graph must have no cycle, one source without parents and one sink without children, which
    are dummies; `archgym.simulators.soc.workloads` reads and checks files.
    """

    name: str
    tasks: tuple[Task, ...]
    edges: tuple[Edge, ...]
    last_tasks: Mapping[str, int]
    budgets: Budgets
    tight_budgets: Budgets
    doc: str = ""
    source_text: str = ""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the tasks in table order."""
        return tuple(task.name for task in self.tasks)

    @cached_property
    def source(self) -> int:
        """Index of the task without parents."""
        return _without(self.tasks, {edge.child for edge in self.edges})[0]

    @cached_property
    def sink(self) -> int:
        """Index of the task without children."""
        return _without(self.tasks, {edge.parent for edge in self.edges})[0]

    @cached_property
    def accelerated(self) -> tuple[int, ...]:
        """Indices of tasks that an accelerator can run."""
        return tuple(t for t, task in enumerate(self.tasks) if task.accelerator is not None)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that decides a result; budgets and texts do not."""
        content = {
            "tasks": [astuple(task) for task in self.tasks],
            "edges": [astuple(edge) for edge in self.edges],
            "last_tasks": dict(self.last_tasks),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def arrays(
        self, burst_bytes: int = BURST_BYTES, order: Sequence[int] | None = None
    ) -> GraphArrays:
        """Return the graph as the kernel reads it.

        Args:
          burst_bytes: Burst size from which work units follow [byte], at least 1.
          order: Order in which tasks that become ready at one time are launched; the table's where
            None.
        """
        if burst_bytes == BURST_BYTES and order is None:
            return self._usual_arrays
        return self._arrays(burst_bytes, order)

    @cached_property
    def _usual_arrays(self) -> GraphArrays:
        return self._arrays(BURST_BYTES, None)

    def _arrays(self, burst_bytes: int, order: Sequence[int] | None) -> GraphArrays:
        n = len(self.tasks)
        parent = np.array([edge.parent for edge in self.edges], dtype=np.int64)
        child = np.array([edge.child for edge in self.edges], dtype=np.int64)
        sizes = np.array([edge.bytes for edge in self.edges])
        # Parents are taken in table order, children in file order.
        in_edge = np.lexsort((parent, child))
        out_edge = np.argsort(parent, kind="stable")
        bursts = [self._bursts(t, burst_bytes) for t in range(n)]
        rate, energy, area = np.zeros((3, n))
        for t, task in enumerate(self.tasks):
            if task.accelerator is not None:
                rate[t] = task.work / (task.accelerator.cycles / CLOCK_HZ)
                energy[t] = ENERGY_SCALE * task.accelerator.energy_fj * 1e-15 / task.work
                area[t] = task.accelerator.area_um2 * 1e-12 * AREA_SCALE
        return GraphArrays(
            work=np.array([task.work for task in self.tasks]),
            parent=parent,
            child=child,
            bytes=sizes,
            write_unit=np.array([float(e.bytes // bursts[e.parent]) for e in self.edges]),
            read_unit=np.array([float(e.bytes // bursts[e.child]) for e in self.edges]),
            first_out=np.searchsorted(parent[out_edge], np.arange(n + 1)).astype(np.int64),
            out_edge=out_edge.astype(np.int64),
            first_in=np.searchsorted(child[in_edge], np.arange(n + 1)).astype(np.int64),
            in_edge=in_edge.astype(np.int64),
            accelerator_rate=rate,
            accelerator_energy=energy,
            accelerator_area=area,
            last=np.array(list(self.last_tasks.values()), dtype=np.int64),
            ends=np.array([self.source, self.sink], dtype=np.int64),
            order=np.array(range(n) if order is None else order, dtype=np.int64),
        )

    def _bursts(self, t: int, burst_bytes: int) -> float:
        """Return bursts of a task's smallest input, which divide its edges into work units."""
        if t in (self.source, self.sink):
            return 1.0
        least_in = min(edge.bytes for edge in self.edges if edge.child == t)
        least_out = min(edge.bytes for edge in self.edges if edge.parent == t)
        bursts = least_in // burst_bytes
        if bursts == 0 or least_out // bursts == 0 or self.tasks[t].work // bursts == 0:
            return 1.0
        return float(bursts)

    @cached_property
    def layers(self) -> tuple[int, ...]:
        """Tasks on the longest path to each task, without itself."""
        return tuple(int(end) - 1 for end in self._ends(np.ones(len(self.tasks))))

    def longest_path(self, times: Sequence[float]) -> float:
        """Return the longest sum of times along any path: a lower bound of the latency.

        Args:
          times: Time of each task, in any unit.
        """
        return float(self._ends(np.asarray(times, dtype=np.float64)).max())

    def _ends(self, times: np.ndarray) -> np.ndarray:
        ends = np.zeros(len(self.tasks))
        for t in self.topological:
            before = [ends[edge.parent] for edge in self.edges if edge.child == t]
            ends[t] = times[t] + max(before, default=0.0)
        return ends

    @cached_property
    def topological(self) -> tuple[int, ...]:
        """Tasks so that each follows its parents."""
        parents: dict[int, list[int]] = {t: [] for t in range(len(self.tasks))}
        for edge in self.edges:
            parents[edge.child].append(edge.parent)
        return tuple(TopologicalSorter(parents).static_order())

    def fault(self) -> tuple[str, int, str] | None:
        """Return the first fault of the graph's shape: `tasks` or `edges`, a place, and a text."""
        ends = (
            ("parent", "source", {edge.child for edge in self.edges}),
            ("child", "sink", {edge.parent for edge in self.edges}),
        )
        for what, end, others in ends:
            found = _without(self.tasks, others)
            for t in found:
                if not self.tasks[t].is_dummy:
                    text = f"each task but the {end} must have a {what}; {self.names[t]} has none"
                    return "tasks", t, text
            for t in found[1:]:
                text = f"there must be one {end}, a dummy without a {what}; {self.names[t]} is a "
                return "tasks", t, f"{text}second one"
        try:
            _ = self.topological
        except CycleError as error:
            pairs = set(pairwise(error.args[1]))
            number = next(i for i, e in enumerate(self.edges) if (e.parent, e.child) in pairs)
            parent, child = self.edges[number].parent, self.edges[number].child
            within = f"{self.names[parent]} and {self.names[child]}"
            return "edges", number, f"the graph must have no cycle; there is one through {within}"
        if len(self.tasks) < 3:
            return "tasks", -1, "a graph must have a source, a sink and a task between them"
        return None


def _without(tasks: Sequence[Task], others: set[int]) -> list[int]:
    return [t for t in range(len(tasks)) if t not in others]


def unroll_values(iterations: int, most: int | None = None) -> tuple[int, ...]:
    """Return the unroll factors of a loop that FARSI offers, thinned on request.

    Args:
      iterations: Iterations of the loop, at least 1.
      most: Largest number to keep, evenly spaced in the logarithm; None for all.
    """
    values = [1 << k for k in range(iterations.bit_length())]
    if len(values) > _MAX_UNROLLS:
        values = values[: _MAX_UNROLLS - 1]
    if iterations not in values:
        values.append(iterations)
    if most is None or len(values) <= most:
        return tuple(values)
    last = math.log(values[-1])
    kept = []
    for step in range(most):
        wanted = last * step / (most - 1)
        kept.append(min(values, key=lambda value: (abs(math.log(value) - wanted), value)))
    return tuple(sorted(set(kept)))


def merge(graphs: Sequence[TaskGraph]) -> TaskGraph:
    """Return one graph of several that run at the same time, with one source and one sink.

    Tasks are in the order of the parts. Limits of latency stay, of power and area are summed.

    Raises:
      InvalidArgumentError: Parts share names of tasks or workloads, or are too large together.
    """
    if len(graphs) == 1:
        return graphs[0]
    tasks: list[Task] = []
    edges: list[Edge] = []
    last_tasks: dict[str, int] = {}
    place: dict[str, int] = {}
    for graph in graphs:
        ends = {graph.source: "source", graph.sink: "sink"}
        numbers = []
        for t, task in enumerate(graph.tasks):
            key = f"*{ends[t]}" if t in ends else task.name
            if key not in place:
                place[key] = len(tasks)
                tasks.append(task)
            elif t not in ends:
                raise InvalidArgumentError(
                    f"Graphs that run at the same time must have tasks of different names; "
                    f"{task.name!r} is in two of {', '.join(g.name for g in graphs)}."
                )
            numbers.append(place[key])
        edges += [Edge(numbers[e.parent], numbers[e.child], e.bytes) for e in graph.edges]
        for name, t in graph.last_tasks.items():
            if name in last_tasks:
                raise InvalidArgumentError(f"Workload {name!r} must be in one graph only.")
            last_tasks[name] = numbers[t]
    # By parents in table order, as in the files that ship.
    edges.sort(key=lambda edge: edge.parent)
    if len(tasks) > MAX_TASKS:
        raise InvalidArgumentError(
            f"Graphs must have at most {MAX_TASKS} tasks together; got {len(tasks)}."
        )
    return TaskGraph(
        name="+".join(graph.name for graph in graphs),
        tasks=tuple(tasks),
        edges=tuple(edges),
        last_tasks=last_tasks,
        budgets=_sum([graph.budgets for graph in graphs]),
        tight_budgets=_sum([graph.tight_budgets for graph in graphs]),
        doc="Several graphs that run at the same time.",
    )


def _sum(budgets: Sequence[Budgets]) -> Budgets:
    latency = {name: limit for part in budgets for name, limit in part.latency_s.items()}
    return Budgets(
        latency, sum(part.power_w for part in budgets), sum(part.area_m2 for part in budgets)
    )
