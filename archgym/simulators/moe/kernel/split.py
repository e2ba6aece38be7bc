"""Requests served by workers for prompts and others for decoding, at both fidelities; compiled.

Requests wait in one queue for prompt workers, which read as many as a step's budget takes. Keys and
values move over the network; the decode worker with the fewest sequences takes the request at its
next step. At the level of steps, those between two events of a worker are alike. With a cache
given, each step follows the experts of its tokens instead.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit.kernels import entry_point, helper
from archgym.simulators.moe.kernel import state as st
from archgym.simulators.moe.kernel.batching import add
from archgym.simulators.moe.kernel.caches import CacheState
from archgym.simulators.moe.kernel.full import step
from archgym.simulators.moe.kernel.state import State, Work
from archgym.simulators.moe.kernel.steps import step_ns
from archgym.simulators.moe.kernel.surroundings import count_contents, count_steps
from archgym.simulators.moe.machine import columns as col

Array = npt.NDArray[Any]

# Columns of a decode worker's state.
_TIME, _TOOK, _CONTEXT, _RESERVED = 0, 1, 2, 3
_RUNNING, _DECODED = 0, 1
_NEVER: Final = 1e300


@helper
def _sift(heap: Array, n: int, at: int) -> None:
    """Restore a heap of (key, request) rows below one place."""
    while True:
        least = at
        for child in (2 * at + 1, 2 * at + 2):
            if child < n and heap[child, 0] < heap[least, 0]:
                least = child
        if least == at:
            return
        for column in range(2):
            heap[at, column], heap[least, column] = heap[least, column], heap[at, column]
        at = least


@helper
def _push(heap: Array, n: int, key: int, request: int) -> None:
    """Add a (key, request) row to a heap of n."""
    heap[n, 0], heap[n, 1] = key, request
    at = n
    while at > 0:
        parent = (at - 1) // 2
        if heap[parent, 0] <= heap[at, 0]:
            return
        for column in range(2):
            heap[at, column], heap[parent, column] = heap[parent, column], heap[at, column]
        at = parent


@helper
def _decode_ns(
    costs: Array, choices: Array, state: State, table: Array, counters: Array, n: float,
    context: float, n_steps: float,
) -> float:  # fmt: skip
    """Return the time of a step in which n sequences decode, and count some of them [ns]."""
    found, width = state.contents, 1.0 + choices[col.DRAFT_TOKENS]
    found[:] = 0.0
    found[st.N_DECODE] = n
    found[st.N_WRITTEN] = found[st.N_LOGITS] = n * width
    found[st.DECODE_CONTEXT] = context + n * (width - 1.0)
    # A token and its drafts read a context once, and each is scored against all of it.
    found[st.DECODE_PAIRS] = found[st.DECODE_CONTEXT] * width
    count_steps(state, counters, n_steps)
    return float(step_ns(costs, choices, state, table, counters, found, n_steps))


@helper
def _pace(
    costs: Array, choices: Array, work: Work, state: State, table: Array, cache: CacheState | None,
    counters: Array, workers: Array, counts: Array, heaps: Array, paced: Array, place: int,
    token_share: float,
) -> None:  # fmt: skip
    """Set the time of a decode worker's steps: until a sequence ends, or of the next alone."""
    n = counts[place, _RUNNING]
    if cache is None:
        steps = heaps[place, 0, 0] - counts[place, _DECODED]
        context = workers[place, _CONTEXT] + 0.5 * steps * n
        took = _decode_ns(costs, choices, state, table, counters, float(n), context, 0.0)
    else:
        # What the step counts is added when it has run: a request may still join it.
        paced[place] = 0.0
        state.numbers[st.N_BATCH] = 0
        for row in range(n):
            request = heaps[place, row, 1]
            left = max(1, heaps[place, row, 0] - counts[place, _DECODED])
            first = work.requests[st.PROMPT, request] + work.requests[st.OUTPUT, request] - left - 1
            add(state, request, first, min(left, 1 + choices[col.DRAFT_TOKENS]))
        took = step(costs, choices, work, state, cache, paced[place], 0.0)
    workers[place, _TOOK] = took * token_share


@helper
def _advance(
    costs: Array, choices: Array, state: State, table: Array, cache: CacheState | None,
    counters: Array, workers: Array, counts: Array, paced: Array, place: int, steps: int,
    token_share: float,
) -> None:  # fmt: skip
    """Let a decode worker give each of its sequences some tokens."""
    n = counts[place, _RUNNING]
    if cache is None:
        context = workers[place, _CONTEXT] + 0.5 * steps * n
        _decode_ns(
            costs, choices, state, table, counters, float(n), context, float(steps) * token_share
        )
    elif steps > 0:
        peak = max(counters[col.PEAK_STEP_TOKENS], paced[place, col.PEAK_STEP_TOKENS])
        for column in range(len(col.COUNTERS)):
            counters[column] += steps * token_share * paced[place, column]
        counters[col.PEAK_STEP_TOKENS] = peak
    counts[place, _DECODED] += steps
    workers[place, _CONTEXT] += steps * n


@entry_point(seconds=15)
def serve_split(
    costs: Array,
    prefill: Array,
    decode: Array,
    work: Work,
    state: State,
    table: Array,
    cache: CacheState | None,
    counters: Array,
    n_clients: int,
    transfer: float,
    token_share: float,
    times: Array,
    free: Array,
    workers: Array,
    counts: Array,
    heaps: Array,
    paced: Array,
    ready: Array,
) -> None:
    """Serve all requests.

    Args:
      costs: (len(COSTS),) float64, those of a worker of either kind.
      prefill, decode: (len(CHOICES),) int64, of a worker for prompts and of one for decoding.
      work: A `Work`.
      state: A `State`, scratch.
      table: (N_ROWS, n) float64 of `occupancy`; not read with a cache.
      cache: A `CacheState` whose experts are all there, to follow each token's; None for `table`.
      counters: (len(COUNTERS),) float64, added to, over all workers.
      n_clients: Requests in flight.
      transfer: Time to move keys and values of one token [ns].
      token_share: Steps of a token.
      times: (4, n_requests) float64, written: arrival, first token, last token, delivery [ns].
      free: (n_prefill,) float64, when each prompt worker is free [ns].
      workers: (n_decode, 4) float64: last change [ns], time of a step [ns], context, and tokens
        that sequences will hold in the end.
      counts: (n_decode, 2) int64: sequences, steps so far.
      heaps: (n_decode, n_requests + 2, 2) int64, scratch.
      paced: (n_decode, len(COUNTERS)) float64, scratch: counts of the step that each runs.
      ready: (n_requests,) float64, when keys and values have arrived [ns].
    """
    n_requests = work.requests.shape[1]
    n_workers = workers.shape[0]
    n_arrived = min(n_clients, n_requests)
    n_read = n_joined = n_finished = 0
    handling = costs[col.FIRST_NS]
    budget_all = prefill[col.MAX_TOKENS]
    while n_finished < n_requests:
        # The earliest of: a prompt worker starts, a request joins a decode worker, one finishes.
        start = join = finish = _NEVER
        worker = first = 0
        if n_read < n_arrived:
            worker = int(np.argmin(free))
            start = max(free[worker], times[0, n_read] + handling)
        # Requests become ready in the order of their prompts, but for unequal workers.
        joining = -1
        for request in range(n_joined, n_read):
            if ready[request] < join:
                join, joining = ready[request], request
            if request - n_joined > 64:
                break
        for place in range(n_workers):
            if counts[place, _RUNNING] > 0:
                steps = heaps[place, 0, 0] - counts[place, _DECODED]
                if cache is not None:
                    steps = min(steps, 1)
                at = workers[place, _TIME] + steps * workers[place, _TOOK]
                if at < finish:
                    finish, first = at, place
        if start <= join and start <= finish:
            n_tokens = state.numbers[st.N_BATCH] = 0
            at = n_read
            while at < n_arrived and times[0, at] + handling <= start:
                count = work.requests[st.PROMPT, at]
                if at > n_read and n_tokens + count > budget_all:
                    break
                add(state, at, 0, count)
                n_tokens += count
                at += 1
            if cache is None:
                count_contents(work, state)
                count_steps(state, counters, 1.0)
                took = step_ns(costs, prefill, state, table, counters, state.contents, 1.0)
            else:
                took = step(costs, prefill, work, state, cache, counters, 0.0)
            free[worker] = start + took
            for request in range(n_read, at):
                state.times[st.STARTED, request] = start
                ready[request] = start + took + transfer * work.requests[st.PROMPT, request]
            n_read = at
            continue
        if join <= finish:
            least = 0
            for place in range(1, n_workers):
                if counts[place, _RUNNING] < counts[least, _RUNNING]:
                    least = place
            n = counts[least, _RUNNING]
            prompt, output = work.requests[st.PROMPT, joining], work.requests[st.OUTPUT, joining]
            need = prompt + output
            if n > 0 and (
                n >= decode[col.MAX_SEQUENCES]
                or workers[least, _RESERVED] + need > decode[col.MAX_CONTEXT]
            ):
                # No room: it asks again when a sequence has ended.
                ready[joining] = finish + 1.0
                continue
            workers[least, _RESERVED] += need
            # The next step boundary, not beyond the end of a sequence.
            if n == 0:
                workers[least, _TIME] = join
            else:
                steps = int(np.ceil(max(0.0, join - workers[least, _TIME]) / workers[least, _TOOK]))
                steps = min(steps, heaps[least, 0, 0] - counts[least, _DECODED])
                workers[least, _TIME] += steps * workers[least, _TOOK]
                _advance(
                    costs, decode, state, table, cache, counters, workers, counts, paced, least,
                    steps, token_share,
                )  # fmt: skip
            _push(heaps[least], n, counts[least, _DECODED] + output - 1, joining)
            counts[least, _RUNNING] += 1
            workers[least, _CONTEXT] += prompt + 1
            _pace(
                costs, decode, work, state, table, cache, counters, workers, counts, heaps, paced,
                least, token_share,
            )  # fmt: skip
            wait = costs[col.WAIT_STEPS] * workers[least, _TOOK]
            times[1, joining] = workers[least, _TIME] + wait
            times[3, joining] = wait
            ready[joining] = _NEVER
            while n_joined < n_read and ready[n_joined] == _NEVER:
                n_joined += 1
            continue
        n = counts[first, _RUNNING]
        steps = heaps[first, 0, 0] - counts[first, _DECODED]
        if cache is not None:
            steps = min(steps, 1)
        _advance(
            costs, decode, state, table, cache, counters, workers, counts, paced, first, steps,
            token_share,
        )  # fmt: skip
        workers[first, _TIME] = finish
        if heaps[first, 0, 0] == counts[first, _DECODED]:
            # A sequence ends, and its client sends the next request.
            request = heaps[first, 0, 1]
            times[2, request] = finish + times[3, request]
            held = work.requests[st.PROMPT, request] + work.requests[st.OUTPUT, request]
            workers[first, _CONTEXT] -= held
            workers[first, _RESERVED] -= held
            n -= 1
            counts[first, _RUNNING] = n
            heaps[first, 0, 0], heaps[first, 0, 1] = heaps[first, n, 0], heaps[first, n, 1]
            _sift(heaps[first], n, 0)
            n_finished += 1
            if n_arrived < n_requests:
                times[0, n_arrived] = times[2, request]
                n_arrived += 1
        if n > 0:
            _pace(
                costs, decode, work, state, table, cache, counters, workers, counts, heaps, paced,
                first, token_share,
            )  # fmt: skip
