"""Traces that the kernel's tests make."""

from collections.abc import Mapping, Sequence

import numpy as np

from archgym.simulators.translation.kernel.counters import COUNTERS
from archgym.simulators.translation.kernel.prepared import prepare
from archgym.simulators.translation.kernel.run import run
from archgym.simulators.translation.layout import Memory
from archgym.simulators.translation.machine import Hardware
from archgym.traces import AccessKind, MemoryTrace

SMALL = Memory(capacity_gib=1, huge_share=0.0)
HUGE = Memory(capacity_gib=1, huge_share=1.0)
FIRST_PAGE = 0x7F000


def accesses(
    addresses: Sequence[int] | np.ndarray,
    kinds: Mapping[int, AccessKind] | None = None,
    instructions: int = 3,
    size_bytes: int = 8,
) -> MemoryTrace:
    """Loads at addresses, but for the places that `kinds` names."""
    n = len(addresses)
    kind = np.zeros(n, dtype=np.uint8)
    for place, other in (kinds or {}).items():
        kind[place] = other
    return MemoryTrace(
        instructions=np.full(n, instructions, dtype=np.uint32),
        kind=kind,
        size_bytes=np.full(n, size_bytes, dtype=np.uint16),
        address=np.asarray(addresses, dtype=np.uint64),
    )


def pages(numbers: Sequence[int], kinds: Mapping[int, AccessKind] | None = None) -> MemoryTrace:
    """Loads from pages of 4 KiB, each from its first line, numbered from `FIRST_PAGE`."""
    return accesses([(FIRST_PAGE + number) << 12 for number in numbers], kinds)


def mixed(
    n: int = 30_000, n_pages: int = 3000, seed: int = 1, fetches: float = 0.02
) -> MemoryTrace:
    """Loads from random pages, some far more often than others, and a share of fetches."""
    rng = np.random.default_rng(seed)
    page = np.minimum(rng.geometric(3.0 / n_pages, n), n_pages)
    address = ((FIRST_PAGE + page) << 12) + 8 * rng.integers(0, 512, n)
    fetched = rng.random(n) < fetches
    return accesses(address, dict.fromkeys(np.flatnonzero(fetched).tolist(), AccessKind.FETCH))


def counts(
    trace: MemoryTrace,
    hardware: Hardware,
    memory: Memory = SMALL,
    warmup_share: float = 0.0,
    *,
    only_tlbs: bool = False,
    passes: int = 1,
    joins_lines: bool = False,
) -> dict[str, int]:
    """Return the counts of a design on a trace."""
    ready = prepare(trace, memory, joins_lines=joins_lines)
    row = run(ready, hardware, warmup_share, only_tlbs=only_tlbs, passes=passes)[0]
    return dict(zip(COUNTERS, row.tolist(), strict=True))
