"""Drivers of a pool: one request after the other, or requests that overlap."""

from typing import Any

import numpy as np

from archgym.simulators.kit.kernels import entry_point, helper
from archgym.simulators.kv.kernel.heap import push, remove
from archgym.simulators.kv.kernel.pool import (
    LOGGED,
    NOW,
    Pool,
    Traits,
    allocate,
    fits,
    look_up,
    name,
    release,
    touch,
)
from archgym.simulators.kv.workloads.arrays import Arrivals, Blocks, Ints, Shorts


@helper
def _admit(pool: Pool, blocks: Blocks, traits: Traits, request: int, held: Shorts, to: int) -> Any:
    """Give a request its blocks, and return its hits, or -1 if they do not fit."""
    base, need = blocks.start[request], blocks.need[request]
    hits = look_up(pool, blocks.chain, base, blocks.eligible[request])
    if not fits(pool, blocks.chain, base, need, hits, 0):
        return -1
    touch(pool, blocks.chain, base, held, to, hits)
    allocate(pool, held, to + hits, need - hits)
    for k in range(hits, blocks.prompt[request]):
        name(pool, held[to + k], blocks.chain[base + k])
    agent = traits.agent[request]
    if traits.last_seen[agent] >= 0:
        pause = max(1, pool.state[NOW] - traits.last_seen[agent])
        known = traits.gap[agent]
        traits.gap[agent] = pause if known == 0 else (3 * known + pause) // 4
    return hits


@helper
def _finish(
    pool: Pool, blocks: Blocks, traits: Traits, request: int, held: Shorts, to: int
) -> None:
    base = blocks.start[request]
    for k in range(blocks.prompt[request], blocks.start[request + 1] - base):
        name(pool, held[to + k], blocks.chain[base + k])
    traits.last_seen[traits.agent[request]] = pool.state[NOW]
    release(pool, blocks, traits, request, held, to, blocks.need[request])


@entry_point(9.0)
def run_sequential(
    pool: Pool,
    blocks: Blocks,
    traits: Traits,
    arrivals: Arrivals,
    held: Shorts,
    hits: Ints,
    logged: Ints,
    first: int,
    last: int,
) -> None:
    """Run requests from `first` to before `last`, one after the other.

    `logged` receives the length of the log after each. Parts give the bits of the whole.
    """
    for request in range(first, last):
        hits[request] = -1
        if blocks.need[request] <= pool.references.shape[0]:
            pool.state[NOW] = arrivals.time[request]
            hits[request] = _admit(pool, blocks, traits, request, held, 0)
            pool.state[NOW] += arrivals.service[request]
            _finish(pool, blocks, traits, request, held, 0)
        if logged.shape[0] > 0:
            logged[request] = pool.state[LOGGED]


@entry_point(12.0)
def run_concurrent(
    pool: Pool,
    blocks: Blocks,
    traits: Traits,
    arrivals: Arrivals,
    held: Shorts,
    held_at: Ints,
    heap: Shorts,
    place: Shorts,
    key: Ints,
    hits: Ints,
    wait: Ints,
    order: Ints,
    peak: Ints,
) -> Any:
    """Run requests that overlap, each from its admission for its service time.

    Args:
      held: Blocks of requests.
      held_at: (n,), first entry of a request in `held`.
      heap, place, key: (n,), running requests by their end.
      hits, wait: (n,), filled; -1 for rejected requests.
      order: (2n,), filled with events: request of an admission, or -1 - request of an end.
      peak: (1,), filled with the most requests that ran at a time.

    Returns:
      The number of events.
    """
    n = hits.shape[0]
    arrived, head, n_running, n_events, n_admitted = 0, 0, 0, 0, 0
    # Ends in order of time, then of admission.
    shift = 22
    while arrived < n or n_running > 0:
        now = np.int64(2**62)
        if n_running > 0:
            now = key[heap[0]] >> shift
        if arrived < n:
            now = min(now, arrivals.time[arrived])
        pool.state[NOW] = now
        while n_running > 0 and key[heap[0]] >> shift == now:
            request = heap[0]
            n_running = remove(heap, place, key, n_running, request)
            _finish(pool, blocks, traits, request, held, held_at[request])
            order[n_events] = -1 - request
            n_events += 1
        while arrived < n and arrivals.time[arrived] == now:
            hits[arrived] = wait[arrived] = -1
            arrived += 1
        while head < arrived:
            if blocks.need[head] > pool.references.shape[0]:
                head += 1
                continue
            found = _admit(pool, blocks, traits, head, held, held_at[head])
            if found < 0:
                break
            hits[head] = found
            wait[head] = now - arrivals.time[head]
            key[head] = ((now + arrivals.service[head]) << shift) + n_admitted
            n_admitted += 1
            n_running = push(heap, place, key, n_running, head)
            peak[0] = max(peak[0], n_running)
            order[n_events] = head
            n_events += 1
            head += 1
    return n_events
