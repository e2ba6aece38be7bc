"""The serving loop: engine steps over layers, on streams that overlap; compiled.

Each step forms a batch, gathers what every layer's router asks for, and walks through the layers:
attention, then the layer's experts (`layer`, or `exchange` where they are spread over
accelerators). Times are float64 ns, which hold whole nanoseconds exactly for a hundred days.
"""

from typing import Any

import numpy.typing as npt

from archgym.simulators.kit.kernels import entry_point, helper, pointer
from archgym.simulators.moe.kernel import state as st
from archgym.simulators.moe.kernel.batching import (
    count_area,
    form_batch,
    ingest,
    retire,
    token_row,
    visible_ns,
)
from archgym.simulators.moe.kernel.caches import (
    LEAST_STALE,
    CacheState,
)
from archgym.simulators.moe.kernel.exchange import exchange_event
from archgym.simulators.moe.kernel.layer import expert_event
from archgym.simulators.moe.kernel.pool import mark_all_stale, share_out
from archgym.simulators.moe.kernel.predictor import chance, issue_path
from archgym.simulators.moe.kernel.state import State, Work, whole
from archgym.simulators.moe.kernel.surroundings import (
    count_contents,
    count_steps,
    launches_ns,
    surroundings,
)
from archgym.simulators.moe.machine import columns as col

Array = npt.NDArray[Any]

_PATH = 4  # Prefetch.PATH
_PROPORTIONAL = 2  # Scope.PROPORTIONAL
# What a layer skips is counted in 64ths, spread evenly over the layers.
_SKIP_PARTS = 64


@helper
def _is_skipped(choices: Array, layer: int) -> bool:
    part = choices[col.SKIP_IN_64]
    return bool((layer + 1) * part // _SKIP_PARTS > layer * part // _SKIP_PARTS)


@helper
def _gather(choices: Array, work: Work, state: State) -> None:
    """Count what every event of the step asks for."""
    n_layers, n_experts, top_k = choices[col.N_LAYERS], choices[col.N_EXPERTS], choices[col.TOP_K]
    n_rounds = choices[col.N_ROUNDS]
    a_round = top_k // n_rounds
    skips = choices[col.SKIP_IN_64] > 0
    # Large batches spend nearly all their time in the innermost loop.
    counts, members = pointer(state.counts), pointer(state.members)
    n_members, routing = pointer(state.n_members), pointer(work.routing)
    for place in range(state.numbers[st.N_BATCH]):
        request = state.requests[st.BATCH, place]
        first = state.requests[st.BATCH_FROM, place]
        for position in range(first, first + state.requests[st.BATCH_COUNT, place]):
            row = token_row(work, request, position) * n_layers * top_k
            for layer in range(n_layers):
                if skips and _is_skipped(choices, layer):
                    continue
                at = row + layer * top_k
                for event in range(layer * n_rounds, (layer + 1) * n_rounds):
                    base = event * n_experts
                    for _ in range(a_round):
                        expert = whole(routing[at])
                        at += 1
                        asked = counts[base + expert]
                        if asked == 0:
                            members[base + n_members[event]] = expert
                            n_members[event] += 1
                        counts[base + expert] = asked + 1


@helper
def _clear(choices: Array, state: State) -> None:
    n_experts = choices[col.N_EXPERTS]
    for event in range(choices[col.N_LAYERS] * choices[col.N_ROUNDS]):
        base = event * n_experts
        for place in range(state.n_members[event]):
            state.counts[base + state.members[base + place]] = 0
        state.n_members[event] = 0


@helper
def step(
    costs: Array,
    choices: Array,
    work: Work,
    state: State,
    cache: CacheState,
    counters: Array,
    now: float,
) -> float:
    """Run the batch through all layers; when it is through [ns]."""
    numbers, contents = state.numbers, state.contents
    n_batch = numbers[st.N_BATCH]
    count_contents(work, state)
    n_tokens = whole(contents[st.N_WRITTEN] + contents[st.N_PROMPT])
    count_steps(state, counters, 1.0)
    numbers[st.STEP] += 1
    numbers[st.CURSOR] = 0
    numbers[st.BEST_DEGREE] = 0
    _gather(choices, work, state)
    software, attention, reduce, gather, dense, shared, head = surroundings(
        costs, choices, contents
    )
    n_dense = choices[col.N_DENSE]

    time = now + software + n_dense * (attention + dense + reduce + reduce)
    counters[col.OVERHEAD_NS] += software
    counters[col.COMPUTE_BUSY_NS] += n_dense * (attention + dense) + head
    counters[col.ATTENTION_NS] += n_dense * (attention + dense) + head
    counters[col.INTRA_BUSY_NS] += 2.0 * n_dense * reduce
    if choices[col.SCOPE] == _PROPORTIONAL:
        share_out(choices, state, cache)
    if choices[col.REPLACEMENT] == LEAST_STALE:
        mark_all_stale(choices, state)
    if choices[col.PREFETCH] == _PATH:
        issue_path(costs, choices, state, cache, now)
    n_rounds = choices[col.N_ROUNDS]
    for layer in range(choices[col.N_LAYERS]):
        time += attention + reduce
        counters[col.COMPUTE_BUSY_NS] += attention
        counters[col.ATTENTION_NS] += attention
        counters[col.INTRA_BUSY_NS] += reduce
        if choices[col.SKIP_IN_64] > 0 and _is_skipped(choices, layer):
            routed = n_tokens * choices[col.TOP_K]
            counters[col.N_ROUTED] += routed
            counters[col.N_DEGRADED] += routed
            continue
        for event in range(layer * n_rounds, (layer + 1) * n_rounds):
            if contents[st.N_DECODE] == n_batch:
                counters[col.N_DECODE_EVENTS] += 1
                counters[col.N_DISTINCT_DECODE] += state.n_members[event]
            if choices[col.EXPERT] > 1:
                time = exchange_event(costs, choices, work, state, counters, event, time, n_tokens)
            else:
                time = expert_event(costs, choices, work, state, cache, counters, event, time)
                time += gather
                counters[col.INTRA_BUSY_NS] += gather
        time += shared
        counters[col.COMPUTE_BUSY_NS] += shared
        counters[col.ATTENTION_NS] += shared
    _clear(choices, state)
    time += head
    late = max(0.0, now + software + launches_ns(costs, choices, contents) - time)
    counters[col.OVERHEAD_NS] += late
    time += late
    if contents[st.N_PROMPT] == 0.0:
        state.clocks[st.PACE] = time - now
    return float(time)


@helper
def _is_accepted(choices: Array, request: int, position: int) -> bool:
    """Return True if the draft of a request's token is accepted, by a seeded number of it."""
    return bool(
        1000.0 * chance(choices[col.SEED], position, request) < choices[col.ACCEPTANCE_PERMILLE]
    )


@helper
def hand_out(
    choices: Array, work: Work, state: State, counters: Array, start: float, end: float
) -> None:
    """Give the tokens of a step to their requests; drafts count up to the first rejection."""
    for place in range(state.numbers[st.N_BATCH]):
        request = state.requests[st.BATCH, place]
        first, count = state.requests[st.BATCH_FROM, place], state.requests[st.BATCH_COUNT, place]
        if first < work.requests[st.PROMPT, request]:
            # After a preemption its prompt is read again.
            if first == work.requests[st.CACHED, request] and state.times[st.FIRST, request] == 0.0:
                state.times[st.STARTED, request] = start
            state.requests[st.PREFILLED, request] = first + count
            if first + count < work.requests[st.PROMPT, request]:
                continue
            # After a preemption it has had its first token.
            if state.times[st.FIRST, request] == 0.0:
                state.times[st.FIRST, request] = end
            given = 1
        else:
            given = 1
            while given < count and _is_accepted(choices, request, first + given):
                given += 1
            counters[col.N_DRAFTED] += count - 1
            counters[col.N_REJECTED] += count - given
        state.requests[st.GENERATED, request] += given
        if state.requests[st.GENERATED, request] >= work.requests[st.OUTPUT, request]:
            counters[col.N_FINISHED] += 1
            retire(choices, work, state, counters, request, end)


@entry_point(seconds=40)
def serve(
    costs: Array, choices: Array, work: Work, state: State, cache: CacheState, counters: Array
) -> None:
    """Serve all requests.

    Args:
      costs: (len(COSTS),) float64.
      choices: (len(CHOICES),) int64.
      work: A `Work`.
      state: A `State` as `new_state` gives it, changed.
      cache: A `CacheState`, changed.
      counters: (len(COUNTERS),) float64, zeros, written; `status` is 0 where all were served, 1
        where nothing could run.
    """
    n_requests = choices[col.N_REQUESTS]
    now = 0.0
    state.numbers[st.DEPTH_NOW] = 1
    mark_all_stale(choices, state)
    while counters[col.N_FINISHED] < n_requests:
        ingest(costs, choices, work, state, counters, now)
        form_batch(choices, work, state, counters)
        if state.numbers[st.N_BATCH] == 0:
            upcoming = state.numbers[st.N_ARRIVED]
            if upcoming >= n_requests:
                counters[col.STATUS] = 1.0
                return
            arrival = visible_ns(costs, work, state, upcoming)
            counters[col.IDLE_NS] += arrival - now
            now = arrival
            continue
        end = step(costs, choices, work, state, cache, counters, now)
        ingest(costs, choices, work, state, counters, end)
        hand_out(choices, work, state, counters, now, end)
        now = end
    counters[col.ELAPSED_NS] = now
    # Prefetches that wait in the queue of a stream may end after the last token.
    for busy, clock in ((col.H2D_BUSY_NS, st.LINK), (col.SSD_BUSY_NS, st.SSD)):
        beyond = min(counters[busy] - now, state.clocks[clock] - now)
        counters[busy] -= max(0.0, beyond)
    count_area(state, counters, now, 0)
    _settle(state, cache, counters)


@helper
def _settle(state: State, cache: CacheState, counters: Array) -> None:
    """Count what is left at the end."""
    for block in range(state.blocks.shape[1] - 1):
        if state.blocks[st.UNUSED, block] == 1:
            if cache.resident[block] == 1:
                counters[col.N_PENDING] += 1
            else:
                counters[col.N_WASTED] += 1
        if cache.resident[block] == 1:
            counters[col.N_RESIDENT_END] += 1
