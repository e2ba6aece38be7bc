"""One pool of places for all layers, in which finding who leaves costs a layer's look; compiled.

The cache has a bucket for each layer here, each with room for all its experts, and the pool counts
what they hold together. The worst block of each layer is kept, so that who leaves is found among
the layers' worst; a layer is looked through again where its worst left or rose, or others may have
sunk below it.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit.kernels import helper, inlined
from archgym.simulators.moe.kernel import caches
from archgym.simulators.moe.kernel.cache_kernel import (
    _first_key,
    _is_worse,
    _second_key,
    _set_keys,
    evict,
    insert,
    resize,
)
from archgym.simulators.moe.kernel.caches import CacheState
from archgym.simulators.moe.kernel.state import (
    FOUND_FOR,
    LASTING,
    N_HELD,
    STALE,
    WORST,
    State,
    whole,
)
from archgym.simulators.moe.machine.columns import (
    ADMISSION,
    CAPACITY,
    N_EXPERTS,
    N_LAYERS,
    N_ROUNDS,
    REPLACEMENT,
)

Array = npt.NDArray[Any]


# What is ranked by these only rises until it leaves (`least-stale`: until the next step, when all
# layers are stale).
_RISING = (caches.LRU, caches.LFU, caches.FIFO, caches.STATIC, caches.LEAST_STALE)


@helper
def mark_all_stale(choices: Array, state: State) -> None:
    """Forget the layers' worst blocks: what they are ranked by has changed."""
    for layer in range(choices[N_LAYERS]):
        state.layers[FOUND_FOR, layer] = STALE


@inlined
def mark_used(choices: Array, state: State, cache: CacheState, layer: int, is_first: bool) -> None:
    """Forget the worst blocks that a layer's event, the first of a step or not, may change."""
    policy = choices[REPLACEMENT]
    if policy in (caches.LFRU, caches.RANDOM) or (policy == caches.LEAST_STALE and is_first):
        mark_all_stale(choices, state)
    worst = state.layers[WORST, layer]
    is_same = worst >= 0 and cache.asked[worst] < cache.counters[caches.EVENT]
    if not (is_same and policy in _RISING):
        state.layers[FOUND_FOR, layer] = STALE


@inlined
def _stays(cache: CacheState, block: int, keep_from: int, spare_from: int) -> bool:
    return bool(cache.inserted[block] >= keep_from or cache.asked[block] >= spare_from)


@inlined
def _look(
    policy: int, state: State, cache: CacheState, layer: int, keep_from: int, spare_from: int
) -> None:
    """Find the worst block of a layer, see `_worst_of_all`."""
    begin = cache.begin[layer]
    worst = whole(-1)
    newest = whole(STALE)
    lowest = lowest_second = np.inf
    for place in range(begin, begin + cache.used[layer]):
        block = whole(cache.members[place])
        first = _first_key(cache, policy, block)
        # Nearly all blocks end here.
        if first > lowest:
            continue
        second = _second_key(cache, policy, block)
        if first == lowest and (
            second > lowest_second
            or (second == lowest_second and cache.tie[block] > cache.tie[worst])
        ):
            continue
        if _stays(cache, block, keep_from, spare_from):
            newest = max(newest, whole(cache.inserted[block]), whole(cache.asked[block]))
            continue
        worst, lowest, lowest_second = block, first, second
    if worst >= 0:
        _set_keys(cache, policy, worst, lowest)
    state.layers[WORST, layer] = worst
    state.layers[FOUND_FOR, layer] = newest if newest > STALE else LASTING
    state.worst_keys[0, layer] = lowest
    state.worst_keys[1, layer] = lowest_second


@helper
def _worst_of_all(
    choices: Array, state: State, cache: CacheState, keep_from: int, spare_from: int
) -> int:
    """Return the block that leaves next; -1 for none.

    Args:
      choices: Values of `CHOICES`.
      state: A `State`.
      cache: A `CacheState`.
      keep_from: Blocks that were loaded in this event or later stay.
      spare_from: Blocks that were requested in this event or later stay.
    """
    policy = choices[REPLACEMENT]
    layers, keys = state.layers, state.worst_keys
    while True:
        worst = whole(-1)
        lowest = lowest_second = np.inf
        for layer in range(choices[N_LAYERS]):
            # What had to stay comes into question in a later event.
            if layers[FOUND_FOR, layer] < keep_from:
                _look(policy, state, cache, layer, keep_from, spare_from)
            # Nearly all layers end here; one without a worst block has an infinite key.
            first, second = keys[0, layer], keys[1, layer]
            if first > lowest or (first == lowest and second > lowest_second):
                continue
            block = layers[WORST, layer]
            is_tied = first == lowest and second == lowest_second
            if block >= 0 and not (is_tied and cache.tie[block] > cache.tie[worst]):
                worst, lowest, lowest_second = block, first, second
        if worst < 0 or not _stays(cache, worst, keep_from, spare_from):
            return worst
        # It was found where other blocks had to stay.
        layers[FOUND_FOR, worst // choices[N_EXPERTS]] = STALE


@helper
def make_room(choices: Array, state: State, cache: CacheState, n_experts: int, block: int) -> bool:
    """Bring a prefetched block in; False if nothing may leave for it."""
    event = cache.counters[caches.EVENT]
    layer = block // n_experts
    if state.numbers[N_HELD] >= choices[CAPACITY]:
        worst = _worst_of_all(choices, state, cache, event, event)
        if worst < 0:
            return False
        _drop(state, cache, n_experts, worst)
    _bring(state, cache, layer, block)
    return True


@helper
def _drop(state: State, cache: CacheState, n_experts: int, block: int) -> None:
    layer = block // n_experts
    evict(cache, layer, block)
    state.numbers[N_HELD] -= 1
    state.layers[FOUND_FOR, layer] = STALE


@helper
def _bring(state: State, cache: CacheState, layer: int, block: int) -> None:
    insert(cache, layer, block)
    state.numbers[N_HELD] += 1
    if state.layers[FOUND_FOR, layer] != STALE:
        state.layers[FOUND_FOR, layer] = cache.inserted[block]


@helper
def keep_in_pool(
    choices: Array, state: State, cache: CacheState, n_experts: int, n_loaded: int, loaded: Array
) -> None:
    """Decide what of an event's loaded blocks stays; as `cache_kernel.end_event` does.

    Args:
      choices: Values of `CHOICES`.
      state: A `State`.
      cache: A `CacheState`.
      n_experts: Experts of a layer.
      n_loaded: Entries of `loaded` that count.
      loaded: Blocks.
    """
    policy = choices[REPLACEMENT]
    is_forced = choices[ADMISSION] == caches.FORCED
    event = cache.counters[caches.EVENT]
    for place in range(n_loaded):
        block = loaded[place]
        layer = block // n_experts
        if state.numbers[N_HELD] < choices[CAPACITY]:
            _bring(state, cache, layer, block)
            continue
        # Forced, what this event brought stays; else the worst of all leaves, be it new.
        keep_from = event if is_forced else event + 1
        worst = _worst_of_all(choices, state, cache, keep_from, caches.NEVER)
        if worst < 0:
            continue
        if not is_forced:
            cache.inserted[block] = event
            _set_keys(cache, policy, block, _first_key(cache, policy, block))
            if _is_worse(cache, block, worst):
                continue
        _drop(state, cache, n_experts, worst)
        _bring(state, cache, layer, block)


@helper
def share_out(choices: Array, state: State, cache: CacheState) -> None:
    """Give each layer, as a step starts, places for the experts that the step asks it for.

    Source:
      He et al., *ExpertFlow*, arXiv 2410.17954: predictive locality-aware expert caching divides
      the slots across layers in proportion to the predicted number of experts per layer.
    """
    n_layers, n_experts = choices[N_LAYERS], choices[N_EXPERTS]
    n_rounds = choices[N_ROUNDS]
    total = min(choices[CAPACITY], n_layers * n_experts)
    need = 0
    for event in range(n_layers * n_rounds):
        need += state.n_members[event]
    # Rounding down the running sum gives parts that add up to the whole. First all that shrink,
    # so that there is room for those that grow.
    for grows in range(2):
        seen = given = 0
        for layer in range(n_layers):
            for event in range(layer * n_rounds, (layer + 1) * n_rounds):
                seen += state.n_members[event]
            upto = total * seen // max(1, need)
            part = min(n_experts, upto - given)
            given = upto
            if (part >= cache.capacity[layer]) == (grows == 1):
                resize(cache, choices[REPLACEMENT], layer, part)
