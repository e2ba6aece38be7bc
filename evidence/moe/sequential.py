"""Replays that ask for one expert after the other, as simulators of general caches do; compiled."""

from typing import Any

import numpy as np
import numpy.typing as npt

from archgym.runtime.kernels import compiled, entry_point
from archgym.simulators.moe.kernel.cache_kernel import (
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
    STATIC,
    CacheState,
    admission_code,
    next_uses,
    policy_code,
)
from archgym.simulators.moe.kernel.replay import Events, ReplayResult, cache_of, checked_result

Array = npt.NDArray[Any]


def replay_sequential(
    events: Events,
    policy: str,
    capacity: int,
    *,
    scope: str = "global",
    admission: str = "bypass",
    tie: npt.NDArray[np.float64] | None = None,
) -> ReplayResult:
    """Replay uses one at a time; arguments are those of `replay_events`."""
    code, blocks = policy_code(policy), events.blocks
    cache = cache_of(events, scope, capacity, None, tie)
    future = np.empty(0, dtype=np.int64)
    if code == BELADY:
        future = next_uses(blocks, np.arange(len(blocks) + 1), events.n_blocks)
    replay_one_by_one(
        cache, code, admission_code(admission), events.layers, events.cycles, events.offsets,
        blocks, future,
    )  # fmt: skip
    return checked_result(cache, len(blocks), capacity, code, np.zeros(0, dtype=np.int64))


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
