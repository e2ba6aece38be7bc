"""Experts of one layer in one step: caches, loads and the host's processor; compiled.

An *event* is one round of experts of one layer in one step (layers have one round, or several in a
chain of experts). Hits are judged at its start. Experts that are there run first; the others are
loaded one after the other, or run on the host, and the event ends when the last is through.
"""

from typing import Any

import numpy.typing as npt

from archgym.simulators.kit.kernels import helper, pointer
from archgym.simulators.moe.kernel import state as st
from archgym.simulators.moe.kernel.cache_kernel import begin_event, end_event
from archgym.simulators.moe.kernel.caches import (
    CYCLE,
    PREDICTOR,
    STATIC,
    CacheState,
)
from archgym.simulators.moe.kernel.link import (
    IS_STAGED,
    ON_LINK,
    advance,
    release,
)
from archgym.simulators.moe.kernel.misses import (
    experts_time,
    miss,
    padded,
    resident_time,
)
from archgym.simulators.moe.kernel.pool import keep_in_pool, mark_used
from archgym.simulators.moe.kernel.predictor import issue, learn
from archgym.simulators.moe.kernel.state import State, Work, whole
from archgym.simulators.moe.machine import columns as col

Array = npt.NDArray[Any]

_TO_CACHE = 1  # Target.CACHE
_GLOBAL = 0  # Scope.GLOBAL
# MoE-Infinity: a layer's activations are averaged over steps; chosen: over some ten of them.
_FORGET = 0.9


@helper
def _all_there(costs: Array, choices: Array, state: State, counters: Array, event: int) -> float:
    """Return an event whose experts are all in the accelerator's memory [ns]."""
    n_experts = choices[col.N_EXPERTS]
    n = whole(state.n_members[event])
    n_padded = n_routed = whole(0)
    base = event * n_experts
    layer = event // choices[col.N_ROUNDS]
    counts, members = pointer(state.counts), pointer(state.members)
    for place in range(n):
        expert = whole(members[base + place])
        tokens = whole(counts[base + expert])
        n_padded += padded(choices, tokens)
        n_routed += tokens
    counters[col.N_HITS] += n
    counters[col.N_ROUTED] += n_routed
    state.layers[st.HITS, layer] += n
    time = costs[col.EXPERTS_NS] + resident_time(costs, choices, n, n_padded, n_routed)
    counters[col.COMPUTE_BUSY_NS] += time
    return float(time)


@helper
def expert_event(
    costs: Array,
    choices: Array,
    work: Work,
    state: State,
    cache: CacheState,
    counters: Array,
    event: int,
    gate: float,
) -> float:
    """Run one event; when it ends [ns].

    Args:
      costs: Values of `COSTS`; the next ones by their names.
      choices: Values of `CHOICES`.
      work: A `Work`.
      state: A `State`.
      cache: A `CacheState`.
      counters: Values of `COUNTERS`.
      event: Event of the step.
      gate: When the router has said what is asked for [ns].
    """
    n_experts = choices[col.N_EXPERTS]
    n = whole(state.n_members[event])
    layer = event // choices[col.N_ROUNDS]
    counters[col.N_EVENTS] += 1
    counters[col.N_ACCESSES] += n
    counters[col.N_DISTINCT] += n
    state.layers[st.ACCESSES, layer] += n
    if choices[col.ALL_RESIDENT] == 1:
        end = gate + _all_there(costs, choices, state, counters, event)
        counters[col.MOE_NS] += end - gate
        return end
    base = event * n_experts
    bucket = whole(cache.bucket[layer])
    prefetches = choices[col.PREFETCH] > 0
    if prefetches:
        advance(costs, choices, state, cache, counters, n_experts, gate)
    else:
        state.clocks[st.LINK] = max(state.clocks[st.LINK], gate)
    for place in range(n):
        state.experts[st.WANTED, place] = layer * n_experts + state.members[base + place]
    is_first = cache.counters[CYCLE] != state.numbers[st.STEP]
    begin_event(
        cache, state.experts[st.WANTED], n, state.numbers[st.STEP], state.experts[st.MISSED]
    )
    if choices[col.REPLACEMENT] == PREDICTOR:
        _weigh(choices, state, cache, layer, base)
    if choices[col.SCOPE] == _GLOBAL:
        mark_used(choices, state, cache, layer, is_first)

    # What is there runs first, as one kernel.
    # Typed zeros, or Numba compiles what takes them once more for literal ones.
    none = whole(0)
    n_there = n_padded = n_routed = all_padded = all_routed = none
    n_missed = n_loaded = n_places = none
    for place in range(n):
        block = state.experts[st.WANTED, place]
        tokens = whole(state.counts[base + block - layer * n_experts])
        whole_tiles = padded(choices, tokens)
        all_padded += whole_tiles
        all_routed += tokens
        status = state.blocks[st.FETCH, block]
        if (cache.resident[block] == 1 and status != ON_LINK) or status == IS_STAGED:
            n_there += 1
            n_padded += whole_tiles
            n_routed += tokens
            if status == IS_STAGED:
                counters[col.N_STAGED_HITS] += 1
                state.experts[st.LOADED, n_loaded] = block
                state.blocks[st.LOW, block] = 0
                # It may have come for another round of the layer, which then finds it no more.
                state.blocks[st.FETCH_EVENT, block] = event
                n_loaded += 1
            elif cache.resident[block] == 1:
                n_places += 1
                if state.blocks[st.UNUSED, block] == 1:
                    state.blocks[st.UNUSED, block] = 0
                    counters[col.N_USEFUL] += 1
                    counters[col.N_STAGED_HITS] += 1
            if state.blocks[st.LOW, block] == 1:
                counters[col.N_DEGRADED] += tokens
        else:
            state.experts[st.MISSED, n_missed] = block
            n_missed += 1
    counters[col.N_HITS] += n_there
    counters[col.N_MISSES] += n_missed
    counters[col.N_ROUTED] += all_routed
    state.layers[st.HITS, layer] += n_there
    compute_end = gate
    if n_there > 0:
        time = costs[col.EXPERTS_NS] + experts_time(costs, n_there, n_padded, n_routed)
        compute_end = gate + time
        counters[col.COMPUTE_BUSY_NS] += time
    ideal = costs[col.EXPERTS_NS] + experts_time(costs, n, all_padded, all_routed)
    end = compute_end
    if n_missed > 0:
        room = choices[col.CAPACITY] if choices[col.SCOPE] == _GLOBAL else cache.capacity[bucket]
        n_places = room - n_places
        if choices[col.TARGET] != _TO_CACHE or not prefetches:
            n_places += choices[col.STAGING] - state.numbers[st.STAGED]
        n_loaded, end = miss(
            costs,
            choices,
            state,
            cache,
            counters,
            event,
            gate,
            compute_end,
            n_missed,
            n_loaded,
            max(1, n_places),
            ideal,
        )
    if prefetches:
        issue(costs, choices, state, cache, counters, event, gate)
        learn(costs, choices, state, n_missed, end - gate, end - gate - ideal)
        advance(costs, choices, state, cache, counters, n_experts, end)
        release(costs, choices, state, counters, n_experts, event, layer)
    if choices[col.SCOPE] == _GLOBAL:
        if prefetches:
            # What it asks for was spared, and may leave now.
            state.layers[st.FOUND_FOR, layer] = st.STALE
        if n_loaded > 0 and choices[col.REPLACEMENT] != STATIC:
            keep_in_pool(choices, state, cache, n_experts, n_loaded, state.experts[st.LOADED])
    elif n_loaded > 0 and choices[col.REPLACEMENT] != STATIC:
        end_event(
            cache,
            choices[col.REPLACEMENT],
            choices[col.ADMISSION],
            bucket,
            state.experts[st.LOADED],
            n_loaded,
        )
    counters[col.MOE_NS] += end - gate
    return end


@helper
def _weigh(choices: Array, state: State, cache: CacheState, layer: int, base: int) -> None:
    """Rank a layer's experts by how often they are used and how soon their layer comes.

    Source:
      Xue et al., *MoE-Infinity*, arXiv 2401.14361: probability * (1 - layer / layers).
    """
    n_experts = choices[col.N_EXPERTS]
    soon = 1.0 - layer / choices[col.N_LAYERS]
    for expert in range(n_experts):
        block = layer * n_experts + expert
        used = 1.0 if state.counts[base + expert] > 0 else 0.0
        cache.priority[block] = _FORGET * cache.priority[block] + (1.0 - _FORGET) * used * soon
