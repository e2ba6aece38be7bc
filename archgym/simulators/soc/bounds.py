"""Bounds of systems of which only some parameters are chosen, for proofs of optima.

Every bound follows from the model's rules (see `README.md`): work runs at most at the fastest rate
that is left to choose, data cross buses and memories at most at their peaks, and every block that
is sure to exist has its area and its cost.
"""

from functools import reduce
from typing import Final, final

import numpy as np

from archgym.simulators.kit import Columns, DesignSpace, Laws
from archgym.simulators.soc.graph import CLOCK_HZ, Floats, TaskGraph
from archgym.simulators.soc.kernel import state as st
from archgym.simulators.soc.kernel.canonical import columns_of
from archgym.simulators.soc.kernel.state import Rules
from archgym.simulators.soc.machine import BANK_BYTES, CLOCKS, KINDS
from archgym.simulators.soc.metrics import measure

# FARSI: least bytes of a memory; a cost of an accelerator's instruction and a link.
_LEAST_BYTES: Final = 2048.0
_COST_ACCELERATOR: Final = 100.0
_COST_LINK: Final = 0.1
_BYTES_PER_COST: Final = 1048576.0
# Links that data cross at least: to a bus, and to a memory, and the bus itself.
_LEAST_BLOCKS: Final = 3
# Rules that do not finish exactly end a task at this share of its work.
FINISHED: Final = 0.99
"""Share of a task's work after which FARSI's own rules end it."""
# chosen: far above the rounding of sums over all tasks and phases.
_SLACK: Final = 1.0 - 1e-9


@final
class SocBounds:
    """Bounds of the metrics of one task graph in one space."""

    def __init__(
        self,
        space: DesignSpace,
        sizes: tuple[int, int, int],
        graph: TaskGraph,
        rules: Rules,
        memories: Floats,
    ) -> None:
        """Prepare what all partial designs share.

        Args:
          space: The space, with parameters as `soc_space` names them.
          sizes: Numbers of buses, memories and processors.
          graph: The task graph.
          rules: Rules of the machine, one of the fidelities.
          memories: As `cacti` gives them.
        """
        self._table = memories
        self._space, self._graph, self._sizes = space, graph, sizes
        self._columns = columns_of(space.names, *sizes, graph.names)
        self._g = graph.arrays()
        self._share = _SLACK * (1.0 if rules.exact_finish else FINISHED)
        self._frees_exactly = rules.exact_freeing
        n = len(graph.tasks)
        self._before = np.eye(n, dtype=bool)
        """(T, T): entry [a, b] is True where a precedes b or is b."""
        for t in graph.topological:
            for edge in graph.edges:
                if edge.child == t:
                    self._before[:, t] |= self._before[:, edge.parent]
        self._out, self._in = np.zeros(n), np.zeros(n)
        """Bytes that each task writes and reads, of edges that limit a rate."""
        for e in range(len(graph.edges)):
            if self._g.write_unit[e] > 0:
                self._out[self._g.parent[e]] += self._g.bytes[e]
            if self._g.read_unit[e] > 0:
                self._in[self._g.child[e]] += self._g.bytes[e]
        self._held = np.zeros(n)
        """Bytes of each task's output."""
        np.add.at(self._held, self._g.parent, self._g.bytes)
        self._held[(self._g.work == 0) & (np.arange(n) != graph.source)] = 0.0

    def metrics(self, partial: np.ndarray) -> np.ndarray:
        """Return bounds of the metrics that a run measures, (n, n_metrics).

        Args:
          partial: (n, n_parameters), indices; -1 where a parameter is free.
        """
        _, memories, processors = self._sizes
        c, g, n = self._columns, self._g, len(partial)
        work, share, tasks = g.work, self._share, range(len(g.work))
        none = np.full(n, -1)
        on = [partial[:, k] if k >= 0 else np.zeros(n, dtype=np.int64) for k in c.on]
        is_own = [on[t] == processors for t in tasks]
        is_cpu = [(on[t] >= 0) & (on[t] < processors) for t in tasks]
        most_memory, least_read, least_write = self._memories(partial)
        most_bus = reduce(np.maximum, (self._peak(partial, *row, True) for row in self._bus_rows()))

        times, energy = [], np.zeros(n)
        cost = np.full(n, _COST_LINK)  # of a bus
        area_accelerators = np.zeros(n)
        least_work = work[work > 0].min()
        for t in tasks:
            unroll, clock = c.accelerators[t]
            offered = g.accelerator_rate[t] > 0
            fastest = self._extreme(partial, clock, CLOCKS[-1], True)
            fastest = fastest * self._extreme(partial, unroll, 1.0, True) * g.accelerator_rate[t]
            frugal = g.accelerator_energy[t] * self._extreme(partial, unroll, 1.0, False)
            rate = np.where(is_own[t], fastest, st.PROCESSOR_RATE)
            joule = np.where(is_own[t], frugal, st.PROCESSOR_ENERGY)
            if offered:
                is_free = on[t] < 0
                rate = np.where(is_free, np.maximum(fastest, st.PROCESSOR_RATE), rate)
                joule = np.where(is_free, np.minimum(frugal, st.PROCESSOR_ENERGY), joule)
                least = self._extreme(partial, unroll, 1.0, False)
                area_accelerators += np.where(is_own[t], g.accelerator_area[t] * least, 0.0)
            energy += joule * work[t] * share
            cost += np.where(is_own[t], _COST_ACCELERATOR, 1.0) * work[t] / least_work
            if self._held[t] > 0 or (g.child == t).any():
                cost += _COST_LINK * _LEAST_BLOCKS
            written = self._peak_of(
                most_memory, partial[:, c.memory[t]] if c.memory[t] >= 0 else none
            )
            time = work[t] / rate
            if work[t] > 0:
                time = np.maximum(time, self._out[t] / np.minimum(written, most_bus))
                time = np.maximum(time, self._in[t] / most_bus)
                everywhere = reduce(np.maximum, most_memory)
                time = np.maximum(time, self._in[t] / memories / everywhere)
            times.append(time * share)
        for e in range(len(g.parent)):
            place = c.memory[g.parent[e]]
            chosen = partial[:, place] if place >= 0 else none
            if work[g.child[e]] > 0:
                energy += g.bytes[e] * share * self._least_of(least_read, chosen)
            if work[g.parent[e]] > 0:
                energy += g.bytes[e] * share * self._least_of(least_write, chosen)

        columns = {name: np.zeros(n) for name in st.OUTPUTS}
        ends = self._ends(times, on, most_memory)
        columns |= {"latency_s": reduce(np.maximum, ends), "energy_j": energy * _SLACK}
        columns["accelerator_area_m2"] = area_accelerators * _SLACK
        columns["processor_area_m2"] = self._processor_area(is_cpu, on) * _SLACK
        area, peak_cost = self._memory_area(partial)
        columns["sram_area_m2"], columns["dram_area_m2"] = area
        columns["cost"] = (cost + peak_cost) * _SLACK
        return measure(self._graph, np.stack([*columns.values(), *ends], axis=1))

    def _bus_rows(self) -> list[tuple[int, int]]:
        return [(int(width), int(clock)) for width, clock in self._columns.buses]

    def _memories(self, partial: np.ndarray) -> tuple[list[np.ndarray], ...]:
        """Return highest rates, and least energies of a byte read and written, by memory, (n,)."""
        table = self._table
        rates: list[np.ndarray] = []
        reads: list[np.ndarray] = []
        writes: list[np.ndarray] = []
        for kind, width, clock in self._columns.memories:
            rates.append(self._peak(partial, int(width), int(clock), True))
            least = table[:, 1:, :2].min(axis=1)
            # Beyond the table its last step continues.
            falls = table[:, -1, :2] < table[:, -2, :2]
            least = np.where(falls, 0.0, least)
            kinds = self._kinds(int(kind))
            of_kind = least[kinds]
            chosen = partial[:, kind]
            for found, column in ((reads, 0), (writes, 1)):
                known = of_kind[np.maximum(chosen, 0), column]
                found.append(np.where(chosen < 0, of_kind[:, column].min(), known))
        return rates, reads, writes

    def _memory_area(self, partial: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
        """Return least areas of SRAM and DRAM, and least cost, of a single memory; else zeros."""
        n = len(partial)
        area = np.zeros((2, n))
        cost = np.zeros(n)
        if self._sizes[1] > 1:
            return (area[0], area[1]), cost
        # FARSI's own rule may free an output twice, so only the first one is sure.
        peak = self._held[self._graph.source]
        if self._frees_exactly:
            # Inputs are there until a task ends, and its output from when it begins.
            for t in range(len(self._held)):
                parents = {
                    int(p) for p, c in zip(self._g.parent, self._g.child, strict=True) if c == t
                }
                peak = max(peak, self._held[t] + sum(self._held[p] for p in parents))
        banks = int(np.ceil(max(np.ceil(peak * _SLACK), _LEAST_BYTES) / BANK_BYTES))
        table = self._table[:, :, 2]
        least = table[:, min(banks, table.shape[1] - 1) :].min(axis=1)
        column = int(self._columns.memories[0, 0])
        kinds = np.array(self._kinds(column))
        kind = np.where(partial[:, column] < 0, -1, kinds[np.maximum(partial[:, column], 0)])
        for k in range(len(KINDS)):
            area[0 if k == st.SRAM else 1] += np.where(kind == k, least[k] * _SLACK, 0.0)
        cost += _COST_LINK * np.ceil(peak * _SLACK / _BYTES_PER_COST)
        return (area[0], area[1]), cost

    def _processor_area(self, is_cpu: list[np.ndarray], on: list[np.ndarray]) -> np.ndarray:
        """Return the area of processors that are sure to have a task with work."""
        counted = [t for t in range(len(on)) if t not in (self._graph.source, self._graph.sink)]
        sure = np.zeros(len(on[0]))
        for p in range(self._sizes[2]):
            sure += np.logical_or.reduce([is_cpu[t] & (on[t] == p) for t in counted])
        return np.asarray(sure * st.PROCESSOR_AREA)

    def _ends(
        self, times: list[np.ndarray], on: list[np.ndarray], most_memory: list[np.ndarray]
    ) -> list[np.ndarray]:
        """Return the earliest end of each workload, (n,) each."""
        ends: dict[int, np.ndarray] = {}
        for t in self._graph.topological:
            before = [ends[edge.parent] for edge in self._graph.edges if edge.child == t]
            ends[t] = times[t] + (reduce(np.maximum, before) if before else 0.0)
        every = reduce(np.add, most_memory)
        found = []
        for last in self._g.last:
            earlier = np.flatnonzero(self._before[:, last])
            end = ends[int(last)]
            for p in range(self._sizes[2]):
                # One task at a time.
                queue = [np.where(on[t] == p, times[t], 0.0) for t in earlier]
                end = np.maximum(end, reduce(np.add, queue) * _SLACK)
            for traffic in (self._in, self._out):
                moved = float(traffic[earlier][self._g.work[earlier] > 0].sum())
                end = np.maximum(end, moved * self._share / every)
            found.append(end * _SLACK)
        return found

    def _peak(self, partial: np.ndarray, width: int, clock: int, highest: bool) -> np.ndarray:
        """Return the highest rate of a bus or a memory [byte/s], (n,)."""
        wide = self._extreme(partial, width, 0.0, highest)
        fastest = self._extreme(partial, clock, CLOCKS[-1], highest)
        return np.asarray(CLOCK_HZ * wide * fastest)

    def _extreme(
        self, partial: np.ndarray, column: int, absent: float, highest: bool
    ) -> np.ndarray:
        """Return values of a parameter, the extreme ones where it is free, (n,)."""
        if column < 0:
            return np.full(len(partial), float(absent))
        parameter = self._space.parameters[column]
        values = np.asarray(parameter.array(np.arange(parameter.size)), dtype=np.float64)
        chosen = partial[:, column]
        best = values.max() if highest else values.min()
        return np.asarray(np.where(chosen < 0, best, values[np.maximum(chosen, 0)]))

    def _kinds(self, column: int) -> list[int]:
        """Return the kinds of memory that a parameter offers."""
        parameter = self._space.parameters[column]
        return [KINDS.index(str(parameter.value(k))) for k in range(parameter.size)]

    @staticmethod
    def _peak_of(rates: list[np.ndarray], chosen: np.ndarray) -> np.ndarray:
        """Return the rate of the memory that is chosen, the highest where none is."""
        if len(rates) == 1:
            return rates[0]
        known = np.stack(rates)[np.maximum(chosen, 0), np.arange(len(chosen))]
        return np.where(chosen < 0, reduce(np.maximum, rates), known)

    @staticmethod
    def _least_of(costs: list[np.ndarray], chosen: np.ndarray) -> np.ndarray:
        """Return the cost of the memory that is chosen, the least where none is."""
        if len(costs) == 1:
            return costs[0]
        known = np.stack(costs)[np.maximum(chosen, 0), np.arange(len(chosen))]
        return np.where(chosen < 0, reduce(np.minimum, costs), known)


def laws_of(graph: TaskGraph, designs: st.Designs, column: Columns, share: float) -> Laws:
    """Return laws of conservation for runs of systems.

    Args:
      graph: The task graph.
      designs: Systems that ran it.
      column: (n,) results by metric.
      share: Share of work and data after which tasks end.
    """
    g, (n, n_memories), latency = graph.arrays(), designs.memory_peak.shape, column["latency_s"]
    own, slack = designs.on == st.OWN, share * _SLACK
    rate = np.where(own, g.accelerator_rate * designs.unroll * designs.clock, st.PROCESSOR_RATE)
    joule = np.where(own, g.accelerator_energy * designs.unroll, st.PROCESSOR_ENERGY)
    time = g.work / np.where(rate > 0, rate, np.inf)
    queues = [(designs.on == p) * time for p in range(designs.processor_bus.shape[1])]
    busiest = reduce(np.maximum, [queue.sum(axis=1) for queue in queues], time.max(axis=1))
    least = np.zeros(n)
    for task, unit in ((g.parent, g.write_unit), (g.child, g.read_unit)):
        edges = (g.work[task] > 0) & (unit > 0)
        at = np.arange(n)[:, None] * n_memories + designs.task_memory[:, g.parent[edges]]
        weights = np.broadcast_to(g.bytes[edges], at.shape).ravel()
        moved = np.bincount(at.ravel(), weights, n * n_memories).reshape(n, n_memories)
        peak = np.where(designs.memory_peak > 0, designs.memory_peak, np.inf)
        least = np.maximum(least, (moved / peak).max(axis=1))
    joules = (joule * g.work).sum(axis=1)
    return {
        "latency is the work of a block over its rate": (latency, slack * busiest),
        "latency is the bytes of a memory over its bandwidth": (latency, slack * least),
        "energy is that of the operations": (column["energy_j"], slack * joules),
    }
