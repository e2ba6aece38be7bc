"""A design as files of BookSim 2, which run in it unedited."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Final

from archgym.simulators.noc.machine import Network
from archgym.simulators.noc.runs import Packets
from archgym.simulators.noc.sampling import Load

_OWN: Final = ("graph", "xr", "seed", "internal_speedup")


def booksim_files(network: Network, load: Load | None, packets: Packets | None) -> dict[str, str]:
    """Return BookSim's configuration, the graph of an own network, and a list of packets.

    Args:
      network: The network.
      load: Traffic that nodes make; None for a list.
      packets: The list, which BookSim itself cannot read; for a driver of one's own.
    """
    lines = {f.name: getattr(network, f.name) for f in fields(Network) if f.name not in _OWN}
    files = {}
    if network.graph is not None:
        for name in ("k", "n"):
            del lines[name]
        lines["network_file"] = "network.txt"
        files["network.txt"] = _graph(network)
    if network.topology in ("cmesh", "flatfly"):
        side = 2 if network.topology == "cmesh" else network.xr
        lines |= {"c": side * side, "x": network.k, "y": network.k, "xr": side, "yr": side}
        if network.topology == "flatfly" and network.n == 1:
            lines["y"] = 1
    lines |= {"internal_speedup": repr(network.internal_speedup), "seed": network.seed}
    lines["sim_count"] = 1
    if load is not None:
        sizes = ",".join(map(str, load.packet_size))
        # The outer braces hold a list for each class of traffic.
        sizes = f"{{{{{sizes}}}}}" if len(load.packet_size) > 1 else sizes
        lines |= {
            "traffic": load.pattern, "packet_size": sizes,
            "injection_rate": repr(load.injection_rate),
            "injection_rate_uses_flits": int(load.in_flits),
            "sample_period": load.sample_period, "warmup_periods": load.warmup_periods,
            "max_samples": load.max_samples, "latency_thres": repr(load.latency_thres),
        }  # fmt: skip
    text = "".join(f"{name} = {value};\n" for name, value in lines.items())
    files["booksim.cfg"] = text
    if packets is not None:
        kinds = ("", "read", "write")
        columns = (
            packets.time, packets.source, packets.target, packets.size, packets.waits_for,
            packets.kind,
        )  # fmt: skip
        rows = zip(*(column.tolist() for column in columns), strict=True)
        files["packets.csv"] = "cycle,source,destination,flits,waits_for,type\n" + "".join(
            f"{t},{s},{d},{n},{w if w >= 0 else ''},{kinds[kind]}\n" for t, s, d, n, w, kind in rows
        )
    return files


def _graph(network: Network) -> str:
    """Return an own network as BookSim's `anynet` reads it: links, then nodes of each router."""
    assert network.graph is not None
    lines: Mapping[int, list[str]] = {}
    made: dict[int, list[str]] = dict(lines)
    for a, b, latency in network.graph.links:
        made.setdefault(a, []).append(f"router {b} {latency}")
    for node, router in enumerate(network.graph.node_router):
        made.setdefault(router, []).append(f"node {node}")
    return "".join(f"router {r} {' '.join(parts)}\n" for r, parts in sorted(made.items()))
