"""Whole replays of events against expert caches; compiled."""

from typing import Any

import numpy.typing as npt

from archgym.runtime.kernels import compiled, entry_point
from archgym.simulators.moe.kernel.cache_kernel import (
    begin_event,
    end_event,
    evict,
    fill_by_priority,
    insert,
    worst_member,
)
from archgym.simulators.moe.kernel.caches import (
    BELADY,
    BYPASS,
    CYCLE,
    EVENT,
    HITS,
    MISSES,
    NEVER,
    SCH,
    STATIC,
    CacheState,
)

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
    ahead: Array,
    missed: Array,
    misses: Array,
) -> None:
    """Replay events against a cache.

    Args:
      cache: A `CacheState`, changed. For `sch`, `next_use` starts as minus the uses of each block
        in the first events of its layer.
      policy: Code of the policy; `static` keeps what `priority` likes most from the start.
      admission: Code of the admission.
      layers: (n_events,) int64.
      cycles: (n_events,) int64, never falling.
      offsets: (n_events + 1,) int64.
      blocks: (n_uses,) int32, the sets after each other.
      future: (n_uses,) int64, of `next_uses`; empty if the policy is not `belady`.
      ahead: (n_events,) int64, the event that comes into the window of `sch` as each one leaves
        it, -1 for none; empty if the policy is another.
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
        elif policy == SCH:
            for place in range(low, high):
                cache.next_use[blocks[place]] += 1
            if ahead[event] >= 0:
                for place in range(offsets[ahead[event]], offsets[ahead[event] + 1]):
                    cache.next_use[blocks[place]] -= 1
        end_event(cache, policy, admission, cache.bucket[layers[event]], missed, n_missed)


@entry_point(seconds=3)
def replay_one_by_one(
    cache: CacheState,
    policy: int,
    admission: int,
    layers: Array,
    cycles: Array,
    offsets: Array,
    blocks: Array,
    future: Array,
) -> None:
    """Replay uses one at a time, as simulators of general caches do; what missed is admitted.

    Only `belady` with bypass passes by what is used later than everything resident.

    Args:
      cache: A `CacheState`, changed.
      policy: Code of the policy; not `sch`.
      admission: Code of the admission.
      layers: (n_events,) int64.
      cycles: (n_events,) int64.
      offsets: (n_events + 1,) int64.
      blocks: (n_uses,) int32.
      future: (n_uses,) int64, the *use* of the same block that comes next, or `NEVER`; empty
        where the policy is not `belady`.
    """
    if policy == STATIC:
        fill_by_priority(cache, cache.resident.shape[0] // cache.bucket.shape[0])
    for event in range(layers.shape[0]):
        bucket = cache.bucket[layers[event]]
        cache.counters[CYCLE] = cycles[event]
        for use in range(offsets[event], offsets[event + 1]):
            block = blocks[use]
            cache.counters[EVENT] = use
            following = future[use] if policy == BELADY else NEVER
            if cache.resident[block] == 1:
                cache.counters[HITS] += 1
            else:
                cache.counters[MISSES] += 1
                may_pass = policy == BELADY and admission == BYPASS
                if policy != STATIC and _make_room(cache, policy, bucket, may_pass, following):
                    insert(cache, bucket, block)
            # One later, as if the use before were over: `lfru` divides by the uses since.
            cache.last_event[block] = use + 1
            cache.last_cycle[block] = cycles[event]
            cache.frequency[block] += 1
            cache.next_use[block] = following


@compiled
def _make_room(cache: CacheState, policy: int, bucket: int, may_pass: bool, following: int) -> bool:
    """Drop a bucket's worst block where it is full; whether there is room now."""
    if cache.used[bucket] < cache.capacity[bucket]:
        return True
    if cache.capacity[bucket] == 0:
        return False
    worst = worst_member(cache, policy, bucket)
    if may_pass and following >= cache.next_use[worst]:
        return False
    evict(cache, bucket, worst)
    return True
