"""Mean and percentiles of the request latencies."""

from typing import Any, Final

from archgym.simulators.kit.kernels import compiled

_BUCKET_BITS: Final = 12
N_BUCKETS: Final = 1 << _BUCKET_BITS  # chosen: they stay in the first-level cache
_PERCENTS: Final = (50, 95, 99)


@compiled
def percentiles(latencies: Any, counts: Any, out: Any) -> None:
    """Fill in mean, median, 95th and 99th percentile, converted from ps to ns.

    A percentile is the smallest latency that at least that share of the requests does not exceed.

    Args:
      latencies: (n_requests,), in ps.
      counts: (2 * N_BUCKETS,), scratch.
      out: (4,), in ns.
    """
    n = len(latencies)
    total = 0
    highest = 0
    for index in range(n):
        total += latencies[index]
        highest = max(highest, latencies[index])
    out[0] = total / n / 1000.0

    shift = 0
    while highest >> shift >= N_BUCKETS:
        shift += 1
    below = 0  # requests in lower buckets
    bucket = _count(latencies, counts, 0, shift)
    for place in range(3):
        rank = (_PERCENTS[place] * n + 99) // 100
        while below + counts[bucket] < rank:
            below += counts[bucket]
            bucket += 1
        out[1 + place] = (
            _ranked(latencies, counts[N_BUCKETS:], bucket, shift, rank - below) / 1000.0
        )


@compiled
def _count(latencies: Any, counts: Any, low: int, shift: int) -> int:
    """Count latencies from `low` up by bucket of 2^shift ps, and return the first bucket, 0."""
    for bucket in range(N_BUCKETS):
        counts[bucket] = 0
    for index in range(len(latencies)):
        bucket = (latencies[index] - low) >> shift
        if 0 <= bucket < N_BUCKETS:
            counts[bucket] += 1
    return 0


@compiled
def _ranked(latencies: Any, counts: Any, bucket: int, shift: int, rank: int) -> int:
    """Return the latency at a rank, from 1, among those of one bucket of 2^shift ps."""
    low = bucket << shift
    while shift > 0:
        end = low + (1 << shift)
        lowest = end
        highest = low
        for index in range(len(latencies)):
            latency = latencies[index]
            if low <= latency < end:
                lowest = min(lowest, latency)
                highest = max(highest, latency)
        if lowest == highest:
            return lowest
        shift = max(0, shift - _BUCKET_BITS)
        bucket = _count(latencies, counts, low, shift)
        while counts[bucket] < rank:
            rank -= counts[bucket]
            bucket += 1
        low += bucket << shift
    return low


@compiled
def join_bursts(requests: Any, first_burst: Any, latencies: Any) -> None:
    """Fill in the latencies of requests of several bursts.

    Args:
      requests: (n_bursts,), one a burst, with their milestones.
      first_burst: (n,), where each whole request begins.
      latencies: (n_bursts,); the first n are written, in ps, from the sending of the first burst
        until the last is back.
    """
    for whole in range(len(first_burst)):
        first = first_burst[whole]
        end = first_burst[whole + 1] if whole + 1 < len(first_burst) else len(requests)
        received = requests[first].received
        for burst in range(first + 1, end):
            received = max(received, requests[burst].received)
        latencies[whole] = received - requests[first].sent
