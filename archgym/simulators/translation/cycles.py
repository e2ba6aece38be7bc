"""Cycles of a design: an additive model similar to interval analysis, without a pipeline.

cycles = instructions x CPI + hidden x look-ups in the L2 TLB x its latency
         + exposed x cycles that follow a miss in the L2 TLB + overlapped x cycles of data beyond L1

An out-of-order core hides most of the short latency of a hit in the L2 TLB, half of a walk, and
three quarters of the latency of data. With one factor for hits and walks, a large L2 TLB of 39
cycles would lose 2 to 16 %, while the published one gains 0.8 %. Report speedups only as ratios on
the same trace.
"""

from dataclasses import dataclass
from typing import Final, final

import numpy as np

from archgym.errors import unknown_name
from archgym.simulators.translation.counters import COLUMN
from archgym.simulators.translation.hardware import Hardware

__all__ = ["CORES", "Core", "Cycles", "core_named", "count_cycles"]


@final
@dataclass(frozen=True)
class Core:
    """Shares of each latency that a core waits for."""

    cycles_per_instruction: float
    l2_tlb_exposed: float
    miss_exposed: float
    data_exposed: float
    overlaps_walks: bool = False
    """True if misses of the L2 TLB overlap within the workload's parallelism and the walkers."""


CORES: Final = {
    # chosen: four instructions wide at 0.4 cycles each; with these exposures the published speedups
    # of Victima and of a large L2 TLB agree at the same time (README).
    "out-of-order": Core(0.4, 0.1, 0.5, 0.25),
    # A miss is exposed unless another one in the reorder window covers it, so the workload's
    # parallelism and the number of page walkers have an effect.
    "window": Core(0.4, 0.1, 1.0, 0.25, overlaps_walks=True),
    # Nothing overlaps. Gains are not always larger, since the core waits for data too.
    "in-order": Core(1.0, 1.0, 1.0, 1.0),
}


@final
@dataclass(frozen=True)
class Cycles:
    """Cycles of one run by cause."""

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


def count_cycles(hardware: Hardware, counters: np.ndarray, core: Core) -> Cycles:
    """Return the cycles of a design from its counters, (n_counters,) int64, on a core."""

    def count(name: str) -> int:
        return int(counters[COLUMN[name]])

    is_perfect = hardware.mechanism == "perfect"
    lookups = 0 if is_perfect else count("l2_hits") + count("l2_misses")
    return Cycles(
        core.cycles_per_instruction * count("instructions"),
        core.l2_tlb_exposed * lookups * hardware.l2_cycles,
        core.miss_exposed * count("exposed_miss_cycles"),
        core.data_exposed * count("data_cycles"),
    )
