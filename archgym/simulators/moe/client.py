"""Closed-loop serving at the level of steps: a fast clock without routing; compiled.

A client keeps a number of requests in flight. Steps between two events are alike, so that they are
added up at once, and a request costs microseconds. Experts count by their expectation over uniform
routing. The times of a step are those of the serving kernel's costs.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from archgym.runtime.kernels import entry_point, helper
from archgym.simulators.moe.columns import (
    ATTENTION_TOKEN_NS,
    ATTENTION_WEIGHT_NS,
    CONTEXT_NS,
    DENSE_TOKEN_NS,
    DENSE_WEIGHT_NS,
    EXPERT_TOKEN_NS,
    EXPERT_WEIGHT_NS,
    EXPERTS_NS,
    FIRST_NS,
    GATHER_FIXED_NS,
    GATHER_TOKEN_NS,
    HEAD_TOKEN_NS,
    HEAD_WEIGHT_NS,
    LAYER_NS,
    NORM_TOKEN_NS,
    PADDED_ROW_NS,
    PADDED_TOKEN_NS,
    PAIR_NS,
    PROMPT_LAYER_NS,
    PROMPT_STEP_NS,
    REDUCE_FIXED_NS,
    REDUCE_TOKEN_NS,
    ROUTED_TOKEN_NS,
    SEQUENCE_LAYER_NS,
    SEQUENCE_NS,
    SHARED_TOKEN_NS,
    SHARED_WEIGHT_NS,
    STEP_NS,
    WAIT_STEPS,
)
from archgym.simulators.moe.predictor import chance

Array = npt.NDArray[Any]

# Seed of the serving kernel by default; it decides which drafts are accepted.
_SEED: Final = 0

SHAPE: Final = (
    "n_layers", "n_dense", "n_experts", "top_k", "data", "expert",
    "max_sequences", "max_tokens", "chunk_tokens", "max_context", "pauses_decodes",
    "poll_steps", "reserved_percent", "draft_tokens", "accepted_permille", "acceptance_permille",
    "padded_rows", "independent_permille", "hold_steps", "hold_prompts", "hold_tokens",
)  # fmt: skip
(
    N_LAYERS, N_DENSE, N_EXPERTS, TOP_K, DATA, EXPERT,
    MAX_SEQUENCES, MAX_TOKENS, CHUNK_TOKENS, MAX_CONTEXT, PAUSES, POLL_STEPS, RESERVED_PERCENT,
    DRAFT_TOKENS, ACCEPTED_PERMILLE, ACCEPTANCE_PERMILLE, PADDED_ROWS, INDEPENDENT, HOLD_STEPS,
    HOLD_PROMPTS, HOLD_TOKENS,
) = range(len(SHAPE))  # fmt: skip

# Statistics of one kind of step, summed over steps.
STATISTICS: Final = ("n_steps", "n_decode", "context", "n_prompt", "pairs", "prompt_context", "ns")


@helper
def _larger(a: float, b: float) -> float:
    return a if a > b else b


@helper
def _distinct(n_experts: float, top_k: float, n_tokens: float) -> float:
    """Return the expected number of distinct experts that tokens use."""
    return float(n_experts * (1.0 - (1.0 - top_k / n_experts) ** n_tokens))


@helper
def step_time(
    costs: Array,
    shape: Array,
    n_decode: float,
    context: float,
    n_prompt: float,
    pairs: float,
    prompt_context: float,
    n_logits: float,
) -> float:
    """Return the time of one step [ns]; arguments as in `step_ns`."""
    ranks = float(shape[DATA])
    drafts = float(shape[DRAFT_TOKENS])
    # Each sequence verifies its drafts in the same step.
    n_tokens = n_decode * (1.0 + drafts) + n_prompt
    # One group reads a prompt, and all wait for the busiest.
    n_prompts = max(1.0, n_logits - n_decode)
    busiest = 1.0 / min(ranks, n_prompts)
    mine = max(1.0, n_decode * (1.0 + drafts) / ranks + n_prompt * busiest)
    eager = costs[PROMPT_LAYER_NS] if n_prompt > 0.0 else 0.0
    prompts = _larger(costs[CONTEXT_NS] * prompt_context, costs[PAIR_NS] * pairs)
    decodes = costs[CONTEXT_NS] * context
    if drafts > 0.0:
        # A token and its drafts read a context once, and each is scored against all of it.
        context += n_decode * drafts
        decodes = _larger(costs[CONTEXT_NS], costs[PAIR_NS] * (1.0 + drafts)) * context
    attention = (
        costs[LAYER_NS]
        + eager
        + _larger(costs[ATTENTION_WEIGHT_NS], costs[ATTENTION_TOKEN_NS] * mine)
        + (decodes + costs[SEQUENCE_LAYER_NS] * n_decode) / ranks
        + prompts * busiest
        + costs[NORM_TOKEN_NS] * mine
    )
    reduce = costs[REDUCE_FIXED_NS] + costs[REDUCE_TOKEN_NS] * mine
    gather = costs[GATHER_FIXED_NS] + costs[GATHER_TOKEN_NS] * n_tokens
    dense = _larger(costs[DENSE_WEIGHT_NS], costs[DENSE_TOKEN_NS] * mine)
    shared = _larger(costs[SHARED_WEIGHT_NS], costs[SHARED_TOKEN_NS] * mine)
    n_scored = max(1.0, (n_logits + n_decode * drafts) / ranks)
    head = _larger(costs[HEAD_WEIGHT_NS], costs[HEAD_TOKEN_NS] * n_scored)
    # Tokens of a step are alike in part, and share experts.
    unlike = 1.0 + max(0.0, n_tokens - 1.0) * shape[INDEPENDENT] / 1000.0
    distinct = _distinct(float(shape[N_EXPERTS]), float(shape[TOP_K]), unlike)
    routed = n_tokens * shape[TOP_K]
    groups = float(shape[EXPERT])
    # Padded products compute the rows of all tokens and the padding of each expert on a GPU.
    padding = shape[N_EXPERTS] / groups * max(0.0, shape[PADDED_ROWS] - 1.0)
    all_rows = routed + padding
    if groups > 1.0:
        # The busiest group: the expected largest of so many normal numbers is about 0.56
        # deviations for 2, 1.0 for 4, 1.42 for 8 (exact: 0.56, 1.03, 1.42). An expert is used or
        # not; tokens are counts.
        largest = 0.56 * np.log2(groups) ** 0.85
        each = distinct / groups
        used = distinct / shape[N_EXPERTS]
        distinct = each + largest * np.sqrt(each * (1.0 - used))
        each = routed / groups
        routed = min(routed, each + largest * np.sqrt(each))
    products = costs[EXPERT_TOKEN_NS] * routed
    if padding > 0.0:
        products = costs[PADDED_TOKEN_NS] * all_rows
    experts = (
        costs[EXPERTS_NS]
        + _larger(costs[EXPERT_WEIGHT_NS] * distinct, products)
        + costs[ROUTED_TOKEN_NS] * routed
        + costs[PADDED_ROW_NS] * padding
    )
    layers = shape[N_LAYERS] * (attention + reduce + experts + gather + shared)
    others = shape[N_DENSE] * (attention + reduce + dense + reduce)
    # Each group schedules its own sequences.
    software = costs[STEP_NS] + costs[SEQUENCE_NS] * n_decode / ranks
    if n_prompt > 0.0:
        software += costs[PROMPT_STEP_NS]
    return float(software + layers + others + head)


@entry_point(seconds=10)
def step_ns(costs: Array, shape: Array, steps: Array, times: Array) -> None:
    """Write the times of steps.

    Args:
      costs: (n_rows, len(COSTS)) float64.
      shape: (n_rows, len(SHAPE)) int64.
      steps: (n_rows, 6) float64: sequences that decode, their context, prompt tokens, pairs of
        prompt tokens and context, context that prompts read, sequences that get a token.
      times: (n_rows,) float64, written [ns].
    """
    for row in range(len(costs)):
        s = steps[row]
        times[row] = step_time(costs[row], shape[row], s[0], s[1], s[2], s[3], s[4], s[5])


@helper
def sift(heap: Array, n: int, at: int) -> None:
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
def push(heap: Array, n: int, key: int, request: int) -> None:
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
def _holds(
    shape: Array, lengths: Array, scratch: Array, first: int, end: int, n_decode: int
) -> bool:
    """Return True if prompts that were admitted wait for others to share their step."""
    if end - first < shape[HOLD_PROMPTS]:
        return True
    tokens = n_decode
    for request in range(first, end):
        tokens += lengths[0, request] - scratch[0, request]
    return bool(tokens < shape[HOLD_TOKENS])


@helper
def _decode_steps(shape: Array, lengths: Array, request: int) -> int:
    """Return the steps that give a request its tokens after the first one.

    A step gives a token and the drafts before the first rejected one. The numbers that decide are
    those of the serving kernel.
    """
    n_tokens = lengths[1, request] - 1
    drafts = shape[DRAFT_TOKENS]
    if drafts == 0:
        return int(n_tokens)
    steps = done = 0
    while done < n_tokens:
        given = 1
        most = min(drafts + 1, n_tokens - done)
        while given < most and (
            1000.0 * chance(_SEED, lengths[0, request] + done + given, request)
            < shape[ACCEPTANCE_PERMILLE]
        ):
            given += 1
        done += given
        steps += 1
    return steps


@entry_point(seconds=15)
def serve_closed(
    costs: Array,
    shape: Array,
    lengths: Array,
    n_clients: int,
    times: Array,
    scratch: Array,
    heap: Array,
    statistics: Array,
) -> float:
    """Serve requests of a closed loop; return when the last is through [ns].

    Args:
      costs: (len(COSTS),) float64.
      shape: (len(SHAPE),) int64.
      lengths: (2, n_requests) int64, tokens of prompts and outputs.
      n_clients: Requests in flight.
      times: (5, n_requests) float64, written: arrival, first token, last token [ns]; decode-only
        steps and steps with prompts between the first and the last token.
      scratch: (3, n_requests) int64, scratch: prompt tokens read, decode steps.
      heap: (n_requests + 1, 2) int64, scratch.
      statistics: (2, len(STATISTICS)) float64, added to: decode-only steps, steps with prompts.
    """
    n_requests = lengths.shape[1]
    budget_all = shape[MAX_TOKENS]
    poll = shape[POLL_STEPS]
    share = shape[RESERVED_PERCENT] / 100.0
    # Tokens that a step gives a sequence, and tokens that it verifies.
    rate = shape[ACCEPTED_PERMILLE] / 1000.0
    width = 1 + shape[DRAFT_TOKENS]
    now = 0.0
    pace = 0.0  # the last decode-only step [ns]
    decoded = 0  # steps in which decodes advanced
    pure = with_prompt = 0
    n_decode = 0
    context = 0.0
    reserved = 0.0
    n_finished = 0
    n_arrived = min(n_clients, n_requests)
    n_admitted = 0
    first_reading = 0  # requests admitted and not read: [first_reading, n_admitted)
    polled = 0  # requests that the scheduler has seen
    held = 0  # steps that prompts have waited for others
    for request in range(n_arrived):
        times[0, request] = 0.0
        times[1, request] = costs[FIRST_NS]
    while n_finished < n_requests:
        is_idle = n_decode == 0 and first_reading == n_admitted
        if is_idle or poll <= 1 or (pure + with_prompt) % poll == 0:
            while polled < n_arrived and times[1, polled] <= now:
                polled += 1
        while n_admitted < polled:
            request = n_admitted
            running = n_decode + n_admitted - first_reading
            need = lengths[0, request] + share * lengths[1, request]
            if running >= shape[MAX_SEQUENCES] * shape[DATA] or (
                running > 0 and reserved + need > shape[MAX_CONTEXT]
            ):
                break
            reserved += need
            scratch[0, request] = 0
            n_admitted += 1
        reads = first_reading < n_admitted
        if reads and held < shape[HOLD_STEPS] and n_decode >= shape[DATA]:
            reads = not _holds(shape, lengths, scratch, first_reading, n_admitted, n_decode)
        waits = first_reading < n_admitted and not reads
        held = held + 1 if waits else 0
        if reads:
            pauses = shape[PAUSES] == 1
            running = 0 if pauses else n_decode
            budget = max(1, budget_all * shape[DATA] - running * width)
            n_prompt = 0
            pairs = prompt_context = 0.0
            n_done = 0
            request = first_reading
            while request < n_admitted and budget > 0:
                done = scratch[0, request]
                left = lengths[0, request] - done
                count = min(left, budget)
                if shape[CHUNK_TOKENS] == 0 and count < left:
                    if n_prompt > 0:
                        break
                    count = left
                n_prompt += count
                pairs += float(count) * done + 0.5 * count * (count + 1.0)
                prompt_context += done + count
                scratch[0, request] = done + count
                budget -= count
                if done + count >= lengths[0, request]:
                    n_done += 1
                request += 1
            seen = 0.0 if pauses else context
            took = step_time(
                costs, shape, float(running), seen, float(n_prompt), pairs, prompt_context,
                float(running + n_done),
            )  # fmt: skip
            now += took
            with_prompt += 1
            s = statistics[1]
            s[0] += 1.0
            s[1] += running
            s[2] += seen
            s[3] += n_prompt
            s[4] += pairs
            s[5] += prompt_context
            s[6] += took
            if not pauses:
                decoded += 1
                context += n_decode * rate
            for _ in range(n_done):
                request = first_reading
                first_reading += 1
                times[1, request] = now
                times[3, request], times[4, request] = float(pure), float(with_prompt)
                context += lengths[0, request] + 1
                scratch[1, request] = _decode_steps(shape, lengths, request)
                push(heap, n_decode, decoded + scratch[1, request], request)
                n_decode += 1
        elif n_decode > 0:
            steps = heap[0, 0] - decoded
            if steps > 0:
                took = step_time(
                    costs, shape, float(n_decode), context + 0.5 * (steps - 1) * n_decode * rate,
                    0.0, 0.0, 0.0, float(n_decode),
                )  # fmt: skip
                pace = took
                # Stop where the scheduler may admit a request that no other event precedes.
                if n_admitted < n_arrived and polled == n_admitted:
                    visible = times[1, n_admitted]
                    least = 1
                    if visible > now:
                        least = int(np.ceil((visible - now) / took))
                    if poll > 1:
                        least += (poll - (pure + with_prompt + least) % poll) % poll
                    steps = min(steps, least)
                if waits:
                    steps = min(steps, 1)
                s = statistics[0]
                s[0] += steps
                s[1] += steps * n_decode
                s[2] += steps * (context + 0.5 * (steps - 1) * n_decode * rate)
                s[6] += steps * took
                now += steps * took
                decoded += steps
                context += float(steps) * n_decode * rate
                pure += steps
        else:
            # Nothing runs: the next request is on its way.
            now = max(now, times[1, n_admitted])
            continue
        while n_decode > 0 and heap[0, 0] <= decoded:
            request = heap[0, 1]
            times[2, request] = now
            times[3, request] = pure - times[3, request]
            times[4, request] = with_prompt - times[4, request]
            reserved -= lengths[0, request] + share * lengths[1, request]
            context -= lengths[0, request] + 1.0 + rate * scratch[1, request]
            n_decode -= 1
            heap[0, 0], heap[0, 1] = heap[n_decode, 0], heap[n_decode, 1]
            sift(heap, n_decode, 0)
            n_finished += 1
            if n_arrived < n_requests:
                times[0, n_arrived] = now
                # A request that finds an idle server waits for no step.
                waited = costs[WAIT_STEPS] * pace if n_decode > 0 else 0.0
                times[1, n_arrived] = now + costs[FIRST_NS] + waited
                n_arrived += 1
    return float(now)
