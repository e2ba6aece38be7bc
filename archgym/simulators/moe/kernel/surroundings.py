"""Times of a step outside its experts, which both fidelities add up; compiled."""

from typing import Any

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit.kernels import helper
from archgym.simulators.moe.kernel import state as st
from archgym.simulators.moe.kernel.state import State, Work, whole
from archgym.simulators.moe.machine import columns as col

Array = npt.NDArray[Any]


@helper
def count_contents(work: Work, state: State) -> None:
    """Write what the batch holds into `State.contents`."""
    found = state.contents
    found[:] = 0.0
    for place in range(state.numbers[st.N_BATCH]):
        request = state.requests[st.BATCH, place]
        first, count = state.requests[st.BATCH_FROM, place], state.requests[st.BATCH_COUNT, place]
        prompt = work.requests[st.PROMPT, request]
        pairs = float(count) * first + 0.5 * count * (count + 1.0)
        if first + count >= prompt:
            found[st.N_LOGITS] += 1
        if first >= prompt:
            # Drafts are verified in the step of the token before them.
            found[st.N_DECODE] += 1
            found[st.N_WRITTEN] += count
            found[st.N_LOGITS] += count - 1
            found[st.DECODE_CONTEXT] += first + count
            found[st.DECODE_PAIRS] += pairs
        else:
            found[st.N_PROMPTS] += 1
            found[st.N_PROMPT] += count
            found[st.PROMPT_CONTEXT] += first + count
            found[st.PROMPT_PAIRS] += pairs


@helper
def count_steps(state: State, counters: Array, n_steps: float) -> None:
    """Add up the contents of steps that are alike."""
    found = state.contents
    n_tokens = found[st.N_WRITTEN] + found[st.N_PROMPT]
    counters[col.N_STEPS] += n_steps
    unseen = state.numbers[st.N_UNSEEN] + whole(n_steps)
    state.numbers[st.N_UNSEEN] = 0 if found[st.N_PROMPT] > 0.0 else unseen
    counters[col.N_PROMPT_TOKENS] += n_steps * found[st.N_PROMPT]
    counters[col.N_TOKENS] += n_steps * n_tokens
    counters[col.CONTEXT_READ] += n_steps * (found[st.DECODE_CONTEXT] + found[st.PROMPT_CONTEXT])
    counters[col.N_BATCH_SUM] += n_steps * (found[st.N_DECODE] + found[st.N_PROMPTS])
    counters[col.PEAK_STEP_TOKENS] = max(counters[col.PEAK_STEP_TOKENS], n_tokens)


@helper
def launches_ns(costs: Array, choices: Array, contents: Array) -> float:
    """Return the time in which the processor launches a step's kernels one by one [ns].

    A step with prompts has no captured graph. Its kernels run while later ones are launched, so
    that the step takes the longer of both.
    """
    if contents[st.N_PROMPT] == 0.0:
        return 0.0
    return float(costs[col.PROMPT_LAYER_NS] * (choices[col.N_LAYERS] + choices[col.N_DENSE]))


@helper
def surroundings(
    costs: Array, choices: Array, contents: Array
) -> tuple[float, float, float, float, float, float, float]:
    """Return the times of a step outside its experts [ns].

    They are software; of a layer attention, reduction, gathering, dense and shared products; and
    the output head.
    """
    ranks = choices[col.DATA]
    n_decode, n_prompt = contents[st.N_DECODE], contents[st.N_PROMPT]
    # One group reads a prompt, and all wait for the busiest.
    readers = min(float(ranks), max(1.0, contents[st.N_PROMPTS]))
    mine = np.ceil(contents[st.N_WRITTEN] / ranks) + np.ceil(n_prompt / readers)
    prompt_scores = max(
        costs[col.CONTEXT_NS] * contents[st.PROMPT_CONTEXT],
        costs[col.PAIR_NS] * contents[st.PROMPT_PAIRS],
    )
    decode_scores = max(
        costs[col.CONTEXT_NS] * contents[st.DECODE_CONTEXT],
        costs[col.PAIR_NS] * contents[st.DECODE_PAIRS],
    )
    scores = (
        decode_scores + costs[col.SEQUENCE_LAYER_NS] * n_decode
    ) / ranks + prompt_scores / readers
    attention = (
        costs[col.LAYER_NS]
        + max(costs[col.ATTENTION_WEIGHT_NS], costs[col.ATTENTION_TOKEN_NS] * mine)
        + scores
        + costs[col.NORM_TOKEN_NS] * mine
    )
    # Each group schedules its own sequences.
    software = costs[col.STEP_NS] + costs[col.SEQUENCE_NS] * n_decode / ranks
    scored = np.ceil(contents[st.N_LOGITS] / ranks)
    head = max(costs[col.HEAD_WEIGHT_NS], costs[col.HEAD_TOKEN_NS] * scored)
    if n_prompt > 0.0:
        software += costs[col.PROMPT_STEP_NS]
        head += max(
            costs[col.PROMPT_WEIGHT_NS], costs[col.PROMPT_TOKEN_NS] * np.ceil(n_prompt / ranks)
        )
    return (
        software,
        attention,
        costs[col.REDUCE_FIXED_NS] + costs[col.REDUCE_TOKEN_NS] * mine,
        costs[col.GATHER_FIXED_NS]
        + costs[col.GATHER_TOKEN_NS] * (contents[st.N_WRITTEN] + n_prompt),
        max(costs[col.DENSE_WEIGHT_NS], costs[col.DENSE_TOKEN_NS] * mine),
        max(costs[col.SHARED_WEIGHT_NS], costs[col.SHARED_TOKEN_NS] * mine),
        head,
    )
