"""Analysis of a stream: what an endless cache would save, by capacity and by policy."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, final

import numpy as np

from archgym.simulators.kv.workloads.arrays import NEVER
from archgym.simulators.kv.workloads.stream import Stream, StreamBlocks

POLICIES: Final = ("lru", "slru", "s3-fifo", "arc", "priority")
"""Policies of a curve by default."""
# chosen: from an eighth of the live contexts to four times as much.
_SHARES: Final = (0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)


@final
@dataclass(frozen=True)
class Analysis:
    """Statistics of a stream.

    Attributes:
      requests: Requests.
      block: Tokens of a block.
      reusable_percent: Blocks that can be hits of which an earlier request had the content.
      reuse_blocks: Quantiles (25, 50, 75, 90 %) of blocks that other requests use between two
        uses of a block.
      reuse_s: The same quantiles of the time between two uses [s].
      live_blocks: Blocks of the contexts of all live sessions.
      capacities: Blocks, by point of the curves.
      curves: Hits in percent of the blocks that can be hits, by policy; `optimum` is among them.
      capacity_percent, policy_percent: At a capacity of half the live contexts: blocks that the
        optimum misses though their content was there once, and blocks that LRU misses beyond those.
    """

    requests: int
    block: int
    reusable_percent: float
    reuse_blocks: tuple[float, ...]
    reuse_s: tuple[float, ...]
    live_blocks: int
    capacities: tuple[int, ...]
    curves: dict[str, tuple[float, ...]]
    capacity_percent: float
    policy_percent: float

    @property
    def diagnosis(self) -> str:
        """Cause of most misses: capacity, policy, or neither."""
        if not self.reusable_percent:
            return "neither: no prompt begins like an earlier one by a --block, or ids are unknown"
        if max(self.capacity_percent, self.policy_percent) < 1.0:
            return "neither: nearly all blocks that can be hits are"
        return "policy" if self.policy_percent > self.capacity_percent else "capacity"

    def to_json(self) -> dict[str, Any]:
        """Return the analysis as JSON types."""
        return {**asdict(self), "diagnosis": self.diagnosis}


def live_blocks(stream: Stream, block: int, live: int) -> int:
    """Return the blocks of the contexts of all live sessions, from their mean largest context."""
    largest = np.zeros(int(stream.session.max(initial=0)) + 1, dtype=np.int64)
    np.maximum.at(largest, stream.session, stream.arrivals.prompt + stream.arrivals.output)
    largest = largest[largest > 0]
    return max(1, int(min(live, len(largest)) * largest.mean() / block))


def analyse(made: StreamBlocks, live: int, policies: Sequence[str] = POLICIES) -> Analysis:
    """Return the analysis of a stream.

    Args:
      made: Requests as blocks.
      live: Sessions that are live at a time.
      policies: Policies of the curves.
    """
    from archgym.simulators.kv.kernel.run import optimum, run_pool

    stream = made.stream
    n_live = live_blocks(stream, made.block, live)
    least = int(made.blocks.need.max(initial=1))
    sizes = sorted({max(least, int(share * n_live)) for share in _SHARES})
    eligible = max(1, int(made.blocks.eligible.sum()))
    curves = {
        policy: tuple(
            100.0 * run_pool(made, "sequential", size, policy)["hit_blocks"] / eligible
            for size in sizes
        )
        for policy in policies
    }
    curves["optimum"] = tuple(100.0 * optimum(made, size, size) / eligible for size in sizes)
    endless = optimum(made, 2**40, 2**40, False)
    half = max(least, n_live // 2)
    at_half = optimum(made, half, half)
    of_lru = run_pool(made, "sequential", half, "lru")["hit_blocks"]
    distances, times = _reuse(made)
    return Analysis(
        requests=len(stream),
        block=made.block,
        reusable_percent=100.0 * endless / eligible,
        reuse_blocks=_quantiles(distances),
        reuse_s=_quantiles(times / 1000.0),
        live_blocks=n_live,
        capacities=tuple(sizes),
        curves=curves,
        capacity_percent=100.0 * (endless - at_half) / eligible,
        policy_percent=100.0 * (at_half - of_lru) / eligible,
    )


def _reuse(made: StreamBlocks) -> tuple[Any, Any]:
    """Return blocks that are used between two uses of a block, and the time between [ms]."""
    blocks, _ = made.with_next_uses(2**40)
    request = np.repeat(np.arange(len(made.stream)), np.diff(blocks.start))
    used = blocks.next_use != NEVER
    before, after = request[used], blocks.next_use[used]
    total = np.concatenate([[0], np.cumsum(blocks.need)])
    time = made.stream.arrivals.time
    return total[after] - total[before + 1], time[after] - time[before]


def _quantiles(values: Any) -> tuple[float, ...]:
    if not len(values):
        return (0.0,) * 4
    return tuple(float(each) for each in np.percentile(values, (25, 50, 75, 90)))


def memory_for(found: Analysis, policy: str, percent: float) -> int | None:
    """Return the blocks from which a policy has a share of the hits of an endless cache.

    Args:
      found: The analysis.
      policy: A policy of the curves, or `optimum`.
      percent: Hits in percent of those of an endless cache.

    Returns:
      Blocks, interpolated between two points of the curve; None if it does not get there.
    """
    wanted = percent / 100.0 * found.reusable_percent
    hits, sizes = found.curves[policy], found.capacities
    at = next((at for at, share in enumerate(hits) if share >= wanted), None)
    if at is None or at == 0:
        return None if at is None else sizes[0]
    share = (wanted - hits[at - 1]) / (hits[at] - hits[at - 1])
    return int(np.ceil(sizes[at - 1] + share * (sizes[at] - sizes[at - 1])))
