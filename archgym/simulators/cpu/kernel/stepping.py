"""Prefetchers that change between the parts of a run."""

from collections.abc import Mapping
from typing import Final

from archgym.simulators.cpu.kernel import layout as lay
from archgym.simulators.cpu.kernel.layout import Ints

SWITCHABLE: Final[Mapping[str, int]] = {
    "l1i_prefetcher": lay.L1I,
    "l1d_prefetcher": lay.L1D,
    "l2_prefetcher": lay.L2C,
}
"""Cache of each parameter that may change during a run."""
STRIDES: Final = (lay.L1D, lay.L2C)
"""Caches with room for the table of the stride prefetcher, whatever theirs is."""


def switch_prefetchers(state: Ints, wanted: Mapping[int, int], now: int) -> None:
    """Choose the prefetchers of a core from the next cycle on.

    A prefetcher that is off sees nothing, so that its table is that of before when it is on again.
    Prefetches that were queued, and a look-ahead that has begun, still come.

    Args:
      state: State of the core, changed.
      wanted: Number of the prefetcher by cache.
      now: Last cycle that ran.
    """
    for component, number in wanted.items():
        place = lay.CACHES + lay.CACHE_SIZE * component + lay.K_PREFETCHER
        if state[place] != number:
            state[place] = number
            # A cache that has refused look-ups shows them to its prefetcher in every cycle.
            state[lay.WAKE + component] = now
