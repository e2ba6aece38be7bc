"""Times of a step outside its experts, which both fidelities add up; compiled."""

from typing import Any

import numpy as np
import numpy.typing as npt

from archgym.runtime.kernels import helper
from archgym.simulators.moe.kernel.columns import (
    ATTENTION_TOKEN_NS,
    ATTENTION_WEIGHT_NS,
    CONTEXT_NS,
    CONTEXT_READ,
    DATA,
    DENSE_TOKEN_NS,
    DENSE_WEIGHT_NS,
    GATHER_FIXED_NS,
    GATHER_TOKEN_NS,
    HEAD_TOKEN_NS,
    HEAD_WEIGHT_NS,
    LAYER_NS,
    N_BATCH_SUM,
    N_PROMPT_TOKENS,
    N_STEPS,
    N_TOKENS,
    NORM_TOKEN_NS,
    PAIR_NS,
    PEAK_STEP_TOKENS,
    PROMPT_LAYER_NS,
    PROMPT_STEP_NS,
    PROMPT_TOKEN_NS,
    PROMPT_WEIGHT_NS,
    REDUCE_FIXED_NS,
    REDUCE_TOKEN_NS,
    SEQUENCE_LAYER_NS,
    SEQUENCE_NS,
    SHARED_TOKEN_NS,
    SHARED_WEIGHT_NS,
    STEP_NS,
)
from archgym.simulators.moe.kernel.state import (
    BATCH,
    BATCH_COUNT,
    BATCH_FROM,
    DECODE_CONTEXT,
    DECODE_PAIRS,
    N_BATCH,
    N_DECODE,
    N_LOGITS,
    N_PROMPT,
    N_PROMPTS,
    N_WRITTEN,
    PROMPT,
    PROMPT_CONTEXT,
    PROMPT_PAIRS,
    State,
    Work,
)

Array = npt.NDArray[Any]


@helper
def count_contents(work: Work, state: State) -> None:
    """Write what the batch holds into `State.contents`."""
    found = state.contents
    found[:] = 0.0
    for place in range(state.numbers[N_BATCH]):
        request = state.requests[BATCH, place]
        first, count = state.requests[BATCH_FROM, place], state.requests[BATCH_COUNT, place]
        prompt = work.requests[PROMPT, request]
        pairs = float(count) * first + 0.5 * count * (count + 1.0)
        if first + count >= prompt:
            found[N_LOGITS] += 1
        if first >= prompt:
            # Drafts are verified in the step of the token before them.
            found[N_DECODE] += 1
            found[N_WRITTEN] += count
            found[N_LOGITS] += count - 1
            found[DECODE_CONTEXT] += first + count
            found[DECODE_PAIRS] += pairs
        else:
            found[N_PROMPTS] += 1
            found[N_PROMPT] += count
            found[PROMPT_CONTEXT] += first + count
            found[PROMPT_PAIRS] += pairs


@helper
def count_steps(state: State, counters: Array, n_steps: float) -> None:
    """Add up the contents of steps that are alike."""
    found = state.contents
    n_tokens = found[N_WRITTEN] + found[N_PROMPT]
    counters[N_STEPS] += n_steps
    counters[N_PROMPT_TOKENS] += n_steps * found[N_PROMPT]
    counters[N_TOKENS] += n_steps * n_tokens
    counters[CONTEXT_READ] += n_steps * (found[DECODE_CONTEXT] + found[PROMPT_CONTEXT])
    counters[N_BATCH_SUM] += n_steps * (found[N_DECODE] + found[N_PROMPTS])
    counters[PEAK_STEP_TOKENS] = max(counters[PEAK_STEP_TOKENS], n_tokens)


@helper
def surroundings(
    costs: Array, choices: Array, contents: Array
) -> tuple[float, float, float, float, float, float, float]:
    """Return the times of a step outside its experts [ns].

    They are software; of a layer attention, reduction, gathering, dense and shared products; and
    the output head.
    """
    ranks = choices[DATA]
    n_decode, n_prompt = contents[N_DECODE], contents[N_PROMPT]
    # One group reads a prompt, and all wait for the busiest.
    readers = min(float(ranks), max(1.0, contents[N_PROMPTS]))
    mine = np.ceil(contents[N_WRITTEN] / ranks) + np.ceil(n_prompt / readers)
    prompt_scores = max(
        costs[CONTEXT_NS] * contents[PROMPT_CONTEXT], costs[PAIR_NS] * contents[PROMPT_PAIRS]
    )
    decode_scores = max(
        costs[CONTEXT_NS] * contents[DECODE_CONTEXT], costs[PAIR_NS] * contents[DECODE_PAIRS]
    )
    scores = (decode_scores + costs[SEQUENCE_LAYER_NS] * n_decode) / ranks + prompt_scores / readers
    attention = (
        costs[LAYER_NS]
        + max(costs[ATTENTION_WEIGHT_NS], costs[ATTENTION_TOKEN_NS] * mine)
        + scores
        + costs[NORM_TOKEN_NS] * mine
    )
    # Each group schedules its own sequences.
    software = costs[STEP_NS] + costs[SEQUENCE_NS] * n_decode / ranks
    scored = np.ceil(contents[N_LOGITS] / ranks)
    head = max(costs[HEAD_WEIGHT_NS], costs[HEAD_TOKEN_NS] * scored)
    if n_prompt > 0.0:
        attention += costs[PROMPT_LAYER_NS]
        software += costs[PROMPT_STEP_NS]
        head += max(costs[PROMPT_WEIGHT_NS], costs[PROMPT_TOKEN_NS] * np.ceil(n_prompt / ranks))
    return (
        software,
        attention,
        costs[REDUCE_FIXED_NS] + costs[REDUCE_TOKEN_NS] * mine,
        costs[GATHER_FIXED_NS] + costs[GATHER_TOKEN_NS] * (contents[N_WRITTEN] + n_prompt),
        max(costs[DENSE_WEIGHT_NS], costs[DENSE_TOKEN_NS] * mine),
        max(costs[SHARED_WEIGHT_NS], costs[SHARED_TOKEN_NS] * mine),
        head,
    )
