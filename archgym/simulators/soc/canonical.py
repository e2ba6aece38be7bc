"""Canonical form of systems: blocks of one kind are interchangeable, and unused ones vanish.

Processors are numbered by the first task on each, memories by the first task that writes to each.
Buses are numbered breadth first from the bus that the first edge meets first. Links and buses that
carry nothing are dropped.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, NamedTuple, Self, final

import numpy as np

from archgym.errors import InvalidSpaceError
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
        from archgym.simulators.soc.kernel_renaming import rename

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
