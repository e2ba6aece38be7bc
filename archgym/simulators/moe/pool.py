"""One pool of places for all layers, in which finding who leaves costs a layer's look; compiled.

The cache has a bucket for each layer here, each with room for all its experts, and the pool counts
what they hold together. The worst block of each layer is kept until something in the layer
changes, so that who leaves is found among the layers' worst.
"""

from typing import Any

import numpy.typing as npt

from archgym.kernels import helper
from archgym.simulators.moe.cache_kernel import _first_key, _is_worse, _set_keys, evict, insert
from archgym.simulators.moe.caches import (
    EVENT,
    FORCED,
    LFRU,
    RANDOM,
    CacheState,
)
from archgym.simulators.moe.columns import (
    ADMISSION,
    CAPACITY,
    N_LAYERS,
    REPLACEMENT,
)
from archgym.simulators.moe.state import (
    IS_STALE,
    N_HELD,
    WORST,
    State,
    whole,
)

__all__ = ["keep_in_pool", "make_room", "mark_all_stale"]

Array = npt.NDArray[Any]


@helper
def mark_all_stale(choices: Array, state: State) -> None:
    """Forgets the layers' worst blocks: what they are ranked by has changed."""
    for layer in range(choices[N_LAYERS]):
        state.layers[IS_STALE, layer] = 1


@helper
def _look(policy: int, state: State, cache: CacheState, layer: int, keep_from: int) -> None:
    """Finds the worst block of a layer among those not brought in `keep_from` or later."""
    begin = cache.begin[layer]
    worst = whole(-1)
    for place in range(begin, begin + cache.used[layer]):
        block = whole(cache.members[place])
        if cache.inserted[block] >= keep_from:
            continue
        _set_keys(cache, policy, block, _first_key(cache, policy, block))
        if worst < 0 or _is_worse(cache, block, worst):
            worst = block
    state.layers[WORST, layer] = worst
    state.layers[IS_STALE, layer] = 0


@helper
def _worst_of_all(choices: Array, state: State, cache: CacheState, keep_from: int) -> int:
    """The block that leaves next; -1 for none."""
    policy = choices[REPLACEMENT]
    worst = whole(-1)
    for layer in range(choices[N_LAYERS]):
        if state.layers[IS_STALE, layer] == 1:
            _look(policy, state, cache, layer, keep_from)
        block = state.layers[WORST, layer]
        if block < 0:
            continue
        if worst < 0 or _is_worse(cache, block, worst):
            worst = block
    return worst


@helper
def make_room(choices: Array, state: State, cache: CacheState, n_experts: int, block: int) -> bool:
    """Brings a prefetched block in; False where nothing may leave for it."""
    event = cache.counters[EVENT]
    layer = block // n_experts
    if state.numbers[N_HELD] >= choices[CAPACITY]:
        worst = _worst_of_all(choices, state, cache, event)
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
    state.layers[IS_STALE, layer] = 1


@helper
def _bring(state: State, cache: CacheState, layer: int, block: int) -> None:
    insert(cache, layer, block)
    state.numbers[N_HELD] += 1
    state.layers[IS_STALE, layer] = 1


@helper
def keep_in_pool(
    choices: Array, state: State, cache: CacheState, n_experts: int, n_loaded: int, loaded: Array
) -> None:
    """Decides what of an event's loaded blocks stays; as `cache_kernel.end_event` does.

    Args:
      choices: By `CHOICES`.
      state: A `State`.
      cache: A `CacheState`.
      n_experts: Experts of a layer.
      n_loaded: How many of `loaded` count.
      loaded: Blocks.
    """
    policy = choices[REPLACEMENT]
    is_forced = choices[ADMISSION] == FORCED
    event = cache.counters[EVENT]
    if policy in (LFRU, RANDOM):
        mark_all_stale(choices, state)
    for place in range(n_loaded):
        block = loaded[place]
        layer = block // n_experts
        if state.numbers[N_HELD] < choices[CAPACITY]:
            _bring(state, cache, layer, block)
            continue
        # Forced, what this event brought stays; else the worst of all leaves, be it new.
        worst = _worst_of_all(choices, state, cache, event if is_forced else event + 1)
        if worst < 0:
            continue
        if not is_forced:
            cache.inserted[block] = event
            _set_keys(cache, policy, block, _first_key(cache, policy, block))
            if _is_worse(cache, block, worst):
                continue
        _drop(state, cache, n_experts, worst)
        _bring(state, cache, layer, block)
