"""The serving loop: engine steps over layers, on streams that overlap; compiled.

Each step forms a batch, gathers what every layer's router asks for, and walks through the layers:
attention, then the layer's experts (`layer`, or `exchange` where they are spread over
accelerators). Times are float64 ns, which hold whole nanoseconds exactly for a hundred days.
"""

from typing import Any

import numpy.typing as npt

from archgym.runtime.kernels import entry_point, helper, pointer
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
from archgym.simulators.moe.kernel.columns import (
    ACCEPTANCE_PERMILLE,
    ATTENTION_NS,
    COMPUTE_BUSY_NS,
    ELAPSED_NS,
    EXPERT,
    H2D_BUSY_NS,
    IDLE_NS,
    INTRA_BUSY_NS,
    N_DECODE_EVENTS,
    N_DEGRADED,
    N_DENSE,
    N_DISTINCT_DECODE,
    N_DRAFTED,
    N_EXPERTS,
    N_FINISHED,
    N_LAYERS,
    N_PENDING,
    N_REJECTED,
    N_REQUESTS,
    N_RESIDENT_END,
    N_ROUNDS,
    N_ROUTED,
    N_WASTED,
    OVERHEAD_NS,
    PREFETCH,
    REPLACEMENT,
    SCOPE,
    SEED,
    SKIP_IN_64,
    SSD_BUSY_NS,
    STATUS,
    TOP_K,
)
from archgym.simulators.moe.kernel.exchange import exchange_event
from archgym.simulators.moe.kernel.layer import expert_event
from archgym.simulators.moe.kernel.pool import mark_all_stale, share_out
from archgym.simulators.moe.kernel.predictor import chance, issue_path
from archgym.simulators.moe.kernel.state import (
    BATCH,
    BATCH_COUNT,
    BATCH_FROM,
    BEST_DEGREE,
    CURSOR,
    DEPTH_NOW,
    FIRST,
    GENERATED,
    LINK,
    N_ARRIVED,
    N_BATCH,
    N_DECODE,
    N_PROMPT,
    N_WRITTEN,
    OUTPUT,
    PACE,
    PREFILLED,
    PROMPT,
    SSD,
    STEP,
    UNUSED,
    State,
    Work,
    whole,
)
from archgym.simulators.moe.kernel.surroundings import count_contents, count_steps, surroundings

Array = npt.NDArray[Any]

_PATH = 4  # Prefetch.PATH
_PROPORTIONAL = 2  # Scope.PROPORTIONAL
# What a layer skips is counted in 64ths, spread evenly over the layers.
_SKIP_PARTS = 64


@helper
def _is_skipped(choices: Array, layer: int) -> bool:
    part = choices[SKIP_IN_64]
    return bool((layer + 1) * part // _SKIP_PARTS > layer * part // _SKIP_PARTS)


@helper
def _gather(choices: Array, work: Work, state: State) -> None:
    """Count what every event of the step asks for."""
    n_layers, n_experts, top_k = choices[N_LAYERS], choices[N_EXPERTS], choices[TOP_K]
    n_rounds = choices[N_ROUNDS]
    a_round = top_k // n_rounds
    skips = choices[SKIP_IN_64] > 0
    # Large batches spend nearly all their time in the innermost loop.
    counts, members = pointer(state.counts), pointer(state.members)
    n_members, routing = pointer(state.n_members), pointer(work.routing)
    for place in range(state.numbers[N_BATCH]):
        request = state.requests[BATCH, place]
        first = state.requests[BATCH_FROM, place]
        for position in range(first, first + state.requests[BATCH_COUNT, place]):
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
    n_experts = choices[N_EXPERTS]
    for event in range(choices[N_LAYERS] * choices[N_ROUNDS]):
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
    n_batch = numbers[N_BATCH]
    count_contents(work, state)
    n_tokens = whole(contents[N_WRITTEN] + contents[N_PROMPT])
    count_steps(state, counters, 1.0)
    numbers[STEP] += 1
    numbers[CURSOR] = 0
    numbers[BEST_DEGREE] = 0
    _gather(choices, work, state)
    software, attention, reduce, gather, dense, shared, head = surroundings(
        costs, choices, contents
    )
    n_dense = choices[N_DENSE]

    time = now + software + n_dense * (attention + dense + reduce + reduce)
    counters[OVERHEAD_NS] += software
    counters[COMPUTE_BUSY_NS] += n_dense * (attention + dense) + head
    counters[ATTENTION_NS] += n_dense * (attention + dense) + head
    counters[INTRA_BUSY_NS] += 2.0 * n_dense * reduce
    if choices[SCOPE] == _PROPORTIONAL:
        share_out(choices, state, cache)
    if choices[REPLACEMENT] == LEAST_STALE:
        mark_all_stale(choices, state)
    if choices[PREFETCH] == _PATH:
        issue_path(costs, choices, state, cache, now)
    n_rounds = choices[N_ROUNDS]
    for layer in range(choices[N_LAYERS]):
        time += attention + reduce
        counters[COMPUTE_BUSY_NS] += attention
        counters[ATTENTION_NS] += attention
        counters[INTRA_BUSY_NS] += reduce
        if choices[SKIP_IN_64] > 0 and _is_skipped(choices, layer):
            routed = n_tokens * choices[TOP_K]
            counters[N_ROUTED] += routed
            counters[N_DEGRADED] += routed
            continue
        for event in range(layer * n_rounds, (layer + 1) * n_rounds):
            if contents[N_DECODE] == n_batch:
                counters[N_DECODE_EVENTS] += 1
                counters[N_DISTINCT_DECODE] += state.n_members[event]
            if choices[EXPERT] > 1:
                time = exchange_event(costs, choices, work, state, counters, event, time, n_tokens)
            else:
                time = expert_event(costs, choices, work, state, cache, counters, event, time)
                time += gather
                counters[INTRA_BUSY_NS] += gather
        time += shared
        counters[COMPUTE_BUSY_NS] += shared
        counters[ATTENTION_NS] += shared
    _clear(choices, state)
    time += head
    if contents[N_PROMPT] == 0.0:
        state.clocks[PACE] = time - now
    return float(time)


@helper
def _is_accepted(choices: Array, request: int, position: int) -> bool:
    """Return True if the draft of a request's token is accepted, by a seeded number of it."""
    return bool(1000.0 * chance(choices[SEED], position, request) < choices[ACCEPTANCE_PERMILLE])


@helper
def hand_out(choices: Array, work: Work, state: State, counters: Array, end: float) -> None:
    """Give the tokens of a step to their requests; drafts count up to the first rejection."""
    for place in range(state.numbers[N_BATCH]):
        request = state.requests[BATCH, place]
        first, count = state.requests[BATCH_FROM, place], state.requests[BATCH_COUNT, place]
        if first < work.requests[PROMPT, request]:
            state.requests[PREFILLED, request] = first + count
            if first + count < work.requests[PROMPT, request]:
                continue
            # After a preemption it has had its first token.
            if state.times[FIRST, request] == 0.0:
                state.times[FIRST, request] = end
            given = 1
        else:
            given = 1
            while given < count and _is_accepted(choices, request, first + given):
                given += 1
            counters[N_DRAFTED] += count - 1
            counters[N_REJECTED] += count - given
        state.requests[GENERATED, request] += given
        if state.requests[GENERATED, request] >= work.requests[OUTPUT, request]:
            counters[N_FINISHED] += 1
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
    n_requests = choices[N_REQUESTS]
    now = 0.0
    state.numbers[DEPTH_NOW] = 1
    mark_all_stale(choices, state)
    while counters[N_FINISHED] < n_requests:
        ingest(costs, choices, work, state, counters, now)
        form_batch(choices, work, state, counters)
        if state.numbers[N_BATCH] == 0:
            upcoming = state.numbers[N_ARRIVED]
            if upcoming >= n_requests:
                counters[STATUS] = 1.0
                return
            arrival = visible_ns(costs, work, state, upcoming)
            counters[IDLE_NS] += arrival - now
            now = arrival
            continue
        end = step(costs, choices, work, state, cache, counters, now)
        ingest(costs, choices, work, state, counters, end)
        hand_out(choices, work, state, counters, end)
        now = end
    counters[ELAPSED_NS] = now
    # Prefetches that wait in the queue of a stream may end after the last token.
    for busy, clock in ((H2D_BUSY_NS, LINK), (SSD_BUSY_NS, SSD)):
        beyond = min(counters[busy] - now, state.clocks[clock] - now)
        counters[busy] -= max(0.0, beyond)
    count_area(state, counters, now, 0)
    _settle(state, cache, counters)


@helper
def _settle(state: State, cache: CacheState, counters: Array) -> None:
    """Count what is left at the end."""
    for block in range(state.blocks.shape[1] - 1):
        if state.blocks[UNUSED, block] == 1:
            if cache.resident[block] == 1:
                counters[N_PENDING] += 1
            else:
                counters[N_WASTED] += 1
        if cache.resident[block] == 1:
            counters[N_RESIDENT_END] += 1
