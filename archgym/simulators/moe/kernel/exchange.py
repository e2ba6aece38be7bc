"""Experts spread over accelerators: who computes what, and what crosses the links; compiled.

Each accelerator holds slots of experts, some experts in several. Tokens go to the accelerators of
their experts and back: inside a server over its links, between servers over the network, in chunks
if the design says so (see `makespan`). The layer takes as long as its busiest accelerator.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit.kernels import helper
from archgym.simulators.moe.kernel.misses import padding_rows, unlike_share
from archgym.simulators.moe.kernel.state import (
    ACCESSES,
    BEST_DEGREE,
    HITS,
    MAX_DEGREE,
    State,
    Work,
    whole,
)
from archgym.simulators.moe.machine import columns as col

Array = npt.NDArray[Any]

_N_STAGES = 5
_INTRA, _INTER, _COMPUTE = 0, 1, 2


@helper
def makespan(
    ready: Array,
    degree: int,
    gather: float,
    send: float,
    compute: float,
    receive: float,
    scatter: float,
) -> float:
    """Return when the last of `degree` chunks is through, each stage taking so long a chunk [ns].

    Chunks of tokens are gathered inside a server, sent to the other servers, computed, sent back
    and scattered. The first and last step use the links inside a server, the second and fourth
    those between servers, the third the accelerators; a stream does one thing at a time, and of
    what is ready it takes what can start first.

    Args:
      ready: (5, MAX_DEGREE) float64, scratch.
      degree: Chunks, 1 to `MAX_DEGREE`.
      gather: Inside a server, before [ns].
      send: Between servers, there [ns].
      compute: The experts [ns].
      receive: Between servers, back [ns].
      scatter: Inside a server, after [ns].
    """
    intra = inter = computing = 0.0
    at_0 = at_1 = at_2 = at_3 = at_4 = 0
    for chunk in range(degree):
        ready[0, chunk] = 0.0
    end = 0.0
    for _ in range(_N_STAGES * degree):
        chosen = -1
        start = 0.0
        # Of equals the later stage goes first, which frees what waits behind it.
        for stage in range(_N_STAGES - 1, -1, -1):
            if stage == 0:
                at, limit, free = at_0, degree, intra
            elif stage == 1:
                at, limit, free = at_1, at_0, inter
            elif stage == 2:
                at, limit, free = at_2, at_1, computing
            elif stage == 3:
                at, limit, free = at_3, at_2, inter
            else:
                at, limit, free = at_4, at_3, intra
            if at >= limit:
                continue
            begin = max(ready[stage, at], free)
            if chosen < 0 or begin < start:
                chosen = stage
                start = begin
        if chosen == 0:
            end = start + gather
            intra = end
            ready[1, at_0] = end
            at_0 += 1
        elif chosen == 1:
            end = start + send
            inter = end
            ready[2, at_1] = end
            at_1 += 1
        elif chosen == 2:
            end = start + compute
            computing = end
            ready[3, at_2] = end
            at_2 += 1
        elif chosen == 3:
            end = start + receive
            inter = end
            ready[4, at_3] = end
            at_3 += 1
        else:
            end = start + scatter
            intra = end
            at_4 += 1
    return max(intra, inter, computing)


@helper
def pipelined(ready: Array, degree: int, times: tuple[float, ...]) -> float:
    """Return `makespan` of what takes a fixed time a chunk and a part of the whole.

    Args:
      ready: As for `makespan`.
      degree: The same.
      times: Six pairs, fixed and divided: gather, send, compute, receive, scatter, and for the
        computation a floor below which a chunk does not get: the weights that it reads.
    """
    compute = times[4] + max(times[10], times[5] / degree)
    return makespan(
        ready,
        degree,
        times[0] + times[1] / degree,
        times[2] + times[3] / degree,
        compute,
        times[6] + times[7] / degree,
        times[8] + times[9] / degree,
    )


@helper
def best_degree(ready: Array, times: tuple[float, ...]) -> int:
    """Return the number of chunks that is through first; the smallest of equals.

    Source:
      Pan et al., *FSMoE*, ASPLOS 2025: a step of r chunks takes alpha + beta * n / r. It solves for
      r; here r is scanned, which costs less than a solver's first step.
    """
    best = whole(1)
    least = pipelined(ready, best, times)
    for degree in range(2, MAX_DEGREE + 1):
        end = pipelined(ready, degree, times)
        if end < least:
            best, least = degree, end
    return best


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
    n_experts, tile = choices[col.N_EXPERTS], choices[col.TILE]
    layer = event // choices[col.N_ROUNDS]
    base = event * n_experts
    n = whole(state.n_members[event])
    n_groups = choices[col.EXPERT]
    per_group = choices[col.SLOTS] // n_groups
    all_rows = float(n_tokens * choices[col.TOP_K])
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
        weights = unlike * n_active * costs[col.EXPERT_WEIGHT_NS]
        work_ns = group_work(costs, choices, float(n_padded), tokens, all_rows)
        if max(weights, work_ns) > max(weight_ns, token_ns):
            weight_ns, token_ns = weights, work_ns
        most = max(most, tokens)
        everything += tokens
    span = exchange_span(costs, choices, state, counters, weight_ns, token_ns, n_tokens, 1.0)
    counters[col.N_EVENTS] += 1
    counters[col.N_ACCESSES] += n
    counters[col.N_DISTINCT] += n
    counters[col.N_HITS] += n
    counters[col.N_ROUTED] += everything
    counters[col.LOAD_SUM] += everything / n_groups
    counters[col.LOAD_MAX] += most
    state.layers[HITS, layer] += n
    state.layers[ACCESSES, layer] += n
    return gate + span


@helper
def group_work(
    costs: Array, choices: Array, n_padded: float, n_routed: float, all_rows: float
) -> float:
    """Return the time of a group's products and vectors, without its weights [ns]."""
    rows = padding_rows(choices, choices[col.SLOTS] // choices[col.EXPERT])
    products = n_padded * costs[col.EXPERT_TOKEN_NS]
    if rows > 0.0:
        products = (all_rows + rows) * costs[col.PADDED_TOKEN_NS]
    return float(products + n_routed * costs[col.ROUTED_TOKEN_NS] + rows * costs[col.PADDED_ROW_NS])


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
    rank_tokens = np.ceil(n_tokens / choices[col.DATA])
    times = (
        costs[col.INTRA_FIXED_NS],
        rank_tokens * costs[col.INTRA_DISPATCH_TOKEN_NS],
        costs[col.INTER_FIXED_NS],
        rank_tokens * costs[col.INTER_DISPATCH_TOKEN_NS],
        costs[col.EXPERTS_NS],
        token_ns,
        costs[col.INTER_FIXED_NS],
        rank_tokens * costs[col.INTER_COMBINE_TOKEN_NS],
        costs[col.INTRA_FIXED_NS],
        rank_tokens * costs[col.INTRA_COMBINE_TOKEN_NS],
        weight_ns,
    )
    degree = choices[col.PIPELINE]
    if degree == 0:
        if state.numbers[BEST_DEGREE] == 0:
            state.numbers[BEST_DEGREE] = best_degree(state.ready, times)
        degree = state.numbers[BEST_DEGREE]
    span = pipelined(state.ready, degree, times)
    computing = degree * (costs[col.EXPERTS_NS] + max(weight_ns, token_ns / degree))
    intra = degree * (times[0] + times[8]) + times[1] + times[9]
    inter = degree * (times[2] + times[6]) + times[3] + times[7]
    counters[col.COMPUTE_BUSY_NS] += n_events * computing
    counters[col.INTRA_BUSY_NS] += n_events * intra
    counters[col.INTER_BUSY_NS] += n_events * inter
    counters[col.COMMUNICATION_NS] += n_events * max(0.0, span - computing)
    counters[col.MOE_NS] += n_events * span
    return float(span)
