"""Whole replays of events against expert caches; compiled."""

from typing import Any

import numpy.typing as npt

from archgym.simulators.kit.kernels import entry_point
from archgym.simulators.moe.kernel.cache_kernel import begin_event, end_event, fill_by_priority
from archgym.simulators.moe.kernel.caches import BELADY, STATIC, CacheState

Array = npt.NDArray[Any]


@entry_point(seconds=6)
def replay(
    cache: CacheState,
    policy: int,
    admission: int,
    layers: Array,
    cycles: Array,
    offsets: Array,
    blocks: Array,
    future: Array,
    missed: Array,
    misses: Array,
) -> None:
    """Replay events against a cache.

    Args:
      cache: A `CacheState`, changed.
      policy: Code of the policy; `static` keeps what `priority` likes most from the start.
      admission: Code of the admission.
      layers: (n_events,) int64.
      cycles: (n_events,) int64, never falling.
      offsets: (n_events + 1,) int64.
      blocks: (n_uses,) int32, the sets after each other.
      future: (n_uses,) int64, of `next_uses`; empty if the policy is not `belady`.
      missed: Scratch, as long as the largest set, int32.
      misses: (n_events,) int64, written.
    """
    if policy == STATIC:
        fill_by_priority(cache, cache.resident.shape[0] // cache.bucket.shape[0])
    for event in range(layers.shape[0]):
        low, high = offsets[event], offsets[event + 1]
        wanted = blocks[low:high]
        n_missed = begin_event(cache, wanted, high - low, cycles[event], missed)
        misses[event] = n_missed
        if policy == STATIC:
            continue
        if policy == BELADY:
            for place in range(low, high):
                cache.next_use[blocks[place]] = future[place]
        end_event(cache, policy, admission, cache.bucket[layers[event]], missed, n_missed)
