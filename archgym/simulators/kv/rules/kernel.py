"""Replay of a prefix cache under a rule that a user wrote; compiled in the rules' process."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numba
import numpy as np

from archgym.rules.compilation import SCORE
from archgym.simulators.kv.kernel.pool import (
    FREE,
    LFU,
    UNNAMED,
    allocate,
    look_up,
    name,
    queue,
    touch,
)

# Places of `domain.COUNTS`.
_HITS, _REQUESTS, _REJECTED = range(3)
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
    has_admit, has_fill, has_hit, has_request, has_pause = (
        each in hooks for each in ("admit", "on_fill", "on_hit", "on_request", "on_tool_pause")
    )
    admit = hooks.get("admit", score)
    on_fill = hooks.get("on_fill", score)
    on_hit = hooks.get("on_hit", score)
    on_request = hooks.get("on_request", score)
    on_pause = hooks.get("on_tool_pause", score)

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
    ) -> None:
        ticks = 0
        for request in range(blocks.need.shape[0]):
            base, need = blocks.start[request], blocks.need[request]
            counts[_REQUESTS] += 1
            if need > pool.references.shape[0]:
                counts[_REJECTED] += 1
                continue
            agent, now = np.int64(agents[request]), times[request]
            if has_request:
                on_request(agent, now, memory, floats)
            hits = look_up(pool, blocks.chain, base, blocks.eligible[request])
            counts[_HITS] += hits
            touch(pool, LFU, blocks.chain, base, held, 0, hits)
            allocate(pool, LFU, held, hits, need - hits)
            n_full = blocks.start[request + 1] - base
            for k in range(n_full):
                block: Any = np.int64(held[k])
                if k >= hits:
                    name(pool, LFU, block, blocks.chain[base + k])
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
                    worth: Any = np.float64(score(block, k, need - k, agent, now, memory, floats))
                    if worth != worth and memory[0] == 0:
                        memory[0] = SCORE
                    if (
                        has_admit
                        and np.float64(admit(block, k, need - k, agent, now, memory, floats)) == 0.0
                    ):
                        worth = -_MOST
                    worth = min(max(worth, -_MOST), _MOST)
                    pool.key[block] = (np.int64(worth) << _TIES) + ticks
                    ticks += 1
                queue(pool, block, 0)
            if memory[0] != 0:
                return

    made: Callable[..., None] = replay
    return made
