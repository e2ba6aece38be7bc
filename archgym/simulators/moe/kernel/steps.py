"""The serving loop at the level of steps: the fidelity `steps`; compiled.

Requests, batches, memory and costs are those of the serving kernel, whose functions it calls. Two
things differ. The experts of a step come from a table of the routing (`occupancy`) and not from
each token. And steps in which the same requests decode, and nobody comes or ends, are added up at
once: their contexts grow evenly, so that the time of the middle one counts for each.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit.kernels import entry_point, helper
from archgym.simulators.moe.kernel import state as st
from archgym.simulators.moe.kernel.batching import (
    count_area,
    form_batch,
    ingest,
    take_blocks,
    visible_ns,
)
from archgym.simulators.moe.kernel.exchange import exchange_span, group_work
from archgym.simulators.moe.kernel.full import hand_out
from archgym.simulators.moe.kernel.misses import resident_time, unlike_share
from archgym.simulators.moe.kernel.occupancy import BUSY, DISTINCT, PADDING, TOKENS, USED
from archgym.simulators.moe.kernel.state import State, Work, whole
from archgym.simulators.moe.kernel.surroundings import (
    count_contents,
    count_steps,
    launches_ns,
    surroundings,
)
from archgym.simulators.moe.machine import columns as col

Array = npt.NDArray[Any]

N_STATISTICS: Final = st.N_CONTENTS + 2
"""Sums over steps of one kind: contents, number and time [ns]."""
# Rows of `waits`: decode-only steps and steps with prompts of each request.
_PURE, _MIXED = 0, 1


@helper
def _at(table: Array, row: int, n_tokens: float) -> float:
    """Return a row of the table at a number of tokens; beyond its end it stays as it is."""
    n = table.shape[1]
    if n_tokens <= table[TOKENS, 0]:
        return float(table[row, 0] * n_tokens / table[TOKENS, 0])
    if n_tokens >= table[TOKENS, n - 1]:
        return float(table[row, n - 1])
    low, high = 0, n - 1
    while high - low > 1:
        middle = (low + high) // 2
        if table[TOKENS, middle] <= n_tokens:
            low = middle
        else:
            high = middle
    part = (n_tokens - table[TOKENS, low]) / (table[TOKENS, high] - table[TOKENS, low])
    return float(table[row, low] + part * (table[row, high] - table[row, low]))


@helper
def _together(table: Array, row: int, places: float, contents: Array) -> float:
    """Return the places that decodes and prompts of a step use together.

    Rows of the table are for decodes, and those that follow for prompts; both choose apart.
    """
    decodes = _at(table, row, contents[st.N_WRITTEN])
    prompts = _at(table, row + 1, contents[st.N_PROMPT])
    return float(decodes + prompts - decodes * prompts / places)


@helper
def _busiest(table: Array, contents: Array, even: float) -> float:
    """Return the routed tokens of the busiest group, from the excess over an even share."""
    n = table.shape[1]
    last = table[TOKENS, n - 1]
    excess = 0.0
    for row, tokens in ((BUSY, contents[st.N_WRITTEN]), (BUSY + 1, contents[st.N_PROMPT])):
        # Beyond the table the excess grows as the number of tokens: what is left is skew.
        beyond = max(1.0, tokens / last)
        excess += (_at(table, row, tokens) * beyond) ** 2
    return float(even + np.sqrt(excess))


@helper
def step_ns(
    costs: Array,
    choices: Array,
    state: State,
    table: Array,
    counters: Array,
    contents: Array,
    n_steps: float,
) -> float:
    """Return the time of one of several equal steps with these contents [ns]."""
    software, attention, reduce, gather, dense, shared, head = surroundings(
        costs, choices, contents
    )
    n_tokens = contents[st.N_WRITTEN] + contents[st.N_PROMPT]
    n_layers = float(choices[col.N_LAYERS])
    routed = n_tokens * choices[col.TOP_K]
    distinct = experts = busy = 0.0
    padding = _at(table, PADDING, contents[st.N_WRITTEN])
    padding += _at(table, PADDING + 1, contents[st.N_PROMPT])
    if n_layers > 0.0:
        distinct = _together(table, DISTINCT, float(choices[col.N_EXPERTS]), contents)
        if choices[col.EXPERT] > 1:
            slots = float(choices[col.SLOTS] // choices[col.EXPERT])
            used = _together(table, USED, slots, contents) * unlike_share(choices, n_tokens)
            busy = _busiest(table, contents, routed / choices[col.EXPERT])
            state.numbers[st.BEST_DEGREE] = 0
            experts = exchange_span(
                costs, choices, state, counters, used * costs[col.EXPERT_WEIGHT_NS],
                group_work(costs, choices, busy + padding, busy, routed), n_tokens,
                n_layers * n_steps,
            )  # fmt: skip
            gather = 0.0
            counters[col.LOAD_SUM] += n_steps * n_layers * routed / choices[col.EXPERT]
            counters[col.LOAD_MAX] += n_steps * n_layers * busy
        else:
            experts = costs[col.EXPERTS_NS] + resident_time(
                costs, choices, distinct, routed + padding, routed
            )
            counters[col.COMPUTE_BUSY_NS] += n_steps * n_layers * experts
            counters[col.INTRA_BUSY_NS] += n_steps * n_layers * gather
            counters[col.MOE_NS] += n_steps * n_layers * experts
    n_dense = float(choices[col.N_DENSE])
    others = n_dense * (attention + dense) + head + n_layers * (attention + shared)
    links = (2.0 * n_dense + n_layers) * reduce
    busy = others + links + n_layers * (experts + gather)
    software += max(0.0, launches_ns(costs, choices, contents) - busy)
    counters[col.OVERHEAD_NS] += n_steps * software
    counters[col.COMPUTE_BUSY_NS] += n_steps * others
    counters[col.ATTENTION_NS] += n_steps * others
    counters[col.INTRA_BUSY_NS] += n_steps * links
    counters[col.N_EVENTS] += n_steps * n_layers
    counters[col.N_DISTINCT] += n_steps * n_layers * distinct
    counters[col.N_ROUTED] += n_steps * n_layers * routed
    if contents[st.N_PROMPT] == 0.0:
        counters[col.N_DECODE_EVENTS] += n_steps * n_layers
        counters[col.N_DISTINCT_DECODE] += n_steps * n_layers * distinct
    return float(software + busy)


@helper
def _lengthened(contents: Array, n_steps: float) -> None:
    """Move contexts of decodes on by some steps."""
    contents[st.DECODE_CONTEXT] += n_steps * contents[st.N_DECODE]
    contents[st.DECODE_PAIRS] += n_steps * contents[st.N_DECODE]


@helper
def _n_alike(
    costs: Array, choices: Array, work: Work, state: State, counters: Array, now: float
) -> int:
    """Return how many steps from this one on hold the same requests, one token each."""
    numbers = state.numbers
    n = numbers[st.N_BATCH]
    if (
        n != numbers[st.N_RUNNING]
        or choices[col.DRAFT_TOKENS] > 0
        or state.contents[st.N_PROMPT] > 0.0
    ):
        return 1
    steps = whole(1 << 40)
    for place in range(n):
        request = state.requests[st.BATCH, place]
        left = work.requests[st.OUTPUT, request] - state.requests[st.GENERATED, request]
        steps = min(steps, left)
    if choices[col.BLOCK_TOKENS] > 0:
        # Each request may need a block at once; nearer to the end steps go one by one.
        blocks = (choices[col.MAX_CONTEXT] - numbers[st.RESERVED]) // (
            n * choices[col.BLOCK_TOKENS]
        )
        steps = min(steps, 1 + blocks * choices[col.BLOCK_TOKENS])
    upcoming = numbers[st.N_ARRIVED]
    comes = upcoming < choices[col.N_REQUESTS]
    if comes and choices[col.CLIENTS] > 0:
        comes = upcoming < choices[col.CLIENTS] + whole(counters[col.N_FINISHED])
    if comes:
        # A request is seen at the end of a step, and not at each where the engine polls.
        visible = visible_ns(costs, work, state, upcoming)
        wait = max(1.0, np.ceil((visible - now) / state.clocks[st.PACE]))
        if wait < steps:
            poll = choices[col.POLL_STEPS]
            late = -(numbers[st.N_UNSEEN] + whole(wait)) % poll if poll > 1 else whole(0)
            steps = min(steps, whole(wait) + late)
    return max(whole(1), steps)


@helper
def _count_waits(
    state: State, waits: Array, statistics: Array, is_mixed: bool, n_steps: float, end: float
) -> None:
    """Add up steps by kind, and for each request those between its first and last token."""
    statistics[whole(is_mixed), st.N_CONTENTS] += n_steps
    for place in range(state.numbers[st.N_BATCH]):
        request = state.requests[st.BATCH, place]
        if state.times[st.FIRST, request] == end:
            for kind in range(2):
                waits[kind, request] = -statistics[kind, st.N_CONTENTS]
        if state.times[st.LAST, request] == end:
            for kind in range(2):
                waits[kind, request] += statistics[kind, st.N_CONTENTS]


@entry_point(seconds=25)
def serve_steps(
    costs: Array,
    choices: Array,
    work: Work,
    state: State,
    table: Array,
    counters: Array,
    waits: Array,
    statistics: Array,
    until: float,
) -> None:
    """Serve all requests, or those of a part of the run; any parts give the bits of the whole.

    Args:
      costs: (len(COSTS),) float64.
      choices: (len(CHOICES),) int64; all experts are in the accelerators' memory.
      work: A `Work`.
      state: A `State` for as many requests and layers, changed.
      table: (N_ROWS, n) float64 of `occupancy`.
      counters: (len(COUNTERS),) float64, zeros, written as the serving kernel does.
      waits: (2, n_requests) float64, written: decode-only steps and steps with prompts between the
        first and the last token of each request.
      statistics: (2, N_STATISTICS) float64, added to, for both kinds of step.
      until: Time from which no step begins [ns]; steps that are alike end together.
    """
    n_requests = choices[col.N_REQUESTS]
    now = state.clocks[st.NOW]
    while counters[col.N_FINISHED] < n_requests and now < until:
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
        count_contents(work, state)
        contents = state.contents
        is_mixed = contents[st.N_PROMPT] > 0.0
        if not is_mixed:
            # The pace decides when requests are seen that come in these steps.
            state.clocks[st.PACE] = step_ns(costs, choices, state, table, counters, contents, 0.0)
        n_steps = _n_alike(costs, choices, work, state, counters, now)
        _lengthened(contents, 0.5 * (n_steps - 1.0))
        took = step_ns(costs, choices, state, table, counters, contents, float(n_steps))
        count_steps(state, counters, float(n_steps))
        end = now + n_steps * took
        for column in range(st.N_CONTENTS):
            statistics[whole(is_mixed), column] += n_steps * contents[column]
        statistics[whole(is_mixed), st.N_CONTENTS + 1] += n_steps * took
        if n_steps > 1:
            for place in range(state.numbers[st.N_BATCH]):
                state.requests[st.GENERATED, state.requests[st.BATCH, place]] += n_steps - 1
            if choices[col.BLOCK_TOKENS] > 0:
                take_blocks(choices, work, state, counters)
        if not is_mixed:
            state.clocks[st.PACE] = took
        ingest(costs, choices, work, state, counters, end)
        hand_out(choices, work, state, counters, now, end)
        _count_waits(state, waits, statistics, is_mixed, float(n_steps), end)
        now = end
    state.clocks[st.NOW] = now
    if counters[col.N_FINISHED] < n_requests:
        return
    counters[col.ELAPSED_NS] = now
    count_area(state, counters, now, 0)
    n_layers = choices[col.N_LAYERS]
    for layer in range(n_layers):
        hits = whole(np.rint(counters[col.N_DISTINCT] / n_layers))
        state.layers[st.HITS, layer] = hits
        state.layers[st.ACCESSES, layer] = hits
        counters[col.N_HITS] += hits
        counters[col.N_ACCESSES] += hits


@entry_point(seconds=10)
def step_times(
    costs: Array, choices: Array, state: State, tables: Array, table_of: Array, counters: Array,
    contents: Array, times: Array,
) -> None:  # fmt: skip
    """Write the times of single steps of several deployments.

    Args:
      costs: (n, len(COSTS)) float64.
      choices: (n, len(CHOICES)) int64.
      state: A `State`, scratch.
      tables: (n_tables, N_ROWS, n_points) float64 of `occupancy`.
      table_of: (n,) int64, the table of each.
      counters: (len(COUNTERS),) float64, scratch.
      contents: (n, N_CONTENTS) float64.
      times: (n,) float64, written [ns].
    """
    for row in range(len(times)):
        times[row] = step_ns(
            costs[row], choices[row], state, tables[table_of[row]], counters, contents[row],
            0.0,
        )  # fmt: skip
