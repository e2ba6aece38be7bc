"""Experts spread over accelerators: who computes what, and what crosses the links; compiled.

Each accelerator holds slots of experts, some experts in several. Tokens go to the accelerators of
their experts and back: inside a server over its links, between servers over the network, in chunks
if the design says so (see `pipeline`). The layer takes as long as its busiest accelerator.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from archgym.runtime.kernels import helper
from archgym.simulators.moe.kernel.columns import (
    COMMUNICATION_NS,
    COMPUTE_BUSY_NS,
    DATA,
    EXPERT,
    EXPERT_TOKEN_NS,
    EXPERT_WEIGHT_NS,
    EXPERTS_NS,
    INTER_BUSY_NS,
    INTER_COMBINE_TOKEN_NS,
    INTER_DISPATCH_TOKEN_NS,
    INTER_FIXED_NS,
    INTRA_BUSY_NS,
    INTRA_COMBINE_TOKEN_NS,
    INTRA_DISPATCH_TOKEN_NS,
    INTRA_FIXED_NS,
    LOAD_MAX,
    LOAD_SUM,
    MOE_NS,
    N_ACCESSES,
    N_DISTINCT,
    N_EVENTS,
    N_EXPERTS,
    N_HITS,
    N_ROUNDS,
    N_ROUTED,
    PADDED_ROW_NS,
    PADDED_TOKEN_NS,
    PIPELINE,
    ROUTED_TOKEN_NS,
    SLOTS,
    TILE,
    TOP_K,
)
from archgym.simulators.moe.kernel.misses import padding_rows, unlike_share
from archgym.simulators.moe.kernel.pipeline import best_degree, pipelined
from archgym.simulators.moe.kernel.state import (
    ACCESSES,
    BEST_DEGREE,
    HITS,
    State,
    Work,
    whole,
)

Array = npt.NDArray[Any]


@helper
def exchange_event(
    costs: Array,
    choices: Array,
    work: Work,
    state: State,
    counters: Array,
    event: int,
    gate: float,
    n_tokens: int,
) -> float:
    """Run one event over all accelerators; when it ends [ns]."""
    n_experts, tile = choices[N_EXPERTS], choices[TILE]
    layer = event // choices[N_ROUNDS]
    base = event * n_experts
    n = whole(state.n_members[event])
    n_groups = choices[EXPERT]
    per_group = choices[SLOTS] // n_groups
    all_rows = float(n_tokens * choices[TOP_K])
    unlike = unlike_share(choices, float(n_tokens))
    weight_ns = token_ns = 0.0
    most = everything = 0.0
    for group in range(n_groups):
        n_active = n_padded = 0
        tokens = 0.0
        for slot in range(group * per_group, (group + 1) * per_group):
            expert = whole(work.slots[layer, slot])
            asked = whole(state.counts[base + expert])
            if asked == 0:
                continue
            copies = whole(work.replicas[layer, expert])
            share = (asked + copies - 1) // copies
            n_active += 1
            n_padded += (share + tile - 1) // tile * tile
            tokens += asked / copies
        weights = unlike * n_active * costs[EXPERT_WEIGHT_NS]
        work_ns = group_work(costs, choices, float(n_padded), tokens, all_rows)
        if max(weights, work_ns) > max(weight_ns, token_ns):
            weight_ns, token_ns = weights, work_ns
        most = max(most, tokens)
        everything += tokens
    span = exchange_span(costs, choices, state, counters, weight_ns, token_ns, n_tokens, 1.0)
    counters[N_EVENTS] += 1
    counters[N_ACCESSES] += n
    counters[N_DISTINCT] += n
    counters[N_HITS] += n
    counters[N_ROUTED] += everything
    counters[LOAD_SUM] += everything / n_groups
    counters[LOAD_MAX] += most
    state.layers[HITS, layer] += n
    state.layers[ACCESSES, layer] += n
    return gate + span


@helper
def group_work(
    costs: Array, choices: Array, n_padded: float, n_routed: float, all_rows: float
) -> float:
    """Return the time of a group's products and vectors, without its weights [ns]."""
    rows = padding_rows(choices, choices[SLOTS] // choices[EXPERT])
    products = n_padded * costs[EXPERT_TOKEN_NS]
    if rows > 0.0:
        products = (all_rows + rows) * costs[PADDED_TOKEN_NS]
    return float(products + n_routed * costs[ROUTED_TOKEN_NS] + rows * costs[PADDED_ROW_NS])


@helper
def exchange_span(
    costs: Array,
    choices: Array,
    state: State,
    counters: Array,
    weight_ns: float,
    token_ns: float,
    n_tokens: float,
    n_events: float,
) -> float:
    """Return the time of an event whose busiest accelerator has this much to do [ns].

    Counters count `n_events` of them.
    """
    rank_tokens = np.ceil(n_tokens / choices[DATA])
    times = (
        costs[INTRA_FIXED_NS],
        rank_tokens * costs[INTRA_DISPATCH_TOKEN_NS],
        costs[INTER_FIXED_NS],
        rank_tokens * costs[INTER_DISPATCH_TOKEN_NS],
        costs[EXPERTS_NS],
        token_ns,
        costs[INTER_FIXED_NS],
        rank_tokens * costs[INTER_COMBINE_TOKEN_NS],
        costs[INTRA_FIXED_NS],
        rank_tokens * costs[INTRA_COMBINE_TOKEN_NS],
        weight_ns,
    )
    degree = choices[PIPELINE]
    if degree == 0:
        if state.numbers[BEST_DEGREE] == 0:
            state.numbers[BEST_DEGREE] = best_degree(state.ready, times)
        degree = state.numbers[BEST_DEGREE]
    span = pipelined(state.ready, degree, times)
    computing = degree * (costs[EXPERTS_NS] + max(weight_ns, token_ns / degree))
    intra = degree * (times[0] + times[8]) + times[1] + times[9]
    inter = degree * (times[2] + times[6]) + times[3] + times[7]
    counters[COMPUTE_BUSY_NS] += n_events * computing
    counters[INTRA_BUSY_NS] += n_events * intra
    counters[INTER_BUSY_NS] += n_events * inter
    counters[COMMUNICATION_NS] += n_events * max(0.0, span - computing)
    counters[MOE_NS] += n_events * span
    return float(span)
