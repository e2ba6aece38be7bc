"""Tiers of memory below the GPU: what each holds, and links that loads and stores share."""

from typing import Any, Final, NamedTuple

import numpy as np

from archgym.simulators.kit.kernels import helper
from archgym.simulators.kv.kernel.heap import push, remove
from archgym.simulators.kv.workloads.arrays import Floats, Ints, Shorts

N_TIERS: Final = 4
_LRU, _LFU, _PRIORITY = range(3)


class Store(NamedTuple):
    """State of the tiers; `n` identities exist.

    Attributes:
      capacity: (N_TIERS,), blocks.
      size: (N_TIERS,), blocks that are there.
      heap: (N_TIERS, largest capacity), identities by the order of eviction.
      place, key: (N_TIERS, n).
      uses: (n,), uses of an identity.
      latency_ms, ms_per_block: (N_TIERS,), of a transfer.
      free_at: (N_TIERS,), time at which a link has carried all that it was given [ms].
      read, written: (N_TIERS,), blocks that were moved.
      tick: (1,), number of insertions.
    """

    capacity: Ints
    size: Ints
    heap: Shorts
    place: Shorts
    key: Ints
    uses: Shorts
    latency_ms: Floats
    ms_per_block: Floats
    free_at: Floats
    read: Ints
    written: Ints
    tick: Ints


def new_store(capacity: Ints, latency_ms: Floats, ms_per_block: Floats, n_identities: int) -> Store:
    """Return empty tiers."""
    most = np.minimum(capacity, n_identities)
    shape = (N_TIERS, max(1, n_identities))
    return Store(
        most, np.zeros(N_TIERS, np.int64),
        np.zeros((N_TIERS, int(most.max()) + 1), np.int32), np.full(shape, -1, np.int32),
        np.zeros(shape, np.int64), np.zeros(shape[1], np.int32), latency_ms, ms_per_block,
        np.zeros(N_TIERS), np.zeros(N_TIERS, np.int64), np.zeros(N_TIERS, np.int64),
        np.zeros(1, np.int64),
    )  # fmt: skip


@helper
def tier_of(store: Store, identity: int) -> Any:
    """Return the nearest tier that holds an identity, or -1."""
    for tier in range(N_TIERS):
        if store.place[tier, identity] >= 0:
            return tier
    return -1


@helper
def _key(store: Store, policy: int, identity: int, is_done: int) -> Any:
    store.tick[0] += 1
    key = store.tick[0]
    if policy == _LFU:
        key += np.int64(store.uses[identity]) << 40
    elif policy == _PRIORITY and is_done == 0:
        key += 1 << 60
    return key


@helper
def carry(store: Store, tier: int, n: int, now: float) -> Any:
    """Queue a transfer of `n` blocks on a tier's link, and return when it ends [ms]."""
    start = max(now, store.free_at[tier])
    store.free_at[tier] = start + n * store.ms_per_block[tier]
    return store.free_at[tier] + store.latency_ms[tier]


@helper
def store_block(store: Store, policy: int, identity: int, is_done: int, now: float) -> None:
    """Put a block into the first tier; what a tier gives up goes to the next one.

    Args:
      store: The tiers.
      policy: Policy of the tiers.
      identity: The block.
      is_done: 1 if the agent that used it has ended.
      now: Time [ms].
    """
    moved = identity
    for tier in range(N_TIERS):
        if store.capacity[tier] == 0:
            continue
        heap, place, key = store.heap[tier], store.place[tier], store.key[tier]
        if place[moved] >= 0:
            n = remove(heap, place, key, store.size[tier], moved)
            key[moved] = _key(store, policy, moved, is_done)
            store.size[tier] = push(heap, place, key, n, moved)
            return
        given_up = -1
        if store.size[tier] >= store.capacity[tier]:
            given_up = heap[0]
            store.size[tier] = remove(heap, place, key, store.size[tier], given_up)
        key[moved] = _key(store, policy, moved, is_done)
        store.size[tier] = push(heap, place, key, store.size[tier], moved)
        store.written[tier] += 1
        carry(store, tier, 1, now)
        if given_up < 0:
            return
        # A lower tier that has it already needs no second copy.
        moved = given_up
        is_done = 1 if policy == _PRIORITY and key[given_up] < (1 << 60) else 0


@helper
def touch_block(store: Store, policy: int, tier: int, identity: int) -> None:
    """Count a use of a block that a tier holds."""
    store.uses[identity] += 1
    heap, place, key = store.heap[tier], store.place[tier], store.key[tier]
    n = remove(heap, place, key, store.size[tier], identity)
    key[identity] = _key(store, policy, identity, 0)
    store.size[tier] = push(heap, place, key, n, identity)
