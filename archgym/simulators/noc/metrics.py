"""Metrics of networks: latency, throughput, hops, energy, area and fairness, and objectives."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from archgym.simulators.kit import Goal, Limit, MetricSpec, Objective, Term
from archgym.simulators.noc.energy import CLOCK_HZ, LEAKAGE
from archgym.simulators.noc.runs import Run

AREA_LIMIT_MM2: Final = 2.0
"""chosen: half above the default design."""
_ROWS: Final[tuple[tuple[str, str, Goal, float, str], ...]] = (
    (
        "mean_latency_ns", "ns", "minimise", 0.01,
        "From creation of a packet to its last flit's arrival, waiting in the node included.",
    ),
    ("p99_latency_ns", "ns", "minimise", 0.1, "99th percentile of the latency of packets."),
    ("total_time_ns", "ns", "minimise", 0.1, "Until the last packet arrives, drain included."),
    ("throughput_gb_per_s", "GB/s", "maximise", 1e-3, "Bytes that arrive at all nodes."),
    ("energy_pj_per_bit", "pJ/bit", "minimise", 1e-4, "Energy of the network over bits arrived."),
    ("power_mw", "mW", "minimise", 1e-3, "Mean power of routers and channels."),
    ("area_mm2", "mm2", "minimise", 1e-6, "Area of routers and repeaters of channels."),
    ("network_latency_ns", "ns", "none", 0.01, "Mean latency without waiting in the node."),
    ("mean_hops", "routers", "none", 1e-3, "Routers that a packet passes."),
    ("busiest_channel_percent", "%", "none", 0.01, "Cycles in which the busiest link sends."),
    ("imbalance", "x", "none", 1e-3, "Flits over the busiest link, over the mean of links."),
    (
        "fairness", "", "none", 1e-4,
        "Jain's index of the mean latencies of source nodes; 1 where all are equal.",
    ),
    ("blocked_percent", "%", "none", 0.01, "Requests that allocators turned down."),
)  # fmt: skip
METRICS: Final = tuple(MetricSpec(*row) for row in _ROWS)
SATURATION: Final = MetricSpec(
    "saturation_gb_per_s", "GB/s", "maximise", 1e-2,
    "Largest load of all nodes at which the mean latency is at most twice that of an idle network.",
)  # fmt: skip
_LATENCY: Final = Term("mean_latency_ns", "minimise")
_LIMITS: Final = (Limit("area_mm2", "<=", AREA_LIMIT_MM2),)
_OBJECTIVES: Final = (
    Objective("low-latency", (_LATENCY,), f"Latency within {AREA_LIMIT_MM2:g} mm2.", _LIMITS),
    Objective(
        "latency-and-energy",
        (_LATENCY, Term("energy_pj_per_bit", "minimise")),
        f"Latency and energy of a bit within {AREA_LIMIT_MM2:g} mm2.",
        _LIMITS,
    ),
    Objective(
        "latency-and-area", (_LATENCY, Term("area_mm2", "minimise")), "Latency against area."
    ),
    Objective("quick-end", (Term("total_time_ns", "minimise"),), "Time of a list of packets."),
)
OBJECTIVES: Final[Mapping[str, Objective]] = {o.name: o for o in _OBJECTIVES}


def measure(
    run: Run, bits: int, payload_bits: int, words: int, clock_ghz: float, is_sampled: bool
) -> np.ndarray:
    """Return the metrics of a run that is over, by `METRICS`.

    Args:
      run: The run.
      bits: Width of a channel, which costs area and energy [bit].
      payload_bits: Bits that a flit carries; more than the width on an ideal machine alone.
      words: Flits of an input port, which cost area and energy.
      clock_ghz: Clock of the network [GHz].
      is_sampled: True if only packets that were recorded count.
    """
    result = run.result("ok")
    every = result.packets[result.packets["tail_at"] >= 0]
    p = every[every["is_recorded"] > 0] if is_sampled else every
    latency = np.sort(p["tail_at"] - p["created"])
    ns = 1.0 / clock_ghz
    cycles = run.time
    arrived_bits = float(result.totals["flits"]) * payload_bits
    power_w, area = power_and_area(run, bits, words, clock_ghz)
    links = run.arrays["ports"][: run.n_ports]
    sent = links["sent"][(links["target"] < run.n_ports) & (links["latency"] > 0)]
    turned = [result.totals[name] for name in ("busy", "conflict", "full", "reserved", "crossbar")]
    asked = sum(turned) + int(links["sent"].sum())
    counts = np.bincount(p["source"])
    sums = np.bincount(p["source"], p["tail_at"] - p["created"])
    means = sums[counts > 0] / counts[counts > 0]
    busiest = float(sent.max()) if len(sent) else 0.0
    found: list[Any] = [
        latency.mean() * ns,
        latency[99 * (len(latency) - 1) // 100] * ns,
        cycles * ns,
        arrived_bits / 8.0 / (cycles * ns),
        power_w * cycles * ns * 1e-9 * 1e12 / arrived_bits,
        1e3 * power_w,
        area,
        (p["tail_at"] - p["injected"]).mean() * ns,
        p["hops"].mean(),
        100.0 * busiest / cycles,
        busiest / sent.mean() if busiest else 1.0,
        means.sum() ** 2 / (len(means) * (means**2).sum()),
        100.0 * sum(turned) / asked,
    ]
    return np.array(found, dtype=np.float64)


def power_and_area(run: Run, bits: int, words: int, clock_ghz: float) -> tuple[float, float]:
    """Return mean power at a clock [W], and area [mm2].

    The model's powers are at `CLOCK_HZ`; leakage does not scale with the clock, the rest does.
    """
    parts = run.powers(bits, words)
    leakage = sum(parts[name] for name in LEAKAGE)
    moving = parts["total_power"] - leakage
    return moving * clock_ghz * 1e9 / CLOCK_HZ + leakage, parts["total_area"]
