"""Requests of a trace as bursts of one size."""

import numpy as np

from archgym.simulators.dram.workloads.trace import Trace
from archgym.simulators.kit import InvalidArgumentError

# chosen: some 33 million bursts take a gigabyte.
_MAX_BURSTS = 2**25


def pieces_of(trace: Trace, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the bursts of `size` bytes that requests are, each request's in order of address.

    Returns:
      Of each burst its address, its request and its place in that; and `Bursts.waits`.

    Raises:
      InvalidArgumentError: They are more than 2^25.
    """
    first = trace.addresses // size
    counts = (trace.addresses + np.maximum(trace.lengths, 1) - 1) // size - first + 1
    n_bursts = int(counts.sum())
    if n_bursts > _MAX_BURSTS:
        raise InvalidArgumentError(
            f"A trace must come to at most {_MAX_BURSTS} bursts of {size} bytes; "
            f"{trace.name!r} comes to {n_bursts}. Cut it, or shorten its requests."
        )
    start = np.cumsum(counts) - counts
    request = np.repeat(np.arange(len(trace)), counts)
    place = np.arange(n_bursts) - start[request]
    waits = np.zeros((0, 2), np.int64)
    if len(trace.waits_for):
        ends = np.stack([start, start + counts], axis=1)[trace.waits_for]
        waits = np.where(trace.waits_for[:, None] < 0, 0, ends)[request]
    return (first[request] + place) * size, request, place, waits
