"""The library of blocks: CACTI's memories, and designs as explicit lists of blocks."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final, final

import numpy as np

from archgym.errors import FileFormatError, InvalidDesignError
from archgym.simulators.soc.graph import ENERGY_SCALE, TaskGraph
from archgym.simulators.soc.state import CLOCK_HZ, KINDS, MAX_BLOCKS, OWN, Designs, Floats

__all__ = [
    "CLOCKS",
    "WIDTHS",
    "Bus",
    "Memory",
    "Soc",
    "Unit",
    "cacti",
    "designs_of",
    "read_cacti",
    "tree_links",
]

WIDTHS: Final = (4, 8, 16, 32, 64, 128)
"""Widths of buses and memories that FARSI's library has [byte]."""
CLOCKS: Final = (1, 4, 6, 8)
"""Clocks of buses, memories and accelerators, in units of 100 MHz."""
# FARSI scales areas of memories from CACTI's 40 nm to the target node.
_AREA_SCALE: Final = 0.07
# CACTI's energies are for 16 bytes.
_ACCESS_BYTES: Final = 16.0
# FARSI sizes memories in multiples of this.
_BANK_BYTES: Final = 256_000


@final
@dataclass(frozen=True)
class Bus:
    """A bus; bus 0 has the parent -1, others hang on one with a smaller number."""

    width: float
    clock: float
    parent: int


@final
@dataclass(frozen=True)
class Memory:
    """A memory, as large as what it holds; `kind` is `sram` or `dram`."""

    kind: str
    width: float
    clock: float
    bus: int


@final
@dataclass(frozen=True)
class Unit:
    """An accelerator of one task."""

    unroll: float
    clock: float
    bus: int


@final
@dataclass(frozen=True)
class Soc:
    """A system on a chip with the tasks that run on it.

    Attributes:
      buses, memories: Blocks by number.
      processors: Bus of each processor.
      accelerators: Accelerator of each task that has one, by the task's index.
      on: Processor of each task, or -1 for its accelerator.
      memory: Memory that each task writes its output to.
    """

    buses: tuple[Bus, ...]
    memories: tuple[Memory, ...]
    processors: tuple[int, ...]
    accelerators: Mapping[int, Unit]
    on: tuple[int, ...]
    memory: tuple[int, ...]

    def check(self, graph: TaskGraph) -> None:
        """Refuse a system whose numbers do not fit together.

        Raises:
          InvalidDesignError: Says what does not fit.
        """
        n_b, n_m, n_p = len(self.buses), len(self.memories), len(self.processors)
        if not n_b or not n_m or n_b + n_m > MAX_BLOCKS:
            raise InvalidDesignError(
                f"A system must have a bus and a memory, at most {MAX_BLOCKS} of both; got "
                f"{n_b} and {n_m}."
            )
        buses = [*self.processors, *(u.bus for u in self.accelerators.values())]
        buses += [memory.bus for memory in self.memories]
        for b, bus in enumerate(self.buses):
            if not (bus.parent == -1 if b == 0 else 0 <= bus.parent < b):
                raise InvalidDesignError(
                    f"Bus {b} must hang on a bus with a smaller number; got {bus.parent}."
                )
        if any(not 0 <= b < n_b for b in buses):
            raise InvalidDesignError(f"Blocks must be on buses 0 to {n_b - 1}.")
        blocks: list[Bus | Memory] = [*self.buses, *self.memories]
        peaks = [(block.width, block.clock) for block in blocks]
        if any(not (0 < w < np.inf and 0 < f < np.inf) for w, f in peaks):
            raise InvalidDesignError("Widths and clocks must be finite numbers above 0.")
        if any(memory.kind not in KINDS for memory in self.memories):
            raise InvalidDesignError(f"Kinds of memory must be {' or '.join(KINDS)}.")
        if len(self.on) != len(graph.tasks) or len(self.memory) != len(graph.tasks):
            raise InvalidDesignError(f"A system must place all {len(graph.tasks)} tasks.")
        for t, task in enumerate(graph.tasks):
            if self.on[t] == OWN:
                unit = self.accelerators.get(t)
                if unit is None or task.accelerator is None:
                    raise InvalidDesignError(f"Task {task.name} must be on a processor.")
                if not (0 < unit.unroll < np.inf and 0 < unit.clock < np.inf):
                    raise InvalidDesignError(f"The accelerator of {task.name} must run.")
            elif not 0 <= self.on[t] < n_p:
                raise InvalidDesignError(f"Processor of {task.name} must be 0 to {n_p - 1}.")
            if not 0 <= self.memory[t] < n_m and t != graph.sink:
                raise InvalidDesignError(f"Memory of {task.name} must be 0 to {n_m - 1}.")


def tree_links(parents: np.ndarray) -> np.ndarray:
    """Return sets of linked buses, (n, B), as bits of a number.

    Args:
      parents: (n, B), the first column is ignored.
    """
    n, n_buses = parents.shape
    links = np.zeros((n, n_buses), dtype=np.int64)
    rows = np.arange(n)
    for b in range(1, n_buses):
        links[:, b] |= np.int64(1) << parents[:, b]
        links[rows, parents[:, b]] |= np.int64(1) << b
    return links


def designs_of(graph: TaskGraph, systems: Sequence[Soc]) -> Designs:
    """Return systems of equal numbers of blocks as the kernel reads them.

    Raises:
      InvalidDesignError: A system does not fit the graph.
    """
    n_tasks = len(graph.tasks)
    for system in systems:
        system.check(graph)
    idle = Unit(1.0, 1.0, 0)
    units = [[s.accelerators.get(t, idle) for t in range(n_tasks)] for s in systems]

    def floats(rows: list[list[float]]) -> Floats:
        return np.array(rows, dtype=np.float64)

    def ints(rows: list[list[int]]) -> np.ndarray:
        # Systems of accelerators alone have no processor, and the array still two dimensions.
        return np.array(rows, dtype=np.int64).reshape(len(systems), -1)

    return Designs(
        links=tree_links(ints([[max(b.parent, 0) for b in s.buses] for s in systems])),
        bus_peak=floats([[CLOCK_HZ * b.clock * b.width for b in s.buses] for s in systems]),
        memory_kind=ints([[KINDS.index(m.kind) for m in s.memories] for s in systems]),
        memory_peak=floats([[CLOCK_HZ * m.clock * m.width for m in s.memories] for s in systems]),
        memory_bus=ints([[m.bus for m in s.memories] for s in systems]),
        processor_bus=ints([list(s.processors) for s in systems]),
        on=ints([list(s.on) for s in systems]),
        task_bus=ints([[unit.bus for unit in row] for row in units]),
        task_memory=ints(
            [[0 if t == graph.sink else s.memory[t] for t in range(n_tasks)] for s in systems]
        ),
        unroll=floats([[unit.unroll for unit in row] for row in units]),
        clock=floats([[unit.clock for unit in row] for row in units]),
    )


@cache
def cacti() -> Floats:
    """Return J/byte read, J/byte written and m2 by kind and banks of 256,000 bytes, (2, n, 3).

    Sizes that the table leaves out are interpolated linearly; banks 0 repeats 1. Sizes of SRAM
    above its last continue its last two.
    """
    file = resources.files("archgym.simulators.soc").joinpath("data/cacti.csv")
    with resources.as_file(file) as path:
        return read_cacti(path)


def read_cacti(path: Path) -> Floats:
    """Return a table of memories as `cacti` does.

    Args:
      path: CSV with `subtype`, `bytes`, `read_nj`, `write_nj` (for 16 bytes) and `area_mm2`.

    Raises:
      FileFormatError: A line is not as it must be.
    """
    rows: dict[str, list[tuple[float, ...]]] = {kind: [] for kind in KINDS}
    with path.open("r", encoding="utf-8") as lines:
        for number, row in enumerate(csv.DictReader(lines), start=2):
            try:
                banks = float(row["bytes"]) / _BANK_BYTES
                values = tuple(float(row[name]) for name in ("read_nj", "write_nj", "area_mm2"))
                rows[row["subtype"]].append((banks, *values))
            except (KeyError, TypeError, ValueError) as error:
                raise FileFormatError(
                    path, number, f"a line must hold a memory; {error}", "Copy the file again"
                ) from None
    if any(len(sizes) < 2 for sizes in rows.values()):
        raise FileFormatError(path, None, "the table must have two sizes of SRAM and of DRAM")
    n = 1 + int(max(sizes[-1][0] for sizes in rows.values()))
    table = np.empty((len(KINDS), n, 3))
    per_byte = 1e-9 / _ACCESS_BYTES * ENERGY_SCALE
    for kind, sizes in enumerate(rows.values()):
        listed = np.array(sizes)
        for column, factor in enumerate((per_byte, per_byte, 1e-6 * _AREA_SCALE)):
            table[kind, :, column] = factor * _continued(listed[:, 0], listed[:, 1 + column], n)
    table.flags.writeable = False
    return table


def _continued(listed: Floats, values: Floats, n: int) -> Floats:
    """Return values at 0 to n - 1: interpolated, and beyond the last with the last two."""
    at = np.arange(n)
    found: Floats = np.interp(at, listed, values)
    slope = (values[-1] - values[-2]) / (listed[-1] - listed[-2])
    beyond = at > listed[-1]
    found[beyond] = values[-1] + slope * (at[beyond] - listed[-1])
    return found
