"""The space of the published ArchGym's FARSIGym, for comparison.

Its integers are indices into FARSI's list of blocks. Processing element 1 is therefore always
the first accelerator of that list, memories are DRAM, and buses are 4 bytes wide. Most index
vectors are not systems, and no system meets the budgets.
"""

from typing import Final

import numpy as np

from archgym.simulators.soc.blocks import CLOCKS, WIDTHS
from archgym.simulators.soc.graph import TaskGraph
from archgym.simulators.soc.space import SocSpace
from archgym.simulators.soc.state import CLOCK_HZ, DRAM, OWN, Designs, Ints
from archgym.spaces.parameter import Integer, Parameter
from archgym.spaces.space import DesignSpace

SLOTS: Final = 3
"""Processing elements, memories and buses, each."""
REASONS: Final = (
    "a task is on an accelerator that cannot run it",
    "a memory that is written to hangs on no bus or on two",
    "units that are used are not linked by buses",
)
# First accelerators of FARSI's lists; of other graphs the first in table order.
_FIRST: Final = ("gaussianSmoothing", "rotatorSet")
_GROUPS: Final = (
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
    for name, low, high, default, doc in _GROUPS:
        for slot in range(SLOTS):
            # The default is one processor, one bus and one memory.
            chosen = 0 if name == "bus_to_mem" and slot == 0 else default
            parameters.append(
                Integer(name=f"{name}{slot}", low=low, high=high, default=chosen, doc=doc)
            )
    for kind, doc in (("pe", "Processing element of"), ("mem", "Memory that is written to by")):
        parameters += [
            Integer(name=f"{task}_to_{kind}", low=0, high=SLOTS - 1, doc=f"{doc} {task}.")
            for task in graph.names
        ]
    space = DesignSpace(
        "archgym-2023", parameters, doc=f"The published FARSIGym. Task graph: {graph.name}."
    )
    special = _first_accelerated(graph)

    def decode(indices: np.ndarray) -> tuple[Designs, np.ndarray]:
        return _decode(graph, special, indices)

    return SocSpace(space, decode, (SLOTS, SLOTS, SLOTS), {})


def _first_accelerated(graph: TaskGraph) -> int:
    for name in _FIRST:
        if name in graph.names and graph.names.index(name) in graph.accelerated:
            return graph.names.index(name)
    return graph.accelerated[0] if graph.accelerated else -1


def _decode(graph: TaskGraph, special: int, indices: np.ndarray) -> tuple[Designs, np.ndarray]:
    n, n_tasks = len(indices), len(graph.tasks)
    parts = [indices[:, k * SLOTS : (k + 1) * SLOTS] for k in range(len(_GROUPS))]
    allocated, memory_clock, bus_clock, pe_bus = parts[:4]
    # Indices of the two that may be -1 are one more than the number they stand for.
    link, hung = parts[4] - 1, parts[5] - 1
    first = len(_GROUPS) * SLOTS
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
    reason[~_is_linked(adjacent, task_bus, np.where(is_written, memory_bus, -1))] = 3
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


def _is_linked(adjacent: np.ndarray, task_bus: np.ndarray, memory_bus: np.ndarray) -> np.ndarray:
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
