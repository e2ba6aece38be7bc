"""Metrics and objectives of the MoE serving simulator, and the energy of a run."""

from collections.abc import Mapping
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit import Goal, Limit, MetricSpec, Objective, P, Term
from archgym.simulators.moe.kernel.run import Run
from archgym.simulators.moe.machine.hardware import NodePreset
from archgym.simulators.moe.machine.serving import Serving
from archgym.simulators.moe.workloads.models import MoeModel
from archgym.simulators.moe.workloads.workload import Promise

_J_PER_PJ: Final = 1e-12
# chosen: what an H100 draws between kernels [W], and a server's processors at low load [W]; the
# cost of ownership has the power of the whole server.
IDLE_W, HOST_W = 80.0, 150.0
# A byte of the accelerator's memory [pJ]: 3.9 pJ a bit, O'Connor et al., *Fine-Grained DRAM*, MICRO
# 2017, for HBM2.
_MEMORY_PJ: Final = 31.2
# chosen: a byte over a host link or network, 10 pJ a bit, between a SerDes' 5.5 and 24 with a
# transceiver (`cluster/metrics.py`); of the host's memory, 15 pJ a bit, DDR
# with its interface; of a drive, 6 W at 7 GB/s [pJ].
_LINK_PJ, _HOST_PJ, _DRIVE_PJ = 80.0, 120.0, 860.0
# chosen: an operation of 16 bits, a third of an H100's 700 W over its peak [pJ].
_FLOP_PJ: Final = 0.24


def joules(
    *,
    elapsed_ns: float,
    n_gpus: int,
    memory_bytes: float,
    link_bytes: float,
    host_bytes: float,
    drive_bytes: float,
    flops: float,
) -> float:
    """Return energy of everything that is on and moves [J]; not calibrated by any measurement.

    Each number is a figure from public sources, to compare designs with and no more: what moves
    and computes costs energy by the byte and by the operation, and whatever is switched on costs
    power all the time. What else an accelerator draws while its kernels run is missing, the larger
    part: see `UNDERSTATED`.
    """
    standing = (IDLE_W * n_gpus + HOST_W) * elapsed_ns / _NS_PER_S
    work_pj = (
        _MEMORY_PJ * memory_bytes
        + _LINK_PJ * link_bytes
        + _HOST_PJ * host_bytes
        + _DRIVE_PJ * drive_bytes
        + _FLOP_PJ * flops
    )
    return standing + work_pj * _J_PER_PJ


UNDERSTATED: Final = (
    "nine measured runs of gpt-oss-120b on H100 drew 1.5 to 2.7 times as much on average, idle "
    "time included, and 2.9 to 4.4 times as much at their peaks"
)
"""Error of the power of accelerators; `python -m evidence.moe.power FOLDER` prints it by run."""
_NS_PER_MS: Final = 1e6
_NS_PER_S: Final = 1e9
_GB: Final = 1e9
# chosen: weights of 4 bits lose little; with fewer, results are no longer the model's.
_FULL_BITS: Final = 4


_time = partial(MetricSpec, unit="ms", goal="minimise", resolution=1e-3)
_rate = partial(MetricSpec, goal="maximise")
_GOOD: Final = "Requests served as promised"
_DEGRADED: Final = "Uses of experts that had fewer than 4 bits or were skipped."


def _times(name: str, what: str, tied: str = "") -> tuple[MetricSpec, ...]:
    ends = {f"p{share}": f"of {share} % at most" for share in (50, 90, 99)}
    texts = {"mean": "mean over requests", **ends}
    return tuple(
        _time(f"{name}_{n}_ms", doc=f"{what}, {of}.", tied=tied) for n, of in texts.items()
    )


def _share(name: str, goal: Goal, resolution: float, doc: str) -> MetricSpec:
    return MetricSpec(name, "%", goal, resolution, doc, highest=100.0)


def _explaining(name: str, unit: str, resolution: float, doc: str) -> MetricSpec:
    """Return a metric without a goal that is part of a task's identity."""
    return MetricSpec(name, unit, "none", resolution, doc, identifies=True)


METRICS: Final = (
    *_times("ttft", "Time from arrival to the first token"),
    *_times("tpot", "Time for each further token"),
    # Most of it is further tokens, and its own error was not measured.
    *_times("e2e", "Time from arrival to the last token", "tpot_mean_ms"),
    _time("total_time_ms", doc="Until the last request is served.", tied="-output_per_s"),
    _rate("output_per_s", "tokens/s", resolution=1e-3, doc="Output tokens over the total time."),
    _rate("input_per_s", "tokens/s", resolution=1e-3, doc="Prompt tokens over the total time."),
    _rate("goodput_per_s", "requests/s", resolution=1e-4, doc=f"{_GOOD} over the total time."),
    _share("promised_percent", "maximise", 0.1, "Requests that were served as promised."),
    MetricSpec("memory_gb", "GB", "minimise", 1e-2, "Most that an accelerator's memory held."),
    MetricSpec("n_gpus", "", "minimise", 0.1, "Accelerators that served.", exact=True),
    MetricSpec(
        "energy_per_token_mj", "mJ", "minimise", 1e-2, "Per output token; too low, not calibrated."
    ),
    _share("degraded_percent", "minimise", 0.1, _DEGRADED),
    _share("hit_rate_percent", "maximise", 1e-2, "Experts that were there when asked for."),
    _explaining("worst_layer_hit_rate_percent", "%", 1e-2, "Of the layer with the fewest."),
    _explaining("distinct_experts", "", 1e-2, "Distinct experts of a layer in a step."),
    _explaining("demand_gb", "GB", 1e-3, "Loaded over the host link when asked for."),
    _explaining("prefetch_gb", "GB", 1e-3, "Loaded over the host link ahead."),
    _explaining("useful_prefetch_gb", "GB", 1e-3, "Of that, what was used."),
    _explaining("wasted_prefetch_gb", "GB", 1e-3, "Of that, what was not."),
    _explaining("drive_gb", "GB", 1e-3, "Read from the drive."),
    _explaining("to_host_gb", "GB", 1e-6, "Moved back to the host, for its processor."),
    _explaining("stall_load_ms", "ms", 1e-3, "Layers waited for loads when asked for."),
    _explaining("stall_drive_ms", "ms", 1e-3, "They waited for the drive."),
    _explaining("stall_cpu_ms", "ms", 1e-3, "They waited for the host's processor."),
    _explaining("stall_prefetch_ms", "ms", 1e-3, "Demanded loads waited behind prefetches."),
    _explaining("stall_places_ms", "ms", 1e-3, "Loads waited for a free buffer."),
    _explaining("communication_ms", "ms", 1e-3, "Exchange that computing did not hide."),
    _explaining("balance_percent", "%", 1e-2, "Mean over largest load of the accelerators."),
    _explaining("batch_mean", "requests", 1e-2, "Requests of a step, on average."),
    # What explains alone is no part of a task's identity.
    *(
        MetricSpec(f"ttft_{part}_ms", "ms", "none", 1e-3, f"Of the mean TTFT: {doc}.")
        for part, doc in (
            ("server", "server, tokenizer and client"),
            ("queue", "waiting for steps, a place and memory"),
            ("prefill", "steps that read the prompt, and what lies between them"),
        )
    ),
    *(
        MetricSpec(name, unit, "none", resolution, doc, formula=formula)
        for name, unit, resolution, doc, formula in (
            (
                "watts",
                "W",
                1e-2,
                "Power of accelerators and host; too low, not calibrated.",
                P("energy_per_token_mj") * P("output_per_s") / 1000.0,
            ),
            (
                "tokens_per_joule",
                "tokens/J",
                1e-6,
                "Output tokens; too high, not calibrated.",
                1000.0 / P("energy_per_token_mj"),
            ),
        )
    ),
)

_TPOT: Final = Term("tpot_mean_ms", "minimise")
# Each routed expert computes, with weights of at least `_FULL_BITS`: the model's own results.
INTACT: Final = (Limit("degraded_percent", "<=", 0.0),)
# chosen: a token in 100 ms is faster than people read; one expert in twenty may be degraded.
_READABLE: Final = (Limit("tpot_mean_ms", "<=", 100.0), Limit("degraded_percent", "<=", 5.0))
OBJECTIVES: Final[Mapping[str, Objective]] = {
    objective.name: objective
    for objective in (
        Objective(
            "latency", (_TPOT,), "Least time per token, with the model's results intact.", INTACT
        ),
        Objective(
            "throughput-as-promised",
            (Term("goodput_per_s", "maximise"),),
            "Most requests a second that are served as promised, results intact.",
            INTACT,
        ),
        Objective(
            "throughput-per-gpu",
            (Term("output_per_s", "maximise"), Term("n_gpus", "minimise")),
            "Most tokens a second for each accelerator, results intact.",
            INTACT,
        ),
        Objective(
            "memory-under-latency",
            (Term("memory_gb", "minimise"),),
            "Least memory with at most 100 ms a token and 5 % degraded.",
            _READABLE,
        ),
        Objective(
            "balanced",
            (
                _TPOT,
                Term("ttft_mean_ms", "minimise"),
                Term("memory_gb", "minimise"),
                Term("energy_per_token_mj", "minimise"),
            ),
            "Both latencies, memory and energy alike, results intact.",
            INTACT,
        ),
    )
}


def rent_metrics(usd_per_hour: float) -> tuple[MetricSpec, ...]:
    """Return dollars for a million tokens: all rent over prompts alone, outputs alone, and both.

    Args:
      usd_per_hour: Rent of an accelerator [$/h].
    """
    second = P("n_gpus") * (usd_per_hour / 3600.0 * 1e6)
    return tuple(
        MetricSpec(
            f"usd_per_mtoken{end}", "$", "none", 1e-6,
            f"Rent for a million {what}, at ${usd_per_hour:g} an accelerator and hour.",
            formula=second / rate,
        )
        for end, what, rate in (
            ("", "tokens, prompts and outputs together", P("output_per_s") + P("input_per_s")),
            ("_input", "prompt tokens, outputs free", P("input_per_s")),
            ("_output", "output tokens, prompts free", P("output_per_s")),
        )
    )  # fmt: skip


def measure(
    run: Run, model: MoeModel, node: NodePreset, serving: Serving, promise: Promise
) -> npt.NDArray[np.float64]:
    """Return the metrics of a run, (n_metrics,) by `METRICS`."""
    c = run.counters
    elapsed_s = c["elapsed_ns"] / _NS_PER_S
    n_output = float(run.output_tokens.sum())
    good = _promised(run, promise)
    values = {
        "total_time_ms": c["elapsed_ns"] / _NS_PER_MS,
        "output_per_s": n_output / elapsed_s,
        "input_per_s": float(run.prompt_tokens.sum()) / elapsed_s,
        "goodput_per_s": good.sum() / elapsed_s,
        "promised_percent": 100.0 * good.mean(),
        "memory_gb": _memory_bytes(run, serving) / _GB,
        "n_gpus": float(serving.all_gpus),
        "energy_per_token_mj": 1e3 * _joules(run, model, node, serving) / n_output,
        "batch_mean": c["n_batch_sum"] / c["n_steps"],
    }
    for name, times in (("ttft", run.ttft_ns), ("tpot", run.tpot_ns), ("e2e", run.e2e_ns)):
        # Where no request has a further token, the time of the only one counts.
        shown = times if len(times) else run.ttft_ns
        values[f"{name}_mean_ms"] = float(shown.mean()) / _NS_PER_MS
        for share, time in zip((50, 90, 99), np.percentile(shown, (50, 90, 99)), strict=True):
            values[f"{name}_p{share}_ms"] = float(time) / _NS_PER_MS
    counted = slice(run.counted_from, None)
    waited_ns = float((run.started_ns - run.arrival_ns)[counted].mean()) - run.server_ns
    values |= {
        "ttft_server_ms": run.server_ns / _NS_PER_MS,
        # Smaller is rounding: clocks of hours have steps of 1e-3 ns. Adding 0 removes a sign.
        "ttft_queue_ms": round(waited_ns, 2) / _NS_PER_MS + 0.0,
        "ttft_prefill_ms": float((run.first_ns - run.started_ns)[counted].mean()) / _NS_PER_MS,
    }
    values |= _of_experts(run, serving) | _of_links(run, model, serving)
    return np.array([values[spec.name] for spec in METRICS if spec.formula is None])


def _promised(run: Run, promise: Promise) -> npt.NDArray[np.bool_]:
    """Return True for requests that were served as promised."""
    further = np.maximum(1, run.output_tokens - 1)
    tpot = ((run.finish_ns - run.first_ns) / further)[run.counted_from :]
    return np.asarray(
        (run.ttft_ns <= promise.ttft_ms * _NS_PER_MS) & (tpot <= promise.tpot_ms * _NS_PER_MS)
    )


def _of_experts(run: Run, serving: Serving) -> dict[str, float]:
    c = run.counters
    asked = run.layer_accesses > 0
    rates = run.layer_hits[asked] / run.layer_accesses[asked]
    degraded = c["n_degraded"] / max(1.0, c["n_routed"])
    return {
        "degraded_percent": 100.0 * (1.0 if serving.expert_bits < _FULL_BITS else degraded),
        # Where all layers are skipped, nothing is missed.
        "hit_rate_percent": 100.0 * c["n_hits"] / c["n_accesses"] if c["n_accesses"] else 100.0,
        "worst_layer_hit_rate_percent": 100.0 * float(rates.min()) if len(rates) else 100.0,
        "distinct_experts": c["n_distinct"] / max(1.0, c["n_events"]),
        "balance_percent": 100.0 * c["load_sum"] / c["load_max"] if c["load_max"] else 100.0,
    }


def _of_links(run: Run, model: MoeModel, serving: Serving) -> dict[str, float]:
    c = run.counters
    size = run.plan.expert_bytes / _GB
    low = model.expert_bytes(serving.low_bits) / _GB
    ahead = size * (c["n_prefetch"] - c["prefetch_cut"])
    useful = size * c["n_useful"]
    return {
        "demand_gb": size * c["n_demand"] + low * c["n_demand_low"],
        "prefetch_gb": ahead,
        "useful_prefetch_gb": useful,
        "wasted_prefetch_gb": max(0.0, ahead - useful),
        "drive_gb": size * c["n_ssd"],
        "to_host_gb": 2.0 * model.hidden * c["to_host_tokens"] / _GB,
        "stall_load_ms": c["stall_load_ns"] / _NS_PER_MS,
        "stall_drive_ms": c["stall_ssd_ns"] / _NS_PER_MS,
        "stall_cpu_ms": c["stall_cpu_ns"] / _NS_PER_MS,
        "stall_prefetch_ms": c["stall_prefetch_ns"] / _NS_PER_MS,
        "stall_places_ms": c["stall_places_ns"] / _NS_PER_MS,
        "communication_ms": c["communication_ns"] / _NS_PER_MS,
    }


def _memory_bytes(run: Run, serving: Serving) -> float:
    """Return the bytes of weights, buffers, a step, and the most keys and values held."""
    held = run.counters["peak_context"] / serving.data * run.plan.kv_bytes
    return run.plan.weight_bytes + held


def loaded_bytes(run: Run, model: MoeModel, serving: Serving) -> float:
    """Return bytes of experts that came over the host link, on demand, ahead and in few bits."""
    c = run.counters
    whole = c["n_demand"] + c["n_prefetch"] - c["prefetch_cut"]
    low = model.expert_bytes(serving.low_bits) if c["n_demand_low"] else 0.0
    return float(whole * run.plan.expert_bytes + c["n_demand_low"] * low)


def _joules(run: Run, model: MoeModel, node: NodePreset, serving: Serving) -> float:
    c = run.counters
    size = run.plan.expert_bytes
    others = model.other_bytes(serving.attention_bits, serving.expert_bits) * serving.data
    kv = model.kv_bytes_per_token(serving.kv_bits)
    loaded = loaded_bytes(run, model, serving)
    exchanged_ns = c["inter_busy_ns"] * serving.n_gpus
    network = node.network.gb_per_s if node.network is not None else 0.0
    return joules(
        elapsed_ns=c["elapsed_ns"],
        n_gpus=serving.all_gpus,
        memory_bytes=c["n_steps"] * others + c["n_hits"] * size + c["context_read"] * kv,
        link_bytes=loaded + exchanged_ns * network,
        host_bytes=loaded + c["n_cpu"] * size,
        drive_bytes=c["n_ssd"] * size,
        flops=2.0 * model.active_parameters * c["n_tokens"],
    )
