"""Designs of the space `serving` in time: latencies, energy and cost of a run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np

from archgym.errors import InvalidDesignError
from archgym.simulators.kv.formats.stream import StreamBlocks
from archgym.simulators.kv.machine import (
    HOURS,
    TIERS,
    Deployment,
    bandwidths,
    deployment,
    sizes_gb,
)

NO_ROOM: Final = "the model leaves no memory for keys and values on so few accelerators"
TOO_WIDE: Final = "the server has fewer accelerators than the workers need"
_MS: Final = 1000.0
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
            found = deployment(*names, design["tensor"], design["workers"] if self.is_spread else 1)
        except InvalidDesignError:
            return NO_ROOM
        return TOO_WIDE if design["workers"] * design["tensor"] > found.n_gpus else found


def serve_design(
    made: StreamBlocks, design: Mapping[str, Any], served: Served
) -> dict[str, Any] | str:
    """Return metrics of a design by name, or the reason why it cannot be built."""
    deployed = served.deployed(design)
    if isinstance(deployed, str):
        return deployed
    if deployed.max_tokens // made.block < 1:
        return NO_ROOM
    run = run_design(made, design, served, deployed)
    return _metrics(made, design, served, deployed, run)


@final
@dataclass(frozen=True)
class Run:
    """A run of the space `serving`: request by request, and totals.

    Attributes:
      ready_ms, first_ms, last_ms: (n,), arrival, first and last token [ms]; -1 for rejected ones.
      hits, loaded: (n,), blocks of hits and of loads; hits are -1 for rejected requests.
      busy_ms: Time that each worker computes [ms].
      moved: (n_tiers,), blocks that tiers gave and took.
      preemptions, peak_running: Counts.
    """

    ready_ms: Any
    first_ms: Any
    last_ms: Any
    hits: Any
    loaded: Any
    busy_ms: Any
    moved: Any
    preemptions: int
    peak_running: int


def run_design(
    made: StreamBlocks,
    design: Mapping[str, Any],
    served: Served,
    deployed: Deployment,
    capacity: int = 0,
) -> Run:
    """Return the run of a design that can be built.

    Args:
      made: Requests as blocks.
      design: Design of the space `serving`.
      served: Options.
      deployed: Model on the accelerators of a worker.
      capacity: Blocks of a worker; by default those that fit.
    """
    from archgym.simulators.kv.kernel import served as kernel
    from archgym.simulators.kv.kernel import serving
    from archgym.simulators.kv.kernel.layout import ROUTING, TIER_POLICIES
    from archgym.simulators.kv.kernel.store import N_TIERS, new_store
    from archgym.simulators.moe.kernel.state import N_CONTENTS, new_state

    block_gb = made.block * deployed.kv_bytes / 1e9
    n_gpus = design["workers"] * design["tensor"]
    widths = bandwidths(deployed, n_gpus, served.dram_gb_per_s)
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
    }
    costs = deployed.costs
    clock = serving.Clock(
        costs.costs, costs.choices, new_state(1, 1, 1, 1), costs.table,
        np.zeros_like(costs.counters), np.zeros(N_CONTENTS),
    )  # fmt: skip
    fleet, (totals, _), tiers = kernel.serve(
        made, capacity or deployed.max_tokens // made.block, design["policy"], choices, clock,
        n_workers=design["workers"], store=store,
    )  # fmt: skip
    return Run(
        fleet.ready, fleet.first, fleet.last, fleet.hits, fleet.loaded, fleet.busy_ms,
        tiers.read + tiers.written, int(totals[serving.PREEMPTIONS]), int(totals[serving.PEAK]),
    )  # fmt: skip


def _metrics(
    made: StreamBlocks,
    design: Mapping[str, Any],
    served: Served,
    deployed: Deployment,
    run: Run,
) -> dict[str, Any]:
    arrivals = made.stream.arrivals
    done = run.hits >= 0
    ttft = np.where(done, run.first_ms - run.ready_ms, 0.0)[done]
    outputs = arrivals.output[done]
    tpot = ((run.last_ms - run.first_ms)[done]) / np.maximum(1, outputs - 1)
    long = tpot[outputs > 1] if (outputs > 1).any() else np.zeros(1)
    duration_s = max(1e-9, float(run.last_ms.max(initial=0.0) - run.ready_ms.min(initial=0.0)))
    duration_s /= _MS
    good = (ttft <= served.ttft_limit_ms) & (tpot <= served.tpot_limit_ms)
    prompt_tokens, output_tokens = int(arrivals.prompt[done].sum()), int(outputs.sum())
    mtokens = max(1e-9, (prompt_tokens + output_tokens) / 1e6)
    n_gpus = design["workers"] * design["tensor"]
    sizes = sizes_gb(design)
    block_gb = made.block * deployed.kv_bytes / 1e9
    moved = run.moved * block_gb
    per_hour = n_gpus * served.gpu_usd_per_hour + sum(
        size * tier.usd_per_gb / HOURS for size, tier in zip(sizes, TIERS, strict=True)
    )
    busy = float(run.busy_ms.sum()) / _MS / design["workers"] / duration_s
    watts = n_gpus * served.gpu_watts * (_IDLE + (1.0 - _IDLE) * min(1.0, busy))
    watts += sum(size * tier.watts_per_gb for size, tier in zip(sizes, TIERS, strict=True))
    joules = watts * duration_s + sum(
        gb * tier.joules_per_gb for gb, tier in zip(moved, TIERS, strict=True)
    )
    percent = 100.0 * made.block / max(1, prompt_tokens)
    found = {
        "found_percent": percent * (run.hits + run.loaded)[done].sum(),
        "hit_percent": percent * run.hits[done].sum(),
        "loaded_percent": percent * run.loaded[done].sum(),
        "saved_prefill_s": saved_prefill_s(made, run, deployed),
        **{f"ttft_p{p}_ms": _percentile(ttft, p) for p in (50, 90, 99)},
        **{f"tpot_p{p}_ms": _percentile(long, p) for p in (50, 90)},
        "goodput_per_s": float(good.sum()) / duration_s,
        "output_per_s": output_tokens / duration_s,
        "duration_s": duration_s,
        "busy_percent": 100.0 * busy,
        "preemptions": run.preemptions,
        "peak_running": run.peak_running,
        "rejected": int((~done).sum()),
        "cache_gib": design["workers"] * deployed.max_tokens * deployed.kv_bytes / 2**30,
        "joules_per_mtoken": joules / mtokens,
        "usd_per_hour": per_hour,
        "usd_per_mtoken": per_hour * duration_s / 3600.0 / mtokens,
    }
    names = (f"{tier.name}_moved_gb" for tier in TIERS)
    return found | dict(zip(names, moved.tolist(), strict=True))


def _percentile(values: Any, percent: int) -> float:
    return float(np.percentile(values, percent)) if len(values) else 0.0


def saved_prefill_s(made: StreamBlocks, run: Run, deployed: Deployment) -> float:
    """Return the time that prompts alone would have taken without their hits [s]."""
    from archgym.simulators.moe.machine.step_time import step_contents

    cached = np.minimum((run.hits + run.loaded) * made.block, made.stream.arrivals.prompt - 1)
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
