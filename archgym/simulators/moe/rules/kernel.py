"""Replay of expert caches under a policy that a user wrote; compiled in the policies' process."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from archgym.simulators.kit.kernels import BLOCK, INNER, SCORE

Array = npt.NDArray[Any]

COUNTS: Final = ("hits", "misses", "prefetched", "useful", "insertions", "evictions", "events")
"""Names of the counts, in their order."""
# Columns of `blocks`: residence, position among the members, last event that asked, prefetched.
_RESIDENT, _PLACE, _ASKED, _BROUGHT, N_BLOCK_COLUMNS = range(5)
# Columns of `buckets`.
_BEGIN, _USED, _CAPACITY = range(3)


def make_replay(hooks: Mapping[str, Callable[..., Any]]) -> Callable[..., None]:
    """Return a replay with the hooks of a policy compiled in.

    Its rules are those of `replay_kernel.replay`: hits are judged as an event begins, and what
    stays is decided at its end, among the residents and what was loaded.

    Args:
      hooks: Compiled hooks by name.
    """
    inner: Callable[..., Any] = numba.njit(forceinline=True, **INNER)
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}
    entry: Callable[..., Any] = numba.njit(**options)
    score = hooks["score"]
    has_use, has_admit, has_prefetch = (n in hooks for n in ("on_use", "admit", "prefetch"))
    on_use = hooks.get("on_use", score)
    admit = hooks.get("admit", score)
    prefetch = hooks.get("prefetch", score)

    @inner
    def insert(
        blocks: Array, buckets: Array, members: Array, bucket: int, block: int, counts: Array
    ) -> None:
        at = buckets[bucket, _BEGIN] + buckets[bucket, _USED]
        members[at] = block
        blocks[block, _PLACE] = at
        blocks[block, _RESIDENT] = 1
        buckets[bucket, _USED] += 1
        counts[4] += 1

    @inner
    def evict(
        blocks: Array, buckets: Array, members: Array, bucket: int, block: int, counts: Array
    ) -> None:
        last = buckets[bucket, _BEGIN] + buckets[bucket, _USED] - 1
        moved = members[last]
        at = blocks[block, _PLACE]
        members[at] = moved
        blocks[moved, _PLACE] = at
        blocks[block, _RESIDENT] = 0
        buckets[bucket, _USED] -= 1
        counts[5] += 1

    @inner
    def offer(
        block: int, time: int, layer: int, n_worst: int, n_wanted: int, worst: Array,
        keys: Array, memory: Array, floats: Array,
    ) -> int:  # fmt: skip
        """Take a block among the worst, which are sorted from worst to best.

        `keys` is (2, n_blocks): the score, and what decides between equals.
        """
        key = np.float64(score(block, layer, time, memory, floats))
        if n_worst == n_wanted:
            best = worst[n_worst - 1]
            # Nearly all blocks of a large cache end here.
            if key > keys[0, best] or (key == keys[0, best] and keys[1, block] > keys[1, best]):
                return n_worst
            place = n_worst - 1
        else:
            place = n_worst
        if key != key and memory[0] == 0:
            memory[0] = SCORE
        keys[0, block] = key
        while place > 0:
            other = worst[place - 1]
            if keys[0, other] < key or (keys[0, other] == key and keys[1, other] < keys[1, block]):
                break
            worst[place] = other
            place -= 1
        worst[place] = block
        return min(n_worst + 1, n_wanted)

    @entry
    def replay(
        is_forced: bool,
        n_prefetch: int,
        layers: Array,
        offsets: Array,
        uses: Array,
        blocks: Array,
        buckets: Array,
        bucket_of: Array,
        scratch: Array,
        keys: Array,
        counts: Array,
        memory: Array,
        floats: Array,
    ) -> None:
        members, worst, missed, layer_of = scratch[0], scratch[1], scratch[2], scratch[3]
        n_layers = bucket_of.shape[0]
        n_experts = blocks.shape[0] // n_layers
        for event in range(layers.shape[0]):
            layer = layers[event]
            low, high = offsets[event], offsets[event + 1]
            n_loaded = 0
            for place in range(low, high):
                block = uses[place]
                hit = blocks[block, _RESIDENT]
                blocks[block, _ASKED] = event
                if hit == 0:
                    n_loaded += 1
                elif blocks[block, _BROUGHT] == 1:
                    counts[3] += 1
                blocks[block, _BROUGHT] = 0
                if has_use:
                    on_use(block, layer, hit, event, memory, floats)
            n_missed = 0
            for place in range(low, high):
                block = uses[place]
                if blocks[block, _RESIDENT] == 0:
                    is_kept = True
                    if has_admit:
                        is_kept = admit(block, layer, event, memory, floats) != 0
                    if is_kept:
                        missed[n_missed] = block
                        n_missed += 1
            counts[0] += high - low - n_loaded
            counts[1] += n_loaded
            bucket = bucket_of[layer]
            capacity = buckets[bucket, _CAPACITY]
            begin = buckets[bucket, _BEGIN]
            excess = buckets[bucket, _USED] + n_missed - capacity
            n_worst = 0
            if excess > 0:
                with_missed = not is_forced
                if is_forced and n_missed >= capacity:
                    # All residents go; of what came, the best stay.
                    excess = n_missed - capacity
                    with_missed = True
                    while buckets[bucket, _USED] > 0:
                        evict(blocks, buckets, members, bucket, members[begin], counts)
                else:
                    for place in range(begin, begin + buckets[bucket, _USED]):
                        block = members[place]
                        n_worst = offer(
                            block, event, layer_of[block], n_worst, excess, worst, keys, memory,
                            floats,
                        )  # fmt: skip
                if with_missed and excess > 0:
                    for place in range(n_missed):
                        block = missed[place]
                        n_worst = offer(
                            block, event, layer_of[block], n_worst, excess, worst, keys, memory,
                            floats,
                        )  # fmt: skip
                for place in range(n_worst):
                    block = worst[place]
                    if blocks[block, _RESIDENT] == 1:
                        evict(blocks, buckets, members, bucket, block, counts)
                    else:
                        blocks[block, _ASKED] = -1
            for place in range(n_missed):
                block = missed[place]
                if blocks[block, _ASKED] == -1:
                    blocks[block, _ASKED] = event
                else:
                    insert(blocks, buckets, members, bucket, block, counts)
            if has_prefetch:
                following = (layer + 1) % n_layers
                bucket = bucket_of[following]
                begin = buckets[bucket, _BEGIN]
                for slot in range(min(n_prefetch, high - low)):
                    wanted = prefetch(uses[low + slot], layer, slot, event, memory, floats)
                    expert = np.int64(wanted)
                    if (expert != wanted or not -1 <= expert < n_experts) and memory[0] == 0:
                        memory[0] = BLOCK
                    block = following * n_experts + expert
                    if not 0 <= expert < n_experts or blocks[block, _RESIDENT] == 1:
                        continue
                    if buckets[bucket, _USED] == buckets[bucket, _CAPACITY]:
                        # The worst that this event did not use makes room.
                        n_worst = 0
                        for place in range(begin, begin + buckets[bucket, _USED]):
                            other = members[place]
                            if blocks[other, _ASKED] != event:
                                n_worst = offer(
                                    other, event, layer_of[other], n_worst, 1, worst, keys, memory,
                                    floats,
                                )  # fmt: skip
                        if n_worst == 0:
                            continue
                        evict(blocks, buckets, members, bucket, worst[0], counts)
                    insert(blocks, buckets, members, bucket, block, counts)
                    blocks[block, _BROUGHT] = 1
                    counts[2] += 1
            if memory[0] != 0:
                break
            counts[6] = event + 1

    made: Callable[..., None] = replay
    return made
