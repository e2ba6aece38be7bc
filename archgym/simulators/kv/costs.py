"""Designs of the space `serving` in time: latencies, energy and cost of a run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from archgym.simulators.kit import InvalidDesignError, report_loss
from archgym.simulators.kv.machine import (
    HOURS,
    TIERS,
    Deployment,
    deployment,
    sizes_gb,
)
from archgym.simulators.kv.workloads.stream import StreamBlocks

if TYPE_CHECKING:
    from archgym.simulators.kv.kernel.serving import Service

NO_ROOM: Final = "the model leaves no memory for keys and values on so few accelerators"
NO_REQUEST: Final = "the cache is smaller than every request of the trace"
TOO_WIDE: Final = "the server has fewer accelerators than the workers need"
REASONS: Final = (NO_ROOM, TOO_WIDE, NO_REQUEST)
"""Reasons why a design cannot be built."""
_REJECTS: Final = (
    "some requests need more memory than a worker of some designs has: these reject them, and "
    "count them in no time or cost. To leave such designs out, limit the metric `rejected` to 0"
)
_MS: Final = 1000.0
# Engines plan a step while the one before runs (vLLM's asynchronous scheduling, SGLang's overlap
# scheduler), so that a new request misses one. The wait that `moe` was fitted to, of some four
# steps, holds the way to the client too.
_STEPS_AHEAD: Final = 1.0
_IDLE: Final = 1.0 / 7.0  # chosen: an H200 at rest takes about 100 of its 700 W.


@final
@dataclass(frozen=True)
class Served:
    """Options of the simulator that the space `serving` takes.

    Attributes:
      hardware, model, precision, engine, release: Names of the `moe` simulator.
      is_spread: True if workers share the experts of a mixture, each holding a part.
      is_closed: True if the next turn of a session waits for an answer.
      live: Sessions that are live at a time.
      stagger_ms: Time between the starts of the first sessions [ms].
      ttft_limit_ms, tpot_limit_ms: Limits of goodput [ms].
      gpu_usd_per_hour: Rent of an accelerator.
      gpu_watts: Power of an accelerator at work [W].
      dram_gb_per_s: Rate of the host's memory.
    """

    hardware: str
    model: str
    precision: str
    engine: str
    release: str
    is_spread: bool
    is_closed: bool
    live: int
    stagger_ms: int
    ttft_limit_ms: float
    tpot_limit_ms: float
    gpu_usd_per_hour: float
    gpu_watts: float
    dram_gb_per_s: float = math.inf

    def deployed(self, design: Mapping[str, Any]) -> Deployment | str:
        """Return the model on a worker of a design, or the reason why it does not fit."""
        names = (self.hardware, self.model, self.precision, self.engine, self.release)
        try:
            n_sharing = n_workers(design) if self.is_spread else 1
            found = deployment(*names, design["tensor"], n_sharing)
        except InvalidDesignError:
            return NO_ROOM
        return TOO_WIDE if n_workers(design) * design["tensor"] > found.n_gpus else found


def serve_design(
    made: StreamBlocks, design: Mapping[str, Any], served: Served
) -> dict[str, Any] | str:
    """Return metrics of a design by name, or the reason why it cannot be built."""
    deployed = served.deployed(design)
    if isinstance(deployed, str):
        return deployed
    if deployed.max_tokens // made.block < 1:
        return NO_ROOM
    if deployed.max_tokens // made.block < made.blocks.need.min():
        return NO_REQUEST
    run = run_design(made, design, served, deployed)
    if (run.fleet.requests.hits < 0).any():
        report_loss(_REJECTS)
    return _metrics(made, design, served, deployed, run)


def n_workers(design: Mapping[str, Any]) -> int:
    """Return the number of all workers of a design."""
    return int(design["workers"] + design["prefill_workers"])


def widths_gb_per_s(
    design: Mapping[str, Any], served: Served, deployed: Deployment
) -> dict[str, float]:
    """Return the bandwidth of each tier of a design."""
    n_gpus = n_workers(design) * design["tensor"]
    own = {
        "dram": min(deployed.host_gb_per_s * n_gpus, served.dram_gb_per_s),
        "remote": deployed.network_gb_per_s * n_gpus,
    }
    return {tier.name: tier.gb_per_s or own[tier.name] for tier in TIERS}


def limits_of(design: Mapping[str, Any], served: Served) -> tuple[float, ...]:
    """Return what bounds a run: time of a token [s], power at rest [W], and widths of tiers."""
    deployed = served.deployed(design)
    assert not isinstance(deployed, str)
    n_gpus = n_workers(design) * design["tensor"]
    widths = widths_gb_per_s(design, served, deployed)
    return deployed.token_s / n_gpus, n_gpus * served.gpu_watts * _IDLE, *widths.values()


def run_design(
    made: StreamBlocks,
    design: Mapping[str, Any],
    served: Served,
    deployed: Deployment,
    capacity: int = 0,
) -> "Service":
    """Return the run of a design that can be built; times are in its `fleet`.

    Args:
      made: Requests as blocks.
      design: Design of the space `serving`.
      served: Options.
      deployed: Model on the accelerators of a worker.
      capacity: Blocks of a worker; by default those that fit.
    """
    from archgym.simulators.kv.kernel import served as kernel
    from archgym.simulators.kv.kernel import serving
    from archgym.simulators.kv.kernel.policies import ROUTING, TIER_POLICIES
    from archgym.simulators.kv.kernel.store import N_TIERS, new_store
    from archgym.simulators.moe.kernel.state import new_state
    from archgym.simulators.moe.machine.columns import WAIT_STEPS

    block_gb = made.block * deployed.kv_bytes / 1e9
    widths = list(widths_gb_per_s(design, served, deployed).values())
    store = new_store(
        np.array([int(size / block_gb) for size in sizes_gb(design)], np.int64),
        np.array([tier.latency_ms for tier in TIERS]),
        np.array([_MS * block_gb / width for width in widths]),
        made.n_identities,
    )
    assert len(TIERS) == N_TIERS
    choices = {
        serving.TIER_POLICY: TIER_POLICIES.index(design["tier_policy"]),
        serving.ROUTE: ROUTING.index(design["routing"]),
        serving.BUDGET: design["token_budget"],
        serving.MAX_SEQS: design["max_seqs"],
        serving.WRITES_THROUGH: design["write"] == "through" and bool(store.capacity.any()),
        serving.IS_LAYERWISE: design["reload"] == "layerwise",
        serving.PREFETCHES: design["prefetch"] == "on",
        serving.IS_SPREAD: served.is_spread,
        serving.IS_CLOSED: served.is_closed and made.stream.dependencies is not None,
        serving.LIVE: served.live,
        serving.STAGGER_MS: served.stagger_ms,
        serving.RESERVES: 1,
        serving.N_PREFILL: design["prefill_workers"],
    }
    # Counters and scratch are those of this run alone, as several may run at a time.
    costs = deployed.costs._replace(
        costs=deployed.costs.costs.copy(), state=new_state(1, 1, 1, 1),
        counters=np.zeros_like(deployed.costs.counters),
    )  # fmt: skip
    costs.costs[WAIT_STEPS] = _STEPS_AHEAD
    return kernel.serve(
        made, capacity or deployed.max_tokens // made.block, design["policy"], choices, costs,
        n_workers=n_workers(design), store=store,
        hand_ms=_MS * block_gb / (deployed.peer_gb_per_s * design["tensor"]),
    )  # fmt: skip


def _metrics(
    made: StreamBlocks,
    design: Mapping[str, Any],
    served: Served,
    deployed: Deployment,
    run: "Service",
) -> dict[str, Any]:
    from archgym.simulators.kv.kernel.serving import HANDED, PEAK, PREEMPTIONS

    arrivals, requests, totals = made.stream.arrivals, run.fleet.requests, run.totals
    done = requests.hits >= 0
    ttft = (requests.first - requests.ready)[done]
    outputs = arrivals.output[done]
    tpot = (requests.last - requests.first)[done] / np.maximum(1, outputs - 1)
    long = tpot[outputs > 1] if (outputs > 1).any() else np.zeros(1)
    end_ms = requests.last.max(initial=0.0)
    duration_s = max(1e-9, float(end_ms - requests.ready.min(initial=0.0)))
    duration_s /= _MS
    good = (ttft <= served.ttft_limit_ms) & (tpot <= served.tpot_limit_ms)
    prompt_tokens, output_tokens = int(arrivals.prompt[done].sum()), int(outputs.sum())
    mtokens = max(1e-9, (prompt_tokens + output_tokens) / 1e6)
    n_gpus = n_workers(design) * design["tensor"]
    sizes = sizes_gb(design)
    block_gb = made.block * deployed.kv_bytes / 1e9
    moved = (run.store.read + run.store.written) * block_gb
    per_hour = n_gpus * served.gpu_usd_per_hour + sum(
        size * tier.usd_per_gb / HOURS for size, tier in zip(sizes, TIERS, strict=True)
    )
    busy = float(run.fleet.workers.busy_ms.sum()) / _MS / n_workers(design) / duration_s
    watts = n_gpus * served.gpu_watts * (_IDLE + (1.0 - _IDLE) * min(1.0, busy))
    watts += sum(size * tier.watts_per_gb for size, tier in zip(sizes, TIERS, strict=True))
    joules = watts * duration_s + sum(
        gb * tier.joules_per_gb for gb, tier in zip(moved, TIERS, strict=True)
    )
    percent = 100.0 * made.block / max(1, prompt_tokens)
    found = {
        "found_percent": percent * (requests.hits + requests.loaded)[done].sum(),
        "hit_percent": percent * requests.hits[done].sum(),
        "loaded_percent": percent * requests.loaded[done].sum(),
        "saved_prefill_s": saved_prefill_s(made, requests.hits + requests.loaded, deployed),
        **{f"ttft_p{p}_ms": float(np.percentile(ttft, p)) for p in (50, 90, 99)},
        **{f"tpot_p{p}_ms": float(np.percentile(long, p)) for p in (50, 90)},
        "goodput_per_s": float(good.sum()) / duration_s,
        "output_per_s": output_tokens / duration_s,
        "duration_s": duration_s,
        "busy_percent": 100.0 * busy,
        "preemptions": int(totals[PREEMPTIONS]),
        "peak_running": int(totals[PEAK]),
        "rejected": int((~done).sum()),
        "cache_gib": n_workers(design) * deployed.max_tokens * deployed.kv_bytes / 2**30,
        "handed_gb": float(totals[HANDED]) * block_gb,
        "joules_per_mtoken": joules / mtokens,
        "usd_per_hour": per_hour,
        "usd_per_mtoken": per_hour * duration_s / 3600.0 / mtokens,
    }
    # Stores may wait for their link when the last request ends.
    waiting_ms = np.maximum(0.0, run.store.free_at - end_ms)
    block_ms = np.maximum(1e-12, run.store.ms_per_block)
    moved = np.maximum(0.0, moved - waiting_ms / block_ms * block_gb)
    names = (f"{tier.name}_moved_gb" for tier in TIERS)
    return found | dict(zip(names, moved.tolist(), strict=True))


def saved_prefill_s(made: StreamBlocks, found: Any, deployed: Deployment) -> float:
    """Return the time that prompts alone would have taken without the blocks they found [s]."""
    from archgym.simulators.moe.kernel.step_time import step_contents

    cached = np.minimum(found * made.block, made.stream.arrivals.prompt - 1)
    rows = np.flatnonzero(cached > 0)
    if not len(rows):
        return 0.0
    prompts = made.stream.arrivals.prompt[rows].tolist()
    contents = [
        step_contents([(before, prompt - before)], [])
        for start in (np.zeros(len(rows), np.int64), cached[rows])
        for before, prompt in zip(start.tolist(), prompts, strict=True)
    ]
    times = deployed.costs._replace(counters=np.zeros_like(deployed.costs.counters))
    took = times.times_ns(np.array(contents)).reshape(2, -1).sum(axis=1)
    return max(0.0, float(took[0] - took[1]) / 1e9)
