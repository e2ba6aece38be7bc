"""Events of an expert cache; compiled.

A serving loop calls `begin_event`, loads what it says, then `end_event`; between events it may
call `prefetch`. Nothing here allocates memory.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit.kernels import compiled, inlined
from archgym.simulators.moe.kernel import caches
from archgym.simulators.moe.kernel.caches import CacheState

Array = npt.NDArray[Any]
# chosen: if more than this number go, parting all candidates is faster than a heap.
_HEAP_LIMIT = 8
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_S30, _S27, _S11 = np.uint64(30), np.uint64(27), np.uint64(11)
_TO_UNIT = 1.0 / 2.0**53


@inlined
def _chance(block: int, event: int) -> float:
    """Return a number of chance from 0 to 1 for a block in an event."""
    word = _GAMMA * np.uint64(event + 2) + np.uint64(block)
    word = (word ^ (word >> _S30)) * _MIX_1
    word = (word ^ (word >> _S27)) * _MIX_2
    return np.float64(word >> _S11) * _TO_UNIT


@inlined
def _first_key(cache: CacheState, policy: int, block: int) -> float:
    """Return the first sort key of a block: larger stays."""
    if policy == caches.LFU:
        return float(cache.frequency[block])
    if policy == caches.LFRU:
        age = cache.counters[caches.EVENT] - cache.last_event[block] + 1
        return float(cache.frequency[block] / age)
    if policy == caches.FIFO:
        return float(cache.inserted[block])
    if policy == caches.RANDOM:
        return _chance(block, cache.counters[caches.EVENT])
    if policy in (caches.STATIC, caches.PREDICTOR):
        return float(cache.priority[block])
    if policy == caches.LEAST_STALE:
        return 1.0 if cache.last_cycle[block] == cache.counters[caches.CYCLE] else 0.0
    if policy == caches.BELADY:
        return -float(cache.next_use[block])
    return float(cache.last_event[block])


@inlined
def _second_key(cache: CacheState, policy: int, block: int) -> float:
    """Return the second sort key of a block: recency where the first may be equal."""
    has_second = policy in (caches.LFU, caches.STATIC, caches.PREDICTOR, caches.LEAST_STALE)
    return float(cache.last_event[block]) if has_second else 0.0


@inlined
def _set_keys(cache: CacheState, policy: int, block: int, first: float) -> None:
    """Keep what a block is ranked by."""
    cache.first_key[block] = first
    cache.second_key[block] = _second_key(cache, policy, block)


@inlined
def _is_worse(cache: CacheState, a: int, b: int) -> bool:
    """Return True if block a goes before block b."""
    if cache.first_key[a] != cache.first_key[b]:
        return bool(cache.first_key[a] < cache.first_key[b])
    if cache.second_key[a] != cache.second_key[b]:
        return bool(cache.second_key[a] < cache.second_key[b])
    return bool(cache.tie[a] < cache.tie[b])


@inlined
def _offer(cache: CacheState, policy: int, block: int, n_worst: int, n_wanted: int) -> int:
    """Take a block among the `n_wanted` worst where it is; `worst` is a heap, best on top."""
    first = _first_key(cache, policy, block)
    # Nearly all blocks of a large cache end here.
    if n_worst == n_wanted and first > cache.first_key[cache.worst[0]]:
        return n_worst
    _set_keys(cache, policy, block, first)
    if n_worst < n_wanted:
        _push(cache, block, n_worst)
        return n_worst + 1
    if _is_worse(cache, block, cache.worst[0]):
        _replace_top(cache, block, n_worst)
    return n_worst


@compiled
def _push(cache: CacheState, block: int, n_worst: int) -> None:
    """Add a block to the heap."""
    worst = cache.worst
    place = n_worst
    worst[place] = block
    while place > 0:
        above = (place - 1) // 2
        if not _is_worse(cache, worst[above], worst[place]):
            break
        worst[above], worst[place] = worst[place], worst[above]
        place = above


@compiled
def _replace_top(cache: CacheState, block: int, n_worst: int) -> None:
    """Put a block in the place of the heap's best."""
    worst = cache.worst
    place = 0
    worst[place] = block
    while True:
        best = place
        for below in range(2 * place + 1, min(2 * place + 3, n_worst)):
            if _is_worse(cache, worst[best], worst[below]):
                best = below
        if best == place:
            break
        worst[best], worst[place] = worst[place], worst[best]
        place = best


@compiled
def _offer_members(cache: CacheState, policy: int, bucket: int, n_wanted: int) -> int:
    """Offer all residents of a bucket; how many are among the worst."""
    begin = cache.begin[bucket]
    n_worst = 0
    for place in range(begin, begin + cache.used[bucket]):
        n_worst = _offer(cache, policy, cache.members[place], n_worst, n_wanted)
    return n_worst


@compiled
def worst_member(cache: CacheState, policy: int, bucket: int) -> int:
    """Return the resident of a bucket that would go first; there must be one."""
    _offer_members(cache, policy, bucket, 1)
    return int(cache.worst[0])


@compiled
def _worst_of_all(
    cache: CacheState, policy: int, bucket: int, missed: Array, n_missed: int, n_wanted: int
) -> int:
    """Find the worst of a bucket's residents and loaded blocks, and write them to `worst`."""
    if n_wanted <= _HEAP_LIMIT:
        n_worst = _offer_members(cache, policy, bucket, n_wanted)
        for place in range(n_missed):
            n_worst = _offer(cache, policy, missed[place], n_worst, n_wanted)
        return n_worst
    worst = cache.worst
    begin, used = cache.begin[bucket], cache.used[bucket]
    for place in range(used):
        worst[place] = cache.members[begin + place]
    for place in range(n_missed):
        worst[used + place] = missed[place]
    for place in range(used + n_missed):
        _set_keys(cache, policy, worst[place], _first_key(cache, policy, worst[place]))
    # Hoare, *Algorithm 65: find*, 1961: parts what is left until the border is where it should be.
    low, high = 0, used + n_missed - 1
    while low < high:
        pivot = worst[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while _is_worse(cache, worst[left], pivot):
                left += 1
            while _is_worse(cache, pivot, worst[right]):
                right -= 1
            if left <= right:
                worst[left], worst[right] = worst[right], worst[left]
                left += 1
                right -= 1
        if n_wanted - 1 <= right:
            high = right
        elif n_wanted - 1 >= left:
            low = left
        else:
            break
    return n_wanted


@compiled
def insert(cache: CacheState, bucket: int, block: int) -> None:
    """Make a block resident; there must be room."""
    at = cache.begin[bucket] + cache.used[bucket]
    cache.members[at] = block
    cache.place[block] = at
    cache.used[bucket] += 1
    cache.resident[block] = 1
    cache.inserted[block] = cache.counters[caches.EVENT]
    cache.counters[caches.INSERTIONS] += 1


@compiled
def evict(cache: CacheState, bucket: int, block: int) -> None:
    """Drop a resident block."""
    last = cache.begin[bucket] + cache.used[bucket] - 1
    moved = cache.members[last]
    at = cache.place[block]
    cache.members[at] = moved
    cache.place[moved] = at
    cache.used[bucket] -= 1
    cache.resident[block] = 0
    cache.counters[caches.EVICTIONS] += 1


@compiled
def begin_event(cache: CacheState, blocks: Array, n_blocks: int, cycle: int, missed: Array) -> int:
    """Return a layer asks for a set of blocks; hits are judged on what is resident now.

    Args:
      cache: A `CacheState`.
      blocks: The set; each block once.
      n_blocks: Entries of `blocks` that count.
      cycle: The forward pass, never falling.
      missed: Written with the blocks that are not resident; as long as `blocks`.

    Returns:
      How many missed.
    """
    event = cache.counters[caches.EVENT] + 1
    cache.counters[caches.EVENT] = event
    cache.counters[caches.CYCLE] = cycle
    n_missed = 0
    for place in range(n_blocks):
        block = blocks[place]
        cache.frequency[block] += 1
        cache.last_event[block] = event
        cache.last_cycle[block] = cycle
        cache.asked[block] = event
        if cache.resident[block] == 0:
            missed[n_missed] = block
            n_missed += 1
    cache.counters[caches.MISSES] += n_missed
    cache.counters[caches.HITS] += n_blocks - n_missed
    return n_missed


@compiled
def end_event(
    cache: CacheState, policy: int, admission: int, bucket: int, missed: Array, n_missed: int
) -> int:
    """Decide what stays, among the residents of a bucket and what was loaded for the event.

    Args:
      cache: A `CacheState`.
      policy: Code of the policy.
      admission: Code of the admission.
      bucket: Bucket of the event's layer.
      missed: Result of `begin_event`, or the part of it that was loaded.
      n_missed: Entries of `missed` that count.

    Returns:
      How many of `missed` stay.
    """
    capacity = cache.capacity[bucket]
    used = cache.used[bucket]
    excess = used + n_missed - capacity
    if excess <= 0:
        for place in range(n_missed):
            insert(cache, bucket, missed[place])
        return n_missed
    if capacity == 0:
        return 0
    begin = cache.begin[bucket]
    event = cache.counters[caches.EVENT]
    for place in range(n_missed):
        # A policy that ranks by age of residence ranks what has just come as the youngest.
        cache.inserted[missed[place]] = event
    n_worst = 0
    if admission == caches.FORCED:
        if n_missed >= capacity:
            # All residents go; of what came, the best stay.
            n_wanted = n_missed - capacity
            if n_wanted > 0:
                for place in range(n_missed):
                    n_worst = _offer(cache, policy, missed[place], n_worst, n_wanted)
            while cache.used[bucket] > 0:
                evict(cache, bucket, cache.members[begin])
        else:
            n_worst = _offer_members(cache, policy, bucket, excess)
    else:
        n_worst = _worst_of_all(cache, policy, bucket, missed, n_missed, excess)
    return _apply(cache, bucket, missed, n_missed, n_worst)


@compiled
def _apply(cache: CacheState, bucket: int, missed: Array, n_missed: int, n_worst: int) -> int:
    """Drop the worst, whether resident or only loaded, and keep the other loaded blocks."""
    for place in range(n_worst):
        block = cache.worst[place]
        if cache.resident[block] == 1:
            evict(cache, bucket, block)
        else:
            cache.asked[block] = -1
    n_kept = 0
    for place in range(n_missed):
        block = missed[place]
        if cache.asked[block] == -1:
            cache.asked[block] = cache.counters[caches.EVENT]
        else:
            insert(cache, bucket, block)
            n_kept += 1
    return n_kept


@compiled
def prefetch(cache: CacheState, policy: int, bucket: int, block: int, keep_from: int) -> int:
    """Make a block resident between events, in the place of the bucket's worst where it is full.

    Args:
      cache: A `CacheState`.
      policy: Code of the policy.
      bucket: Bucket of the block's layer.
      block: Block that is loaded.
      keep_from: Blocks asked for in this event or later are not driven out.

    Returns:
      The block that was driven out; -1 for none, -2 where there was no room to be made.
    """
    if cache.resident[block] == 1:
        return -1
    if cache.used[bucket] < cache.capacity[bucket]:
        insert(cache, bucket, block)
        return -1
    begin = cache.begin[bucket]
    worst = -1
    for place in range(begin, begin + cache.used[bucket]):
        other = cache.members[place]
        if cache.asked[other] >= keep_from:
            continue
        _set_keys(cache, policy, other, _first_key(cache, policy, other))
        if worst < 0 or _is_worse(cache, other, worst):
            worst = other
    if worst < 0:
        return -2
    evict(cache, bucket, worst)
    insert(cache, bucket, block)
    return worst


@compiled
def resize(cache: CacheState, policy: int, bucket: int, capacity: int) -> None:
    """Give a bucket another capacity, and drop its worst blocks where it holds more."""
    cache.capacity[bucket] = capacity
    excess = cache.used[bucket] - capacity
    if excess <= 0:
        return
    n_worst = _offer_members(cache, policy, bucket, excess)
    for place in range(n_worst):
        evict(cache, bucket, cache.worst[place])


@compiled
def fill_by_priority(cache: CacheState, n_experts: int) -> None:
    """Load the blocks of highest priority before the first event; the first where equal."""
    n_layers = cache.bucket.shape[0]
    n_blocks = n_layers * n_experts
    for bucket in range(cache.capacity.shape[0]):
        low, high = 0, n_blocks
        if cache.capacity.shape[0] > 1:
            low, high = bucket * n_experts, (bucket + 1) * n_experts
        while cache.used[bucket] < min(cache.capacity[bucket], high - low):
            best = -1
            for block in range(low, high):
                if cache.resident[block] == 1:
                    continue
                if best < 0 or cache.priority[block] > cache.priority[best]:
                    best = block
            insert(cache, bucket, best)
