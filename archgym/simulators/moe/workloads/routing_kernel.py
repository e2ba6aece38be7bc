"""The routing generator's inner loops."""

from functools import cache
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit.kernels import entry_point, inlined

Array = npt.NDArray[Any]
# chosen: a topic wanders over hundreds of tokens, so that steps of sixteen are fine enough; they
# cost a sixteenth of steps at each token.
TOPIC_STEP: Final = 16
# chosen: the least of a token's logits seldom falls further from one token to the next.
_MARGIN: Final = np.float32(0.4)
_BITS: Final = 14
_MASK: Final = np.uint64((1 << _BITS) - 1)
_SHIFT: Final = np.uint64(_BITS)
_SHIFT_2: Final = np.uint64(2 * _BITS)
_SHIFT_3: Final = np.uint64(3 * _BITS)
_PER_WORD: Final = 4

# Steele, Lea, Flood, *Fast splittable pseudorandom number generators*, 2014, SplitMix64.
_GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)


@cache
def normal_table() -> npt.NDArray[np.float32]:
    """Return quantiles of the standard normal distribution at the middles of 2**14 equal shares.

    Scaled to variance 1: the middles leave out a little of the tails.
    """
    n = 1 << _BITS
    inverse = NormalDist().inv_cdf
    upper = np.array([inverse((n // 2 + k + 0.5) / n) for k in range(n // 2)])
    table = np.concatenate((-upper[::-1], upper))
    scaled: npt.NDArray[np.float32] = (table / np.sqrt(np.mean(table**2))).astype(np.float32)
    return scaled


@inlined
def _mixed(word: np.uint64) -> np.uint64:
    word = (word ^ (word >> _S30)) * _MIX_1
    word = (word ^ (word >> _S27)) * _MIX_2
    return word ^ (word >> _S31)


@inlined
def _fill(row: Array, state: np.uint64, table: Array) -> np.uint64:
    """Fill a row with normal numbers, and return the generator's next state."""
    n = row.shape[0]
    whole = n - n % _PER_WORD
    for begin in range(0, whole, _PER_WORD):
        state += _GAMMA
        word = _mixed(state)
        row[begin] = table[word & _MASK]
        row[begin + 1] = table[(word >> _SHIFT) & _MASK]
        row[begin + 2] = table[(word >> _SHIFT_2) & _MASK]
        row[begin + 3] = table[word >> _SHIFT_3 & _MASK]
    if whole < n:
        state += _GAMMA
        word = _mixed(state)
        for place in range(whole, n):
            row[place] = table[word & _MASK]
            word >>= _SHIFT
    return state


@inlined
def _take_top(logits: Array, chosen: Array, likely: Array, hint: np.float32) -> np.float32:
    """Write the indices of the largest logits, largest first; the lower index where equal.

    Args:
      logits: (n_experts,) float32.
      chosen: (k,) int16, written.
      likely: (n_experts,) int32, scratch.
      hint: Guessed lower bound of the least of the largest. The result does not depend on it;
        a good guess, such as from the token before, spares the processor most wrong branches.

    Returns:
      The least of the largest.
    """
    k = chosen.shape[0]
    n_likely = 0
    for expert in range(logits.shape[0]):
        likely[n_likely] = expert
        n_likely += logits[expert] > hint
    if n_likely < k:
        n_likely = logits.shape[0]
        for expert in range(n_likely):
            likely[expert] = expert
    n_kept = 0
    least = np.float32(0.0)
    for index in range(n_likely):
        expert = likely[index]
        value = logits[expert]
        if n_kept == k and value <= least:
            continue
        place = n_kept if n_kept < k else k - 1
        while place > 0 and logits[chosen[place - 1]] < value:
            chosen[place] = chosen[place - 1]
            place -= 1
        chosen[place] = expert
        if n_kept < k:
            n_kept += 1
        least = logits[chosen[n_kept - 1]]
    return least


@entry_point(seconds=3)
def draw(
    experts: Array,
    starts: Array,
    popularity: Array,
    permutation: Array,
    seed: np.uint64,
    process: Array,
    table: Array,
    states: Array,
    scratch: Array,
    likely: Array,
    hints: Array,
) -> None:
    """Draw all tokens of all documents.

    Args:
      experts: (n_tokens, n_layers, top_k) int16, written.
      starts: (n_documents + 1,) int64.
      popularity: (n_layers, n_experts) float32, what every token's logits begin with.
      permutation: (n_layers, n_experts) int32, of the noise of the layer before.
      seed: The generator's, uint64.
      process: topic, persistence, depth, what stays of a topic after `TOPIC_STEP` tokens.
      table: Result of `normal_table`.
      states: (n_layers,) uint64, scratch.
      scratch: (3, n_layers + 2, n_experts) float32.
      likely: (n_experts,) int32, scratch.
      hints: (n_layers,) float32, scratch.
    """
    n_layers = experts.shape[1]
    n_experts = popularity.shape[1]
    topic = np.float32(process[0])
    keep = np.float32(process[1])
    fresh = np.float32(np.sqrt(1.0 - process[1] * process[1]))
    depth = np.float32(process[2])
    alone = np.float32(np.sqrt(1.0 - process[2] * process[2]))
    stay = np.float32(process[3])
    change = np.float32(np.sqrt(1.0 - process[3] * process[3]))
    bias, own, subject = scratch[0], scratch[1], scratch[2]
    drawn, logits, noise = bias[n_layers], own[n_layers], bias[n_layers + 1]
    for document in range(starts.shape[0] - 1):
        origin = _mixed(seed + _GAMMA * np.uint64(document + 1))
        for layer in range(n_layers):
            state = _mixed(origin + _GAMMA * np.uint64(layer + 1))
            state = _fill(subject[layer], state, table)
            for expert in range(n_experts):
                bias[layer, expert] = popularity[layer, expert] + topic * subject[layer, expert]
            states[layer] = _fill(own[layer], state, table)
            hints[layer] = np.float32(np.inf)
        for token in range(starts[document], starts[document + 1]):
            since = token - starts[document]
            for layer in range(n_layers):
                wish, mood = bias[layer], own[layer]
                if stay < 1.0 and since > 0 and since % TOPIC_STEP == 0:
                    states[layer] = _fill(drawn, states[layer], table)
                    for expert in range(n_experts):
                        value = stay * subject[layer, expert] + change * drawn[expert]
                        subject[layer, expert] = value
                        wish[expert] = popularity[layer, expert] + topic * value
                if since > 0:
                    states[layer] = _fill(drawn, states[layer], table)
                    for expert in range(n_experts):
                        mood[expert] = keep * mood[expert] + fresh * drawn[expert]
                if depth > 0.0 and layer > 0:
                    for expert in range(n_experts):
                        above = noise[permutation[layer, expert]]
                        logits[expert] = alone * mood[expert] + depth * above
                    for expert in range(n_experts):
                        noise[expert] = logits[expert]
                        logits[expert] += wish[expert]
                elif depth > 0.0:
                    for expert in range(n_experts):
                        noise[expert] = mood[expert]
                        logits[expert] = wish[expert] + mood[expert]
                else:
                    for expert in range(n_experts):
                        logits[expert] = wish[expert] + mood[expert]
                least = _take_top(logits, experts[token, layer], likely, hints[layer])
                hints[layer] = least - _MARGIN
