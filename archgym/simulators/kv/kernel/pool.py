"""Pool of blocks as vLLM has it: reference counts, identities, and blocks that may be evicted.

vLLM keeps the blocks that nobody uses in a queue, least recently used first. Other policies differ
in nothing but the order of that queue: it becomes two heaps, of which a policy says which one gives
up a block, and what the keys are.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from archgym.simulators.kit.kernels import helper
from archgym.simulators.kv.kernel.heap import push, remove
from archgym.simulators.kv.workloads.arrays import NEVER, Blocks, Ints, Shorts

LRU, LFU, TTL, TAIL, PRIORITY, BELADY, SLRU, S3_FIFO, ARC = range(9)

FREE, N0, N1, EVICTIONS, SEQUENCE, LOGGED, TARGET, GHOSTS0, GHOSTS1, NOW, POLICY = range(11)
N_STATE: Final = 11
UNNAMED: Final = -(2**62)
"""Key of a block without identity, which is taken before all others."""
_PROTECTED: Final = 0.8  # chosen: the share of CacheLib's and most studies' segmented LRU.
_SMALL: Final = 0.1  # J. Yang et al., S3-FIFO, SOSP 2023: a tenth of the cache.
_MOST_USES: Final = 3  # same source: two bits.
_SCALE: Final = 1024  # chosen: fixed point of ARC's target, in blocks.


class Pool(NamedTuple):
    """State of a pool of C blocks; `n` identities exist.

    Attributes:
      references: (C,), requests that use a block.
      identity: (C,), identity of a block, or -1.
      after, before: (C + 1,), queue of free blocks; entry C is its end and its front.
      twin_after, twin_before: (C,), blocks of one identity in the order of naming, or -1.
      first, last: (n,), first and last block of an identity, or -1.
      key: (C,), order within a heap.
      place: (C,), position in its heap, or -1.
      side: (C,), heap that a block belongs to, 0 or 1.
      is_new: (C,), 1 from allocation until the block is freed.
      heap: (2, C), blocks of both heaps by position.
      uses: (n,), uses of an identity that its policy counts.
      ghost: (n,), 1 + number of the eviction from side 0, its negative from side 1; 0 for none.
      state: (N_STATE,), numbers by the constants above.
      log: Evicted identities in order; empty for no log.
    """

    references: Shorts
    identity: Shorts
    after: Shorts
    before: Shorts
    twin_after: Shorts
    twin_before: Shorts
    first: Shorts
    last: Shorts
    key: Ints
    place: Shorts
    side: Shorts
    is_new: Shorts
    heap: Shorts
    uses: Shorts
    ghost: Ints
    state: Ints
    log: Shorts


class Traits(NamedTuple):
    """Facts about requests that policies look at.

    Attributes:
      is_last: (n,), 1 if no later request of the same agent follows.
      agent: (n,), number of the agent.
      last_seen: (n_agents,), time of the agent's last release [ms], or -1.
      gap: (n_agents,), mean pause of the agent so far [ms].
      tail_blocks: Blocks at the end of a request that tail-lru gives up first.
      usual_gap: Pause of an agent that has had none [ms].
    """

    is_last: Shorts
    agent: Shorts
    last_seen: Ints
    gap: Ints
    tail_blocks: int
    usual_gap: int


def new_pool(capacity: int, n_identities: int, policy: int, n_logged: int = 0) -> Pool:
    """Return a pool of free blocks without identities.

    Args:
      capacity: Number of blocks.
      n_identities: Number of identities.
      policy: One of the codes.
      n_logged: Evictions that are logged at most.
    """
    n_heap = 0 if policy == LRU else capacity
    state = np.zeros(N_STATE, dtype=np.int64)
    state[FREE] = capacity
    state[N0] = n_heap
    state[POLICY] = policy
    blocks = np.arange(capacity + 1, dtype=np.int32)
    after, before = np.roll(blocks, -1), np.roll(blocks, 1)
    after[capacity], before[0] = 0, capacity

    def full(size: int, value: int = 0) -> Shorts:
        return np.full(size, value, dtype=np.int32)

    n_used = n_identities if n_heap else 0
    return Pool(
        full(capacity), full(capacity, -1), after, before,
        full(capacity, -1), full(capacity, -1), full(n_identities, -1), full(n_identities, -1),
        UNNAMED + np.arange(n_heap, dtype=np.int64), blocks[:n_heap].copy(), full(n_heap),
        full(n_heap), np.stack([blocks[:n_heap], full(n_heap)]), full(n_used),
        np.zeros(n_used, dtype=np.int64), state, full(n_logged),
    )  # fmt: skip


@helper
def look_up(pool: Pool, chain: Shorts, base: int, limit: int) -> Any:
    """Return how many of the first `limit` blocks of a chain are there, without a gap."""
    for k in range(limit):
        if pool.first[chain[base + k]] < 0:
            return k
    return limit


@helper
def fits(pool: Pool, chain: Shorts, base: int, total: int, hits: int, held: int) -> Any:
    """Return True if a request can have `total` blocks, given its hits and what it holds."""
    wanted = total - held - hits
    for k in range(hits):
        if pool.references[pool.first[chain[base + k]]] == 0:
            wanted += 1
    return wanted <= pool.state[FREE]


@helper
def queue(pool: Pool, block: int, side: int) -> None:
    """Put a free block into one of the heaps, by its key."""
    pool.side[block] = side
    n = pool.state[N0 + side]
    pool.state[N0 + side] = push(pool.heap[side], pool.place, pool.key, n, block)


@helper
def _remove(pool: Pool, block: int) -> None:
    side = pool.side[block]
    n = pool.state[N0 + side]
    pool.state[N0 + side] = remove(pool.heap[side], pool.place, pool.key, n, block)


@helper
def _tick(pool: Pool) -> Any:
    pool.state[SEQUENCE] += 1
    return pool.state[SEQUENCE]


@helper
def _take(pool: Pool) -> Any:
    """Remove from the free blocks the one that the policy gives up, and return it."""
    policy = pool.state[POLICY]
    capacity = pool.references.shape[0]
    if policy == LRU:
        block = pool.after[capacity]
        pool.after[capacity] = pool.after[block]
        pool.before[pool.after[block]] = capacity
        return block
    if pool.state[N0] > 0 and pool.identity[pool.heap[0, 0]] < 0:
        block = pool.heap[0, 0]
        _remove(pool, block)
        return block
    while True:
        is_small = pool.state[N0] > 0
        if policy == S3_FIFO:
            is_small = is_small and (pool.state[N0] > _SMALL * capacity or pool.state[N1] == 0)
        elif policy == ARC:
            is_small = is_small and (
                pool.state[N0] * _SCALE > pool.state[TARGET] or pool.state[N1] == 0
            )
        block = pool.heap[0, 0] if is_small else pool.heap[1, 0]
        _remove(pool, block)
        named = pool.identity[block]
        if policy == S3_FIFO and pool.uses[named] > 0:
            pool.uses[named] = 0 if is_small else pool.uses[named] - 1
            pool.key[block] = _tick(pool)
            queue(pool, block, 1)
            continue
        if policy in (S3_FIFO, ARC):
            side = GHOSTS0 if is_small else GHOSTS1
            pool.state[side] += 1
            pool.ghost[named] = pool.state[side] if is_small else -pool.state[side]
        return block


@helper
def _forget(pool: Pool, block: int) -> None:
    """Take a block's identity away, which is an eviction."""
    named = pool.identity[block]
    before, after = pool.twin_before[block], pool.twin_after[block]
    if before < 0:
        pool.first[named] = after
    else:
        pool.twin_after[before] = after
    if after < 0:
        pool.last[named] = before
    else:
        pool.twin_before[after] = before
    pool.identity[block] = -1
    if pool.state[LOGGED] < pool.log.shape[0]:
        pool.log[pool.state[LOGGED]] = named
        pool.state[LOGGED] += 1
    pool.state[EVICTIONS] += 1


@helper
def allocate(pool: Pool, held: Shorts, base: int, n: int) -> None:
    """Take `n` free blocks into a request's list of blocks from `base` on."""
    pool.state[FREE] -= n
    for k in range(n):
        block = _take(pool)
        if pool.identity[block] >= 0:
            _forget(pool, block)
        pool.references[block] = 1
        if pool.state[POLICY] != LRU:
            pool.is_new[block] = 1
        held[base + k] = block


@helper
def touch(pool: Pool, chain: Shorts, base: int, held: Shorts, to: int, hits: int) -> None:
    """Take the first `hits` blocks of a chain into a request's list of blocks from `to` on."""
    policy = pool.state[POLICY]
    for k in range(hits):
        named = chain[base + k]
        block = pool.first[named]
        if pool.references[block] == 0:
            pool.state[FREE] -= 1
            if policy == LRU:
                before, after = pool.before[block], pool.after[block]
                pool.after[before] = after
                pool.before[after] = before
            else:
                _remove(pool, block)
        pool.references[block] += 1
        held[to + k] = block
        if policy != LRU:
            most = _MOST_USES if policy == S3_FIFO else NEVER
            pool.uses[named] = min(pool.uses[named] + 1, most)


@helper
def name(pool: Pool, block: int, identity: int) -> None:
    """Give a block its identity."""
    policy = pool.state[POLICY]
    pool.identity[block] = identity
    last = pool.last[identity]
    pool.twin_before[block] = last
    pool.twin_after[block] = -1
    if last < 0:
        pool.first[identity] = block
    else:
        pool.twin_after[last] = block
    pool.last[identity] = block
    if policy in (LRU, S3_FIFO):
        return
    pool.uses[identity] += 1
    if policy == ARC and _is_ghost(pool, identity):
        # The size of each list of ghosts is bounded by the cache.
        capacity = pool.references.shape[0]
        n0 = max(1, min(pool.state[GHOSTS0], capacity))
        n1 = max(1, min(pool.state[GHOSTS1], capacity))
        if pool.ghost[identity] > 0:
            grown = pool.state[TARGET] + max(1, n1 // n0) * _SCALE
            pool.state[TARGET] = min(capacity * _SCALE, grown)
        else:
            pool.state[TARGET] = max(0, pool.state[TARGET] - max(1, n0 // n1) * _SCALE)


@helper
def _is_ghost(pool: Pool, identity: int) -> Any:
    """Return True if an identity is among the last evicted ones, as many as the pool has blocks."""
    ghost = pool.ghost[identity]
    if ghost == 0:
        return False
    age = pool.state[GHOSTS0] - ghost if ghost > 0 else pool.state[GHOSTS1] + ghost
    return age < pool.references.shape[0]


@helper
def _queue_up(pool: Pool, blocks: Blocks, traits: Traits, request: int, k: int, block: int) -> None:
    """Put a free block that has an identity where the policy wants it."""
    policy = pool.state[POLICY]
    named = pool.identity[block]
    tick: Any = _tick(pool)
    side: Any = 0
    if policy == LFU:
        tick += np.int64(pool.uses[named]) << 40
    elif policy == TTL:
        gap = traits.gap[traits.agent[request]]
        tick += (pool.state[NOW] + 2 * (gap if gap > 0 else traits.usual_gap)) << 20
    elif policy == TAIL:
        side = 0 if k >= blocks.need[request] - traits.tail_blocks else 1
    elif policy == PRIORITY:
        side = 1 - traits.is_last[request]
    elif policy == BELADY:
        n = blocks.start[request + 1] - blocks.start[request]
        use = np.int64(blocks.next_use[blocks.start[request] + k]) if k < n else np.int64(NEVER)
        tick = -((use << 24) + k)
    elif policy == SLRU:
        side = 1 if pool.uses[named] > 1 else 0
    elif policy == S3_FIFO:
        side = pool.side[block]
        if pool.is_new[block]:
            side = 1 if _is_ghost(pool, named) else 0
            pool.uses[named] = 0
        else:
            tick = pool.key[block]
    elif policy == ARC:
        side = 0 if pool.is_new[block] and not _is_ghost(pool, named) else 1
    pool.is_new[block] = 0
    pool.ghost[named] = 0
    pool.key[block] = tick
    queue(pool, block, side)
    if policy == SLRU and pool.state[N1] > _PROTECTED * pool.references.shape[0]:
        block = pool.heap[1, 0]
        _remove(pool, block)
        pool.key[block] = _tick(pool)
        queue(pool, block, 0)


@helper
def release(
    pool: Pool, blocks: Blocks, traits: Traits, request: int, held: Shorts, base: int, n: int
) -> None:
    """Free the `n` blocks of a request, from the last to the first."""
    policy, capacity = pool.state[POLICY], pool.references.shape[0]
    front = capacity
    n_unnamed = 0
    for back in range(n):
        k = n - 1 - back
        block = held[base + k]
        pool.references[block] -= 1
        if pool.references[block] > 0:
            continue
        pool.state[FREE] += 1
        if policy != LRU:
            if pool.identity[block] < 0:
                pool.key[block] = UNNAMED - (1 << 40) + n_unnamed
                n_unnamed += 1
                queue(pool, block, 0)
            else:
                _queue_up(pool, blocks, traits, request, k, block)
            continue
        # Without identity after those at the very front, else at the end.
        before = front if pool.identity[block] < 0 else pool.before[capacity]
        if pool.identity[block] < 0:
            front = block
        after = pool.after[before]
        pool.after[before] = block
        pool.before[after] = block
        pool.before[block] = before
        pool.after[block] = after
