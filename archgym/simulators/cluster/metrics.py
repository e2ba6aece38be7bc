"""Metrics of a training iteration, and what designs are searched for."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from archgym.physics.economics import SERVER_SHARE
from archgym.simulators.cluster.machine.design import Built
from archgym.simulators.cluster.runs import Result
from archgym.simulators.cluster.workloads import Model
from archgym.simulators.kit import Limit, MetricSpec, Objective, P, Term

_BANDWIDTH: Final = "Links x bandwidth of an NPU, all dimensions."
_NS_PER_MS: Final = 1e6
_NS_PER_S: Final = 1e9
_MAX_SHOWN: Final = 4  # dimensions with metrics of their own

_TIED: Final = {
    **dict.fromkeys(("tokens_per_s", "mfu_percent"), "-time_ms"),
    "memory_percent": "memory_gb", "energy_kj": "power_kw * time_ms",
}  # fmt: skip
_SPECS: Final = (
    MetricSpec("time_ms", "ms", "minimise", 1e-6, "Time of an iteration, the last NPU's."),
    MetricSpec("tokens_per_s", "tokens/s", "maximise", 1e-3, "Tokens or samples a second."),
    MetricSpec(
        "mfu_percent", "%", "maximise", 1e-3, "Model flops utilisation of the peak.", highest=100.0
    ),
    MetricSpec("memory_gb", "GB", "minimise", 1e-3, "Memory that an NPU needs."),
    MetricSpec("memory_percent", "%", "minimise", 1e-2, "The same over what an NPU has."),
    MetricSpec("dollars", "$", "minimise", 1.0, "Price of NPUs and network.", exact=True),
    MetricSpec("network_dollars", "$", "minimise", 1.0, "Price of the network.", exact=True),
    MetricSpec("power_kw", "kW", "minimise", 1e-3, "Thermal design power of all NPUs."),
    MetricSpec("energy_kj", "kJ", "minimise", 1e-6, "The same over an iteration; an upper bound."),
    MetricSpec("bandwidth_gb_per_s", "GB/s", "minimise", 1e-3, _BANDWIDTH, exact=True),
    MetricSpec("compute_ms", "ms", "none", 1e-6, "Computing, of the NPU with most."),
    MetricSpec("exposed_tensor_ms", "ms", "none", 1e-6, "Tensor exchange not hidden, mean."),
    MetricSpec("exposed_expert_ms", "ms", "none", 1e-6, "Expert exchange not hidden, mean."),
    MetricSpec("exposed_data_ms", "ms", "none", 1e-6, "Data exchange not hidden, mean."),
    MetricSpec("exposed_pipeline_ms", "ms", "none", 1e-6, "Sends between stages not hidden, mean."),
    MetricSpec("bubble_ms", "ms", "none", 1e-6, "Waiting for another stage, mean."),
    MetricSpec("bubble_percent", "%", "none", 1e-4, "The same over the iteration."),
    *(
        MetricSpec(f"sent_{d}_gb", "GB", "none", 1e-6, f"Sent by an NPU in dimension {d}, mean.")
        for d in range(_MAX_SHOWN)
    ),
    *(
        MetricSpec(
            f"use_{d}_percent", "%", "none", 1e-4, f"Time that links of dimension {d} carry, mean."
        )
        for d in range(_MAX_SHOWN)
    ),
)

METRICS: Final = tuple(replace(spec, tied=_TIED.get(spec.name, "")) for spec in _SPECS)

# A model must fit; a budget in dollars or kW is a limit of a task.
PHYSICAL_LIMITS: Final = (Limit("memory_percent", "<=", 100.0),)


def _within(name: str, doc: str, *terms: Term) -> Objective:
    return Objective(name, terms, doc, PHYSICAL_LIMITS)


OBJECTIVES: Final[Mapping[str, Objective]] = {
    objective.name: objective
    for objective in (
        _within(
            "throughput", "Most tokens a second, within memory.", Term("tokens_per_s", "maximise")
        ),
        _within(
            "throughput-per-dollar",
            "Most tokens a second and dollar, within memory.",
            Term("tokens_per_s", "maximise"),
            Term("dollars", "minimise"),
        ),
        _within(
            "time-cost",
            "Least time x price of the network, within memory; as in COSMIC.",
            Term("time_ms", "minimise"),
            Term("network_dollars", "minimise"),
        ),
        _within("mfu", "Highest utilisation, within memory.", Term("mfu_percent", "maximise")),
        _within("latency", "Least time, as in COSMIC.", Term("time_ms", "minimise")),
        _within(
            "time-bandwidth",
            "Least time x bandwidth of an NPU, as in COSMIC.",
            Term("time_ms", "minimise"),
            Term("bandwidth_gb_per_s", "minimise"),
        ),
    )
}

# Links of an NPU by topology, as COSMIC counts them.
# Energy of a bit on a link [pJ], by tier: UCIe at up to 16 GT/s on standard packages (0.25 on
# advanced ones; D. Das Sharma, Hot Interconnects 2025); NVLink-C2C (Y. Wei et al., ISSCC 2023, 9.3)
# and the SerDes of 112 Gb/s that NVIDIA compares it with; between nodes also a pluggable
# transceiver of 30 W for 1.6 Tb/s (NVIDIA, GTC 2025; TechInsights, July 2025).
_LINK_PJ: Final = {"chiplet": 0.5, "package": 1.3, "node": 5.5, "pod": 5.5 + 18.75}
NETWORK_POWER: Final = MetricSpec(
    "network_kw", "kW", "none", 1e-3, "Power of links at full bandwidth, whatever they carry."
)
SERVER_POWER: Final = MetricSpec(
    "server_kw", "kW", "none", 1e-3, "Power of servers beyond their NPUs.",
    P("power_kw") * SERVER_SHARE,
)  # fmt: skip
_LINKS: Final = {"Ring": 2, "Switch": 1}


def network_kw(built: Built) -> float:
    """Return the power of the links that NPUs send on [kW]; those of switches are not counted."""
    watts = sum(
        8e-3 * d.gb_per_s * _LINKS.get(d.topology, d.npus - 1) * _LINK_PJ[d.tier]
        for d in built.dimensions
        if d.npus > 1
    )
    return built.system.n_npus * watts / 1e3


def measure(result: Result, model: Model) -> npt.NDArray[np.float64]:
    """Return the metrics of a run, (n_metrics,) by `METRICS`."""
    built, outcome = result.built, result.outcome
    p, n = built.parallelism, built.system.n_npus
    time_ns = float(outcome.finish_ns.max())
    seconds = time_ns / _NS_PER_S
    samples = p.global_batch
    npu = built.npu
    done = 3.0 * model.flops * samples
    exposed = outcome.exposed_ns.mean(axis=0) / _NS_PER_MS
    bubble = float(outcome.bubble_ns.mean())
    watts = n * npu.watts
    values = {
        "time_ms": time_ns / _NS_PER_MS,
        "tokens_per_s": samples * model.tokens / seconds,
        "mfu_percent": 100.0 * done / (seconds * n * npu.peak_tflops * 1e12),
        "memory_gb": result.memory_bytes / 1e9,
        "memory_percent": 100.0 * result.memory_bytes / 1e9 / npu.memory_gb,
        "dollars": n * npu.dollars + built.network_dollars,
        "network_dollars": built.network_dollars,
        "power_kw": watts / 1e3,
        "energy_kj": watts * seconds / 1e3,
        "bandwidth_gb_per_s": sum(
            d.gb_per_s * _LINKS.get(d.topology, d.npus - 1) for d in built.dimensions if d.npus > 1
        ),
        "compute_ms": float(outcome.compute_ns.max()) / _NS_PER_MS,
        "exposed_tensor_ms": exposed[0],
        "exposed_expert_ms": exposed[1],
        "exposed_data_ms": exposed[2],
        "exposed_pipeline_ms": exposed[3],
        "bubble_ms": bubble / _NS_PER_MS,
        "bubble_percent": 100.0 * bubble / time_ns,
    }
    for d in range(_MAX_SHOWN):
        values[f"sent_{d}_gb"] = values[f"use_{d}_percent"] = 0.0
        if d not in built.places:
            continue
        dimension = built.dimensions[d]
        parts = [at for at, place in enumerate(built.places) if place == d]
        sent = float(outcome.sent_bytes[parts].sum()) / result.n_simulated
        # A switch has a link up from each NPU and one down to it.
        links = max(1, dimension.npus - 1) if dimension.topology == "FullyConnected" else 2
        busy = float(outcome.busy_ns[parts].sum()) / (result.n_simulated * links)
        values[f"sent_{d}_gb"] = sent / 1e9
        values[f"use_{d}_percent"] = 100.0 * busy / time_ns
    return np.array([values[spec.name] for spec in METRICS])
