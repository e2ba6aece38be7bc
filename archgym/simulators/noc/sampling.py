"""Runs in which nodes make their own traffic: warm-up, measurement, and drain, as BookSim does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from archgym.simulators.kit import InvalidArgumentError
from archgym.simulators.noc import state as st
from archgym.simulators.noc.machine import Network
from archgym.simulators.noc.runs import Packets, Result, Run
from archgym.simulators.noc.state import Generator, Ints

PATTERNS: Final = (
    "uniform", "bitcomp", "bitrev", "transpose", "shuffle", "neighbor", "tornado",
)  # fmt: skip
_STABLE: Final = 3
_THRESHOLD: Final = 0.05
"""BookSim's `stopping_thres`, `acc_stopping_thres`: change of a sample that counts as none."""
_CHECK: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Load:
    """Traffic that nodes make, and how long it is measured.

    Attributes:
      pattern: One of `PATTERNS`.
      packet_size: Sizes of packets, drawn with equal weights [flits].
      injection_rate: Packets of a node in a cycle, or flits.
      in_flits: True if the rate counts flits.
      sample_period: Cycles of a sample.
      warmup_periods: Samples before the first that counts.
      max_samples: Samples at most.
      latency_thres: Mean latency above which a network counts as unstable [cycles].
    """

    pattern: str = "uniform"
    packet_size: tuple[int, ...] = (1,)
    injection_rate: float = 0.1
    in_flits: bool = True
    sample_period: int = 1000
    warmup_periods: int = 3
    max_samples: int = 10
    latency_thres: float = 500.0


def targets(pattern: str, nodes: int, k: int, n: int) -> Ints:
    """Return the destination of each node; empty where it is drawn.

    Args:
      pattern: One of `PATTERNS`.
      nodes: Number of nodes.
      k: Radix of coordinates.
      n: Dimensions.

    Raises:
      InvalidArgumentError: The pattern needs another number of nodes.
    """
    node = np.arange(nodes, dtype=np.int64)
    bits = nodes.bit_length() - 1
    if pattern not in PATTERNS:
        raise InvalidArgumentError(f"`pattern` must be one of {PATTERNS}; got {pattern!r}.")
    if pattern in ("bitcomp", "bitrev", "transpose", "shuffle") and nodes != 1 << bits:
        raise InvalidArgumentError(f"`{pattern}` needs a power of two of nodes; got {nodes}.")
    if pattern == "bitcomp":
        return nodes - 1 - node
    if pattern == "bitrev":
        return sum(((node >> b & 1) << (bits - 1 - b) for b in range(bits)), 0 * node)
    if pattern == "transpose":
        if bits % 2:
            raise InvalidArgumentError(f"`transpose` needs a power of four of nodes; got {nodes}.")
        half = bits // 2
        return node >> half | (node & ((1 << half) - 1)) << half
    if pattern == "shuffle":
        return (node << 1 | node >> max(0, bits - 1)) & (nodes - 1)
    if pattern in ("neighbor", "tornado"):
        step = 1 if pattern == "neighbor" else (k + 1) // 2 - 1
        found: Ints = sum(((node // k**d + step) % k * k**d for d in range(n)), 0 * node)
        if found.max() >= nodes:
            raise InvalidArgumentError(
                f"`{pattern}` needs nodes with {n} coordinates of {k}; there are {nodes} nodes."
            )
        return found
    return node[:0]


def measured(network: Network, load: Load) -> tuple[Mapping[str, Any], Run]:
    """Return BookSim's statistics of a network under a load, and the run that is over.

    Args:
      network: The network; its `seed` is that of the traffic.
      load: The traffic, and how long it is measured.
    """
    if any(size < 1 for size in load.packet_size) or not load.packet_size:
        raise InvalidArgumentError("`packet_size` must list numbers of flits from 1 on.")
    mean = sum(load.packet_size) / len(load.packet_size)
    rate = load.injection_rate / mean if load.in_flits else load.injection_rate
    fixed = targets(load.pattern, network.nodes, network.node_radix, network.n)
    generator = Generator(rate, np.array(load.packet_size, dtype=np.int64), fixed)
    run = Run(network, Packets.of([], [], [], []), generator=generator)
    totals = run.arrays["totals"]
    nodes, period = network.nodes, load.sample_period
    # `start` is when statistics were last cleared; those of warm-up count all packets.
    start, counts_all, warm, stable, is_unstable = 0, True, True, 0, False
    latency = accepted = 0.0
    # Flits that had arrived and were sent before the last clear.
    base = _counts(run)
    for sample in range(load.max_samples):
        if sample == 0 or (warm and sample % 2 == 0) or (not warm and counts_all):
            base, start, counts_all = _counts(run), run.time, warm
        run.advance(st.UNTIL_TIME, run.time + period)
        result = run.result("paused")
        lat = _latencies(result, start, counts_all)
        now = lat.mean() if len(lat) else 0.0
        flow = float((_counts(run)[0] - base[0]).sum() / (run.time - start) / nodes)
        change = abs(now - latency) / now if now else np.inf
        flow_change = abs(flow - accepted) / flow if flow else np.inf
        latency, accepted = now, flow
        if _is_too_slow(result, lat, run.time, load.latency_thres):
            is_unstable = True
            break
        if warm:
            if sample + 1 >= load.warmup_periods:
                warm = False
                totals["is_recording"] = 1
        else:
            stable = stable + 1 if change <= _THRESHOLD and flow_change <= _THRESHOLD else 0
            if stable >= _STABLE:
                break
    else:
        is_unstable = warm
    drain = run.time
    arrived, sent = (after - before for after, before in zip(_counts(run), base, strict=True))
    cycles = drain - start
    if not is_unstable:
        totals["is_recording"], totals["drain_time"] = 0, drain
        while True:
            before = run.time
            run.advance(st.UNTIL_DRAINED, before + _CHECK)
            if run.time < before + _CHECK:
                break
            result = run.result("paused")
            lat = _latencies(result, start, counts_all)
            if _is_too_slow(result, lat, run.time, load.latency_thres):
                is_unstable = True
                break
    run.rules["generate"], run.rules["deadlock"] = 0, 2**60
    if not is_unstable:
        run.advance(st.UNTIL_EMPTY)
        run.advance(st.UNTIL_QUIET)
    result = run.result("unstable" if is_unstable else "ok")
    found: dict[str, Any] = {
        "status": result.status, "cycles": run.time, "packets": result.totals["arrived"],
        "flits": result.totals["flits"],
    }  # fmt: skip
    if is_unstable:
        return found, run
    p = result.packets[result.packets["is_recorded"] > 0]
    total, inside = p["tail_at"] - p["created"], p["tail_at"] - p["injected"]
    spread = p["tail_at"] - p["head_at"] - (p["size"] - 1)
    made = result.totals["made_flits"]
    at, since = result.arrived_at[:made], result.sent_at[:made]
    flat = (at - since)[at >= start]
    found |= {
        "drain_time": drain, "reset_time": start, "measured": len(p),
        "plat_avg": total.mean(), "plat_min": total.min(), "plat_max": total.max(),
        "nlat_avg": inside.mean(), "nlat_min": inside.min(), "nlat_max": inside.max(),
        "flat_avg": flat.mean(), "flat_max": flat.max(), "frag_avg": spread.mean(),
        "frag_max": spread.max(), "hops_avg": p["hops"].mean(),
        "sent_avg": sent.sum() / cycles / nodes, "accepted_avg": arrived.sum() / cycles / nodes,
        "accepted_min": arrived.min() / cycles, "accepted_max": arrived.max() / cycles,
        "plat_p99": np.sort(total)[99 * (len(total) - 1) // 100],
    }  # fmt: skip
    return found, run


def _counts(run: Run) -> tuple[Ints, Ints]:
    """Return flits that arrived at each node, and that it sent, so far."""
    result = run.result("paused")
    p, made = result.packets, result.totals["made_flits"]
    nodes = len(run.wiring.node_router)
    flits = np.repeat(p["target"], p["size"])
    here = result.arrived_at[:made] >= 0
    return np.bincount(flits[here], minlength=nodes), result.sent[run.n_ports :].copy()


def _latencies(result: Result, start: int, counts_all: bool) -> Ints:
    """Return latencies of packets that arrived since a cycle: all, or those that are recorded."""
    p = result.packets
    counts = (p["tail_at"] >= start) & ((p["is_recorded"] > 0) | counts_all)
    found: Ints = (p["tail_at"] - p["created"])[counts]
    return found


def _is_too_slow(result: Result, latencies: Ints, now: int, limit: float) -> bool:
    """Return True if flits under way and packets that arrived took too long on average."""
    p, made = result.packets, result.totals["made_flits"]
    created = np.repeat(p["created"], p["size"])
    away = now - created[result.arrived_at[:made] < 0]
    count = len(latencies) + len(away)
    return bool(count and (latencies.sum() + away.sum()) / count > limit)
