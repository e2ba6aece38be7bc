"""Row V13: the shape of Read-ME's hit rates, whose trace is unknown."""

from pathlib import Path
from typing import Final

import numpy as np

from archgym.simulators.moe.replay import Events, replay_events
from archgym.simulators.moe.routing import RoutingPreset, generate
from archgym.simulators.moe.validation.row import Progress, Row

__all__ = ["readme_rows"]

# Cai et al., *Read-ME*, arXiv 2410.19123: eight experts of a domain each, one router for all
# layers; hit rates [%] by policy and capacity, and distinct experts of a batch.
_N_EXPERTS: Final = 8
_PUBLISHED: Final = {("lru", 4): 66.95, ("belady", 4): 77.21, ("belady", 5): 88.03}
_DISTINCT: Final = 3.51
# Set so that the distinct experts of a batch and LRU's hit rate come out as published; all else is
# a prediction. Requests advance in turn, by batches of four and five tokens.
_TOPIC: Final = 1.36
_BATCHES: Final = (4, 5)
_PERSISTENCE: Final = 0.2
_CONSTANTS: Final = ("tokens of a batch", "topic")
_REQUESTS: Final = 5
_TOKENS: Final = 20_000
_DOCUMENT_TOKENS: Final = 128
_TOLERANCE: Final = 5.0


def readme_rows(reference: Path, progress: Progress) -> list[Row]:
    """Return V13: hit rates over capacity and policy, of which two set the constants."""
    progress("V13: batches of a model with one router")
    events = _batches()
    rates = {
        key: 100.0 * replay_events(events, *key, admission="forced").hit_rate
        for key in (*_PUBLISHED, ("random", 4))
    }
    distinct = float(np.diff(events.offsets).mean())
    lru, belady, larger = (rates[key] for key in _PUBLISHED)
    wanted_lru, wanted_belady, wanted_larger = _PUBLISHED.values()
    is_ordered = rates["random", 4] < lru < belady < larger
    return [
        _row("distinct experts of a batch", _DISTINCT, distinct, "experts", 0.2, _CONSTANTS),
        _row("LRU, capacity 4", wanted_lru, lru, "%", _TOLERANCE, _CONSTANTS),
        _row("Belady less LRU, capacity 4", wanted_belady - wanted_lru, belady - lru, "%"),
        _row("Belady, capacity 5 less 4", wanted_larger - wanted_belady, larger - belady, "%"),
        _row(
            "random below LRU below Belady below Belady with room for 5",
            *(1.0, float(is_ordered), "holds", 0.0),
        ),
    ]


def _row(
    what: str,
    published: float,
    ours: float,
    unit: str,
    tolerance: float = _TOLERANCE,
    constants: tuple[str, ...] = (),
) -> Row:
    measure = "points" if unit == "%" else unit
    error = abs(ours - published)
    return Row("V13", what, published, ours, unit, error, tolerance, measure, constants)


def _batches() -> Events:
    """Return the sets of experts of batches; five requests advance in turn, and then the next five.

    With one router a batch needs the same set in every layer, so that one layer tells it all.
    """
    n_documents = _TOKENS // _DOCUMENT_TOKENS
    preset = RoutingPreset("read-me", _N_EXPERTS, 1, 0.0, _TOPIC, _PERSISTENCE, one_router=True)
    routing = generate(preset, 7, [_DOCUMENT_TOKENS] * n_documents, 1)
    experts = routing.experts[:, 0, 0].reshape(n_documents, _DOCUMENT_TOKENS)
    # Requests that advance in turn: token by token of five documents side by side.
    rounds = n_documents // _REQUESTS
    order = experts[: rounds * _REQUESTS].reshape(rounds, _REQUESTS, -1).transpose(0, 2, 1).ravel()
    sizes = np.resize(_BATCHES, 2 * (len(order) // sum(_BATCHES)))
    ends = np.cumsum(sizes)
    sets = [np.unique(order[end - size : end]) for end, size in zip(ends, sizes, strict=True)]
    n_events = len(sets)
    return Events(
        np.zeros(n_events, dtype=np.int64),
        np.arange(n_events, dtype=np.int64),
        np.concatenate(([0], np.cumsum([len(each) for each in sets]))).astype(np.int64),
        np.concatenate(sets).astype(np.int32),
        n_layers=1,
        n_experts=_N_EXPERTS,
    )
