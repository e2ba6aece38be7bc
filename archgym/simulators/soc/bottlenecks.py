"""Blocks that bound a run, from its log of phases, and moves that relieve them.

The moves are those of FARSI's explorer. *Swap* a block for a faster, slower or other one; *migrate*
a task or its output to another block; *split* a block by moving a task to an unused one. Nothing
but the design's own log is looked at.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np

from archgym.simulators.kit import Bottleneck, DesignSpace
from archgym.simulators.soc.graph import Floats, TaskGraph
from archgym.simulators.soc.kernel.state import (
    OWN,
    PROCESSOR_ENERGY,
    PROCESSOR_RATE,
    WINDOW_S,
    BoundBy,
    Designs,
    Log,
)
from archgym.simulators.soc.machine import BANK_BYTES, CLOCKS
from archgym.simulators.soc.metrics import workload_metric

Move = Mapping[str, Any]
_MM2: Final = 1e6
# chosen: what contributes less is not worth an evaluation.
_LEAST_SHARE: Final = 0.01


def bottlenecks(
    graph: TaskGraph,
    space: DesignSpace,
    indices: np.ndarray,
    designs: Designs,
    log: Log,
    table: Floats,
) -> list[Bottleneck]:
    """Return what bounds latency, power, energy, area and cost of a design.

    Args:
      graph, space: Its task graph and its space.
      indices: (n_parameters,), the canonical form of a design that can be built.
      designs, log: The design as blocks, and its phases.
      table: Memories, as `machine.cacti` gives them.
    """
    return _Finder(graph, space, dict(space.design_at(indices)), designs, log, table).all()


def critical_path(graph: TaskGraph, log: Log, last: int) -> list[int]:
    """Return the tasks that the end of a task waited for, the last one first.

    Each was the last parent of the one before it in the list.
    """
    path = [last]
    while True:
        parents = [edge.parent for edge in graph.edges if edge.child == path[-1]]
        if not parents:
            return path
        path.append(max(parents, key=lambda p: (log.task[p, 1], -p)))


def shares_of_time(graph: TaskGraph, log: Log, last: int) -> dict[tuple[int, int], float]:
    """Return time on the critical path by task and code of `BoundBy` [s]."""
    ends = np.cumsum(log.length_s)
    found: dict[tuple[int, int], float] = defaultdict(float)
    for t in critical_path(graph, log, last):
        start, end = log.task[t, 0], log.task[t, 1]
        # Phases that lie within the task's life; half a phase decides where rounding might.
        middle = ends - log.length_s / 2
        for phase in np.flatnonzero((middle > start) & (middle < end) & (log.length_s > 0.0)):
            found[t, int(log.bound[phase, t])] += float(log.length_s[phase])
    return found


@final
@dataclass
class _Finder:
    """Bottlenecks of one design."""

    _graph: TaskGraph
    _space: DesignSpace
    _design: dict[str, Any]
    _d: Designs
    _log: Log
    _table: Floats

    def __post_init__(self) -> None:
        graph, designs = self._graph, self._d
        self._names = graph.names
        self._n_processors = designs.processor_bus.shape[1]
        self._arrays = graph.arrays()
        used = {int(m) for t, m in enumerate(designs.task_memory[0]) if t != graph.sink}
        self._memories = sorted(used)
        self._processors = sorted({int(p) for p in designs.on[0] if p != OWN})
        on_buses = [self._bus_of(t) for t in range(len(self._names))]
        self._buses = 1 + max([*on_buses, *(int(designs.memory_bus[0, m]) for m in used)])

    def all(self) -> list[Bottleneck]:
        """Return all of them, moves that change nothing left out."""
        found = [*self._latency(), *self._power(), *self._area(), *self._cost()]
        return [b for b in found if b.share >= _LEAST_SHARE and b.moves]

    def _bottleneck(self, name: str, metric: str, share: float, moves: list[Move]) -> Bottleneck:
        kept: list[Move] = []
        for move in moves:
            fits = all(n in self._space.names for n in move)
            changed = fits and any(self._design[n] != value for n, value in move.items())
            if changed and move not in kept:
                kept.append(move)
        return Bottleneck(name, metric, share, tuple(kept))

    # ---- latency

    def _latency(self) -> Iterator[Bottleneck]:
        several = len(self._graph.last_tasks) > 1
        longest = float(self._log.task[list(self._graph.last_tasks.values()), 1].max())
        for workload, last in self._graph.last_tasks.items():
            total = float(self._log.task[last, 1])
            if total <= 0.0:
                continue
            metrics = [workload_metric(workload)] if several else []
            metrics += ["latency_s"] if total == longest else []
            for (t, code), time in shares_of_time(self._graph, self._log, last).items():
                name, moves = self._relief_of(t, code)
                for metric in metrics:
                    yield self._bottleneck(name, metric, time / total, moves)

    def _relief_of(self, t: int, code: int) -> tuple[str, list[Move]]:
        """Return a name and moves for what bounds a task."""
        kind, block = divmod(code, BoundBy.STRIDE)
        task = self._names[t]
        if kind == BoundBy.WAITING:
            moves = [*self._to_accelerator(t), *self._to_processor(t)]
            for other in range(len(self._names)):
                if other != t and self._d.on[0, other] == self._d.on[0, t]:
                    moves += self._to_accelerator(other)[:1]
            return f"{task} waits for its processor", moves
        if kind == BoundBy.PE and block < self._n_processors:
            return f"processor of {task}", self._to_accelerator(t)
        if kind == BoundBy.PE:
            moves = [{f"{task}_unroll": v} for v in self._useful_unrolls(t)]
            moves += self._above(f"{task}_clock")
            return f"accelerator of {task}", moves
        if kind == BoundBy.MEMORY:
            return f"memory {block} for {task}", self._faster_memory(block, t)
        return f"bus {block} for {task}", self._faster_bus(block, t)

    def _above(self, name: str) -> list[Move]:
        """Return moves to larger values of a parameter: the largest, then the next."""
        _, above = self._around(name)
        return [{name: value} for value in dict.fromkeys([*above[-1:], *above[:1]])]

    def _useful_unrolls(self, t: int) -> list[Any]:
        """Return larger unroll factors: as fast as data allow, half of the way there, the next."""
        name = f"{self._names[t]}_unroll"
        _, above = self._around(name)
        wanted = self._data_unroll(t)
        if not above or self._design[name] >= wanted:
            return above[:1]
        useful = min(sum(v < wanted for v in above), len(above) - 1)
        return [above[i] for i in dict.fromkeys([useful, useful // 2, 0])]

    def _data_unroll(self, t: int) -> float:
        """Return the unroll factor at which an accelerator is as fast as its memories alone."""
        arrays = self._arrays
        clock = float(self._d.clock[0, t]) if self._d.on[0, t] == OWN else float(CLOCKS[-1])
        moved = np.zeros((2, self._d.memory_peak.shape[1]))
        for edge in self._graph.edges:
            if t in (edge.child, edge.parent):
                m = self._d.task_memory[0, edge.parent]
                moved[int(edge.parent == t), m] += edge.bytes
        time = float((moved / self._d.memory_peak[0]).max())
        at_one = arrays.work[t] / (clock * arrays.accelerator_rate[t])
        return float(at_one / max(time, 1e-30))

    def _below(self, name: str) -> list[Move]:
        """Return moves to smaller values: the next, the one after it, the smallest."""
        below, _ = self._around(name)
        return [{name: value} for value in dict.fromkeys([*below[::-1][:2], *below[:1]])]

    def _around(self, name: str) -> tuple[list[Any], list[Any]]:
        """Return the values of a parameter below and above the design's."""
        values = self._values(name)
        place = values.index(self._design[name]) if values else 0
        return values[:place], values[place + 1 :]

    def _values(self, name: str) -> list[Any]:
        if name not in self._space.names:
            return []
        parameter = self._space.parameter(name)
        return [parameter.value(i) for i in range(parameter.size)]

    def _bus_of(self, t: int) -> int:
        on = int(self._d.on[0, t])
        return int(self._d.task_bus[0, t] if on == OWN else self._d.processor_bus[0, on])

    def _to_accelerator(self, t: int, thrifty: bool = False) -> list[Move]:
        """Return moves of a task to its accelerator.

        The first has the largest unroll factor that takes no more power than a processor; where
        `thrifty`, it is not unrolled.
        """
        if self._graph.tasks[t].accelerator is None or self._d.on[0, t] == OWN:
            return []
        task = self._names[t]
        unrolls = self._values(f"{task}_unroll")
        # The accelerator takes the processor's place, so that data go the same way.
        base: dict[str, Any] = {f"{task}_on": "own"}
        if f"{task}_bus" in self._space.names:
            base[f"{task}_bus"] = self._bus_of(t)
        if f"{task}_clock" in self._space.names:
            base[f"{task}_clock"] = self._values(f"{task}_clock")[-1]
        if not unrolls:
            return [base]
        # Power grows with the square of the unroll factor: the rate and the energy of each
        # instruction do.
        arrays = self._arrays
        clock = float(base.get(f"{task}_clock", CLOCKS[-1]))
        power = clock * arrays.accelerator_rate[t] * arrays.accelerator_energy[t]
        fitting = [u for u in unrolls if u * u * power <= PROCESSOR_RATE * PROCESSOR_ENERGY]
        best = fitting[-1] if fitting else unrolls[0]
        useful = [u for u in unrolls if u >= self._data_unroll(t)][:1] or unrolls[-1:]
        best = min(best, useful[0])
        chosen = [unrolls[0], best] if thrifty else [best, unrolls[0], useful[0]]
        return [{**base, f"{task}_unroll": unroll} for unroll in dict.fromkeys(chosen)]

    def _to_processor(self, t: int) -> list[Move]:
        """Return moves of a task to processors, an unused one first."""
        others = [p for p in range(self._n_processors) if p not in self._processors][:1]
        others += [p for p in self._processors if p != self._d.on[0, t]]
        moves: list[Move] = []
        for p in others:
            move: dict[str, Any] = {f"{self._names[t]}_on": f"p{p}"}
            if p not in self._processors:
                move |= self._at(f"processor{p}_bus", self._bus_of(t))
            moves.append(move)
        return moves

    def _at(self, name: str, bus: int) -> Move:
        return {name: bus} if name in self._space.names else {}

    def _faster_memory(self, m: int, t: int) -> list[Move]:
        moves = self._above(f"memory{m}_width") + self._above(f"memory{m}_clock")
        writers = [t] if self._d.task_memory[0, t] == m else []
        writers += [
            e.parent
            for e in self._graph.edges
            if e.child == t and self._d.task_memory[0, e.parent] == m
        ]
        for writer in writers:
            moves += self._to_memory(writer)
        return moves

    def _to_memory(self, t: int, kind: str | None = None) -> list[Move]:
        """Return moves of a task's output to another memory, an unused one first."""
        name = f"{self._names[t]}_memory"
        m = int(self._d.task_memory[0, t])
        if name not in self._space.names or t == self._graph.sink:
            return []
        moves: list[Move] = []
        fresh = len(self._memories)
        if fresh < self._d.memory_peak.shape[1]:
            move: dict[str, Any] = {name: fresh}
            for field in ("kind", "width", "clock", "bus"):
                if f"memory{m}_{field}" in self._space.names:
                    move[f"memory{fresh}_{field}"] = self._design[f"memory{m}_{field}"]
            if kind is not None:
                move[f"memory{fresh}_kind"] = kind
            moves.append(move)
        return moves + [{name: other} for other in self._memories if other != m]

    def _faster_bus(self, b: int, t: int) -> list[Move]:
        moves = self._above(f"bus{b}_width") + self._above(f"bus{b}_clock")
        task = self._names[t]
        on = int(self._d.on[0, t])
        own = f"{task}_bus" if on == OWN else f"processor{on}_bus"
        near = {int(self._d.memory_bus[0, self._d.task_memory[0, t]])}
        read = [e.parent for e in self._graph.edges if e.child == t]
        near |= {int(self._d.memory_bus[0, self._d.task_memory[0, p]]) for p in read}
        moves += [self._at(own, bus) for bus in sorted(near)]
        if self._buses < self._d.bus_peak.shape[1]:
            fresh = self._buses
            moves.append({**self._at(own, fresh), **self._at(f"bus{fresh}_parent", b)})
        return [move for move in moves if move]

    # ---- power and energy

    def _power(self) -> Iterator[Bottleneck]:
        log = self._log
        window = self._window()
        for metric, weights in (("power_w", window), ("energy_j", np.ones(len(window)))):
            done = weights @ log.instructions
            of_tasks, of_memories, swapped = self._energies(done)
            total = of_tasks.sum() + of_memories.sum()
            if total <= 0.0:
                continue
            slower = metric == "power_w"
            # Data that a task moves use energy by its pace, so they count for the task as well.
            by_task = of_tasks + of_memories.sum(axis=1)
            for t in np.flatnonzero(by_task > 0.0).tolist():
                moves = self._thriftier_task(t, slower)
                share = float(by_task[t] / total)
                yield self._bottleneck(f"energy of {self._names[t]}", metric, share, moves)
            for m in self._memories:
                share = float(of_memories[:, m].sum() / total)
                # The other kind is named only where it would use less for the same data.
                is_less = swapped[m] < of_memories[:, m].sum()
                moves = self._other_kind(m) if is_less else []
                if slower:
                    moves += self._below(f"memory{m}_clock")
                yield self._bottleneck(f"energy of memory {m}", metric, share, moves)

    def _window(self) -> np.ndarray:
        """Return the share of each phase that lies in the 10 ms of highest power."""
        ends = np.cumsum(self._log.length_s)
        starts = ends - self._log.length_s
        total = float(ends[-1])
        if total <= WINDOW_S:
            return np.ones(len(ends))
        # Some best stretch begins or ends with a phase.
        at = np.clip(np.concatenate([starts, ends - WINDOW_S]), 0.0, total - WINDOW_S)[:, None]
        overlap = np.minimum(ends, at + WINDOW_S) - np.maximum(starts, at)
        weights = np.clip(overlap, 0.0, None) / np.maximum(self._log.length_s, 1e-300)
        energies = np.array([row @ self._log.energy_j for row in weights])
        return np.asarray(weights[int(np.argmax(energies))])

    def _energies(self, done: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return energy of processing, of data by memory, and of memories of the other kind.

        Args:
          done: (T,) instructions of each task that are counted.

        Returns:
          (T,), (T, M) and (M,) joules.
        """
        arrays = self._arrays
        table = self._table
        banks = self._banks()
        kind = self._d.memory_kind[0]
        memory = self._d.task_memory[0]
        of_memories = np.zeros((len(done), len(banks)))
        swapped = np.zeros(len(banks))
        share = np.divide(done, arrays.work, out=np.zeros(len(done)), where=arrays.work > 0.0)
        for edge in self._graph.edges:
            m = memory[edge.parent]
            for t, column in ((edge.child, 0), (edge.parent, 1)):
                moved = edge.bytes * share[t]
                of_memories[t, m] += moved * table[kind[m], banks[m], column]
                swapped[m] += moved * table[1 - kind[m], banks[m], column]
        rate = np.where(
            self._d.on[0] == OWN, arrays.accelerator_energy * self._d.unroll[0], PROCESSOR_ENERGY
        )
        return done * rate, of_memories, swapped

    def _banks(self) -> np.ndarray:
        """Return the row of each memory in CACTI's table."""
        banks = np.maximum(1, np.ceil(self._log.memory_bytes / BANK_BYTES)).astype(np.int64)
        return np.asarray(np.minimum(banks, self._table.shape[1] - 1))

    def _thriftier_task(self, t: int, slower: bool) -> list[Move]:
        task = self._names[t]
        if self._d.on[0, t] != OWN:
            return self._to_accelerator(t, thrifty=True)
        return self._below(f"{task}_unroll") + (self._below(f"{task}_clock") if slower else [])

    def _other_kind(self, m: int) -> list[Move]:
        """Return moves of a memory, or of one output in it, to the other kind."""
        name = f"memory{m}_kind"
        if name not in self._space.names:
            return []
        other = "sram" if self._design[name] == "dram" else "dram"
        moves: list[Move] = [{name: other}]
        for t in range(len(self._names)):
            if self._d.task_memory[0, t] == m:
                moves += self._to_memory(t, kind=other)[:1]
        return moves

    # ---- area and cost

    def _area(self) -> Iterator[Bottleneck]:
        table, banks = self._table, self._banks()
        kinds = self._d.memory_kind[0]
        blocks: list[tuple[str, float, list[Move], bool]] = []
        for m in self._memories:
            moves = [*self._other_kind(m)[:1], *self._merged_memory(m)]
            area = float(table[kinds[m], banks[m], 2]) * _MM2
            blocks.append((f"area of memory {m}", area, moves, bool(kinds[m])))
        arrays = self._arrays
        for t in self._graph.accelerated:
            if self._d.on[0, t] == OWN:
                task = self._names[t]
                moves = self._below(f"{task}_unroll") + self._to_processor(t)
                area = float(arrays.accelerator_area[t] * self._d.unroll[0, t]) * _MM2
                blocks.append((f"area of the accelerator of {task}", area, moves, False))
        for p in self._processors:
            ends = {self._graph.source, self._graph.sink}
            tasks = [t for t in range(len(self._names)) if self._d.on[0, t] == p]
            if not set(tasks) <= ends:
                blocks.append((f"area of processor {p}", 0.65, self._without_processor(p), False))
        for metric, kept in (
            ("area_no_dram_mm2", [b for b in blocks if not b[3]]),
            ("dram_area_mm2", [b for b in blocks if b[3]]),
            ("area_mm2", blocks),
        ):
            total = sum(area for _, area, _, _ in kept)
            for name, area, moves, _ in kept:
                if total > 0.0:
                    yield self._bottleneck(name, metric, area / total, moves)

    def _merged_memory(self, m: int) -> list[Move]:
        """Return moves of everything in a memory to another one."""
        writers = [t for t in range(len(self._names)) if self._d.task_memory[0, t] == m]
        names = [f"{self._names[t]}_memory" for t in writers if t != self._graph.sink]
        return [dict.fromkeys(names, other) for other in self._memories if other != m]

    def _without_processor(self, p: int) -> list[Move]:
        """Return moves of all tasks of a processor to accelerators, or to another processor."""
        tasks = [t for t in range(len(self._names)) if self._d.on[0, t] == p]
        own: dict[str, Any] = {}
        for t in tasks:
            for move in self._to_accelerator(t)[:1]:
                own |= move
        names = [f"{self._names[t]}_on" for t in tasks]
        others = [dict.fromkeys(names, f"p{q}") for q in self._processors if q != p]
        return [*([own] if own else []), *others]

    def _cost(self) -> Iterator[Bottleneck]:
        """Yield accelerators, whose development costs a hundred times a processor's program."""
        work = {t: self._graph.tasks[t].work for t in self._graph.accelerated}
        total = sum(work[t] for t in work if self._d.on[0, t] == OWN)
        for t in work:
            if self._d.on[0, t] == OWN and total > 0.0:
                name = f"development of the accelerator of {self._names[t]}"
                moves = self._to_processor(t)
                yield self._bottleneck(name, "development_cost", work[t] / total, moves)
