"""Canonical form of systems: blocks of one kind are interchangeable, and unused ones vanish.

Processors are numbered by the first task on each, memories by the first task that writes to each.
Buses are numbered breadth first from the bus that the first edge meets first. Links and buses that
carry nothing are dropped.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, NamedTuple, Self, final

import msgspec
import numpy as np

from archgym.simulators.kit import (
    CanonicalForm,
    InvalidSpaceError,
    Outline,
    Whole,
    register_canonical_form,
    typed,
)
from archgym.simulators.soc.graph import Ints, TaskGraph

# chosen: far more than any space has; a declaration read from a file must not ask for gigabytes.
_MOST: Final = 1000
_Size = Annotated[int, msgspec.Meta(ge=1, le=_MOST)]


class FormContent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of a form as a file has it.

    Attributes:
      buses, memories, processors: Blocks that the space offers.
      tasks: Names of the tasks in table order.
      edges: Parent and child of each edge in file order.
    """

    buses: _Size
    memories: _Size
    processors: _Size
    tasks: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=_MOST)]
    edges: Annotated[tuple[tuple[Whole, Whole], ...], msgspec.Meta(min_length=1)]


class Columns(NamedTuple):
    """Column of each parameter in the index vector; -1 where the space fixes its value.

    Attributes:
      buses: (B, 2), width and clock; memories: (M, 3), kind, width and clock.
      bus_parent, memory_bus, processor_bus: (B,), (M,) and (P,).
      accelerators: (T, 2), unroll factor and clock.
      on, bus, memory: (T,), place of each task, its accelerator and its output.
    """

    buses: Ints
    bus_parent: Ints
    memories: Ints
    memory_bus: Ints
    processor_bus: Ints
    accelerators: Ints
    on: Ints
    bus: Ints
    memory: Ints


def columns_of(
    names: tuple[str, ...], buses: int, memories: int, processors: int, tasks: tuple[str, ...]
) -> Columns:
    """Return the columns of a space with these parameters."""
    place = {name: column for column, name in enumerate(names)}

    def find(blocks: Sequence[str], *fields: str) -> Ints:
        return np.array([[place.get(f"{b}_{f}", -1) for f in fields] for b in blocks])

    bus, memory, processor = (
        [f"{kind}{k}" for k in range(n)]
        for kind, n in (("bus", buses), ("memory", memories), ("processor", processors))
    )
    return Columns(
        find(bus, "width", "clock"),
        find(bus, "parent")[:, 0],
        find(memory, "kind", "width", "clock"),
        find(memory, "bus")[:, 0],
        find(processor, "bus")[:, 0],
        find(tasks, "unroll", "clock"),
        *(find(tasks, field)[:, 0] for field in ("on", "bus", "memory")),
    )


@final
@register_canonical_form
class SocForm(CanonicalForm):
    """Canonical form of the systems of one space and task graph."""

    name: ClassVar[str] = "soc"

    def __init__(self, content: FormContent) -> None:
        """Set up the form of systems with these blocks, tasks and edges."""
        self._content = content
        self._ends = np.array(content.edges, dtype=np.int64)
        self._columns: dict[tuple[str, ...], Columns] = {}

    @classmethod
    def of(cls, graph: TaskGraph, buses: int, memories: int, processors: int) -> Self:
        """Return the form of a graph's systems."""
        edges = tuple((edge.parent, edge.child) for edge in graph.edges)
        return cls(FormContent(buses, memories, processors, graph.names, edges))

    def canonical(self, space: Outline, indices: np.ndarray) -> np.ndarray:
        """Return the canonical forms, (n, n_parameters) int64."""
        return self._apply(space, indices)[0]

    def active(self, space: Outline, indices: np.ndarray) -> np.ndarray:
        """Return True where a parameter changes the system, (n, n_parameters) bool."""
        return self._apply(space, indices)[1]

    def _apply(self, space: Outline, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        c = self._content
        sizes = (c.buses, c.memories, c.processors)
        if space.names not in self._columns:
            self._columns[space.names] = columns_of(space.names, *sizes, c.tasks)
        columns = self._columns[space.names]
        indices = np.ascontiguousarray(indices, dtype=np.int64)
        canonical = np.empty_like(indices)
        canonical[:] = space.default_indices
        active = np.ones(indices.shape, dtype=np.bool_)
        work = np.zeros((7, max(sizes)), dtype=np.int64)
        maps = np.zeros((2, c.buses, c.buses), dtype=np.int64)
        from archgym.simulators.soc.kernel.renaming import rename

        rename(columns, self._ends, indices, work, maps, canonical, active)
        return canonical, active

    def to_json(self) -> dict[str, Any]:
        """Return the blocks and the graph."""
        return dict(msgspec.to_builtins(self._content))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the form from what `to_json` gave.

        Raises:
          InvalidSpaceError: `data` is something else.
        """
        try:
            content = typed(dict(data), FormContent)
        except ValueError as error:
            raise InvalidSpaceError(f"The canonical form of systems is wrong: {error}.") from None
        if max(map(max, content.edges)) >= len(content.tasks):
            raise InvalidSpaceError("The canonical form of systems must join tasks that it has.")
        return cls(content)
