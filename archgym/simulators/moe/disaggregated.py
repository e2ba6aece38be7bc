"""Closed-loop serving by workers for prompts and others for decoding, at the level of steps.

Requests wait in one queue for prompt workers, which read as many as a step's budget takes. Keys and
values move over the network; the decode worker with the fewest sequences takes the request at its
next step. Steps between two events of a worker are alike, as in `client`.
"""

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from archgym.errors import InvalidArgumentError
from archgym.runtime.kernels import entry_point, helper
from archgym.simulators.moe.client import (
    DATA,
    MAX_CONTEXT,
    MAX_SEQUENCES,
    MAX_TOKENS,
    push,
    sift,
    step_time,
)
from archgym.simulators.moe.closed_loop import Load
from archgym.simulators.moe.columns import FIRST_NS, WAIT_STEPS
from archgym.simulators.moe.deployment import Deployment

Array = npt.NDArray[Any]

_NS_PER_MS: Final = 1e6
_NS_PER_S: Final = 1e9
# Columns of a decode worker's state.
_TIME, _TOOK, _CONTEXT, _RESERVED = 0, 1, 2, 3
_RUNNING, _DECODED = 0, 1
_NEVER: Final = 1e300


@final
@dataclass(frozen=True, eq=False)
class DisaggregatedLoop:
    """Result of a closed loop over workers for prompts and others for decoding.

    Attributes:
      ttft_ms: (n,) time to the first token of each request that counts [ms].
      tpot_ms: (n,) time per further token; NaN for outputs of one token [ms].
      output_per_s: Output tokens over the whole time, all GPUs [tokens/s].
    """

    ttft_ms: npt.NDArray[np.float64]
    tpot_ms: npt.NDArray[np.float64]
    output_per_s: float


def serve_disaggregated(
    prefill: Deployment,
    decode: Deployment,
    requests: Load,
    *,
    n_prefill: int,
    n_decode: int,
    transfer_ns_per_token: float,
) -> DisaggregatedLoop:
    """Serve a closed loop.

    Args:
      prefill: One worker for prompts.
      decode: One worker for decoding.
      requests: Requests.
      n_prefill: Workers for prompts, 1 or more.
      n_decode: Workers for decoding, 1 or more.
      transfer_ns_per_token: Time to move keys and values of one token [ns].

    Raises:
      InvalidArgumentError: There is no worker of a side, or a request needs more room than one has.
    """
    if min(n_prefill, n_decode) < 1:
        raise InvalidArgumentError(
            f"`n_prefill` and `n_decode` must be 1 or more; got {n_prefill} and {n_decode}."
        )
    lengths = requests.lengths
    n = lengths.shape[1]
    longest, room = int(lengths.sum(axis=0).max()), decode.max_context
    if longest > room:
        raise InvalidArgumentError(
            f"The longest request has {longest:,} tokens and must fit into the memory left for "
            f"keys and values of a decode worker, {room:,} tokens."
        )
    times = np.zeros((4, n))
    _serve(
        prefill.costs(), prefill.shape(), decode.costs(), decode.shape(), lengths,
        requests.clients, transfer_ns_per_token, 1.0 / decode.tokens_per_step, times,
        np.zeros(n_prefill), np.zeros((n_decode, 4)), np.zeros((n_decode, 2), dtype=np.int64),
        np.zeros((n_decode, n + 2, 2), dtype=np.int64), np.full(n, _NEVER),
    )  # fmt: skip
    at = slice(requests.counted_from, None)
    further = np.where(lengths[1, at] > 1, lengths[1, at] - 1.0, np.nan)
    return DisaggregatedLoop(
        (times[1] - times[0])[at] / _NS_PER_MS,
        (times[2] - times[1])[at] / further / _NS_PER_MS,
        float(lengths[1].sum()) / float(times[2].max()) * _NS_PER_S,
    )


@helper
def _pace(
    costs: Array,
    shape: Array,
    state: Array,
    counts: Array,
    heaps: Array,
    place: int,
    token_share: float,
) -> None:
    """Set the time of a step of a decode worker until its next sequence ends."""
    n = counts[place, _RUNNING]
    steps = heaps[place, 0, 0] - counts[place, _DECODED]
    context = state[place, _CONTEXT] + 0.5 * steps * n
    took = step_time(costs, shape, float(n), context, 0.0, 0.0, 0.0, float(n))
    state[place, _TOOK] = took * token_share


@entry_point(seconds=15)
def _serve(
    prefill_costs: Array,
    prefill_shape: Array,
    decode_costs: Array,
    decode_shape: Array,
    lengths: Array,
    n_clients: int,
    transfer: float,
    token_share: float,
    times: Array,
    free: Array,
    state: Array,
    counts: Array,
    heaps: Array,
    ready: Array,
) -> None:
    """Serve all requests.

    Args:
      prefill_costs, decode_costs: (len(COSTS),) float64.
      prefill_shape, decode_shape: (len(SHAPE),) int64.
      lengths: (2, n_requests) int64, tokens of prompts and outputs.
      n_clients: Requests in flight.
      transfer: Time to move keys and values of one token [ns].
      token_share: Steps of a token.
      times: (4, n_requests) float64, written: arrival, first token, last token, delivery [ns].
      free: (n_prefill,) float64, when each prompt worker is free [ns].
      state: (n_decode, 4) float64: last change [ns], time of a step [ns], context, and tokens
        that sequences will hold in the end.
      counts: (n_decode, 2) int64: sequences, steps so far.
      heaps: (n_decode, n_requests + 2, 2) int64, scratch.
      ready: (n_requests,) float64, when keys and values have arrived [ns].
    """
    n_requests = lengths.shape[1]
    n_workers = state.shape[0]
    n_arrived = min(n_clients, n_requests)
    n_read = n_joined = n_finished = 0
    handling = prefill_costs[FIRST_NS]
    budget_all = prefill_shape[MAX_TOKENS] * prefill_shape[DATA]
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
                at = state[place, _TIME] + steps * state[place, _TOOK]
                if at < finish:
                    finish, first = at, place
        if start <= join and start <= finish:
            n_tokens = n_prompts = 0
            pairs = 0.0
            at = n_read
            while at < n_arrived and times[0, at] + handling <= start:
                count = lengths[0, at]
                if n_prompts > 0 and n_tokens + count > budget_all:
                    break
                n_tokens += count
                n_prompts += 1
                pairs += 0.5 * count * (count + 1.0)
                at += 1
            took = step_time(
                prefill_costs, prefill_shape, 0.0, 0.0, float(n_tokens), pairs, float(n_tokens),
                float(n_prompts),
            )  # fmt: skip
            free[worker] = start + took
            for request in range(n_read, at):
                ready[request] = start + took + transfer * lengths[0, request]
            n_read = at
            continue
        if join <= finish:
            least = 0
            for place in range(1, n_workers):
                if counts[place, _RUNNING] < counts[least, _RUNNING]:
                    least = place
            n = counts[least, _RUNNING]
            need = lengths[0, joining] + lengths[1, joining]
            if n > 0 and (
                n >= decode_shape[MAX_SEQUENCES] * decode_shape[DATA]
                or state[least, _RESERVED] + need > decode_shape[MAX_CONTEXT]
            ):
                # No room: it asks again when a sequence has ended.
                ready[joining] = finish + 1.0
                continue
            state[least, _RESERVED] += need
            # The next step boundary, not beyond the end of a sequence.
            if n == 0:
                state[least, _TIME] = join
            else:
                steps = int(np.ceil(max(0.0, join - state[least, _TIME]) / state[least, _TOOK]))
                steps = min(steps, heaps[least, 0, 0] - counts[least, _DECODED])
                counts[least, _DECODED] += steps
                state[least, _CONTEXT] += steps * n
                state[least, _TIME] += steps * state[least, _TOOK]
            prompt, output = lengths[0, joining], lengths[1, joining]
            push(heaps[least], n, counts[least, _DECODED] + output - 1, joining)
            counts[least, _RUNNING] += 1
            state[least, _CONTEXT] += prompt + 1
            _pace(decode_costs, decode_shape, state, counts, heaps, least, token_share)
            wait = decode_costs[WAIT_STEPS] * state[least, _TOOK]
            times[1, joining] = state[least, _TIME] + wait
            times[3, joining] = wait
            ready[joining] = _NEVER
            while n_joined < n_read and ready[n_joined] == _NEVER:
                n_joined += 1
            continue
        # A sequence ends, and its client sends the next request.
        n = counts[first, _RUNNING]
        steps = heaps[first, 0, 0] - counts[first, _DECODED]
        counts[first, _DECODED] += steps
        state[first, _CONTEXT] += steps * n
        state[first, _TIME] = finish
        request = heaps[first, 0, 1]
        times[2, request] = finish + times[3, request]
        held = lengths[0, request] + lengths[1, request]
        state[first, _CONTEXT] -= held
        state[first, _RESERVED] -= held
        n -= 1
        counts[first, _RUNNING] = n
        heaps[first, 0, 0], heaps[first, 0, 1] = heaps[first, n, 0], heaps[first, n, 1]
        sift(heaps[first], n, 0)
        if n > 0:
            _pace(decode_costs, decode_shape, state, counts, heaps, first, token_share)
        n_finished += 1
        if n_arrived < n_requests:
            times[0, n_arrived] = times[2, request]
            n_arrived += 1
