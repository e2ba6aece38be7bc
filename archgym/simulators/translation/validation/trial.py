"""Designs on one trace, and the figures that trends are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np

from archgym.simulators.translation.counters import COUNTERS
from archgym.simulators.translation.cycles import CORES, count_cycles
from archgym.simulators.translation.hardware import Hardware
from archgym.simulators.translation.memory import Memory
from archgym.traces import MemoryTrace

__all__ = ["Trial", "tried"]

_COLUMN: Final = {name: place for place, name in enumerate(COUNTERS)}
_CORE: Final = CORES["out-of-order"]


@final
@dataclass(frozen=True, eq=False)
class Trial:
    """What one design did on one trace; `counters` is (n_counters,) int64."""

    hardware: Hardware
    counters: np.ndarray

    def count(self, name: str) -> int:
        """Return one of `COUNTERS`."""
        return int(self.counters[_COLUMN[name]])

    @property
    def cycles(self) -> float:
        """Of an out-of-order core."""
        return count_cycles(self.hardware, self.counters, _CORE).total

    @property
    def l2_tlb_mpki(self) -> float:
        """Misses of the L2 TLB in a thousand instructions."""
        return 1000.0 * self.count("l2_misses") / self.count("instructions")

    @property
    def walks(self) -> int:
        """Walks that were waited for."""
        return self.count("walks")

    @property
    def mean_walk_cycles(self) -> float:
        """Mean time of those."""
        return self.count("walk_cycles") / max(1, self.walks)

    @property
    def miss_cycles(self) -> float:
        """Mean time that follows a miss in the L2 TLB."""
        return self.count("miss_cycles") / max(1, self.count("l2_misses"))

    def speedup_over(self, other: "Trial") -> float:
        """Return the other's cycles over these."""
        return other.cycles / self.cycles

    def with_l2_tlb_cycles(self, cycles: int) -> "Trial":
        """Return same events with another latency of the L2 TLB, on which none of them depends."""
        return Trial(replace(self.hardware, l2_cycles=cycles), self.counters)


def tried(
    trace: MemoryTrace, designs: Mapping[str, Hardware], memory: Memory, passes: int = 1
) -> dict[str, Trial]:
    """Run designs on a trace; the result has their names.

    Args:
      trace: The trace.
      designs: By name.
      memory: How the trace lies in memory.
      passes: How often it runs; with more than one, the last is counted, and all of it.
    """
    from archgym.simulators.translation.run import prepare, run

    ready, hardware = prepare(trace, memory), list(designs.values())
    counters = run(ready, hardware) if passes == 1 else run(ready, hardware, 0.0, passes=passes)
    return {
        name: Trial(design, row)
        for (name, design), row in zip(designs.items(), counters, strict=True)
    }
