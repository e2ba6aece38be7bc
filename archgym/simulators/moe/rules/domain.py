"""Expert caches as a domain of policies: admission, eviction and prefetch as code."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from archgym.simulators.kit.rules import Domain, Hook, deferred, templates


def _simulate(replay: Any, storage: Any, case: Mapping[str, Any]) -> dict[str, Any]:
    """Return counts of a policy on events.

    Args:
      replay: Result of `_compile`.
      storage: Arrays of the policy.
      case: `layers`, `offsets`, `blocks`, `capacities`, `is_forced`, `tie`, `n_layers`, `n_experts`
        and `prefetch`, besides `sizes` and `values`.
    """
    from archgym.simulators.moe.rules.kernel import COUNTS, N_BLOCK_COLUMNS

    n_layers, n_experts = int(case["n_layers"]), int(case["n_experts"])
    n_blocks = n_layers * n_experts
    capacities = np.asarray(case["capacities"], dtype=np.int64)
    is_shared = len(capacities) == 1
    buckets = np.zeros((len(capacities), 3), dtype=np.int64)
    buckets[:, 0] = np.arange(len(capacities)) * n_experts
    buckets[:, 2] = capacities
    counts = np.zeros(len(COUNTS), dtype=np.int64)
    scratch = np.zeros((4, n_blocks), dtype=np.int64)
    scratch[3] = np.arange(n_blocks) // n_experts
    started = time.perf_counter()
    replay(
        bool(case["is_forced"]),
        int(case["prefetch"]),
        case["layers"],
        case["offsets"],
        case["blocks"],
        np.zeros((n_blocks, N_BLOCK_COLUMNS), dtype=np.int64),
        buckets,
        np.zeros(n_layers, dtype=np.int64) if is_shared else np.arange(n_layers),
        scratch,
        np.stack([np.zeros(n_blocks), case["tie"]]),
        counts,
        storage.memory,
        storage.floats,
    )
    took_s = time.perf_counter() - started
    return {**dict(zip(COUNTS, counts.tolist(), strict=True)), "seconds": took_s}


EXPERT_CACHE: Final = Domain(
    name="expert-cache",
    doc="Experts that stay in fast memory: eviction, admission and prefetch.",
    hooks={
        "on_use": Hook(
            ("block", "layer", "hit", "time"),
            "Called for each expert that an event uses; `hit` is 1 if it was resident.",
        ),
        "score": Hook(
            ("block", "layer", "time"),
            "Return the value of a block; the blocks with the smallest values go.",
            is_required=True,
            has_result=True,
        ),
        "admit": Hook(
            ("block", "layer", "time"),
            "Return 0 to drop a loaded block after its use.",
            has_result=True,
        ),
        "prefetch": Hook(
            ("block", "layer", "slot", "time"),
            "Return an expert of the next layer to load after an event, or -1. It is called for "
            "the first `PREFETCH` blocks of the event; `slot` counts them.",
            has_result=True,
        ),
    },
    sizes={
        "block": "experts of all layers: block = layer * N_EXPERTS + expert",
        "layer": "layers with experts",
        "expert": "experts of a layer",
    },
    values={
        "N_LAYERS": "layers with experts",
        "N_EXPERTS": "experts of a layer",
        "CAPACITY": "experts that fit in fast memory",
    },
    templates=templates(Path(__file__).parent),
    options={
        "capacity": "experts that fit, as a number or a percentage of all (default: 25%)",
        "scope": "global or layer (default: global)",
        "admission": "bypass or forced (default: bypass)",
        "expert_mb": "size of an expert [MB] (default: 12.58)",
        "link_gb_per_s": "bandwidth of the link to fast memory [GB/s] (default: 25)",
    },
    built_in=("lru", "lfu", "lfru", "fifo"),
    example={
        "block": 1024,
        "layer": 16,
        "expert": 64,
        "N_LAYERS": 16,
        "N_EXPERTS": 64,
        "CAPACITY": 256,
    },
    open_case=deferred("archgym.simulators.moe.rules.case", "open_case"),
    compile=deferred("archgym.simulators.moe.rules.kernel", "make_replay"),
    simulate=_simulate,
)
DOMAINS: Final = (EXPERT_CACHE,)
"""Domains of the simulator."""
