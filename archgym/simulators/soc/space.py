"""Design spaces of one task graph, and their designs as the kernel reads them.

A space offers fixed numbers of processors, memories and buses. Blocks that no task uses do not
exist, so a smaller system is a design of the same space. Every index vector is a system.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from archgym.simulators.kit import (
    Categorical,
    Condition,
    DesignSpace,
    Integer,
    Ordinal,
    P,
    Parameter,
    PowerOfTwo,
    unknown_name,
)
from archgym.simulators.soc.graph import CLOCK_HZ, Floats, Ints, TaskGraph, unroll_values
from archgym.simulators.soc.kernel.canonical import Columns, SocForm, columns_of
from archgym.simulators.soc.kernel.state import DRAM, OWN, Designs
from archgym.simulators.soc.machine import CLOCKS, KINDS, WIDTHS, tree_links

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
      block_clocks: Clocks of buses and memories; a single one is not a parameter.
      accelerator_clocks: Clocks of accelerators; a single one is not a parameter.
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
      machine_of: From index vectors, (n, n_parameters), to the kernel's arrays, and a reason for
        each that is not a system, (n,) int16: 0 where it is one.
      sizes: Numbers of buses, memories and processors.
      groups: Sub-systems: names of parameters that belong together.
    """

    space: DesignSpace
    machine_of: Callable[[np.ndarray], tuple[Designs, np.ndarray]]
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

    def machine_of(indices: np.ndarray) -> tuple[Designs, np.ndarray]:
        return _machine_of(space, columns, offer, indices), np.zeros(len(indices), dtype=np.int16)

    return SocSpace(space, machine_of, sizes, _groups(space, graph))


def _parameters(offer: _Offer, graph: TaskGraph) -> list[Parameter]:
    found: list[Parameter | None] = []
    clocks = offer.block_clocks
    for b in range(offer.buses):
        found += [
            _width(f"bus{b}", offer),
            _clock(f"bus{b}_clock", clocks, f"Clock of bus {b}."),
            Integer(f"bus{b}_parent", 0, b - 1, doc=f"Bus that bus {b} hangs on.") if b else None,
        ]
    for m in range(offer.memories):
        found += [
            Categorical(f"memory{m}_kind", KINDS, default="dram", doc=f"Kind of memory {m}."),
            _width(f"memory{m}", offer),
            _clock(f"memory{m}_clock", clocks, f"Clock of memory {m}."),
            _bus(f"memory{m}_bus", offer, f"Bus that memory {m} hangs on."),
        ]
    for p in range(offer.processors):
        found.append(_bus(f"processor{p}_bus", offer, f"Bus that processor {p} hangs on."))
    for t in range(len(graph.tasks)):
        found += _task_parameters(offer, graph, t)
    return [parameter for parameter in found if parameter is not None]


def _task_parameters(offer: _Offer, graph: TaskGraph, t: int) -> list[Parameter | None]:
    ip, name = graph.tasks[t].accelerator, graph.names[t]
    found: list[Parameter | None] = []
    units = (*(f"p{p}" for p in range(offer.processors)), *(("own",) if ip else ()))
    if len(units) > 1:
        doc = f"Processor of {name}, or its own accelerator."
        found.append(Categorical(f"{name}_on", units, doc=doc))
    if ip is not None:
        its = f"accelerator of {name}"
        unrolls = unroll_values(ip.iterations, offer.unrolls)
        found += [
            Ordinal(f"{name}_unroll", unrolls, doc=f"Copies of the loop body in the {its}."),
            _clock(f"{name}_clock", offer.accelerator_clocks, f"Clock of the {its}."),
            _bus(f"{name}_bus", offer, f"Bus that the {its} hangs on."),
        ]
    if t != graph.sink and offer.memories > 1:
        doc = f"Memory that {name} writes its output to."
        found.append(Integer(f"{name}_memory", 0, offer.memories - 1, doc=doc))
    return found


def _width(block: str, offer: _Offer) -> Parameter:
    name, doc = f"{block}_width", f"Width of {block[:-1]} {block[-1]}."
    if offer.widths == WIDTHS:
        low, high = WIDTHS[0], WIDTHS[-1]
        return PowerOfTwo(name, low, high, default=_DEFAULT_WIDTH, unit="bytes", doc=doc)
    return Ordinal(name, offer.widths, unit="bytes", doc=doc)


def _clock(name: str, clocks: tuple[int, ...], doc: str) -> Parameter | None:
    """Return a clock; None where there is a single one."""
    if len(clocks) == 1:
        return None
    return Ordinal(name, clocks, default=_DEFAULT_CLOCK, unit="100 MHz", doc=doc)


def _bus(name: str, offer: _Offer, doc: str) -> Parameter | None:
    """Return the bus that a block hangs on; None where there is a single one."""
    return None if offer.buses == 1 else Integer(name, 0, offer.buses - 1, doc=doc)


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


def _machine_of(space: DesignSpace, c: Columns, offer: _Offer, indices: np.ndarray) -> Designs:
    n = len(indices)

    def values(columns: Ints, absent: float) -> Floats:
        """Return values of these parameters, (n, k); `absent` where the space fixes one."""
        found = np.full((n, len(columns)), absent)
        for k, column in enumerate(columns):
            if column >= 0:
                found[:, k] = np.array(space.parameters[column].values, float)[indices[:, column]]
        return found

    def numbers(columns: Ints) -> Ints:
        """Return indices of these parameters, (n, k); 0 where the space fixes one."""
        taken = indices[:, np.maximum(columns, 0)]
        return np.ascontiguousarray(np.where(columns >= 0, taken, 0))

    clock = float(offer.block_clocks[-1])
    on = numbers(c.on)
    kinds = [KINDS.index(str(kind)) for kind in space.parameters[c.memories[0, 0]].values]
    return Designs(
        links=tree_links(numbers(c.bus_parent)),
        bus_peak=CLOCK_HZ * values(c.buses[:, 1], clock) * values(c.buses[:, 0], 0.0),
        memory_kind=np.array(kinds, dtype=np.int64)[numbers(c.memories[:, 0])],
        memory_peak=CLOCK_HZ * values(c.memories[:, 2], clock) * values(c.memories[:, 1], 0.0),
        memory_bus=numbers(c.memory_bus),
        processor_bus=numbers(c.processor_bus),
        on=np.where(on == offer.processors, OWN, on),
        task_bus=numbers(c.bus),
        task_memory=numbers(c.memory),
        unroll=values(c.accelerators[:, 0], 1.0),
        clock=values(c.accelerators[:, 1], float(offer.accelerator_clocks[-1])),
    )


# ---- The space of the published FARSIGym
#
# Its integers are indices into FARSI's list of blocks. Processing element 1 is therefore always the
# first accelerator of that list, memories are DRAM, and buses are 4 bytes wide. Most index vectors
# are not systems, and no system meets the budgets.

SLOTS: Final = 3
"""Processing elements, memories and buses, each."""
REASONS: Final = (
    "a task is on an accelerator that cannot run it",
    "a memory that is written to hangs on no bus or on two",
    "units that are used are not linked by buses",
)
# First accelerators of FARSI's lists; of other graphs the first in table order.
_FIRST: Final = ("gaussianSmoothing", "rotatorSet")
_PUBLISHED: Final = (
    # name, how many, low, high, default, doc
    ("pe_allocation", 0, 1, 0, "A processor, or the first accelerator of FARSI's list."),
    ("mem_allocation", 0, 3, 0, "DRAM of width 4 at 100, 400, 600 or 800 MHz."),
    ("bus_allocation", 0, 3, 0, "Bus of width 4 at 100, 400, 600 or 800 MHz."),
    ("pe_to_bus", 0, 2, 0, "Bus that the processing element hangs on."),
    ("bus_to_bus", -1, 2, -1, "Bus that this one is linked to; -1 for none."),
    ("bus_to_mem", -1, 2, -1, "Memory that hangs on this bus; -1 for none."),
)


def published_space(graph: TaskGraph) -> SocSpace:
    """Return the published space for a task graph."""
    parameters: list[Parameter] = []
    for name, low, high, default, doc in _PUBLISHED:
        for slot in range(SLOTS):
            # The default is one processor, one bus and one memory.
            chosen = 0 if name == "bus_to_mem" and slot == 0 else default
            parameters.append(Integer(f"{name}{slot}", low, high, default=chosen, doc=doc))
    for kind, doc in (("pe", "Processing element of"), ("mem", "Memory that is written to by")):
        parameters += [
            Integer(f"{task}_to_{kind}", 0, SLOTS - 1, doc=f"{doc} {task}.") for task in graph.names
        ]
    space = DesignSpace(
        "archgym-2023", parameters, doc=f"The published FARSIGym. Task graph: {graph.name}."
    )
    special = _first_accelerated(graph)

    def machine_of(indices: np.ndarray) -> tuple[Designs, np.ndarray]:
        return _published_machine_of(graph, special, indices)

    return SocSpace(space, machine_of, (SLOTS, SLOTS, SLOTS), {})


def _first_accelerated(graph: TaskGraph) -> int:
    for name in _FIRST:
        if name in graph.names and graph.names.index(name) in graph.accelerated:
            return graph.names.index(name)
    return graph.accelerated[0] if graph.accelerated else -1


def _published_machine_of(
    graph: TaskGraph, special: int, indices: np.ndarray
) -> tuple[Designs, np.ndarray]:
    n, n_tasks = len(indices), len(graph.tasks)
    parts = [indices[:, k * SLOTS : (k + 1) * SLOTS] for k in range(len(_PUBLISHED))]
    allocated, memory_clock, bus_clock, pe_bus = parts[:4]
    # Indices of the two that may be -1 are one more than the number they stand for.
    link, hung = parts[4] - 1, parts[5] - 1
    first = len(_PUBLISHED) * SLOTS
    slot = indices[:, first : first + n_tasks]
    memory = indices[:, first + n_tasks :]

    is_own = np.take_along_axis(allocated, slot, axis=1) == 1
    runs = ~is_own
    if special >= 0:
        runs[:, special] = True
    writes = np.ones(n_tasks, dtype=bool)
    writes[graph.sink] = False
    is_written = np.stack([(memory[:, writes] == m).any(axis=1) for m in range(SLOTS)], axis=1)
    n_hung = np.stack([(hung == m).sum(axis=1) for m in range(SLOTS)], axis=1)
    memory_bus = np.stack([(hung == m).argmax(axis=1) for m in range(SLOTS)], axis=1)
    adjacent = np.zeros((n, SLOTS, SLOTS), dtype=bool)
    rows = np.arange(n)
    for b in range(SLOTS):
        is_linked = (link[:, b] >= 0) & (link[:, b] != b)
        adjacent[rows[is_linked], b, link[is_linked, b]] = True
        adjacent[rows[is_linked], link[is_linked, b], b] = True
    task_bus = np.take_along_axis(pe_bus, slot, axis=1)
    reason = np.zeros(n, dtype=np.int16)
    reason[~_are_linked(adjacent, task_bus, np.where(is_written, memory_bus, -1))] = 3
    reason[(is_written & (n_hung != 1)).any(axis=1)] = 2
    reason[~runs.all(axis=1)] = 1
    clocks = np.array(CLOCKS, dtype=np.float64)
    links: Ints = (adjacent * (1 << np.arange(SLOTS))).sum(axis=2).astype(np.int64)
    return (
        Designs(
            links=links,
            bus_peak=CLOCK_HZ * WIDTHS[0] * clocks[bus_clock],
            memory_kind=np.full((n, SLOTS), DRAM, dtype=np.int64),
            memory_peak=CLOCK_HZ * WIDTHS[0] * clocks[memory_clock],
            memory_bus=memory_bus.astype(np.int64),
            processor_bus=np.ascontiguousarray(pe_bus),
            on=np.where(is_own, OWN, slot),
            task_bus=task_bus,
            task_memory=np.where(writes, memory, 0),
            unroll=np.ones((n, n_tasks)),
            clock=np.ones((n, n_tasks)),
        ),
        reason,
    )


def _are_linked(adjacent: np.ndarray, task_bus: np.ndarray, memory_bus: np.ndarray) -> np.ndarray:
    """Return True where all used buses reach each other, (n,).

    Args:
      adjacent: (n, buses, buses).
      task_bus: (n, tasks), bus of each task's processing element.
      memory_bus: (n, memories), bus of each memory that is written to; -1 for others.
    """
    steps = (adjacent | np.eye(SLOTS, dtype=bool)).astype(np.int64)
    reach = np.linalg.matrix_power(steps, SLOTS - 1) > 0
    from_first = reach[np.arange(len(reach)), task_bus[:, 0]]
    tasks = np.take_along_axis(from_first, task_bus, axis=1).all(axis=1)
    found = np.take_along_axis(from_first, np.maximum(memory_bus, 0), axis=1)
    return np.asarray(tasks & (found | (memory_bus < 0)).all(axis=1))
