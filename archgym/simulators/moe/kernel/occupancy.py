"""Experts that the tokens of a step use together, as a table of a routing; compiled.

The fidelity `steps` does not look at each token's routing. A table has, for numbers of tokens, how
many experts they use, how many of the busiest group, and how many tokens that has beyond an even
share: means over all layers and over steps that are drawn from the routing, either of tokens of
different requests, as they decode, or of one prompt's.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit.kernels import entry_point
from archgym.simulators.moe.kernel.predictor import chance
from archgym.simulators.moe.kernel.state import whole

Array = npt.NDArray[Any]

# Rows of a table: tokens, then for decodes and prompts each distinct experts, experts of the group
# that uses most, tokens of the busiest group beyond an even share, and rows by which tiles pad a
# group's tokens.
TOKENS, DISTINCT, USED, BUSY, PADDING, N_ROWS = 0, 1, 3, 5, 7, 9

# chosen: beyond it, steps use nearly all experts; a factor of 1.25 between further points.
_MOST_TOKENS, _DENSE, _FACTOR = 3_072, 8, 1.25
# chosen: tokens that are drawn for a point at least, in as many steps as that takes.
_DRAWN: Final = 512


def token_counts() -> npt.NDArray[np.int64]:
    """Return the numbers of tokens of a table, rising."""
    counts = list(range(1, _DENSE + 1))
    while counts[-1] < _MOST_TOKENS:
        counts.append(round(counts[-1] * _FACTOR))
    return np.array(counts, dtype=np.int64)


def occupancy(
    routing: npt.NDArray[np.int16],
    starts: npt.NDArray[np.int64],
    n_experts: int,
    *,
    width: int = 1,
    tile: int = 1,
    placement: tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]] | None = None,
    n_groups: int = 1,
) -> npt.NDArray[np.float64]:
    """Return the table of a routing, (N_ROWS, n).

    Args:
      routing: (n_tokens, n_layers, top_k), experts of tokens.
      starts: (n_documents + 1,), where each document begins.
      n_experts: Experts of a layer.
      width: Tokens that a request has in a decode step, drafts included.
      tile: Rows of a tile of products.
      placement: Copies of each expert and the experts in slots; None where each group has all.
      n_groups: Groups of accelerators that hold different experts.
    """
    if placement is None:
        n_layers = routing.shape[1]
        placement = (
            np.ones((n_layers, n_experts), dtype=np.int32),
            np.tile(np.arange(n_experts, dtype=np.int32), (n_layers, 1)),
        )
        n_groups = 1
    counts = token_counts()
    table = np.zeros((N_ROWS, len(counts)))
    table[TOKENS] = counts
    _fill(
        routing, starts, *placement, n_groups, width, tile, table,
        np.zeros(n_experts, dtype=np.int64), np.zeros(int(counts[-1]), dtype=np.int64),
    )  # fmt: skip
    return table


@entry_point(seconds=5)
def _fill(
    routing: Array, starts: Array, replicas: Array, slots: Array, n_groups: int, width: int,
    tile: int, table: Array, asked: Array, rows: Array,
) -> None:  # fmt: skip
    """Write a table; see `occupancy`.

    Args:
      routing: (n_tokens, n_layers, top_k) int16.
      starts: (n_documents + 1,) int64.
      replicas: (n_layers, n_experts) int32.
      slots: (n_layers, n_slots) int32.
      n_groups: Groups.
      width: Tokens of a request in a step.
      tile: Rows of a tile of products.
      table: (N_ROWS, n) float64, written; the tokens are given.
      asked: (n_experts,) int64, zeros, scratch.
      rows: (most tokens,) int64, scratch.
    """
    n_layers, top_k = routing.shape[1], routing.shape[2]
    n_documents = len(starts) - 1
    per_group = slots.shape[1] // n_groups
    drawn = whole(0)
    for point in range(table.shape[1]):
        n = whole(table[TOKENS, point])
        n_samples = max(whole(1), whole(_DRAWN // n))
        share = 1.0 / (n_samples * n_layers)
        for kind in range(2):
            run = width if kind == 0 else n
            for sample in range(n_samples):
                begin = whole(0)
                document = whole(sample)
                for token in range(n):
                    if token % run == 0:
                        document = (sample + token // run) % n_documents
                        length = starts[document + 1] - starts[document]
                        begin = whole(chance(1, drawn, kind) * length)
                        drawn += 1
                    length = starts[document + 1] - starts[document]
                    rows[token] = starts[document] + (begin + token % run) % length
                for layer in range(n_layers):
                    n_distinct = whole(0)
                    for token in range(n):
                        for rank in range(top_k):
                            expert = routing[rows[token], layer, rank]
                            if asked[expert] == 0:
                                n_distinct += 1
                            asked[expert] += 1
                    used = most = padding = 0.0
                    for group in range(n_groups):
                        n_used, n_rows, tokens = whole(0), whole(0), 0.0
                        for slot in range(group * per_group, (group + 1) * per_group):
                            expert = slots[layer, slot]
                            if asked[expert] > 0:
                                n_used += 1
                                tokens += asked[expert] / replicas[layer, expert]
                                rows_here = np.ceil(asked[expert] / replicas[layer, expert])
                                n_rows += whole(np.ceil(rows_here / tile)) * tile
                        used = max(used, float(n_used))
                        most = max(most, tokens)
                        padding = max(padding, n_rows - tokens)
                    table[DISTINCT + kind, point] += share * n_distinct
                    table[USED + kind, point] += share * used
                    table[BUSY + kind, point] += share * (most - float(n * top_k) / n_groups)
                    table[PADDING + kind, point] += share * padding
                    asked[:] = 0
