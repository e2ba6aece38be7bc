"""Expert caches: which experts stay in fast memory, by policies at the level of events.

A layer asks for a *set* of experts at once. Hits are judged on what is resident when the event
begins; what stays is decided at its end, among the residents and the set, by a policy's order.
The functions work on `CacheState`, arrays that kernels pass on, and are compiled.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit import InvalidArgumentError, check_choice, check_whole

POLICIES: Final = (
    "lru",
    "lfu",
    "lfru",
    "fifo",
    "random",
    "static",
    "least-stale",
    "predictor",
    "belady",
)
"""Replacement policies; a policy's code in kernels is its place here."""
LRU, LFU, LFRU, FIFO, RANDOM, STATIC, LEAST_STALE, PREDICTOR, BELADY = range(len(POLICIES))
ADMISSIONS: Final = ("bypass", "forced")
"""Admission rule: a used expert may be dropped at once, or must stay if there is room."""
BYPASS, FORCED = range(len(ADMISSIONS))
SCOPES: Final = ("global", "layer")
"""Scope of the room of a replay: shared by all layers, or in equal parts."""

NEVER: Final = 2**62
"""The next use of an expert that is not used again."""

# Counters of a cache, by place in `CacheState.counters`.
EVENT, HITS, MISSES, INSERTIONS, EVICTIONS, CYCLE, N_COUNTERS = range(7)


class CacheState(NamedTuple):
    """All that a cache knows; a block is an expert of a layer, `layer * n_experts + expert`.

    Attributes:
      resident: (n_blocks,) uint8.
      frequency: (n_blocks,) int64, events that used it, also while it was not resident.
      last_event: (n_blocks,) int64, the event that used it last, -1 for none.
      last_cycle: (n_blocks,) int64, the forward pass that used it last, -1 for none.
      inserted: (n_blocks,) int64, the event or prefetch that brought it.
      next_use: (n_blocks,) int64, what `belady` ranks by: smaller stays. The caller writes it
        before an event ends.
      priority: (n_blocks,) float64, what `static` and `predictor` rank by: larger stays.
      tie: (n_blocks,) float64, what decides between equals: larger stays.
      asked: (n_blocks,) int64, the last event that asked for the block.
      members: (n_blocks,) int32; the residents of bucket b stand from `begin[b]` on.
      place: (n_blocks,) int32, where in `members` a resident stands.
      bucket: (n_layers,) int32, the bucket of each layer.
      begin: (n_buckets,) int64.
      capacity: (n_buckets,) int64, how many experts may stay [experts].
      used: (n_buckets,) int64.
      worst: (n_blocks,) int32, scratch.
      first_key, second_key: (n_blocks,) float64, scratch.
      counters: (N_COUNTERS,) int64.
    """

    resident: npt.NDArray[np.uint8]
    frequency: npt.NDArray[np.int64]
    last_event: npt.NDArray[np.int64]
    last_cycle: npt.NDArray[np.int64]
    inserted: npt.NDArray[np.int64]
    next_use: npt.NDArray[np.int64]
    priority: npt.NDArray[np.float64]
    tie: npt.NDArray[np.float64]
    asked: npt.NDArray[np.int64]
    members: npt.NDArray[np.int32]
    place: npt.NDArray[np.int32]
    bucket: npt.NDArray[np.int32]
    begin: npt.NDArray[np.int64]
    capacity: npt.NDArray[np.int64]
    used: npt.NDArray[np.int64]
    worst: npt.NDArray[np.int32]
    first_key: npt.NDArray[np.float64]
    second_key: npt.NDArray[np.float64]
    counters: npt.NDArray[np.int64]


def tie_order(seed: int, n_blocks: int) -> npt.NDArray[np.float64]:
    """Return random numbers by seed that break ties between equal blocks."""
    return np.random.default_rng(seed).random(n_blocks)


def new_cache(
    n_layers: int,
    n_experts: int,
    capacities: Sequence[int] | npt.NDArray[np.int64],
    tie: npt.NDArray[np.float64] | None = None,
) -> CacheState:
    """Return an empty cache.

    Args:
      n_layers: Layers with experts.
      n_experts: Experts of a layer.
      capacities: One number for a cache that all layers share, or one for each layer [experts].
      tie: (n_layers * n_experts,), of `tie_order`; None for the block itself.

    Raises:
      InvalidArgumentError: There are other than 1 or n_layers capacities, or one is negative.
    """
    n_blocks = n_layers * n_experts
    capacity = np.asarray(capacities, dtype=np.int64)
    if capacity.shape not in ((1,), (n_layers,)) or (capacity < 0).any():
        raise InvalidArgumentError(
            f"`capacities` must be 1 or {n_layers} numbers of 0 or more; got {capacities!r}."
        )
    n_buckets = len(capacity)
    is_shared = n_buckets == 1
    begin = np.arange(n_buckets, dtype=np.int64) * n_experts
    bucket = np.zeros(n_layers) if is_shared else np.arange(n_layers)
    if tie is None:
        tie = np.arange(n_blocks, dtype=np.float64)
    counters = np.zeros(N_COUNTERS, dtype=np.int64)
    counters[EVENT] = -1
    return CacheState(
        resident=np.zeros(n_blocks, dtype=np.uint8),
        frequency=np.zeros(n_blocks, dtype=np.int64),
        last_event=np.full(n_blocks, -1, dtype=np.int64),
        last_cycle=np.full(n_blocks, -1, dtype=np.int64),
        inserted=np.full(n_blocks, -1, dtype=np.int64),
        next_use=np.full(n_blocks, NEVER, dtype=np.int64),
        priority=np.zeros(n_blocks),
        tie=np.ascontiguousarray(tie, dtype=np.float64),
        asked=np.full(n_blocks, -1, dtype=np.int64),
        members=np.zeros(n_blocks, dtype=np.int32),
        place=np.zeros(n_blocks, dtype=np.int32),
        bucket=bucket.astype(np.int32),
        begin=begin,
        capacity=capacity.copy(),
        used=np.zeros(n_buckets, dtype=np.int64),
        worst=np.zeros(n_blocks, dtype=np.int32),
        first_key=np.zeros(n_blocks),
        second_key=np.zeros(n_blocks),
        counters=counters,
    )


def layer_capacities(total: int, n_layers: int) -> npt.NDArray[np.int64]:
    """Return equal parts; the first layers have one more where it does not come out even."""
    check_whole("total", total, 0)
    parts = np.full(n_layers, total // n_layers, dtype=np.int64)
    parts[: total % n_layers] += 1
    return parts


def next_uses(
    blocks: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64], n_blocks: int
) -> npt.NDArray[np.int64]:
    """Return, for each use, the next event that uses the same block, or `NEVER`.

    Args:
      blocks: (n_uses,), the sets of all events after each other.
      offsets: (n_events + 1,), where each event's set begins.
      n_blocks: Blocks there are.
    """
    events = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((events, blocks))
    following = np.full(len(blocks), NEVER, dtype=np.int64)
    same = blocks[order[1:]] == blocks[order[:-1]]
    following[order[:-1][same]] = events[order[1:][same]]
    return following


def policy_code(policy: str) -> int:
    """Return the code of a policy's name in kernels.

    Raises:
      InvalidArgumentError: There is no such policy.
    """
    return POLICIES.index(check_choice("policy", policy, POLICIES))


def admission_code(admission: str) -> int:
    """Return the code of an admission's name in kernels.

    Raises:
      InvalidArgumentError: There is no such admission.
    """
    return ADMISSIONS.index(check_choice("admission", admission, ADMISSIONS))
