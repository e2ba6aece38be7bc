"""Similarity of memory traces, to choose the earlier studies that a search starts from."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from archgym.checks import check_whole
from archgym.errors import InvalidArgumentError
from archgym.simulators.dram.workloads.trace import Trace

FEATURES: Final = (
    "log10 of the mean gap between requests [ns]",
    "coefficient of variation of the gaps",
    "share of writes",
    "share of turns between reads and writes",
    "share of requests that follow their predecessor in memory",
    "share of requests in a row that one of the last requests used",
    "log10 of the bytes touched, in lines of 64 bytes",
)
"""Features of a trace that decide which controller suits it, as `trace_features` returns them."""
_LINE_BYTES: Final = 64
# chosen: bytes of a common row of a DRAM chip, and requests that a controller's queue holds.
_ROW_BYTES: Final = 2048
_WINDOW: Final = 16
_PS_PER_NS: Final = 1000.0
# chosen: gaps below count as none, so that the logarithm is finite.
_LEAST_GAP_NS: Final = 1e-3


def trace_features(trace: Trace) -> np.ndarray:
    """Return the features of a trace, (len(FEATURES),), without any simulation.

    Args:
      trace: Trace of requests.
    """
    period_ns = round(1e6 / trace.clock_mhz) / _PS_PER_NS
    ticks = trace.ticks if trace.relative else np.diff(trace.ticks, prepend=trace.ticks[:1])
    gaps_ns = np.maximum(ticks, 0) * period_ns
    mean = float(gaps_ns.mean())
    lines, rows = trace.addresses // _LINE_BYTES, trace.addresses // _ROW_BYTES
    follows = np.diff(trace.addresses) == np.maximum(trace.lengths, _LINE_BYTES)[:-1]
    near = np.zeros(len(rows), dtype=bool)
    for back in range(1, min(_WINDOW, len(rows) - 1) + 1):
        near[back:] |= rows[back:] == rows[:-back]
    turns = trace.is_write[1:] != trace.is_write[:-1]
    return np.array(
        [
            np.log10(max(mean, _LEAST_GAP_NS)),
            float(gaps_ns.std()) / max(mean, _LEAST_GAP_NS),
            float(trace.is_write.mean()),
            float(turns.mean()) if len(turns) else 0.0,
            float(follows.mean()) if len(follows) else 0.0,
            float(near.mean()),
            np.log10(len(np.unique(lines)) * _LINE_BYTES),
        ]
    )


def nearest_traces(trace: Trace, others: Sequence[Trace], k: int = 1) -> list[int]:
    """Return the places of the `k` most similar traces, the most similar first.

    Similarity is the Euclidean distance of features, each divided by its standard deviation over
    all traces given.

    Args:
      trace: Trace that is to be searched for.
      others: Traces of earlier studies.
      k: Number of traces, at most `len(others)`.

    Raises:
      InvalidArgumentError: `others` holds fewer than `k` traces.

    Example:
      >>> from archgym.simulators.dram.workloads.shipped import shipped_trace
      >>> others = [shipped_trace("gups"), shipped_trace("strided")]
      >>> nearest_traces(shipped_trace("random"), others)
      [1]
    """
    check_whole("k", k, 1)
    if k > len(others):
        raise InvalidArgumentError(f"`k` must be {len(others)} or less, the traces; got {k}.")
    features = np.array([trace_features(one) for one in (trace, *others)])
    spread = features.std(axis=0)
    scaled = features / np.where(spread > 0.0, spread, 1.0)
    distances = np.linalg.norm(scaled[1:] - scaled[0], axis=1)
    return [int(place) for place in np.argsort(distances, kind="stable")[:k]]
