"""Arrays that the kernel reads and writes, and the numbers of its options and outputs."""

from collections import namedtuple
from typing import Any, Final, NamedTuple

import numpy as np

from archgym.simulators.soc.graph import Floats, GraphArrays, Ints

PROCESSOR_RATE: Final = 2e9
PROCESSOR_ENERGY: Final = 1.0 / 47019607843.0
PROCESSOR_AREA: Final = 6.5e-7
"""Instructions/s, J an instruction and m2 of the ARM Cortex-A53 of FARSI's library."""
WINDOW_S: Final = 0.01
"""Length of time over which FARSI averages power [s]."""
SRAM: Final = 0
DRAM: Final = 1
OWN: Final = -1
"""Value of `Designs.on` for a task on its own accelerator."""
MAX_BLOCKS: Final = 60
"""Buses and memories of one design, at most: the kernel holds sets of them in 64-bit words."""

# Columns of the kernel's result; latencies of the workloads follow.
OUTPUTS: Final = (
    "latency_s", "energy_j", "power_w",
    "sram_area_m2", "dram_area_m2", "processor_area_m2", "accelerator_area_m2",
    "cost", "phases", "processors", "accelerators", "memories", "buses",
    "processor_energy_j", "accelerator_energy_j", "sram_energy_j", "dram_energy_j",
)  # fmt: skip


class BoundBy:
    """Codes of what sets a task's rate in a phase, in `Log.bound`.

    A code is a kind times `STRIDE` plus the number of the block within its kind.
    """

    IDLE: Final = 0
    STRIDE: Final = 1024
    PE: Final = 1
    MEMORY: Final = 2
    BUS: Final = 3
    WAITING: Final = 4


class Designs(NamedTuple):
    """Designs as arrays; n designs, B buses, M memories, P processors, T tasks.

    Attributes:
      links: (n, B) int64, bit c of entry b is set where buses b and c are linked.
      bus_peak: (n, B) bytes/s in each direction.
      memory_kind: (n, M) `SRAM` or `DRAM`.
      memory_peak: (n, M) bytes/s in each direction.
      memory_bus: (n, M) bus that each memory hangs on.
      processor_bus: (n, P) bus that each processor hangs on.
      on: (n, T) processor of each task, or `OWN`.
      task_bus: (n, T) bus of the task's accelerator.
      task_memory: (n, T) memory that each task writes to.
      unroll: (n, T) unroll factor of the task's accelerator.
      clock: (n, T) clock of the task's accelerator, in units of the base clock.
    """

    links: Ints
    bus_peak: Floats
    memory_kind: Ints
    memory_peak: Floats
    memory_bus: Ints
    processor_bus: Ints
    on: Ints
    task_bus: Ints
    task_memory: Ints
    unroll: Floats
    clock: Floats


class Rules(NamedTuple):
    """Rules of the machine: one fidelity, or an idealised machine of `costs`.

    Attributes:
      shared: 0 where tasks wait for their processor; 1 where they share it; 2 where each has it
        for itself, which no machine does.
      exact_finish: Tasks end when all their work is done, and not at 99 %.
      fifo: Tasks that wait for a processor precede those that become ready later.
      exact_freeing: An output is freed when the last of its children ends.
      exact_power: Power is the highest mean over any 10 ms, and not over whole phases.
      free_buses, free_memories, free_accelerators: These never limit a rate.
      free_processor_energy: Processors use no energy.
    """

    shared: int = 0
    exact_finish: bool = False
    fifo: bool = False
    exact_freeing: bool = False
    exact_power: bool = False
    free_buses: bool = False
    free_memories: bool = False
    free_accelerators: bool = False
    free_processor_energy: bool = False


class Log(NamedTuple):
    """Phases of one design; arrays of length 0 where they are not wanted.

    Attributes:
      length_s: (T + 2,) length of each phase [s].
      energy_j: (T + 2,) energy of each phase [J].
      instructions: (T + 2, T) instructions that each task executes in each phase.
      bound: (T + 2, T) code of `BoundBy`: what sets the task's rate, or that it waits.
      task: (T, 3) start [s], end [s] and energy [J] of each task.
      memory_bytes: (M,) peak occupancy of each memory [byte].
    """

    length_s: Floats
    energy_j: Floats
    instructions: Floats
    bound: Ints
    task: Floats
    memory_bytes: Floats


# Working memory of the kernel for one design, by the kind of number and the shape: T tasks, P
# processors and tasks, B buses, M memories, H phases, Q places in a queue.
_SCRATCH: Final = {
    (np.int64, "T"): "pe pe_bus missing state running waiting slot_in slot_out pending done",
    (np.int64, "P"): "stamp",
    (np.int64, "Q"): "queue",
    (np.int64, "B"): "bus_used",
    (np.int64, "BB"): "hop",
    (np.int64, "T2B"): "in_b out_b",
    (np.float64, "T"): "left end rate slot_unit held executed task_pe",
    (np.float64, "M"): "occupied peak",
    (np.float64, "2M"): "energy_m",
    (np.float64, "T2M"): "unit_m ratio_m",
    (np.float64, "T2B"): "unit_b ratio_b",
    (np.float64, "H"): "length phase_pe phase_energy",
    (np.float64, "H2M"): "phase_bytes",
}
Scratch: Any = namedtuple("Scratch", " ".join(_SCRATCH.values()))  # type: ignore[misc]  # a table


def scratch(tasks: int, buses: int, memories: int, processors: int) -> Any:
    """Return working memory for designs of this size."""
    sizes = {"2": 2, "T": tasks, "P": processors + tasks, "B": buses, "M": memories}
    sizes |= {"H": tasks + 2, "Q": 3 * tasks}
    found = {
        name: np.zeros([sizes[axis] for axis in shape], dtype=kind)
        for (kind, shape), names in _SCRATCH.items()
        for name in names.split()
    }
    return Scratch(**found)


def empty_log(tasks: int = 0, memories: int = 0) -> Log:
    """Return a log to fill; of length 0, which the kernel leaves alone, by default."""
    phases = tasks + 2 if tasks else 0
    return Log(
        np.zeros(phases),
        np.zeros(phases),
        np.zeros((phases, tasks)),
        np.zeros((phases, tasks), dtype=np.int64),
        np.zeros((tasks, 3)),
        np.zeros(memories),
    )


def output_count(graph: GraphArrays) -> int:
    """Return the columns of a result: `OUTPUTS` and the latency of each workload."""
    return len(OUTPUTS) + len(graph.last)
