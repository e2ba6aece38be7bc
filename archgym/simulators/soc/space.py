"""Design spaces of one task graph, and their designs as the kernel reads them.

A space offers fixed numbers of processors, memories and buses. Blocks that no task uses do not
exist, so a smaller system is a design of the same space. Every index vector is a system.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from archgym.errors import unknown_name
from archgym.simulators.soc.blocks import CLOCKS, WIDTHS, tree_links
from archgym.simulators.soc.canonical import Columns, SocForm, columns_of
from archgym.simulators.soc.graph import TaskGraph, unroll_values
from archgym.simulators.soc.state import CLOCK_HZ, KINDS, OWN, Designs, Floats, Ints
from archgym.spaces.design import Condition
from archgym.spaces.expression import P
from archgym.spaces.parameter import Categorical, Integer, Ordinal, Parameter, PowerOfTwo
from archgym.spaces.space import DesignSpace

__all__ = ["SPACE_NAMES", "SocSpace", "soc_space"]

SPACE_NAMES: Final = ("default", "small", "table", "farsi", "archgym-2023")
# chosen: six values span a loop of any length in steps of at most a factor of eleven; FARSI's
# longest list has 17.
_MOST_UNROLLS: Final = 6
_TABLE_UNROLLS: Final = 3
_TABLE_WIDTHS: Final = (8, 32, 128)
# Blocks that a task moves to have these unless told otherwise. chosen: FARSI's model charges
# nothing for width and clock of buses, so a new block should not be a bottleneck by default.
_DEFAULT_WIDTH: Final = 64
_DEFAULT_CLOCK: Final = 8


@final
@dataclass(frozen=True)
class _Offer:
    """Blocks that a space offers.

    Attributes:
      buses, memories, processors: Numbers of blocks.
      widths: Widths of buses and memories [byte].
      block_clocks: Clocks of buses and memories; a single one is no parameter.
      accelerator_clocks: Clocks of accelerators; a single one is no parameter.
      unrolls: Unroll factors of each task, at most; None for all.
      doc: One line.
    """

    buses: int
    memories: int
    processors: int
    widths: tuple[int, ...]
    block_clocks: tuple[int, ...]
    accelerator_clocks: tuple[int, ...]
    unrolls: int | None
    doc: str


_FASTEST: Final = (CLOCKS[-1],)
_OFFERS: Final = {
    "default": _Offer(
        4, 4, 3, WIDTHS, CLOCKS, CLOCKS, _MOST_UNROLLS, "Four buses, four memories, three CPUs."
    ),
    "small": _Offer(
        1, 2, 1, WIDTHS, _FASTEST, CLOCKS, _MOST_UNROLLS, "One bus, two memories, one CPU."
    ),
    "table": _Offer(
        1, 1, 1, _TABLE_WIDTHS, _FASTEST, _FASTEST, _TABLE_UNROLLS, "One bus, memory and CPU."
    ),
    "farsi": _Offer(4, 4, 3, WIDTHS, CLOCKS, CLOCKS, None, "All blocks that FARSI chooses from."),
}


@final
@dataclass(frozen=True)
class SocSpace:
    """A design space and how its index vectors become systems.

    Attributes:
      space: The parameters.
      decode: From index vectors, (n, n_parameters), to the kernel's arrays, and a reason for each
        that is no system, (n,) int16: 0 where it is one.
      sizes: Numbers of buses, memories and processors.
      groups: Sub-systems: names of parameters that belong together.
    """

    space: DesignSpace
    decode: Callable[[np.ndarray], tuple[Designs, np.ndarray]]
    sizes: tuple[int, int, int]
    groups: dict[str, tuple[str, ...]]


def soc_space(name: str, graph: TaskGraph) -> SocSpace:
    """Return the space with this name for a task graph.

    Raises:
      UnknownNameError: There is no such space.
    """
    if name not in _OFFERS:
        raise unknown_name("space", name, SPACE_NAMES)
    offer = _OFFERS[name]
    parameters = _parameters(offer, graph)
    names = {parameter.name for parameter in parameters}
    conditions = [
        Condition(f"{task}_{field}", P(f"{task}_on") == "own")
        for task in graph.names
        for field in ("unroll", "clock", "bus")
        if f"{task}_{field}" in names
    ]
    has_twins = max(offer.buses, offer.memories, offer.processors) > 1
    form = SocForm.of(graph, offer.buses, offer.memories, offer.processors)
    space = DesignSpace(
        name,
        parameters,
        conditions=conditions,
        doc=f"{offer.doc} Task graph: {graph.name}.",
        canonical_form=form if has_twins else None,
    )
    sizes = (offer.buses, offer.memories, offer.processors)
    columns = columns_of(space.names, *sizes, graph.names)

    def decode(indices: np.ndarray) -> tuple[Designs, np.ndarray]:
        return _decode(space, columns, offer, indices), np.zeros(len(indices), dtype=np.int16)

    return SocSpace(space, decode, sizes, _groups(space, graph))


def _parameters(offer: _Offer, graph: TaskGraph) -> list[Parameter]:
    found: list[Parameter] = []
    for b in range(offer.buses):
        found.append(_width(f"bus{b}_width", offer, f"Width of bus {b}."))
        found += _clock(f"bus{b}_clock", offer.block_clocks, f"Clock of bus {b}.")
        if b > 0:
            found.append(
                Integer(name=f"bus{b}_parent", low=0, high=b - 1, doc=f"Bus that bus {b} hangs on.")
            )
    for m in range(offer.memories):
        found.append(
            Categorical(
                name=f"memory{m}_kind", choices=KINDS, default="dram", doc=f"Kind of memory {m}."
            )
        )
        found.append(_width(f"memory{m}_width", offer, f"Width of memory {m}."))
        found += _clock(f"memory{m}_clock", offer.block_clocks, f"Clock of memory {m}.")
        found += _bus(f"memory{m}_bus", offer, f"Bus that memory {m} hangs on.")
    for p in range(offer.processors):
        found += _bus(f"processor{p}_bus", offer, f"Bus that processor {p} hangs on.")
    for t in range(len(graph.tasks)):
        found += _task_parameters(offer, graph, t)
    return found


def _task_parameters(offer: _Offer, graph: TaskGraph, t: int) -> list[Parameter]:
    task = graph.tasks[t]
    found: list[Parameter] = []
    units = tuple(f"p{p}" for p in range(offer.processors))
    if task.accelerator is not None:
        units = (*units, "own")
    if len(units) > 1:
        found.append(
            Categorical(
                name=f"{task.name}_on",
                choices=units,
                doc=f"Processor of {task.name}, or its own accelerator.",
            )
        )
    if task.accelerator is not None:
        unrolls = unroll_values(task.accelerator.iterations, offer.unrolls)
        found.append(
            Ordinal(
                name=f"{task.name}_unroll",
                levels=unrolls,
                doc=f"Copies of the loop body in the accelerator of {task.name}.",
            )
        )
        found += _clock(
            f"{task.name}_clock",
            offer.accelerator_clocks,
            f"Clock of the accelerator of {task.name}.",
        )
        found += _bus(
            f"{task.name}_bus", offer, f"Bus that the accelerator of {task.name} hangs on."
        )
    if t != graph.sink and offer.memories > 1:
        found.append(
            Integer(
                name=f"{task.name}_memory",
                low=0,
                high=offer.memories - 1,
                doc=f"Memory that {task.name} writes its output to.",
            )
        )
    return found


def _width(name: str, offer: _Offer, doc: str) -> Parameter:
    if offer.widths == WIDTHS:
        return PowerOfTwo(
            name=name,
            low=WIDTHS[0],
            high=WIDTHS[-1],
            default=_DEFAULT_WIDTH,
            unit="bytes",
            doc=doc,
        )
    return Ordinal(name=name, levels=offer.widths, unit="bytes", doc=doc)


def _clock(name: str, clocks: tuple[int, ...], doc: str) -> list[Parameter]:
    if len(clocks) == 1:
        return []
    return [Ordinal(name=name, levels=clocks, default=_DEFAULT_CLOCK, unit="100 MHz", doc=doc)]


def _bus(name: str, offer: _Offer, doc: str) -> list[Parameter]:
    if offer.buses == 1:
        return []
    return [Integer(name=name, low=0, high=offer.buses - 1, doc=doc)]


def _groups(space: DesignSpace, graph: TaskGraph) -> dict[str, tuple[str, ...]]:
    """Return the parameters of the interconnect, of memories, and of processing elements."""
    groups: dict[str, list[str]] = {"buses": [], "memories": [], "units": []}
    of_tasks = {f"{task}_memory" for task in graph.names}
    placed = {f"{task}_{field}" for task in graph.names for field in ("on", "unroll", "clock")}
    for name in space.names:
        if name in of_tasks or (name.startswith("memory") and not name.endswith("_bus")):
            groups["memories"].append(name)
        elif name in placed:
            groups["units"].append(name)
        else:
            groups["buses"].append(name)
    return {name: tuple(members) for name, members in groups.items() if members}


# ---- from index vectors to the kernel


def _decode(space: DesignSpace, c: Columns, offer: _Offer, indices: np.ndarray) -> Designs:
    n = len(indices)
    n_tasks = len(c.on)

    def values(columns: Ints, absent: float) -> Floats:
        """Values of these parameters, (n, k); `absent` where the space fixes one."""
        found = np.full((n, len(columns)), absent)
        for k, column in enumerate(columns):
            if column >= 0:
                found[:, k] = _table(space.parameters[column])[indices[:, column]]
        return found

    def numbers(columns: Ints) -> Ints:
        """Indices of these parameters, (n, k); 0 where the space fixes one."""
        taken = indices[:, np.maximum(columns, 0)]
        return np.ascontiguousarray(np.where(columns >= 0, taken, 0))

    clock = float(offer.block_clocks[-1])
    on = numbers(c.on)
    kinds = [KINDS.index(str(kind)) for kind in _values(space.parameters[int(c.memory_kind[0])])]
    return Designs(
        links=tree_links(numbers(c.bus_parent)),
        bus_peak=CLOCK_HZ * values(c.bus_clock, clock) * values(c.bus_width, 0.0),
        memory_kind=np.array(kinds, dtype=np.int64)[numbers(c.memory_kind)],
        memory_peak=CLOCK_HZ * values(c.memory_clock, clock) * values(c.memory_width, 0.0),
        memory_bus=numbers(c.memory_bus),
        processor_bus=numbers(c.processor_bus),
        on=np.where(on == offer.processors, OWN, on),
        task_bus=numbers(c.bus),
        task_memory=numbers(c.memory),
        unroll=values(c.unroll, 1.0),
        clock=values(c.clock, float(offer.accelerator_clocks[-1])).reshape(n, n_tasks),
    )


def _values(parameter: Parameter) -> Sequence[object]:
    return [parameter.value(index) for index in range(parameter.size)]


def _table(parameter: Parameter) -> Floats:
    return np.array([float(str(value)) for value in _values(parameter)])
