"""Cycles of a design on a core.

A core with a reorder buffer has a clock in the kernel (`timing`): its cycles are counted. The other
cores are additive, similar to interval analysis:

cycles = instructions x CPI + hidden x look-ups in the L2 TLB x its latency
         + exposed x cycles that follow a miss in the L2 TLB + overlapped x cycles of data beyond L1

Report speedups only as ratios on the same trace.
"""

from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np

from archgym.errors import unknown_name
from archgym.simulators.translation.counters import COLUMN
from archgym.simulators.translation.hardware import Hardware


@final
@dataclass(frozen=True)
class Core:
    """Core with a reorder buffer, or shares of each latency that an additive core waits for."""

    cycles_per_instruction: float
    l2_tlb_exposed: float = 0.0
    miss_exposed: float = 0.0
    data_exposed: float = 0.0
    overlaps_walks: bool = False
    """True if misses of the L2 TLB overlap within the workload's parallelism and the walkers."""
    reorder_entries: int = 0
    """Instructions of the reorder buffer; 0 for an additive core."""

    @property
    def has_parallelism(self) -> bool:
        """True if the workload's parallel misses have an effect."""
        return self.overlaps_walks or self.reorder_entries > 0


CORES: Final = {
    # Four instructions wide at 0.4 cycles each (chosen), and the reorder buffer of the public
    # Victima artifact. Nothing of its timing is fitted.
    "out-of-order": Core(0.4, reorder_entries=224),
    # chosen: exposures that were the default before version 1.
    "additive": Core(0.4, 0.1, 0.5, 0.25),
    # A miss is exposed unless another one in the reorder window covers it.
    "window": Core(0.4, 0.1, 1.0, 0.25, overlaps_walks=True),
    # Nothing overlaps. Gains are not always larger, since the core waits for data too.
    "in-order": Core(1.0, 1.0, 1.0, 1.0),
}


@final
@dataclass(frozen=True)
class Cycles:
    """Cycles of one run by cause.

    On a core with a reorder buffer, `misses` are the cycles in which the oldest instruction waits
    for a translation, `l2_tlb` is 0, and `data` is the rest.
    """

    instructions: float
    l2_tlb: float
    misses: float
    data: float

    @property
    def total(self) -> float:
        """Total cycles."""
        return self.instructions + self.l2_tlb + self.misses + self.data

    @property
    def translation(self) -> float:
        """Cycles of the L2 TLB and of its misses."""
        return self.l2_tlb + self.misses


def core_named(name: str) -> Core:
    """Return the core with this name.

    Raises:
      UnknownNameError: No core has this name.
    """
    if name not in CORES:
        raise unknown_name("core", name, CORES)
    return CORES[name]


def on_core(hardware: Hardware, core: Core) -> Hardware:
    """Return the hardware with what the kernel needs to know of a core."""
    return replace(
        hardware,
        reorder_entries=core.reorder_entries,
        dispatch_cycles=core.cycles_per_instruction,
    )


def count_cycles(hardware: Hardware, counters: np.ndarray, core: Core) -> Cycles:
    """Return the cycles of a design from its counters, (n_counters,) int64, on a core."""

    def count(name: str) -> int:
        return int(counters[COLUMN[name]])

    dispatched = core.cycles_per_instruction * count("instructions")
    if core.reorder_entries:
        total = count("core_cycles")
        stalled = min(count("translation_stall_cycles"), total)
        busy = min(dispatched, total - stalled)
        return Cycles(busy, 0.0, stalled, total - stalled - busy)
    is_perfect = hardware.mechanism == "perfect" or hardware.free_l2_tlb
    lookups = 0 if is_perfect else count("l2_hits") + count("l2_misses")
    return Cycles(
        dispatched,
        core.l2_tlb_exposed * lookups * hardware.l2_cycles,
        core.miss_exposed * count("exposed_miss_cycles"),
        core.data_exposed * count("data_cycles"),
    )
