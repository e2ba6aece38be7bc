"""Hit rates of caches of every size on one layer's routing; compiled."""

from typing import Any, Final

import numpy.typing as npt

from archgym.runtime.kernels import compiled, entry_point

Array = npt.NDArray[Any]
KIND_LRU: Final = 0
KIND_LFU: Final = 1
KIND_BELADY: Final = 2
KIND_SEGMENT: Final = 3
KIND_BYPASS: Final = 4
# A use within the window outweighs any difference in recency.
_WINDOW_USE: Final = 2**32


@compiled
def _use(kind: int, key: Array, expert: int, clock: int, following: int) -> None:
    """Change what an expert is ranked by as it is used: larger stays."""
    if kind == KIND_LRU:
        key[expert] = clock
    elif kind == KIND_LFU:
        key[expert] = (key[expert] // _WINDOW_USE + 1) * _WINDOW_USE + clock
    elif kind in (KIND_BELADY, KIND_BYPASS):
        key[expert] = -following
    else:
        key[expert] = (key[expert] // _WINDOW_USE - 1) * _WINDOW_USE + clock


@compiled
def _drop_worst(key: Array, resident: Array, members: Array, used: int) -> int:
    """Drop the resident of the lowest rank, and return the number that is left."""
    worst = 0
    for place in range(1, used):
        if key[members[place]] < key[members[worst]]:
            worst = place
    resident[members[worst]] = 0
    members[worst] = members[used - 1]
    return used - 1


@entry_point(seconds=2)
def count_hits(
    experts: Array,
    starts: Array,
    following: Array,
    sizes: Array,
    kind: int,
    window: int,
    scratch: Array,
    hits: Array,
) -> None:
    """Count the hits of caches that start empty with each document.

    Hits of a token are judged on what is resident when it begins; then its experts are used one
    after the other, and each one that was missing takes the place of the lowest rank; for
    `KIND_BYPASS` all come in first, and the lowest ranks of all, these too, go. An expert
    that was never used counts as a hit where the cache still has room, as in the source.

    Args:
      experts: (n_tokens, top_k) int16.
      starts: (n_documents + 1,) int64.
      following: (n_tokens, top_k) int64, when each expert is used next within its document; only
        Belady's rank reads it.
      sizes: (n_sizes,) int64, experts that fit.
      kind: `KIND_LRU` and so on.
      window: Tokens that `KIND_SEGMENT` looks ahead.
      scratch: (4, n_experts) int64.
      hits: (n_sizes,) int64, added to.

    Source:
      Liang et al., *Not All Models Suit Expert Offloading*, arXiv 2505.16056, section 3, and the
      order of events of its published code.
    """
    n_experts = scratch.shape[1]
    top_k = experts.shape[1]
    key, resident, seen, members = scratch[0], scratch[1], scratch[2], scratch[3]
    for size_index in range(sizes.shape[0]):
        size = sizes[size_index]
        for document in range(starts.shape[0] - 1):
            first, last = starts[document], starts[document + 1]
            for expert in range(n_experts):
                key[expert] = 0
                resident[expert] = 0
                seen[expert] = 0
            if kind == KIND_SEGMENT:
                for token in range(first, min(last, first + window)):
                    for place in range(top_k):
                        key[experts[token, place]] += _WINDOW_USE
            n_seen = 0
            used = 0
            clock = 0
            for token in range(first, last):
                for place in range(top_k):
                    expert = experts[token, place]
                    if seen[expert] == 0:
                        seen[expert] = 1
                        if n_seen < size:
                            hits[size_index] += 1
                        n_seen += 1
                    elif resident[expert] == 1:
                        hits[size_index] += 1
                for place in range(top_k):
                    expert = experts[token, place]
                    clock += 1
                    if resident[expert] == 0:
                        # With bypass all of a token's experts are in, before the worst of all go.
                        if used == size and kind != KIND_BYPASS:
                            used = _drop_worst(key, resident, members, used)
                        members[used] = expert
                        resident[expert] = 1
                        used += 1
                    _use(kind, key, expert, clock, following[token, place])
                while used > size:
                    used = _drop_worst(key, resident, members, used)
                if kind == KIND_SEGMENT and token + window < last:
                    for place in range(top_k):
                        key[experts[token + window, place]] += _WINDOW_USE


@entry_point(seconds=1)
def count_segments(
    experts: Array, starts: Array, length: int, scratch: Array, counts: Array
) -> None:
    """Count, over all windows of documents, how often each expert is used so many times.

    Args:
      experts: (n_tokens, top_k) int16.
      starts: (n_documents + 1,) int64.
      length: Tokens of a window.
      scratch: (n_experts,) int64.
      counts: (n_experts, length + 1) int64, added to.
    """
    n_experts = scratch.shape[0]
    top_k = experts.shape[1]
    for document in range(starts.shape[0] - 1):
        first, last = starts[document], starts[document + 1]
        if last - first < length:
            continue
        for expert in range(n_experts):
            scratch[expert] = 0
        for token in range(first, last):
            for place in range(top_k):
                scratch[experts[token, place]] += 1
            if token - first >= length:
                for place in range(top_k):
                    scratch[experts[token - length, place]] -= 1
            if token - first >= length - 1:
                for expert in range(n_experts):
                    counts[expert, scratch[expert]] += 1
