"""Selection of the tokens of an engine step; compiled.

A request waits until it is admitted, first come first served: a sequence must be free, and room
for the keys and values of all its tokens. Then its prompt is read, in chunks where the design says
so, and each step gives it one more token.

With blocks on demand (`block_tokens`), room for the prompt is enough. A request takes a block when
its tokens need one; where none is free, the request that was admitted last gives all of its blocks
back, waits, and then reads its prompt and what it has written once more.

Source:
  Continuous batching: Yu et al., *Orca*, OSDI 2022. Longest queue: Cai et al., *Read-ME*, NeurIPS
  2024, algorithm 1. Blocks and recomputation: Kwon et al., *Efficient Memory Management for Large
  Language Model Serving with PagedAttention*, SOSP 2023, section 4.5. Re-grouping: He et al.,
  *ExpertFlow*, arXiv 2410.17954, token scheduler.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit.kernels import helper
from archgym.simulators.moe.kernel import state as st
from archgym.simulators.moe.kernel.state import State, Work, whole
from archgym.simulators.moe.machine import columns as col

Array = npt.NDArray[Any]

WAITING, RUNNING, FINISHED = 0, 1, 2
# vLLM keeps 1 % of the blocks free when it admits a request (its watermark).
_SPARE = 100
_DECODE_FIRST, _PREFILL_FIRST, _FCFS, _LONGEST_QUEUE, _REGROUP = range(5)  # Scheduler


@helper
def token_row(work: Work, request: int, position: int) -> int:
    """Return the row of `routing` of a request's token; a short document begins again."""
    return int(
        work.requests[st.ROW, request]
        + (work.requests[st.OFFSET, request] + position) % work.requests[st.LENGTH, request]
    )


@helper
def count_area(state: State, counters: Array, at: float, change: int) -> None:
    """Add up requests in the system times time, for Little's law."""
    clocks, numbers = state.clocks, state.numbers
    counters[col.AREA_NS] += numbers[st.IN_SYSTEM] * (at - clocks[st.LAST_EVENT])
    clocks[st.LAST_EVENT] = at
    numbers[st.IN_SYSTEM] += change


@helper
def visible_ns(costs: Array, work: Work, state: State, request: int) -> float:
    """Return when the engine can schedule a request: after handling it, and some steps [ns].

    A request that finds an idle server waits for no step.
    """
    arrival = float(work.requests[st.ARRIVAL, request])
    pace = state.clocks[st.PACE] if state.numbers[st.N_RUNNING] > 0 else 0.0
    return float(arrival + costs[col.FIRST_NS] + costs[col.WAIT_STEPS] * pace)


@helper
def ingest(
    costs: Array, choices: Array, work: Work, state: State, counters: Array, now: float
) -> None:
    """Accept the requests that have arrived.

    An engine that looks for them rarely also looks after each step with prompts.

    Source:
      SGLang, `SchedulerRecvSkipper`: a decode step counts 1, any other 1,000.
    """
    numbers = state.numbers
    poll = choices[col.POLL_STEPS]
    if poll > 1 and numbers[st.N_RUNNING] > 0 and numbers[st.N_UNSEEN] % poll != 0:
        return
    clients = choices[col.CLIENTS]
    while numbers[st.N_ARRIVED] < choices[col.N_REQUESTS]:
        request = numbers[st.N_ARRIVED]
        if clients > 0 and request >= clients + whole(counters[col.N_FINISHED]):
            break
        if visible_ns(costs, work, state, request) > now:
            break
        # Requests in the system times time do not depend on the order of these additions.
        count_area(state, counters, float(work.requests[st.ARRIVAL, request]), 1)
        numbers[st.N_ARRIVED] += 1


@helper
def retire(
    choices: Array, work: Work, state: State, counters: Array, request: int, at: float
) -> None:
    """Retire a request that has its last token."""
    numbers = state.numbers
    state.requests[st.PHASE, request] = FINISHED
    state.times[st.LAST, request] = at
    numbers[st.RESERVED] -= state.requests[st.HELD, request]
    count_area(state, counters, at, -1)
    if choices[col.CLIENTS] > 0:
        following = choices[col.CLIENTS] + whole(counters[col.N_FINISHED]) - 1
        if following < choices[col.N_REQUESTS]:
            # The client sends its next request.
            work.requests[st.ARRIVAL, following] = whole(np.ceil(at))
    kept = 0
    for place in range(numbers[st.N_RUNNING]):
        other = state.requests[st.ORDER, place]
        if other != request:
            state.requests[st.ORDER, kept] = other
            kept += 1
    numbers[st.N_RUNNING] = kept


@helper
def _room(choices: Array, work: Work, request: int, n_outputs: int) -> int:
    """Return the tokens that a request needs room for, in whole blocks; cached ones have theirs."""
    n = work.requests[st.PROMPT, request] + n_outputs - work.requests[st.CACHED, request]
    block = choices[col.BLOCK_TOKENS]
    return whole((n + block - 1) // block * block if block > 0 else n)


@helper
def _room_to_start(choices: Array, work: Work, request: int) -> int:
    n_outputs = (
        whole(0) if choices[col.BLOCK_TOKENS] > 0 else whole(work.requests[st.OUTPUT, request])
    )
    return _room(choices, work, request, n_outputs)


@helper
def _may_admit(choices: Array, work: Work, state: State, request: int) -> bool:
    numbers = state.numbers
    free = choices[col.MAX_CONTEXT] - numbers[st.RESERVED]
    if choices[col.BLOCK_TOKENS] > 0 and numbers[st.N_RUNNING] > 0:
        free -= choices[col.MAX_CONTEXT] // _SPARE
    return bool(
        numbers[st.N_RUNNING] < choices[col.MAX_SEQUENCES]
        and _room_to_start(choices, work, request) <= free
    )


@helper
def _preempt_last(work: Work, state: State, counters: Array) -> int:
    """Take the blocks of the request that was admitted last, and make it wait; return it."""
    numbers = state.numbers
    numbers[st.N_RUNNING] -= 1
    request = whole(state.requests[st.ORDER, numbers[st.N_RUNNING]])
    numbers[st.RESERVED] -= state.requests[st.HELD, request]
    state.requests[st.HELD, request] = 0
    state.requests[st.PHASE, request] = WAITING
    state.requests[st.PREFILLED, request] = 0
    # Its output is read like a prompt.
    written = state.requests[st.GENERATED, request]
    work.requests[st.PROMPT, request] += written
    work.requests[st.OUTPUT, request] -= written
    state.requests[st.GENERATED, request] = 0
    numbers[st.WAITING_FROM] = min(numbers[st.WAITING_FROM], request)
    counters[col.N_PREEMPTED] += 1
    if written > 0:
        counters[col.N_RESTARTED] += 1
    return request


@helper
def take_blocks(choices: Array, work: Work, state: State, counters: Array) -> None:
    """Give each decoding request room for its next tokens, in order of arrival."""
    numbers = state.numbers
    place = 0
    while place < numbers[st.N_RUNNING]:
        request = whole(state.requests[st.ORDER, place])
        place += 1
        if not _is_decoding(work, state, request):
            continue
        drafts = _n_tokens(choices, work, state, request) - 1
        need = _room(choices, work, request, whole(state.requests[st.GENERATED, request] + drafts))
        more = need - state.requests[st.HELD, request]
        while more > 0 and numbers[st.RESERVED] + more > choices[col.MAX_CONTEXT]:
            if _preempt_last(work, state, counters) == request:
                return
        if more > 0:
            state.requests[st.HELD, request] += more
            numbers[st.RESERVED] += more
            counters[col.PEAK_CONTEXT] = max(counters[col.PEAK_CONTEXT], numbers[st.RESERVED])


@helper
def _admit(choices: Array, work: Work, state: State, counters: Array, request: int) -> None:
    numbers = state.numbers
    state.requests[st.PHASE, request] = RUNNING
    state.requests[st.ORDER, numbers[st.N_RUNNING]] = request
    numbers[st.N_RUNNING] += 1
    room = _room_to_start(choices, work, request)
    state.requests[st.HELD, request] = room
    numbers[st.RESERVED] += room
    state.requests[st.PREFILLED, request] = work.requests[st.CACHED, request]
    counters[col.CACHED_TOKENS] += work.requests[st.CACHED, request]
    while numbers[st.WAITING_FROM] < choices[col.N_REQUESTS]:
        if state.requests[st.PHASE, numbers[st.WAITING_FROM]] == WAITING:
            break
        numbers[st.WAITING_FROM] += 1
    counters[col.PEAK_SEQUENCES] = max(counters[col.PEAK_SEQUENCES], numbers[st.N_RUNNING])
    counters[col.PEAK_CONTEXT] = max(counters[col.PEAK_CONTEXT], numbers[st.RESERVED])


@helper
def _is_decoding(work: Work, state: State, request: int) -> bool:
    return bool(state.requests[st.PREFILLED, request] >= work.requests[st.PROMPT, request])


@helper
def add(state: State, request: int, first: int, count: int) -> None:
    """Add tokens of a request to the batch."""
    place = state.numbers[st.N_BATCH]
    state.requests[st.BATCH, place] = request
    state.requests[st.BATCH_FROM, place] = first
    state.requests[st.BATCH_COUNT, place] = count
    state.numbers[st.N_BATCH] = place + 1


@helper
def _n_tokens(choices: Array, work: Work, state: State, request: int) -> int:
    """Return the tokens that a decoding request has in a step: one and its drafts."""
    left = work.requests[st.OUTPUT, request] - state.requests[st.GENERATED, request]
    return whole(max(1, min(1 + choices[col.DRAFT_TOKENS], left)))


@helper
def _add_decode(choices: Array, work: Work, state: State, request: int, budget: int) -> int:
    """Add a decoding request's next token and its drafts; return the rest of the budget."""
    if budget < 1:
        return budget
    count = min(budget, _n_tokens(choices, work, state, request))
    first = work.requests[st.PROMPT, request] + state.requests[st.GENERATED, request] - 1
    add(state, request, first, count)
    return int(budget - count)


@helper
def _add_prefill(choices: Array, work: Work, state: State, request: int, budget: int) -> int:
    """Add as much of a prompt as the budget allows; return the rest of the budget."""
    done = state.requests[st.PREFILLED, request]
    left = work.requests[st.PROMPT, request] - done
    chunk = choices[col.CHUNK_TOKENS]
    if chunk > 0:
        count = min(left, chunk, budget)
        if count < 1:
            return budget
    else:
        # A whole prompt; one that is longer than a step may be runs alone.
        count = left
        if count > budget and state.numbers[st.N_BATCH] > 0:
            return budget
    add(state, request, done, count)
    return int(budget - count)


@helper
def _add_decodes(choices: Array, work: Work, state: State, budget: int) -> int:
    """Add decoding requests in turn, so that none waits for ever."""
    numbers = state.numbers
    n = numbers[st.N_RUNNING]
    start = numbers[st.ROTATION] % n if n > choices[col.MAX_TOKENS] else 0
    added = 0
    for step in range(n):
        request = state.requests[st.ORDER, (start + step) % n]
        if budget > 0 and _is_decoding(work, state, request):
            budget = _add_decode(choices, work, state, request, budget)
            added = step + 1
    numbers[st.ROTATION] = start + added if n > choices[col.MAX_TOKENS] else 0
    return budget


@helper
def _holds_prompts(choices: Array, work: Work, state: State, counters: Array) -> bool:
    """Return True if prompts wait for others to share their step; they are admitted meanwhile.

    They wait for `hold_steps` steps at most, until there are `hold_prompts` of them and the step
    has `hold_tokens`, while each group has a request that decodes.
    """
    numbers = state.numbers
    while numbers[st.WAITING_FROM] < numbers[st.N_ARRIVED]:
        if not _may_admit(choices, work, state, numbers[st.WAITING_FROM]):
            break
        _admit(choices, work, state, counters, numbers[st.WAITING_FROM])
    n_prompts = n_tokens = n_decode = whole(0)
    for place in range(numbers[st.N_RUNNING]):
        request = state.requests[st.ORDER, place]
        if _is_decoding(work, state, request):
            n_decode += 1
        else:
            n_prompts += 1
            n_tokens += work.requests[st.PROMPT, request] - state.requests[st.PREFILLED, request]
    waits = (
        n_prompts > 0
        and n_decode >= choices[col.DATA]
        and numbers[st.N_WAITED] < choices[col.HOLD_STEPS]
        and (
            n_prompts < choices[col.HOLD_PROMPTS] or n_tokens + n_decode < choices[col.HOLD_TOKENS]
        )
    )
    numbers[st.N_WAITED] = numbers[st.N_WAITED] + 1 if waits else 0
    return bool(waits)


@helper
def _add_prefills(choices: Array, work: Work, state: State, counters: Array, budget: int) -> None:
    """Continue prompts, then admit requests while there is budget."""
    numbers = state.numbers
    if choices[col.HOLD_STEPS] > 0 and _holds_prompts(choices, work, state, counters):
        return
    for place in range(numbers[st.N_RUNNING]):
        request = state.requests[st.ORDER, place]
        if budget > 0 and not _is_decoding(work, state, request):
            budget = _add_prefill(choices, work, state, request, budget)
    _admit_more(choices, work, state, counters, budget)


@helper
def _admit_more(choices: Array, work: Work, state: State, counters: Array, budget: int) -> None:
    """Admit waiting requests, and start their prompts, while there is budget."""
    numbers = state.numbers
    while budget > 0 and numbers[st.WAITING_FROM] < numbers[st.N_ARRIVED]:
        request = numbers[st.WAITING_FROM]
        if not _may_admit(choices, work, state, request):
            break
        reads_whole = choices[col.CHUNK_TOKENS] == 0
        if reads_whole and work.requests[st.PROMPT, request] > budget and numbers[st.N_BATCH] > 0:
            break
        _admit(choices, work, state, counters, request)
        budget = _add_prefill(choices, work, state, request, budget)


@helper
def _in_order(choices: Array, work: Work, state: State, counters: Array, budget: int) -> None:
    """Serve requests in the order of their admission, in prefill and in decode."""
    numbers = state.numbers
    for place in range(numbers[st.N_RUNNING]):
        request = state.requests[st.ORDER, place]
        if budget < 1:
            break
        if _is_decoding(work, state, request):
            budget = _add_decode(choices, work, state, request, budget)
        else:
            budget = _add_prefill(choices, work, state, request, budget)
    _admit_more(choices, work, state, counters, budget)


@helper
def _queue_of(work: Work, state: State, request: int) -> int:
    """Return the expert in whose queue a request is: the first of its next token."""
    if _is_decoding(work, state, request):
        position = work.requests[st.PROMPT, request] + state.requests[st.GENERATED, request] - 1
    else:
        position = state.requests[st.PREFILLED, request]
    return whole(work.routing[token_row(work, request, position), 0, 0])


@helper
def _longest_queue(choices: Array, work: Work, state: State, counters: Array, budget: int) -> None:
    """Take from the longest queue until there is no budget left, then from the next longest."""
    numbers = state.numbers
    n_experts = choices[col.N_EXPERTS]
    for expert in range(n_experts):
        state.experts[st.QUEUE, expert] = 0
    for place in range(numbers[st.N_RUNNING]):
        state.experts[st.QUEUE, _queue_of(work, state, state.requests[st.ORDER, place])] += 1
    for request in range(numbers[st.WAITING_FROM], numbers[st.N_ARRIVED]):
        if state.requests[st.PHASE, request] == WAITING:
            state.experts[st.QUEUE, _queue_of(work, state, request)] += 1
    n_running = numbers[st.N_RUNNING]
    while budget > 0:
        longest = 0
        for expert in range(1, n_experts):
            if state.experts[st.QUEUE, expert] > state.experts[st.QUEUE, longest]:
                longest = expert
        if state.experts[st.QUEUE, longest] == 0:
            break
        state.experts[st.QUEUE, longest] = 0
        for place in range(n_running):
            request = state.requests[st.ORDER, place]
            if budget < 1:
                break
            if _queue_of(work, state, request) == longest:
                if _is_decoding(work, state, request):
                    budget = _add_decode(choices, work, state, request, budget)
                else:
                    budget = _add_prefill(choices, work, state, request, budget)
        for request in range(numbers[st.WAITING_FROM], numbers[st.N_ARRIVED]):
            if budget < 1:
                break
            if (
                state.requests[st.PHASE, request] == WAITING
                and _queue_of(work, state, request) == longest
                and _may_admit(choices, work, state, request)
            ):
                _admit(choices, work, state, counters, request)
                budget = _add_prefill(choices, work, state, request, budget)


@helper
def _likeness(choices: Array, work: Work, state: State, request: int, side: int) -> int:
    """Return the share of a request's next experts that the group on one side also needs."""
    n_experts, top_k = choices[col.N_EXPERTS], choices[col.TOP_K]
    position = work.requests[st.PROMPT, request] + state.requests[st.GENERATED, request] - 1
    row = token_row(work, request, position)
    found = 0
    for layer in range(choices[col.N_LAYERS]):
        for rank in range(top_k):
            found += state.blocks[
                st.GATHERED + side, layer * n_experts + work.routing[row, layer, rank]
            ]
    return found


@helper
def _ask(choices: Array, work: Work, state: State, request: int, side: int, change: int) -> None:
    """Add a request's next experts to those of a group, or remove them."""
    n_experts, top_k = choices[col.N_EXPERTS], choices[col.TOP_K]
    position = work.requests[st.PROMPT, request] + state.requests[st.GENERATED, request] - 1
    row = token_row(work, request, position)
    for layer in range(choices[col.N_LAYERS]):
        for rank in range(top_k):
            state.blocks[
                st.GATHERED + side, layer * n_experts + work.routing[row, layer, rank]
            ] += change


@helper
def _regroup(choices: Array, work: Work, state: State, counters: Array) -> None:
    """Split up to two batches of decoding requests by their experts, and run one half.

    Two groups start from the first request and the one least like it; requests join the group that
    they are more like, half of them each; once more with what the groups then ask for.
    """
    numbers = state.numbers
    size = choices[col.MAX_TOKENS]
    if numbers[st.N_GROUP] > 0:
        for place in range(numbers[st.N_GROUP]):
            request = state.requests[st.GROUP, place]
            if state.requests[st.PHASE, request] == RUNNING and _is_decoding(work, state, request):
                _add_decode(choices, work, state, request, size)
        numbers[st.N_GROUP] = 0
        if numbers[st.N_BATCH] > 0:
            return
    n_running = numbers[st.N_RUNNING]
    start = numbers[st.ROTATION] % max(1, n_running)
    n = 0
    for step in range(n_running):
        request = state.requests[st.ORDER, (start + step) % n_running]
        if n < 2 * size and _is_decoding(work, state, request):
            state.requests[st.GROUP, n] = request
            n += 1
    numbers[st.ROTATION] = start + n if n_running > 2 * size else 0
    if n <= size:
        for place in range(n):
            _add_decode(choices, work, state, state.requests[st.GROUP, place], size)
        return
    n_blocks = choices[col.N_LAYERS] * choices[col.N_EXPERTS]
    for side in range(2):
        for block in range(n_blocks):
            state.blocks[st.GATHERED + side, block] = 0
    first = state.requests[st.GROUP, 0]
    _ask(choices, work, state, first, 0, 1)
    other = state.requests[st.GROUP, 1]
    least = 1 << 62
    for place in range(1, n):
        likeness = _likeness(choices, work, state, state.requests[st.GROUP, place], 0)
        if likeness < least:
            other, least = state.requests[st.GROUP, place], likeness
    _ask(choices, work, state, other, 1, 1)
    half = (n + 1) // 2
    for turn in range(2):
        for place in range(n):
            request = state.requests[st.GROUP, place]
            nearness = _likeness(choices, work, state, request, 0)
            state.times[st.SCORE, place] = nearness - _likeness(choices, work, state, request, 1)
        # Those most like the first group come first; insertion keeps equals in their order.
        for place in range(1, n):
            request, score = state.requests[st.GROUP, place], state.times[st.SCORE, place]
            at = place
            while at > 0 and state.times[st.SCORE, at - 1] < score:
                state.requests[st.GROUP, at], state.times[st.SCORE, at] = (
                    state.requests[st.GROUP, at - 1],
                    state.times[st.SCORE, at - 1],
                )
                at -= 1
            state.requests[st.GROUP, at], state.times[st.SCORE, at] = request, score
        if turn == 0:
            for side in range(2):
                for block in range(n_blocks):
                    state.blocks[st.GATHERED + side, block] = 0
            for place in range(n):
                _ask(
                    choices,
                    work,
                    state,
                    state.requests[st.GROUP, place],
                    0 if place < half else 1,
                    1,
                )
    for place in range(half):
        _add_decode(choices, work, state, state.requests[st.GROUP, place], size)
    for place in range(half, n):
        state.requests[st.GROUP, place - half] = state.requests[st.GROUP, place]
    numbers[st.N_GROUP] = n - half
    counters[col.N_GROUPS] += 1


@helper
def form_batch(choices: Array, work: Work, state: State, counters: Array) -> None:
    """Write `batch`, the tokens of the next step; none if nothing may run."""
    numbers = state.numbers
    numbers[st.N_BATCH] = 0
    if choices[col.BLOCK_TOKENS] > 0:
        take_blocks(choices, work, state, counters)
    budget = choices[col.MAX_TOKENS]
    scheduler = choices[col.SCHEDULER]
    if scheduler == _DECODE_FIRST:
        budget = _add_decodes(choices, work, state, budget)
        _add_prefills(choices, work, state, counters, budget)
    elif scheduler == _FCFS:
        _in_order(choices, work, state, counters, budget)
    elif scheduler == _LONGEST_QUEUE:
        _longest_queue(choices, work, state, counters, budget)
    else:
        _add_prefills(choices, work, state, counters, budget)
        if numbers[st.N_BATCH] == 0:
            if scheduler == _REGROUP:
                _regroup(choices, work, state, counters)
            else:
                _add_decodes(choices, work, state, budget)
