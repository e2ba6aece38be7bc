"""Canonical form of systems: blocks of one kind are interchangeable, and unused ones vanish.

Processors are numbered by the first task on each, memories by the first task that writes to each.
Buses are numbered breadth first from the bus that the first edge meets first. Links and buses that
carry nothing are dropped.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, NamedTuple, Self, final

import numpy as np

from archgym.errors import InvalidSpaceError
from archgym.runtime.kernels import compiled, entry_point
from archgym.simulators.soc.graph import TaskGraph
from archgym.simulators.soc.state import Ints
from archgym.spaces.space import DesignSpace
from archgym.spaces.symmetry import CanonicalForm, register_canonical_form

__all__ = ["Columns", "SocForm", "columns_of"]

# chosen: far more than any space has; a declaration read from a file must not ask for gigabytes.
_MOST: Final = 1000


class Columns(NamedTuple):
    """Column of each parameter in the index vector; -1 where the space fixes its value."""

    bus_width: Ints
    bus_clock: Ints
    bus_parent: Ints
    memory_kind: Ints
    memory_width: Ints
    memory_clock: Ints
    memory_bus: Ints
    processor_bus: Ints
    on: Ints
    unroll: Ints
    clock: Ints
    bus: Ints
    memory: Ints


def columns_of(
    names: tuple[str, ...], buses: int, memories: int, processors: int, tasks: tuple[str, ...]
) -> Columns:
    """Return the columns of a space with these parameters."""
    place = {name: column for column, name in enumerate(names)}

    def find(parts: list[str]) -> Ints:
        return np.array([place.get(part, -1) for part in parts], dtype=np.int64)

    def blocks(kind: str, n: int, field: str) -> Ints:
        return find([f"{kind}{k}_{field}" for k in range(n)])

    return Columns(
        blocks("bus", buses, "width"),
        blocks("bus", buses, "clock"),
        blocks("bus", buses, "parent"),
        blocks("memory", memories, "kind"),
        blocks("memory", memories, "width"),
        blocks("memory", memories, "clock"),
        blocks("memory", memories, "bus"),
        blocks("processor", processors, "bus"),
        *(
            find([f"{task}_{field}" for task in tasks])
            for field in ("on", "unroll", "clock", "bus", "memory")
        ),
    )


@final
@register_canonical_form
class SocForm(CanonicalForm):
    """Canonical form of the systems of one space and task graph."""

    name: ClassVar[str] = "soc"

    def __init__(
        self,
        buses: int,
        memories: int,
        processors: int,
        tasks: tuple[str, ...],
        edges: tuple[tuple[int, int], ...],
    ) -> None:
        """Set up the form.

        Args:
          buses, memories, processors: Blocks that the space offers.
          tasks: Names of the tasks in table order.
          edges: Parent and child of each edge in file order.
        """
        self._sizes = (buses, memories, processors)
        self._tasks = tasks
        self._edges = edges
        self._parent = np.array([parent for parent, _ in edges], dtype=np.int64)
        self._child = np.array([child for _, child in edges], dtype=np.int64)
        self._columns: dict[tuple[str, ...], Columns] = {}

    @classmethod
    def of(cls, graph: TaskGraph, buses: int, memories: int, processors: int) -> Self:
        """Return the form of a graph's systems."""
        edges = tuple((edge.parent, edge.child) for edge in graph.edges)
        return cls(buses, memories, processors, graph.names, edges)

    def canonical(self, space: DesignSpace, indices: np.ndarray) -> np.ndarray:
        """Return the canonical forms, (n, n_parameters) int64."""
        return self._apply(space, indices)[0]

    def active(self, space: DesignSpace, indices: np.ndarray) -> np.ndarray:
        """Return True where a parameter changes the system, (n, n_parameters) bool."""
        return self._apply(space, indices)[1]

    def _apply(self, space: DesignSpace, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        columns = self._columns.get(space.names)
        if columns is None:
            columns = columns_of(space.names, *self._sizes, self._tasks)
            self._columns[space.names] = columns
        indices = np.ascontiguousarray(indices, dtype=np.int64)
        canonical = np.tile(space.default_indices, (len(indices), 1))
        active = np.ones(indices.shape, dtype=np.bool_)
        n_buses, n_memories, n_processors = self._sizes
        work = np.zeros((8, max(n_buses, n_memories, n_processors, 1)), dtype=np.int64)
        rename(
            columns,
            self._parent,
            self._child,
            indices,
            work,
            np.zeros((3, n_buses, n_buses), dtype=np.int64),
            canonical,
            active,
        )
        return canonical, active

    def to_json(self) -> dict[str, Any]:
        """Return the blocks and the graph."""
        buses, memories, processors = self._sizes
        return {
            "buses": buses,
            "memories": memories,
            "processors": processors,
            "tasks": list(self._tasks),
            "edges": [list(edge) for edge in self._edges],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the form from what `to_json` gave.

        Raises:
          InvalidSpaceError: `data` is something else.
        """
        sizes = [data.get(key) for key in ("buses", "memories", "processors")]
        tasks, edges = data.get("tasks"), data.get("edges")
        fits = (
            all(type(n) is int and 0 < n <= _MOST for n in sizes)
            and isinstance(tasks, list)
            and 0 < len(tasks) <= _MOST
            and all(isinstance(name, str) for name in tasks)
            and isinstance(edges, list)
            and all(
                isinstance(edge, list)
                and len(edge) == 2
                and all(type(t) is int and 0 <= t < len(tasks) for t in edge)
                for edge in edges
            )
        )
        if not fits:
            raise InvalidSpaceError(
                "The canonical form of systems needs numbers of blocks, tasks and edges; got "
                f"{sorted(data)!r}."
            )
        buses, memories, processors = (int(str(n)) for n in sizes)
        return cls(
            buses,
            memories,
            processors,
            tuple(str(name) for name in tasks or ()),
            tuple((int(edge[0]), int(edge[1])) for edge in edges or ()),
        )


@compiled
def _value(indices: Any, row: Any, column: Any) -> int:
    return indices[row, column] if column >= 0 else 0


@compiled
def _move(indices: Any, row: Any, column: Any, canonical: Any, target: Any) -> None:
    if column >= 0 and target >= 0:
        canonical[row, target] = indices[row, column]


@compiled
def _put(canonical: Any, row: Any, column: Any, value: Any) -> None:
    if column >= 0:
        canonical[row, column] = value


@entry_point(seconds=8.0)
def rename(
    c: Any,
    parent: Any,
    child: Any,
    indices: Any,
    work: Any,
    maps: Any,
    canonical: Any,
    active: Any,
) -> None:
    """Fill canonical forms and active parameters of designs.

    Args:
      c: `Columns`.
      parent, child: (E,) tasks of each edge.
      indices: (n, n_parameters), inactive parameters at their defaults.
      work: (8, max blocks) working memory.
      maps: (3, B, B) working memory: next hops, used links, and depth.
      canonical: (n, n_parameters), filled; it holds the default design before.
      active: (n, n_parameters), filled; it is True before.
    """
    n_buses = c.bus_width.shape[0]
    n_memories = c.memory_kind.shape[0]
    n_processors = c.processor_bus.shape[0]
    n_tasks = c.on.shape[0]
    new_processor, new_memory, new_bus, met = work[0], work[1], work[2], work[3]
    queue, rank, parent_of = work[4], work[5], work[6]
    hop, used = maps[0], maps[1]
    for row in range(indices.shape[0]):
        new_processor[:] = -1
        new_memory[:] = -1
        new_bus[:] = -1
        rank[:] = -1
        used[:] = 0
        # 1, 2: processors and memories by first use. Every parent of an edge writes.
        found = 0
        for t in range(n_tasks):
            on = _value(indices, row, c.on[t])
            if on < n_processors and new_processor[on] < 0:
                new_processor[on] = found
                found += 1
        found = 0
        for t in range(n_tasks):
            if c.memory[t] < 0:
                continue
            m = indices[row, c.memory[t]]
            if new_memory[m] < 0:
                new_memory[m] = found
                found += 1
        if found == 0:
            # The space has one memory, to which everything is written.
            new_memory[0] = 0
        # 3: buses and links in the order in which edges meet them.
        _hops(indices, row, c, hop)
        n_met = 0
        for e in range(parent.shape[0]):
            m = _value(indices, row, c.memory[parent[e]])
            target = _value(indices, row, c.memory_bus[m])
            for end in range(2):
                t = parent[e] if end == 0 else child[e]
                on = _value(indices, row, c.on[t])
                if on < n_processors:
                    b = _value(indices, row, c.processor_bus[on])
                else:
                    b = _value(indices, row, c.bus[t])
                while True:
                    if rank[b] < 0:
                        rank[b] = n_met
                        met[n_met] = b
                        n_met += 1
                    if b == target:
                        break
                    following = hop[b, target]
                    used[b, following] = 1
                    used[following, b] = 1
                    b = following
        # 4: breadth first from the first bus, neighbours in the order in which they were met.
        queue[0] = met[0]
        new_bus[met[0]] = 0
        parent_of[met[0]] = 0
        n_named = 1
        head = 0
        while head < n_named:
            b = queue[head]
            head += 1
            for k in range(n_met):
                near = met[k]
                if used[b, near] and new_bus[near] < 0:
                    new_bus[near] = n_named
                    parent_of[near] = new_bus[b]
                    queue[n_named] = near
                    n_named += 1
        # 5: everything under its new name.
        for b in range(n_buses):
            is_used = new_bus[b] >= 0
            if is_used:
                to = new_bus[b]
                _move(indices, row, c.bus_width[b], canonical, c.bus_width[to])
                _move(indices, row, c.bus_clock[b], canonical, c.bus_clock[to])
                _put(canonical, row, c.bus_parent[to], parent_of[b])
            else:
                _put(active, row, c.bus_width[b], False)
                _put(active, row, c.bus_clock[b], False)
            if c.bus_parent[b] >= 0 and not used[b, indices[row, c.bus_parent[b]]]:
                active[row, c.bus_parent[b]] = False
        for m in range(n_memories):
            to = new_memory[m]
            if to >= 0:
                _move(indices, row, c.memory_kind[m], canonical, c.memory_kind[to])
                _move(indices, row, c.memory_width[m], canonical, c.memory_width[to])
                _move(indices, row, c.memory_clock[m], canonical, c.memory_clock[to])
                bus = new_bus[_value(indices, row, c.memory_bus[m])]
                _put(canonical, row, c.memory_bus[to], bus)
            else:
                _put(active, row, c.memory_kind[m], False)
                _put(active, row, c.memory_width[m], False)
                _put(active, row, c.memory_clock[m], False)
                _put(active, row, c.memory_bus[m], False)
        for p in range(n_processors):
            to = new_processor[p]
            if to >= 0:
                bus = new_bus[_value(indices, row, c.processor_bus[p])]
                _put(canonical, row, c.processor_bus[to], bus)
            else:
                _put(active, row, c.processor_bus[p], False)
        for t in range(n_tasks):
            on = _value(indices, row, c.on[t])
            if on < n_processors:
                _put(canonical, row, c.on[t], new_processor[on])
            else:
                _put(canonical, row, c.on[t], on)
                _move(indices, row, c.unroll[t], canonical, c.unroll[t])
                _move(indices, row, c.clock[t], canonical, c.clock[t])
                _put(canonical, row, c.bus[t], new_bus[_value(indices, row, c.bus[t])])
            if c.memory[t] >= 0:
                canonical[row, c.memory[t]] = new_memory[indices[row, c.memory[t]]]


@compiled
def _hops(indices: Any, row: Any, c: Any, hop: Any) -> None:
    """Fill `hop`: the bus after b on the way to another, in the tree of parents."""
    n = hop.shape[0]
    for target in range(n):
        for b in range(n):
            # Upwards, unless the target hangs below.
            hop[b, target] = _value(indices, row, c.bus_parent[b])
        # From the target up, each ancestor leads down again.
        below = target
        b = target
        while b > 0:
            b = _value(indices, row, c.bus_parent[b])
            hop[b, target] = below
            below = b
        hop[target, target] = target
