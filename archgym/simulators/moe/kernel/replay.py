"""Replays of routing against expert caches, without time: what hits, misses and goes."""

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit import InvalidArgumentError, SimulatorError, check_choice, check_whole
from archgym.simulators.moe.kernel import caches
from archgym.simulators.moe.kernel.caches import (
    CacheState,
    admission_code,
    layer_capacities,
    new_cache,
    next_uses,
    policy_code,
    tie_order,
)
from archgym.simulators.moe.workloads.routing import Routing


@final
@dataclass(frozen=True)
class Events:
    """Sets of experts that layers asked for, in order.

    Attributes:
      layers: (n_events,) int64, each from 0 to n_layers - 1.
      cycles: (n_events,) int64, the forward pass of each, never falling.
      offsets: (n_events + 1,) int64, where each set begins in `experts`.
      experts: (n_uses,) int32, each once in its set.
      n_layers: Layers with experts.
      n_experts: Experts of a layer.
    """

    layers: npt.NDArray[np.int64]
    cycles: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    experts: npt.NDArray[np.int32]
    n_layers: int
    n_experts: int

    def __post_init__(self) -> None:
        n = len(self.layers)
        sizes = np.diff(self.offsets)
        if len(self.cycles) != n or len(self.offsets) != n + 1:
            raise InvalidArgumentError(
                "`layers`, `cycles` and `offsets` must have n, n and n + 1 entries; got "
                f"{n}, {len(self.cycles)} and {len(self.offsets)}."
            )
        if self.offsets[0] != 0 or (sizes < 0).any() or self.offsets[-1] != len(self.experts):
            raise InvalidArgumentError(
                f"`offsets` must rise from 0 to the {len(self.experts)} uses; they do not."
            )
        if n and (self.layers.min() < 0 or self.layers.max() >= self.n_layers):
            raise InvalidArgumentError(f"`layers` must be from 0 to {self.n_layers - 1}.")
        if len(self.experts) and (self.experts.min() < 0 or self.experts.max() >= self.n_experts):
            raise InvalidArgumentError(f"`experts` must be from 0 to {self.n_experts - 1}.")

    @property
    def n_blocks(self) -> int:
        """Experts of all layers."""
        return self.n_layers * self.n_experts

    @property
    def blocks(self) -> npt.NDArray[np.int32]:
        """(n_uses,) int32, `layer * n_experts + expert` of each use."""
        layers = np.repeat(self.layers, np.diff(self.offsets))
        return (layers * self.n_experts + self.experts).astype(np.int32)

    @classmethod
    def from_routing(cls, routing: Routing, batch: int = 1) -> "Events":
        """Return accesses of a routing: a forward pass takes the next token of `batch` documents.

        Args:
          routing: Documents.
          batch: Documents at once, 1 or more.
        """
        check_whole("batch", batch, 1)
        lengths = np.diff(routing.starts)
        layers: list[npt.NDArray[np.int64]] = []
        sets: list[npt.NDArray[np.int32]] = []
        sizes: list[npt.NDArray[np.int64]] = []
        n_cycles = 0
        for first in range(0, routing.n_documents, batch):
            documents = range(first, min(first + batch, routing.n_documents))
            steps = int(lengths[documents].max())
            used = np.zeros((steps, routing.n_layers, routing.n_experts), dtype=bool)
            for document in documents:
                begin, end = routing.starts[document], routing.starts[document + 1]
                np.put_along_axis(
                    used[: end - begin], routing.experts[begin:end].astype(np.int64), True, axis=2
                )
            sizes.append(used.sum(axis=2).ravel().astype(np.int64))
            sets.append(np.nonzero(used)[2].astype(np.int32))
            layers.append(np.tile(np.arange(routing.n_layers, dtype=np.int64), steps))
            n_cycles += steps
        return cls(
            np.concatenate(layers),
            np.repeat(np.arange(n_cycles, dtype=np.int64), routing.n_layers),
            np.concatenate(([0], np.cumsum(np.concatenate(sizes)))).astype(np.int64),
            np.concatenate(sets),
            routing.n_layers,
            routing.n_experts,
        )


@final
@dataclass(frozen=True)
class ReplayResult:
    """Counts of a cache replay.

    Attributes:
      hits: Uses of experts that were resident as their event began.
      misses: All other uses; each is a load.
      insertions: Experts that stayed after they were loaded.
      evictions: Experts that were dropped to make room.
      residents: Experts that are there at the end.
      event_misses: (n_events,) misses of each event.
    """

    hits: int
    misses: int
    insertions: int
    evictions: int
    residents: int
    event_misses: npt.NDArray[np.int64]

    @property
    def hit_rate(self) -> float:
        """Hits over uses."""
        return self.hits / max(1, self.hits + self.misses)


def replay_events(
    events: Events,
    policy: str,
    capacity: int,
    *,
    scope: str = "global",
    admission: str = "bypass",
    priority: npt.NDArray[np.float64] | None = None,
    tie: npt.NDArray[np.float64] | None = None,
) -> ReplayResult:
    """Replay events against a cache that starts empty.

    Args:
      events: Requested experts.
      policy: One of `POLICIES`.
      capacity: Experts that fit, over all layers.
      scope: One of `SCOPES`.
      admission: `bypass`: what was used may be dropped at once where others rank higher; or
        `forced`: it stays where there is room. A set that is larger than its room streams through
        a staging buffer either way.
      priority: (n_blocks,) for `static` and `predictor`; None for the number of uses in `events`.
      tie: (n_blocks,), larger stays between equals; None for those of seed 0.

    Raises:
      InvalidArgumentError: An argument is outside its limits.
      SimulatorError: The counts do not add up; a fault of the program.
    """
    from archgym.simulators.moe.kernel.replay_kernel import replay

    code, admitted = policy_code(policy), admission_code(admission)
    check_choice("scope", scope, caches.SCOPES)
    check_whole("capacity", capacity, 0, events.n_blocks)
    blocks = events.blocks
    cache = cache_of(events, scope, capacity, priority, tie)
    future = np.empty(0, dtype=np.int64)
    if code == caches.BELADY:
        future = next_uses(blocks, events.offsets, events.n_blocks)
    event_misses = np.zeros(len(events.layers), dtype=np.int64)
    missed = np.zeros(int(np.diff(events.offsets).max(initial=1)), dtype=np.int32)
    replay(
        cache, code, admitted, events.layers, events.cycles, events.offsets, blocks, future,
        missed, event_misses,
    )  # fmt: skip
    return checked_result(cache, len(blocks), capacity, code, event_misses)


def cache_of(
    events: Events,
    scope: str,
    capacity: int,
    priority: npt.NDArray[np.float64] | None = None,
    tie: npt.NDArray[np.float64] | None = None,
) -> CacheState:
    """Return an empty cache for a replay; arguments are those of `replay_events`."""
    capacities = layer_capacities(capacity, events.n_layers)
    if scope == "global":
        capacities = np.array([capacity], dtype=np.int64)
    if tie is None:
        tie = tie_order(0, events.n_blocks)
    cache = new_cache(events.n_layers, events.n_experts, capacities, tie)
    counts = np.bincount(events.blocks, minlength=events.n_blocks).astype(np.float64)
    cache.priority[:] = counts if priority is None else priority
    return cache


def checked_result(
    cache: CacheState, uses: int, capacity: int, policy: int, event_misses: npt.NDArray[np.int64]
) -> ReplayResult:
    """Return the counts of a cache after a replay.

    Raises:
      SimulatorError: They do not add up.
    """
    result = ReplayResult(
        hits=int(cache.counters[caches.HITS]),
        misses=int(cache.counters[caches.MISSES]),
        insertions=int(cache.counters[caches.INSERTIONS]),
        evictions=int(cache.counters[caches.EVICTIONS]),
        residents=int(cache.resident.sum()),
        event_misses=event_misses,
    )
    if (
        result.hits + result.misses != uses
        or result.insertions - result.evictions != result.residents
        or result.residents > capacity
        or (policy != caches.STATIC and result.insertions > result.misses)
    ):
        raise SimulatorError(f"The counts of a cache must add up; got {result}.")
    return result
