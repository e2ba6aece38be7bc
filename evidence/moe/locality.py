"""Locality of routing: reuse within segments of text and in caches of every size.

The measures are those of Liang et al., *Not All Models Suit Expert Offloading*, arXiv 2505.16056:
segment routing best performance (SRP), segment cache best hit rate (SCH), and hit rates of LRU,
LFU and Belady's rule, on one layer at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.checks import check_choice, check_whole
from archgym.errors import InvalidArgumentError
from archgym.simulators.moe.workloads.routing import Routing

RULES: Final = ("lru", "lfu", "belady", "sch", "belady-bypass")
"""Rules of `hit_rates`; `belady` must take in what is used, `belady-bypass` need not keep it."""


@final
@dataclass(frozen=True)
class SegmentRouting:
    """Share of a segment's routing that one set of experts can serve.

    Attributes:
      length: Tokens of a segment.
      performance: F1 of the best segment router of the layer, from 0 to 1.
      threshold: Uses in a segment from which that router activates an expert.
      size: Experts that it activates on average, over those of a token.
      share: Share of experts that a token uses.
      by_expert: (n_experts,) F1 of the best router of each expert alone.
    """

    length: int
    performance: float
    threshold: int
    size: float
    share: float
    by_expert: npt.NDArray[np.float64]


def segment_routing(routing: Routing, layer: int, length: int) -> SegmentRouting | None:
    """Return segment routing best performance of a layer; None if every document is shorter.

    Args:
      routing: Documents.
      layer: From 0.
      length: Tokens of a segment, 1 or more.
    """
    from evidence.moe.locality_kernel import count_segments

    check_whole("length", length, 1)
    _check_layer(routing, layer)
    if int(np.diff(routing.starts).max()) < length:
        return None
    counts = np.zeros((routing.n_experts, length + 1), dtype=np.int64)
    experts = np.ascontiguousarray(routing.experts[:, layer])
    scratch = np.zeros(routing.n_experts, dtype=np.int64)
    count_segments(experts, routing.starts, length, scratch, counts)
    pooled = counts.sum(axis=0)
    scores = _f1(pooled, length)
    threshold = int(np.argmax(scores))
    uses = float((pooled * np.arange(length + 1)).sum())
    activated = float(pooled[threshold:].sum() * length)
    return SegmentRouting(
        length=length,
        performance=float(scores[threshold]),
        threshold=threshold,
        size=activated / uses,
        share=uses / float(pooled.sum() * length),
        by_expert=np.array([_f1(row, length).max() for row in counts]),
    )


def _f1(counts: npt.NDArray[np.int64], length: int) -> npt.NDArray[np.float64]:
    """Return F1 of a router that activates from each number of uses on, shape (length + 1,)."""
    uses = np.arange(length + 1)
    matches = np.cumsum((counts * uses)[::-1])[::-1]
    predictions = np.cumsum(counts[::-1])[::-1] * length
    total = predictions + matches[0]
    scores: npt.NDArray[np.float64] = 2 * matches / np.maximum(total, 1)
    return scores


def hit_rates(
    routing: Routing, layer: int, rule: str, sizes: Sequence[int], window: int = 0
) -> npt.NDArray[np.float64]:
    """Return hit rates of caches of one layer that start empty with each document.

    Args:
      routing: Documents.
      layer: From 0.
      rule: One of `RULES`.
      sizes: Experts that fit, each 1 or more.
      window: Tokens that `sch` looks ahead, 1 or more.

    Returns:
      (n_sizes,), from 0 to 1, over all uses of all documents.
    """
    from evidence.moe.locality_kernel import count_hits

    check_choice("rule", rule, RULES)
    _check_layer(routing, layer)
    for size in sizes:
        check_whole("sizes", size, 1)
    if rule == "sch":
        check_whole("window", window, 1)
    experts = np.ascontiguousarray(routing.experts[:, layer])
    following = (
        _following(experts, routing)
        if rule in ("belady", "belady-bypass")
        else np.broadcast_to(np.int64(0), experts.shape).copy()
    )
    hits = np.zeros(len(sizes), dtype=np.int64)
    count_hits(
        experts,
        routing.starts,
        following,
        np.asarray(sizes, dtype=np.int64),
        RULES.index(rule),
        window,
        np.zeros((4, routing.n_experts), dtype=np.int64),
        hits,
    )
    return hits / experts.size


def _following(experts: npt.NDArray[np.int16], routing: Routing) -> npt.NDArray[np.int64]:
    """When each use's expert is used next in its document; after all others where it is not.

    Experts that are not used again go in the order of their ids, the largest first.
    """
    n_tokens, top_k = experts.shape
    flat = experts.ravel().astype(np.int64)
    documents = np.repeat(np.arange(routing.n_documents), np.diff(routing.starts) * top_k)
    uses = np.arange(len(flat))
    order = np.lexsort((uses, flat, documents))
    following = len(flat) + flat
    same = (flat[order[1:]] == flat[order[:-1]]) & (documents[order[1:]] == documents[order[:-1]])
    following[order[:-1][same]] = uses[order[1:][same]]
    return following.reshape(n_tokens, top_k)


def _check_layer(routing: Routing, layer: int) -> None:
    if not 0 <= layer < routing.n_layers:
        raise InvalidArgumentError(
            f"`layer` must be from 0 to {routing.n_layers - 1}; got {layer!r}."
        )
