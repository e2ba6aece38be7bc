"""Most hits that any eviction can reach: a sweep over intervals between uses of a block.

An interval is worth one hit if the block is kept all the time. Where more intervals are open than
blocks are left by running requests, the sweep drops the one that ends last. SPEC: this is Belady's
MIN by block with the running request's memory charged, and the optimum of prefix hits.
"""

from typing import Any, NamedTuple

import numpy as np

from archgym.simulators.kit.kernels import entry_point, helper
from archgym.simulators.kv.kernel.heap import push, remove
from archgym.simulators.kv.workloads.arrays import NEVER, Blocks, Ints, Shorts


class Sweep(NamedTuple):
    """Open intervals by the request at which they end.

    Attributes:
      ending: (n,), open intervals that end at a request.
      heap, place, key: (n,), requests at which some end, the last one first.
      state: Number of open intervals, entries of the heap.
    """

    ending: Ints
    heap: Shorts
    place: Shorts
    key: Ints
    state: Ints


def new_sweep(n: int) -> Sweep:
    """Return a sweep over `n` requests without open intervals."""
    shorts = np.full((2, n), -1, dtype=np.int32)
    key = -np.arange(n, dtype=np.int64)
    return Sweep(np.zeros(n, np.int64), shorts[0], shorts[1], key, np.zeros(2, np.int64))


@helper
def _open(sweep: Sweep, end: int) -> None:
    if sweep.ending[end] == 0 and sweep.place[end] < 0:
        sweep.state[1] = push(sweep.heap, sweep.place, sweep.key, sweep.state[1], end)
    sweep.ending[end] += 1
    sweep.state[0] += 1


@helper
def _close(sweep: Sweep, request: int) -> Any:
    closed = sweep.ending[request]
    sweep.ending[request] = 0
    sweep.state[0] -= closed
    return closed


@helper
def _cut(sweep: Sweep, room: int) -> None:
    """Drop the intervals that end last, until at most `room` are open."""
    while sweep.state[0] > room:
        end = sweep.heap[0]
        dropped = min(sweep.state[0] - room, sweep.ending[end])
        sweep.ending[end] -= dropped
        sweep.state[0] -= dropped
        if sweep.ending[end] == 0:
            sweep.state[1] = remove(sweep.heap, sweep.place, sweep.key, sweep.state[1], end)


@entry_point(3.0)
def sequential_optimum(
    blocks: Blocks, sweep: Sweep, capacity: int, most: int, is_forced: bool
) -> Any:
    """Return the most hits of requests that run one after the other.

    Args:
      blocks: Requests with `next_use` of the requests that are not rejected.
      sweep: Without open intervals.
      capacity: Blocks of the cache.
      most: Blocks of a request that is not rejected, at most.
      is_forced: True if the running request's own blocks take room.
    """
    hits = 0
    for request in range(blocks.need.shape[0]):
        if blocks.need[request] > most:
            continue
        hits += _close(sweep, request)
        if is_forced:
            _cut(sweep, capacity - blocks.need[request])
        for at in range(blocks.start[request], blocks.start[request + 1]):
            if blocks.next_use[at] != NEVER:
                _open(sweep, blocks.next_use[at])
        if not is_forced:
            _cut(sweep, capacity)
    return hits


@entry_point(3.0)
def concurrent_optimum(
    blocks: Blocks,
    sweep: Sweep,
    capacity: int,
    order: Ints,
    upcoming: Shorts,
    holders: Shorts,
    is_open: Shorts,
) -> Any:
    """Return the most hits of requests that overlap, for a given order of admissions and ends.

    Args:
      blocks: Requests with `next_use` among prompts.
      sweep: Without open intervals.
      capacity: Blocks of the cache.
      order: Events: request of an admission, or -1 - request of an end.
      upcoming: (n_identities,), first request with an identity in its prompt.
      holders: (n_identities,), zeros.
      is_open: (n_identities,), filled with -1.
    """
    hits, held = 0, 0
    for event in order:
        request = event if event >= 0 else -1 - event
        base = blocks.start[request]
        n_prompt = blocks.prompt[request]
        others = blocks.need[request] - n_prompt
        if event >= 0:
            hits += _close(sweep, request)
            for k in range(n_prompt):
                named = blocks.chain[base + k]
                if holders[named] == 0:
                    held += 1
                elif k < blocks.eligible[request]:
                    hits += 1
                holders[named] += 1
                upcoming[named] = blocks.next_use[base + k]
            held += others
            _cut(sweep, capacity - held)
            continue
        held -= others
        for k in range(n_prompt):
            named = blocks.chain[base + k]
            holders[named] -= 1
            held -= 1 if holders[named] == 0 else 0
        for at in range(base, blocks.start[request + 1]):
            named = blocks.chain[at]
            end = upcoming[named]
            if holders[named] == 0 and end != NEVER and is_open[named] != end:
                _open(sweep, end)
                is_open[named] = end
    return hits
