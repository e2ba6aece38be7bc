"""Eviction of prefix caches as a domain of rules."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from archgym.simulators.kit.rules import Domain, Hook, deferred, templates

_CASE: Final = "archgym.simulators.kv.rules.case"
COUNTS: Final = ("hits", "requests", "rejected", "brought")
"""Names of the counts, in the order in which the replay keeps them."""
_OPTIONS: Final = {
    "block_tokens": "tokens of a block (default: 64)",
    "memory_percent": "memory, as a share of the contexts of all live sessions (default: 50)",
    "gpu_blocks": "memory in blocks, in place of `memory_percent`",
    "below": "`all` for memory below with all blocks, for the hook `prefetch` (default: none)",
    "live": "sessions that are live at a time (default: 8)",
    "think_cap_ms": "longest pause of an agent (default: 600000)",
}


class Due(NamedTuple):
    """Times at which blocks of sessions are brought back.

    Attributes:
      heap, place, key: (n_sessions,), sessions by time [ms].
      latest: (n_sessions,), latest request of a session.
    """

    heap: Any
    place: Any
    key: Any
    latest: Any


def _simulate(replay: Any, storage: Any, case: Mapping[str, Any]) -> dict[str, Any]:
    """Return counts of a rule on the requests of a case."""
    from archgym.simulators.kv.kernel.pool import EVICTIONS, LFU, new_pool
    from archgym.simulators.kv.workloads.arrays import Blocks

    blocks = Blocks(*(case[name] for name in Blocks._fields))
    # Any policy but LRU has the heap that scores are kept in.
    size, n = int(case["capacity"]), int(case["n_identities"])
    pool = new_pool(size, n, LFU)
    n_agents = int(case["agent"].max(initial=-1)) + 1 if case["has_below"] else 0
    shorts = np.full((2, n_agents), -1, dtype=np.int32)
    due = Due(shorts[0], shorts[1], *np.zeros((2, n_agents), dtype=np.int64))
    counts = np.zeros(len(COUNTS), dtype=np.int64)
    held = np.zeros(int(blocks.need.max(initial=1)), dtype=np.int32)
    started = time.perf_counter()
    replay(
        pool, blocks, case["agent"], case["is_last"], case["time"], held, counts, storage.memory,
        storage.floats, due,
    )  # fmt: skip
    took_s = time.perf_counter() - started
    found = dict(zip(COUNTS, counts.tolist(), strict=True))
    return {**found, "evictions": int(pool.state[EVICTIONS]), "seconds": took_s}


CACHE: Final = Domain(
    name="kv-cache",
    doc="Blocks of keys and values that a prefix cache keeps for later requests.",
    hooks={
        "score": Hook(
            ("block", "depth", "left", "session", "time"),
            "Return the worth of a block when its request ends; the lowest is evicted first. "
            "`depth` counts blocks from the prompt's start, `left` to the request's end.",
            is_required=True,
            has_result=True,
        ),
        "admit": Hook(
            ("block", "depth", "left", "session", "time"),
            "Return 0 for a block that is evicted before all others.",
            has_result=True,
        ),
        "on_fill": Hook(
            ("block", "depth", "session", "time"), "Called when a block gets new content."
        ),
        "on_hit": Hook(
            ("block", "depth", "session", "time"), "Called when a request finds a block."
        ),
        "on_request": Hook(
            ("session", "time"), "Called when a request of a session comes, before its hits."
        ),
        "on_tool_pause": Hook(
            ("session", "ended", "time"),
            "Called when a request ends, before its blocks are scored; `ended` is 1 if the agent "
            "has no further request.",
        ),
        "prefetch": Hook(
            ("session", "ended", "time"),
            "Return the time after which a session's blocks are brought back from the memory "
            "below, such as that of the tool [ms]; 0 for never. Called when a request has ended.",
            has_result=True,
        ),
    },
    sizes={"block": "blocks of the cache", "session": "agents of the trace"},
    values={"BLOCKS": "blocks of the cache"},
    templates=templates(Path(__file__).parent),
    options=_OPTIONS,
    built_in=("lru", "lfu", "ttl", "tail-lru", "priority", "slru", "s3-fifo", "arc"),
    example={"block": 4096, "session": 64, "BLOCKS": 4096},
    open_case=deferred(_CASE, "open_case"),
    compile=deferred("archgym.simulators.kv.rules.kernel", "make_replay"),
    simulate=_simulate,
    loss="share of the gap from LRU to the optimum that is left open",
)
DOMAINS: Final = (CACHE,)
"""Domains of the simulator."""
