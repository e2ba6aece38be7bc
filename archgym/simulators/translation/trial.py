"""Designs on one trace, and the figures that trends are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np

from archgym.simulators.translation.counters import COUNTERS
from archgym.simulators.translation.cycles import CORES, count_cycles
from archgym.simulators.translation.hardware import Hardware
from archgym.simulators.translation.memory import Memory
from archgym.traces import MemoryTrace

__all__ = ["Trial", "repeated", "tried"]

_COLUMN: Final = {name: place for place, name in enumerate(COUNTERS)}
_CORE: Final = CORES["out-of-order"]


@final
@dataclass(frozen=True, eq=False)
class Trial:
    """What one design did on one trace; `counters` is (n_counters,) int64."""

    hardware: Hardware
    counters: np.ndarray

    def count(self, name: str) -> int:
        """One of `COUNTERS`."""
        return int(self.counters[_COLUMN[name]])

    @property
    def cycles(self) -> float:
        """Of an out-of-order core."""
        return count_cycles(self.hardware, self.counters, _CORE).total

    @property
    def translation_percent(self) -> float:
        """Share of the cycles that translation takes."""
        return 100.0 * count_cycles(self.hardware, self.counters, _CORE).translation / self.cycles

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
        """The other's cycles over these."""
        return other.cycles / self.cycles

    def with_l2_tlb_cycles(self, cycles: int) -> "Trial":
        """The same events with another latency of the L2 TLB, on which none of them depends."""
        return Trial(replace(self.hardware, l2_cycles=cycles), self.counters)


def tried(
    trace: MemoryTrace, designs: Mapping[str, Hardware], memory: Memory, warmup_share: float = 0.3
) -> dict[str, Trial]:
    """Runs designs on a trace; the result has their names."""
    from archgym.simulators.translation.run import prepare, run

    counters = run(prepare(trace, memory), list(designs.values()), warmup_share)
    return {
        name: Trial(hardware, row)
        for (name, hardware), row in zip(designs.items(), counters, strict=True)
    }


def repeated(trace: MemoryTrace, n: int) -> MemoryTrace:
    """A trace `n` times in a row."""
    parts: Sequence[MemoryTrace] = [trace] * n
    return replace(
        trace,
        instructions=np.concatenate([part.instructions for part in parts]),
        kind=np.concatenate([part.kind for part in parts]),
        size_bytes=np.concatenate([part.size_bytes for part in parts]),
        address=np.concatenate([part.address for part in parts]),
    )
