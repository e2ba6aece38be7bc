"""Prediction of the experts to prefetch, and its look-ahead; compiled.

A prediction names each expert that a later event will ask for with the predictor's accuracy at
that distance, and for each it misses it names a wrong one. What is predicted depends on the seed,
the step and the event alone.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit.kernels import helper
from archgym.simulators.moe.kernel import state as st
from archgym.simulators.moe.kernel.caches import (
    EVENT,
    NEVER,
    CacheState,
)
from archgym.simulators.moe.kernel.link import NOTHING, enqueue
from archgym.simulators.moe.kernel.state import State, whole
from archgym.simulators.moe.machine import columns as col

Array = npt.NDArray[Any]

_GATE, _DEPTH, _ADAPTIVE, _PATH = 1, 2, 3, 4  # Prefetch
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_S31, _S30, _S27, _S11 = np.uint64(31), np.uint64(30), np.uint64(27), np.uint64(11)
_TO_UNIT = 1.0 / 2.0**53
# chosen: averages over some ten layers, as quick as a step of the largest models is long.
_FORGET = 0.9
# ExpertFlow (b), arXiv 2510.26730: one step deeper where stalls pass a threshold; chosen: a tenth
# of a layer's time.
_STALL_SHARE = 0.1


@helper
def chance(seed: int, step: int, what: int) -> float:
    """Return a number of chance from 0 to 1 (SplitMix64)."""
    word = (np.uint64(seed) * _GAMMA) ^ (np.uint64(step) * _MIX_1) ^ (np.uint64(what) * _MIX_2)
    word += _GAMMA
    word = (word ^ (word >> _S30)) * _MIX_1
    word = (word ^ (word >> _S27)) * _MIX_2
    return np.float64((word ^ (word >> _S31)) >> _S11) * _TO_UNIT


@helper
def _predict(
    costs: Array,
    choices: Array,
    state: State,
    cache: CacheState,
    event: int,
    distance: int,
    at: float,
    asked_from: int,
) -> None:
    """Queue what is predicted for an event, is not there and was not asked for so lately."""
    n_experts = choices[col.N_EXPERTS]
    base = event * n_experts
    layer = event // choices[col.N_ROUNDS]
    accuracy = costs[col.ACCURACY]
    for _ in range(distance - 1):
        accuracy *= costs[col.ACCURACY_DECAY]
    n = whole(state.n_members[event])
    width = choices[col.WIDTH]
    step = state.numbers[st.STEP]
    n_named = 0
    least = 0 if width == 0 or n <= width else _least_tokens(state, base, n, width)
    for place in range(n):
        if width > 0 and n_named >= width:
            break
        expert = whole(state.members[base + place])
        if state.counts[base + expert] < least:
            continue
        n_named += 1
        if chance(choices[col.SEED], step, base + expert) >= accuracy:
            expert = _wrong(choices, state, step, base, expert)
            if expert < 0:
                continue
        block = layer * n_experts + expert
        is_coming = cache.asked[block] >= asked_from or state.blocks[st.FETCH, block] != NOTHING
        if cache.resident[block] == 0 and not is_coming:
            enqueue(costs, state, block, event, at)


@helper
def _least_tokens(state: State, base: int, n: int, width: int) -> int:
    """Return the fewest tokens that an expert among the `width` most used has."""
    low, high = 0, 1 << 30
    while low < high:
        middle = (low + high + 1) // 2
        enough = 0
        for place in range(n):
            if state.counts[base + state.members[base + place]] >= middle:
                enough += 1
        if enough >= width:
            low = middle
        else:
            high = middle - 1
    return low


@helper
def _wrong(choices: Array, state: State, step: int, base: int, expert: int) -> int:
    """Return an expert that the event does not ask for; -1 where it asks for all."""
    n_experts = choices[col.N_EXPERTS]
    start = int(chance(choices[col.SEED] + 1, step, base + expert) * n_experts)
    for offset in range(n_experts):
        other = (start + offset) % n_experts
        if state.counts[base + other] == 0:
            return int(other)
    return -1


@helper
def issue(
    costs: Array,
    choices: Array,
    state: State,
    cache: CacheState,
    counters: Array,
    event: int,
    at: float,
) -> None:
    """Queue, at a layer's router, the predicted requests of events up to the depth."""
    kind = choices[col.PREFETCH]
    if kind == _PATH:
        return
    depth = 1
    if kind == _DEPTH:
        depth = choices[col.DEPTH]
    elif kind == _ADAPTIVE:
        depth = max(1, min(state.numbers[st.DEPTH_NOW], choices[col.DEPTH]))
    counters[col.DEPTH_SUM] += depth
    last = min(event + depth, choices[col.N_LAYERS] * choices[col.N_ROUNDS] - 1)
    cursor = max(state.numbers[st.CURSOR], event + 1)
    # What this event asked for is brought already; further rounds of the layer may ask for it too.
    now = cache.counters[EVENT]
    while cursor <= last:
        _predict(costs, choices, state, cache, cursor, cursor - event, at, now)
        cursor += 1
    state.numbers[st.CURSOR] = cursor


@helper
def issue_path(costs: Array, choices: Array, state: State, cache: CacheState, at: float) -> None:
    """Queue the whole path through the layers at the start of a step."""
    for event in range(choices[col.N_LAYERS] * choices[col.N_ROUNDS]):
        _predict(costs, choices, state, cache, event, event + 1, at, NEVER)


@helper
def learn(
    costs: Array, choices: Array, state: State, n_missed: int, time: float, stall: float
) -> None:
    """Keep the averages that the adaptive depth goes by.

    Source:
      Shen et al., *ExpertFlow* (b), arXiv 2510.26730: S = N E / (C T), experts expected times
      their bytes over link bandwidth times a layer's time; one more where stalls pass a threshold.
    """
    if choices[col.PREFETCH] != _ADAPTIVE:
        return
    clocks, numbers = state.clocks, state.numbers
    needed = (n_missed + 1.0) * (costs[col.LOAD_FIXED_NS] + costs[col.LOAD_NS])
    clocks[st.LAYER_AVERAGE] = _FORGET * clocks[st.LAYER_AVERAGE] + (1.0 - _FORGET) * time
    clocks[st.STALL_AVERAGE] = _FORGET * clocks[st.STALL_AVERAGE] + (1.0 - _FORGET) * max(
        0.0, stall
    )
    depth = int(np.ceil(needed / max(1.0, clocks[st.LAYER_AVERAGE])))
    if clocks[st.STALL_AVERAGE] > _STALL_SHARE * clocks[st.LAYER_AVERAGE]:
        depth += 1
    numbers[st.DEPTH_NOW] = max(1, min(depth, choices[col.DEPTH]))
