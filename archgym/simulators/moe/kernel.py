"""The serving loop: engine steps over layers, on streams that overlap; compiled.

Each step forms a batch, gathers what every layer's router asks for, and walks through the layers:
attention, then the layer's experts (`layer`, or `exchange` where they are spread over
accelerators). Times are float64 ns, which hold whole nanoseconds exactly for a hundred days.
"""

from typing import Any

import numpy.typing as npt

from archgym.runtime.kernels import entry_point, helper, pointer
from archgym.simulators.moe.batching import (
    count_area,
    form_batch,
    ingest,
    retire,
    token_row,
    visible_ns,
)
from archgym.simulators.moe.caches import (
    BELADY,
    LEAST_STALE,
    SCH,
    CacheState,
)
from archgym.simulators.moe.columns import (
    ACCEPTANCE_PERMILLE,
    ATTENTION_NS,
    ATTENTION_TOKEN_NS,
    ATTENTION_WEIGHT_NS,
    COMPUTE_BUSY_NS,
    CONTEXT_NS,
    CONTEXT_READ,
    DATA,
    DENSE_TOKEN_NS,
    DENSE_WEIGHT_NS,
    ELAPSED_NS,
    EXPERT,
    GATHER_FIXED_NS,
    GATHER_TOKEN_NS,
    H2D_BUSY_NS,
    HEAD_TOKEN_NS,
    HEAD_WEIGHT_NS,
    IDLE_NS,
    INTRA_BUSY_NS,
    LAYER_NS,
    N_BATCH_SUM,
    N_DECODE_EVENTS,
    N_DEGRADED,
    N_DENSE,
    N_DISTINCT_DECODE,
    N_DRAFTED,
    N_EXPERTS,
    N_FINISHED,
    N_LAYERS,
    N_PENDING,
    N_PROMPT_TOKENS,
    N_REJECTED,
    N_REQUESTS,
    N_RESIDENT_END,
    N_ROUNDS,
    N_ROUTED,
    N_STEPS,
    N_TOKENS,
    N_WASTED,
    NORM_TOKEN_NS,
    OVERHEAD_NS,
    PAIR_NS,
    PEAK_STEP_TOKENS,
    PREFETCH,
    PROMPT_LAYER_NS,
    PROMPT_STEP_NS,
    PROMPT_TOKEN_NS,
    PROMPT_WEIGHT_NS,
    REDUCE_FIXED_NS,
    REDUCE_TOKEN_NS,
    REPLACEMENT,
    SCOPE,
    SEED,
    SEQUENCE_LAYER_NS,
    SEQUENCE_NS,
    SHARED_TOKEN_NS,
    SHARED_WEIGHT_NS,
    SKIP_IN_64,
    SSD_BUSY_NS,
    STATUS,
    STEP_NS,
    TOP_K,
)
from archgym.simulators.moe.exchange import exchange_event
from archgym.simulators.moe.foresight import foresee, forget_current
from archgym.simulators.moe.layer import expert_event
from archgym.simulators.moe.pool import mark_all_stale, share_out
from archgym.simulators.moe.predictor import chance, issue_path
from archgym.simulators.moe.state import (
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
    OUTPUT,
    PACE,
    PREFILLED,
    PROMPT,
    RATIO,
    SSD,
    STEP,
    UNUSED,
    State,
    Work,
    whole,
)

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
def _measured(work: Work, n_tokens: int) -> float:
    """Return the measured time of an experts kernel over its roofline; 1 without a measurement."""
    tokens, ratio = work.measured[0], work.measured[1]
    n = work.measured.shape[1]
    if n == 0:
        return 1.0
    if n_tokens <= tokens[0]:
        return float(ratio[0])
    for place in range(1, n):
        if n_tokens <= tokens[place]:
            part = (n_tokens - tokens[place - 1]) / (tokens[place] - tokens[place - 1])
            return float(ratio[place - 1] + part * (ratio[place] - ratio[place - 1]))
    return float(ratio[n - 1])


@helper
def _share(total: int, n_ranks: int) -> int:
    return (total + n_ranks - 1) // n_ranks


@helper
def _step(
    costs: Array,
    choices: Array,
    work: Work,
    state: State,
    cache: CacheState,
    counters: Array,
    now: float,
) -> float:
    """Run the batch through all layers; when it is through [ns]."""
    numbers = state.numbers
    n_batch = numbers[N_BATCH]
    # Typed zeros, or Numba compiles what takes them once more for literal ones.
    n_tokens = n_logits = decode_context = prompt_context = whole(0)
    decode_pairs = prompt_pairs = 0.0
    n_decode = n_prompt = n_written = whole(0)
    for place in range(n_batch):
        request = state.requests[BATCH, place]
        first, count = state.requests[BATCH_FROM, place], state.requests[BATCH_COUNT, place]
        n_tokens += count
        pairs = float(count) * first + 0.5 * count * (count + 1.0)
        if first + count >= work.requests[PROMPT, request]:
            n_logits += 1
        if first >= work.requests[PROMPT, request]:
            # Drafts are verified in the step of the token before them.
            n_decode += 1
            n_written += count
            n_logits += count - 1
            decode_context += first + count
            decode_pairs += pairs
        else:
            n_prompt += count
            prompt_context += first + count
            prompt_pairs += pairs
    counters[N_PROMPT_TOKENS] += n_prompt
    counters[N_STEPS] += 1
    counters[N_TOKENS] += n_tokens
    counters[CONTEXT_READ] += decode_context + prompt_context
    counters[N_BATCH_SUM] += n_batch
    counters[PEAK_STEP_TOKENS] = max(counters[PEAK_STEP_TOKENS], n_tokens)
    numbers[STEP] += 1
    numbers[CURSOR] = 0
    numbers[BEST_DEGREE] = 0
    _gather(choices, work, state)
    state.clocks[RATIO] = _measured(work, n_tokens)

    ranks = choices[DATA]
    # One group reads a prompt, and all wait for the busiest.
    n_prompts = max(1, n_batch - n_decode)
    mine = _share(n_written, ranks) + _share(n_prompt, min(ranks, n_prompts))
    prompt_scores = max(costs[CONTEXT_NS] * prompt_context, costs[PAIR_NS] * prompt_pairs)
    scores = (
        max(costs[CONTEXT_NS] * decode_context, costs[PAIR_NS] * decode_pairs)
        + costs[SEQUENCE_LAYER_NS] * n_decode
    ) / ranks + prompt_scores / min(ranks, n_prompts)
    attention = (
        costs[LAYER_NS]
        + max(costs[ATTENTION_WEIGHT_NS], costs[ATTENTION_TOKEN_NS] * mine)
        + scores
        + costs[NORM_TOKEN_NS] * mine
    )
    software = costs[STEP_NS] + costs[SEQUENCE_NS] * n_decode / ranks
    if n_prompt > 0:
        attention += costs[PROMPT_LAYER_NS]
        software += costs[PROMPT_STEP_NS]
    gather = costs[GATHER_FIXED_NS] + costs[GATHER_TOKEN_NS] * n_tokens
    reduce = costs[REDUCE_FIXED_NS] + costs[REDUCE_TOKEN_NS] * mine
    dense = max(costs[DENSE_WEIGHT_NS], costs[DENSE_TOKEN_NS] * mine)
    shared = max(costs[SHARED_WEIGHT_NS], costs[SHARED_TOKEN_NS] * mine)
    head = max(costs[HEAD_WEIGHT_NS], costs[HEAD_TOKEN_NS] * _share(n_logits, ranks))
    if n_prompt > 0:
        head += max(costs[PROMPT_WEIGHT_NS], costs[PROMPT_TOKEN_NS] * _share(n_prompt, ranks))
    n_dense = choices[N_DENSE]
    policy = choices[REPLACEMENT]
    sees_ahead = policy in (BELADY, SCH)

    time = now + software + n_dense * (attention + dense + reduce + reduce)
    counters[OVERHEAD_NS] += software
    counters[COMPUTE_BUSY_NS] += n_dense * (attention + dense) + head
    counters[ATTENTION_NS] += n_dense * (attention + dense) + head
    counters[INTRA_BUSY_NS] += 2.0 * n_dense * reduce
    if choices[SCOPE] == _PROPORTIONAL:
        share_out(choices, state, cache)
    if sees_ahead:
        foresee(choices, work, state, cache)
    if sees_ahead or policy == LEAST_STALE:
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
            if n_decode == n_batch:
                counters[N_DECODE_EVENTS] += 1
                counters[N_DISTINCT_DECODE] += state.n_members[event]
            if choices[EXPERT] > 1:
                time = exchange_event(costs, choices, work, state, counters, event, time, n_tokens)
            else:
                if sees_ahead:
                    forget_current(choices, state, cache, event)
                time = expert_event(costs, choices, work, state, cache, counters, event, time)
                time += gather
                counters[INTRA_BUSY_NS] += gather
        time += shared
        counters[COMPUTE_BUSY_NS] += shared
        counters[ATTENTION_NS] += shared
    _clear(choices, state)
    time += head
    if n_prompt == 0:
        state.clocks[PACE] = time - now
    return float(time)


@helper
def _is_accepted(choices: Array, request: int, position: int) -> bool:
    """Return True if the draft of a request's token is accepted, by a seeded number of it."""
    return bool(1000.0 * chance(choices[SEED], position, request) < choices[ACCEPTANCE_PERMILLE])


@helper
def _hand_out(choices: Array, work: Work, state: State, counters: Array, end: float) -> None:
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
        end = _step(costs, choices, work, state, cache, counters, now)
        ingest(costs, choices, work, state, counters, end)
        _hand_out(choices, work, state, counters, end)
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
