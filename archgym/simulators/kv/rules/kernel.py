"""Replay of a prefix cache under a rule that a user wrote; compiled in the rules' process."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numba
import numpy as np

from archgym.simulators.kit.kernels import SCORE
from archgym.simulators.kv.kernel.heap import push, remove
from archgym.simulators.kv.kernel.pool import (
    FREE,
    SEQUENCE,
    UNNAMED,
    allocate,
    look_up,
    name,
    queue,
    touch,
)

# Places of `domain.COUNTS`.
_HITS, _REQUESTS, _REJECTED, _BROUGHT = range(4)
# Scores are whole numbers of 36 bits; the later release decides between equal ones.
_MOST: Final = 2.0**36
_TIES: Final = 26


def make_replay(hooks: Mapping[str, Callable[..., Any]]) -> Callable[..., None]:
    """Return a replay with the hooks of a rule compiled in.

    Args:
      hooks: Compiled hooks by name.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}
    entry: Callable[..., Any] = numba.njit(**options)
    score = hooks["score"]
    names = ("admit", "on_fill", "on_hit", "on_request", "on_tool_pause", "prefetch")
    has_admit, has_fill, has_hit, has_request, has_pause, has_prefetch = (
        each in hooks for each in names
    )
    admit, on_fill, on_hit, on_request, on_pause, prefetch = (
        hooks.get(each, score) for each in names
    )

    @entry
    def keep(
        pool: Any, block: Any, k: Any, left: Any, agent: Any, now: Any, memory: Any, floats: Any
    ) -> None:
        """Put a free block that has an identity where its score says."""
        worth: Any = np.float64(score(block, k, left, agent, now, memory, floats))
        if worth != worth and memory[0] == 0:
            memory[0] = SCORE
        if has_admit and np.float64(admit(block, k, left, agent, now, memory, floats)) == 0.0:
            worth = -_MOST
        worth = min(max(worth, -_MOST), _MOST)
        pool.state[SEQUENCE] += 1
        pool.key[block] = (np.int64(worth) << _TIES) + pool.state[SEQUENCE]
        queue(pool, block, 0)

    @entry
    def bring_back(
        pool: Any, blocks: Any, request: Any, agent: Any, now: Any, held: Any, counts: Any,
        memory: Any, floats: Any,
    ) -> None:  # fmt: skip
        """Copy the blocks of a request that only the memory below has, which keeps all."""
        base, need = blocks.start[request], blocks.need[request]
        for k in range(blocks.start[request + 1] - base):
            named = blocks.chain[base + k]
            if pool.first[named] >= 0:
                continue
            allocate(pool, held, 0, 1)
            block: Any = np.int64(held[0])
            name(pool, block, named)
            if has_fill:
                on_fill(block, k, agent, now, memory, floats)
            pool.references[block] = 0
            pool.state[FREE] += 1
            keep(pool, block, k, need - k, agent, now, memory, floats)
            counts[_BROUGHT] += 1

    @entry
    def replay(
        pool: Any,
        blocks: Any,
        agents: Any,
        is_last: Any,
        times: Any,
        held: Any,
        counts: Any,
        memory: Any,
        floats: Any,
        due: Any,
    ) -> None:
        n_due = 0
        has_below = has_prefetch and due.heap.shape[0] > 0
        for request in range(blocks.need.shape[0]):
            base, need = blocks.start[request], blocks.need[request]
            counts[_REQUESTS] += 1
            if need > pool.references.shape[0]:
                counts[_REJECTED] += 1
                continue
            agent, now = np.int64(agents[request]), times[request]
            while has_below and n_due > 0 and due.key[due.heap[0]] <= now:
                paused = np.int64(due.heap[0])
                n_due = remove(due.heap, due.place, due.key, n_due, paused)
                bring_back(
                    pool, blocks, due.latest[paused], paused, due.key[paused], held, counts,
                    memory, floats,
                )  # fmt: skip
            if has_request:
                on_request(agent, now, memory, floats)
            hits = look_up(pool, blocks.chain, base, blocks.eligible[request])
            counts[_HITS] += hits
            touch(pool, blocks.chain, base, held, 0, hits)
            allocate(pool, held, hits, need - hits)
            n_full = blocks.start[request + 1] - base
            for k in range(n_full):
                block: Any = np.int64(held[k])
                if k >= hits:
                    name(pool, block, blocks.chain[base + k])
                    if has_fill:
                        on_fill(block, k, agent, now, memory, floats)
                elif has_hit:
                    on_hit(block, k, agent, now, memory, floats)
            if has_pause:
                on_pause(agent, np.int64(is_last[request]), now, memory, floats)
            for back in range(need):
                k = need - 1 - back
                block = np.int64(held[k])
                pool.references[block] = 0
                pool.state[FREE] += 1
                pool.key[block] = UNNAMED
                if k < n_full:
                    keep(pool, block, k, need - k, agent, now, memory, floats)
                else:
                    queue(pool, block, 0)
            if has_below:
                wait: Any = np.float64(
                    prefetch(agent, np.int64(is_last[request]), now, memory, floats)
                )
                if due.place[agent] >= 0:
                    n_due = remove(due.heap, due.place, due.key, n_due, agent)
                if wait > 0.0:
                    due.latest[agent] = request
                    due.key[agent] = now + np.int64(min(wait, _MOST))
                    n_due = push(due.heap, due.place, due.key, n_due, agent)
            if memory[0] != 0:
                return

    made: Callable[..., None] = replay
    return made
