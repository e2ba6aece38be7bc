"""What one layer's experts take in one step: caches, loads, the host's processor; compiled.

An *event* is one round of experts of one layer in one step (layers have one round, or several in a
chain of experts). Hits are judged at its start. Experts that are there run first; the others are
loaded one after the other, or run on the host, and the event ends when the last is through.
"""

from typing import Any

import numpy.typing as npt

from archgym.kernels import helper
from archgym.simulators.moe.cache_kernel import begin_event, end_event
from archgym.simulators.moe.caches import (
    PREDICTOR,
    STATIC,
    CacheState,
)
from archgym.simulators.moe.columns import (
    ADMISSION,
    ALL_RESIDENT,
    CAPACITY,
    COMPUTE_BUSY_NS,
    CPU_BUSY_NS,
    CPU_FIXED_NS,
    CPU_RULE,
    CPU_TOKEN_NS,
    CPU_WEIGHT_NS,
    D2H_BUSY_NS,
    EXPERT_TOKEN_NS,
    EXPERT_WEIGHT_NS,
    EXPERTS_NS,
    FROM_HOST_TOKEN_NS,
    H2D_BUSY_NS,
    HAS_LOW,
    LAUNCH_NS,
    LOAD_FIXED_NS,
    LOAD_NS,
    LOW_LOAD_NS,
    MOE_NS,
    N_ACCESSES,
    N_CPU,
    N_DEGRADED,
    N_DEMAND,
    N_DEMAND_LOW,
    N_DISTINCT,
    N_EVENTS,
    N_EXPERTS,
    N_HITS,
    N_LAYERS,
    N_MISSES,
    N_ROUNDS,
    N_ROUTED,
    N_STAGED_HITS,
    N_STREAMED,
    N_TRANSLATIONS,
    N_USEFUL,
    N_WASTED,
    OVERLAPS,
    PREFETCH,
    REPLACEMENT,
    ROUTED_TOKEN_NS,
    SCOPE,
    STAGING,
    STALL_CPU_NS,
    STALL_LOAD_NS,
    STALL_PLACES_NS,
    STALL_PREFETCH_NS,
    STALL_SSD_NS,
    TARGET,
    TILE,
    TLB_EXPERTS,
    TO_HOST_FIXED_NS,
    TO_HOST_TOKEN_NS,
    TO_HOST_TOKENS,
    TRANSLATION_NS,
    WALK_NS,
)
from archgym.simulators.moe.link import (
    IS_STAGED,
    NOTHING,
    ON_LINK,
    advance,
    clear_for_demand,
    finish_transfer,
    from_drive,
    release,
)
from archgym.simulators.moe.pool import keep_in_pool
from archgym.simulators.moe.predictor import issue, learn
from archgym.simulators.moe.recency import touch
from archgym.simulators.moe.state import (
    ACCESSES,
    CPU,
    FETCH,
    FETCH_SLOT,
    HITS,
    IS_STALE,
    LEFT,
    LINK,
    LOADED,
    LOW,
    MISSED,
    N_TLB,
    RATIO,
    STAGED,
    STEP,
    TLB,
    UNUSED,
    WANTED,
    State,
    Work,
    whole,
)

__all__ = ["expert_event", "experts_time", "padded"]

Array = npt.NDArray[Any]

_CPU_FASTER, _CPU_ALWAYS = 1, 2  # CpuRule
_TO_CACHE = 1  # Target.CACHE
_GLOBAL = 0  # Scope.GLOBAL
# MoE-Infinity: a layer's activations are averaged over steps; chosen: over some ten of them.
_FORGET = 0.9


@helper
def padded(choices: Array, tokens: int) -> int:
    """Tokens as a kernel computes them: whole tiles."""
    tile = choices[TILE]
    return int((tokens + tile - 1) // tile * tile)


@helper
def experts_time(costs: Array, n_experts: int, n_padded: int, n_routed: int) -> float:
    """Roofline of experts that run as one kernel, without what a kernel costs anyway [ns]."""
    weights = n_experts * costs[EXPERT_WEIGHT_NS]
    return float(
        max(weights, n_padded * costs[EXPERT_TOKEN_NS]) + n_routed * costs[ROUTED_TOKEN_NS]
    )


@helper
def _translate(
    costs: Array, choices: Array, state: State, counters: Array, block: int, is_new: bool
) -> float:
    """What walking page tables costs an access to a block's weights [ns].

    A block that has just been loaded lies on other pages, whatever the TLB held of it.
    """
    if costs[WALK_NS] == 0.0:
        return 0.0
    n_held = choices[TLB_EXPERTS]
    if n_held > 0 and touch(state, TLB, N_TLB, n_held, block) and not is_new:
        return 0.0
    counters[N_TRANSLATIONS] += 1
    counters[TRANSLATION_NS] += costs[WALK_NS]
    return float(costs[WALK_NS])


@helper
def _all_there(costs: Array, choices: Array, state: State, counters: Array, event: int) -> float:
    """An event whose experts are all in the accelerator's memory [ns]."""
    n_experts = choices[N_EXPERTS]
    n = whole(state.n_members[event])
    n_padded = n_routed = whole(0)
    walks = 0.0
    base = event * n_experts
    layer = event // choices[N_ROUNDS]
    for place in range(n):
        expert = whole(state.members[base + place])
        tokens = whole(state.counts[base + expert])
        n_padded += padded(choices, tokens)
        n_routed += tokens
        walks += _translate(costs, choices, state, counters, layer * n_experts + expert, False)
    counters[N_HITS] += n
    counters[N_ROUTED] += n_routed
    state.layers[HITS, layer] += n
    time = costs[EXPERTS_NS] + experts_time(costs, n, n_padded, n_routed)
    time = time * state.clocks[RATIO] + walks
    counters[COMPUTE_BUSY_NS] += time
    return float(time)


@helper
def _runs_on_host(costs: Array, choices: Array, tokens: int, load_ns: float) -> bool:
    """Whether an expert that is not there runs on the host.

    Source:
      Kamahori et al., *Fiddler*, ICLR 2025: on the host where that is quicker than bringing the
      weights and computing.
    """
    rule = choices[CPU_RULE]
    if rule == 0:
        return False
    if rule == _CPU_ALWAYS:
        return True
    here = (
        load_ns + experts_time(costs, whole(1), padded(choices, tokens), tokens) + costs[LAUNCH_NS]
    )
    return bool(cpu_time(costs, tokens) < here)


@helper
def cpu_time(costs: Array, tokens: int) -> float:
    """One expert on the host's processor [ns]."""
    return float(costs[CPU_FIXED_NS] + max(costs[CPU_WEIGHT_NS], tokens * costs[CPU_TOKEN_NS]))


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
    """Runs one event; when it ends [ns].

    Args:
      costs: By `COSTS`; so are the next by their names.
      choices: By `CHOICES`.
      work: A `Work`.
      state: A `State`.
      cache: A `CacheState`.
      counters: By `COUNTERS`.
      event: Of the step.
      gate: When the router has said what is asked for [ns].
    """
    n_experts = choices[N_EXPERTS]
    n = whole(state.n_members[event])
    layer = event // choices[N_ROUNDS]
    counters[N_EVENTS] += 1
    counters[N_ACCESSES] += n
    counters[N_DISTINCT] += n
    state.layers[ACCESSES, layer] += n
    if choices[ALL_RESIDENT] == 1:
        end = gate + _all_there(costs, choices, state, counters, event)
        counters[MOE_NS] += end - gate
        return end
    base = event * n_experts
    bucket = whole(cache.bucket[layer])
    prefetches = choices[PREFETCH] > 0
    if prefetches:
        advance(costs, choices, state, cache, counters, n_experts, gate)
    else:
        state.clocks[LINK] = max(state.clocks[LINK], gate)
    for place in range(n):
        state.experts[WANTED, place] = layer * n_experts + state.members[base + place]
    begin_event(cache, state.experts[WANTED], n, state.numbers[STEP], state.experts[MISSED])
    if choices[REPLACEMENT] == PREDICTOR:
        _weigh(choices, state, cache, layer, base)

    # What is there runs first, as one kernel.
    # Typed zeros, or Numba compiles what takes them once more for literal ones.
    none = whole(0)
    n_there = n_padded = n_routed = all_padded = all_routed = none
    n_missed = n_loaded = n_places = none
    walks = 0.0
    for place in range(n):
        block = state.experts[WANTED, place]
        tokens = whole(state.counts[base + block - layer * n_experts])
        whole_tiles = padded(choices, tokens)
        all_padded += whole_tiles
        all_routed += tokens
        status = state.blocks[FETCH, block]
        if (cache.resident[block] == 1 and status != ON_LINK) or status == IS_STAGED:
            n_there += 1
            n_padded += whole_tiles
            n_routed += tokens
            walks += _translate(costs, choices, state, counters, block, status == IS_STAGED)
            if status == IS_STAGED:
                counters[N_STAGED_HITS] += 1
                state.experts[LOADED, n_loaded] = block
                state.blocks[LOW, block] = 0
                n_loaded += 1
            elif cache.resident[block] == 1:
                n_places += 1
                if state.blocks[UNUSED, block] == 1:
                    state.blocks[UNUSED, block] = 0
                    counters[N_USEFUL] += 1
                    counters[N_STAGED_HITS] += 1
            if state.blocks[LOW, block] == 1:
                counters[N_DEGRADED] += tokens
        else:
            state.experts[MISSED, n_missed] = block
            n_missed += 1
    counters[N_HITS] += n_there
    counters[N_MISSES] += n_missed
    counters[N_ROUTED] += all_routed
    state.layers[HITS, layer] += n_there
    compute_end = gate
    if n_there > 0:
        time = costs[EXPERTS_NS] + experts_time(costs, n_there, n_padded, n_routed)
        time = time * state.clocks[RATIO] + walks
        compute_end = gate + time
        counters[COMPUTE_BUSY_NS] += time
    ideal = costs[EXPERTS_NS] + experts_time(costs, n, all_padded, all_routed)
    ideal = ideal * state.clocks[RATIO] + walks
    end = compute_end
    if n_missed > 0:
        room = choices[CAPACITY] if choices[SCOPE] == _GLOBAL else cache.capacity[bucket]
        n_places = room - n_places
        if choices[TARGET] != _TO_CACHE or not prefetches:
            n_places += choices[STAGING] - state.numbers[STAGED]
        n_loaded, end = _miss(
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
    if choices[SCOPE] == _GLOBAL:
        state.layers[IS_STALE, layer] = 1
        if choices[REPLACEMENT] != STATIC:
            keep_in_pool(choices, state, cache, n_experts, n_loaded, state.experts[LOADED])
    elif n_loaded > 0 and choices[REPLACEMENT] != STATIC:
        end_event(
            cache, choices[REPLACEMENT], choices[ADMISSION], bucket, state.experts[LOADED], n_loaded
        )
    counters[MOE_NS] += end - gate
    return end


@helper
def _miss(
    costs: Array,
    choices: Array,
    state: State,
    cache: CacheState,
    counters: Array,
    event: int,
    gate: float,
    compute_end: float,
    n_missed: int,
    n_loaded: int,
    n_places: int,
    ideal: float,
) -> tuple[int, float]:
    """Loads what is missing, or runs it on the host; how many blocks came, and the end [ns]."""
    n_experts = choices[N_EXPERTS]
    clocks = state.clocks
    layer = event // choices[N_ROUNDS]
    base = event * n_experts
    there_end = compute_end
    host_end = gate
    waited = 0.0
    if choices[PREFETCH] > 0:
        waited = clear_for_demand(costs, choices, state, cache, counters, n_experts, gate, event)
    is_low = choices[HAS_LOW] == 1
    load_ns = costs[LOW_LOAD_NS] if is_low else costs[LOAD_NS]
    if choices[OVERLAPS] == 0:
        clocks[LINK] = max(clocks[LINK], compute_end)
    drive_wait = place_wait = 0.0
    n_brought = 0
    on_host_tokens = 0
    # What is on the link already comes first; it is the head of the ring, if anything is.
    for turn in range(2):
        for place in range(n_missed):
            block = state.experts[MISSED, place]
            if block < 0:
                continue
            status = state.blocks[FETCH, block]
            if turn == 0 and status != ON_LINK:
                continue
            state.experts[MISSED, place] = -1
            expert = block - layer * n_experts
            tokens = whole(state.counts[base + expert])
            arrived = gate
            if turn == 0:
                ring = state.ring_block.shape[0]
                slot = state.blocks[FETCH_SLOT, block] & (ring - 1)
                left = state.ring[LEFT, slot]
                clocks[LINK] += left
                counters[H2D_BUSY_NS] += left
                finish_transfer(choices, state, block)
                arrived = clocks[LINK]
            elif status == IS_STAGED or cache.resident[block] == 1:
                # It came while the demand waited in a queue.
                arrived = clocks[LINK]
            elif _runs_on_host(costs, choices, tokens, load_ns + costs[LOAD_FIXED_NS]):
                state.blocks[FETCH, block] = NOTHING
                ready = from_drive(costs, choices, state, counters, block, gate)
                if on_host_tokens == 0:
                    clocks[CPU] = gate + costs[TO_HOST_FIXED_NS]
                move = tokens * costs[TO_HOST_TOKEN_NS]
                counters[D2H_BUSY_NS] += move
                time = cpu_time(costs, tokens)
                clocks[CPU] = max(clocks[CPU] + move, ready) + time
                counters[CPU_BUSY_NS] += time
                counters[N_CPU] += 1
                counters[TO_HOST_TOKENS] += tokens
                on_host_tokens += tokens
                continue
            else:
                state.blocks[FETCH, block] = NOTHING
                if state.blocks[UNUSED, block] == 1:
                    state.blocks[UNUSED, block] = 0
                    counters[N_WASTED] += 1
                start = clocks[LINK]
                ready = from_drive(costs, choices, state, counters, block, gate)
                if ready > start:
                    drive_wait += ready - start
                    start = ready
                if n_brought >= n_places and state.finish[n_brought - n_places] > start:
                    place_wait += state.finish[n_brought - n_places] - start
                    start = state.finish[n_brought - n_places]
                    counters[N_STREAMED] += 1
                clocks[LINK] = start + costs[LOAD_FIXED_NS] + load_ns
                counters[H2D_BUSY_NS] += costs[LOAD_FIXED_NS] + load_ns
                counters[N_DEMAND_LOW if is_low else N_DEMAND] += 1
                state.blocks[LOW, block] = choices[HAS_LOW]
                arrived = clocks[LINK]
            if is_low and state.blocks[LOW, block] == 1:
                counters[N_DEGRADED] += tokens
            if state.blocks[UNUSED, block] == 1:
                state.blocks[UNUSED, block] = 0
                counters[N_USEFUL] += 1
            if cache.resident[block] == 0:
                state.experts[LOADED, n_loaded] = block
                n_loaded += 1
            time = costs[LAUNCH_NS] + experts_time(costs, whole(1), padded(choices, tokens), tokens)
            time += _translate(costs, choices, state, counters, block, True)
            if choices[OVERLAPS] == 1:
                compute_end = max(compute_end, arrived) + time
            else:
                compute_end += time
            state.finish[n_brought] = compute_end
            n_brought += 1
            counters[COMPUTE_BUSY_NS] += time
    if choices[OVERLAPS] == 0 and n_brought > 0:
        compute_end += max(0.0, clocks[LINK] - there_end)
    end = compute_end
    if on_host_tokens > 0:
        move = on_host_tokens * costs[FROM_HOST_TOKEN_NS]
        host_end = clocks[CPU] + costs[TO_HOST_FIXED_NS] + move
        end = max(end, host_end)
    _blame(
        counters,
        max(0.0, end - gate - ideal),
        host_end - compute_end,
        waited,
        drive_wait,
        place_wait,
    )
    return n_loaded, end


@helper
def _blame(
    counters: Array,
    stall: float,
    host_longer: float,
    waited: float,
    drive_wait: float,
    place_wait: float,
) -> None:
    """Shares a stall out among its causes, each at most as long as it lasted."""
    if host_longer > 0.0:
        part = min(stall, host_longer)
        counters[STALL_CPU_NS] += part
        stall -= part
    part = min(stall, waited)
    counters[STALL_PREFETCH_NS] += part
    stall -= part
    part = min(stall, drive_wait)
    counters[STALL_SSD_NS] += part
    stall -= part
    part = min(stall, place_wait)
    counters[STALL_PLACES_NS] += part
    counters[STALL_LOAD_NS] += stall - part


@helper
def _weigh(choices: Array, state: State, cache: CacheState, layer: int, base: int) -> None:
    """Ranks a layer's experts by how often they are used and how soon their layer comes.

    Source:
      Xue et al., *MoE-Infinity*, arXiv 2401.14361: probability * (1 - layer / layers).
    """
    n_experts = choices[N_EXPERTS]
    soon = 1.0 - layer / choices[N_LAYERS]
    for expert in range(n_experts):
        block = layer * n_experts + expert
        used = 1.0 if state.counts[base + expert] > 0 else 0.0
        cache.priority[block] = _FORGET * cache.priority[block] + (1.0 - _FORGET) * used * soon
