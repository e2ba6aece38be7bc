"""A design as files of BookSim 2, which run in it unedited."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Final

from archgym.simulators.kit.exports import Number, Tool, folder, rounding
from archgym.simulators.noc.machine import Network
from archgym.simulators.noc.sampling import Load

TOOL: Final = Tool(
    name="BookSim",
    release="2, commit 28f4329",
    get="git clone https://github.com/booksim/booksim2 && make -C booksim2/src, whose place is the "
    "folder booksim2.",
    program="booksim",
    inside="src/booksim",
)
_OWN: Final = ("graph", "xr", "seed", "internal_speedup")
# BookSim ends with -1 where its network is stable (`return result ? -1 : 0`, main.cpp).
_COMMAND: Final = '"$tool" booksim.cfg || [ $? -eq 255 ]'
# What BookSim prints with six digits, in cycles or routers, behind the last of these texts.
_PRINTED: Final = {
    "mean_latency_ns": "Packet latency average =",
    "network_latency_ns": "Network latency average =",
    "mean_hops": "Hops average =",
}


def booksim_settings(network: Network, load: Load) -> dict[str, object]:
    """Return BookSim's settings of a network and its load by name."""
    names = (field.name for field in fields(Network) if field.name not in _OWN)
    lines: dict[str, object] = {name: getattr(network, name) for name in names}
    if network.graph is not None:
        for name in ("k", "n"):
            del lines[name]
        lines["network_file"] = "network.txt"
    if network.topology in ("cmesh", "flatfly"):
        side = 2 if network.topology == "cmesh" else network.xr
        lines |= {"c": side * side, "x": network.k, "y": network.k, "xr": side, "yr": side}
        if network.topology == "flatfly" and network.n == 1:
            lines["y"] = 1
    lines |= {"internal_speedup": repr(network.internal_speedup), "seed": network.seed}
    lines["sim_count"] = 1
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
    return lines


def booksim_inputs(network: Network, load: Load) -> dict[str, str]:
    """Return BookSim's configuration of a network and its load, and the graph of an own network."""
    lines = booksim_settings(network, load)
    files = {"booksim.cfg": "".join(f"{name} = {value};\n" for name, value in lines.items())}
    if network.graph is not None:
        files["network.txt"] = _graph(network)
    return files


def booksim_files(
    network: Network, load: Load, clock_ghz: float, metrics: Mapping[str, float]
) -> dict[str, str | bytes]:
    """Return what BookSim reads, and what runs it and compares.

    Args:
      network: The network.
      load: Traffic that nodes make.
      clock_ghz: Clock of the network, which BookSim does not know [GHz].
      metrics: Metrics of the design under the load.
    """
    numbers = []
    for metric, text in _PRINTED.items():
        unit, scale = ("routers", 1.0) if metric == "mean_hops" else ("cycles", clock_ghz)
        value = metrics[metric]
        numbers.append(
            Number(
                metric=metric, value=value, unit=unit, scale=scale,
                tolerance=rounding(value * scale, 6), after=("Overall Traffic Statistics", text),
            )
        )  # fmt: skip
    return folder(
        TOOL, booksim_inputs(network, load), _COMMAND, numbers,
        differences=[
            f"BookSim counts cycles, and the design's clock has {clock_ghz:g} GHz.",
            "Power and area come from files of technology that BookSim reads apart (`sim_power`).",
        ],
    )  # fmt: skip


def _graph(network: Network) -> str:
    """Return an own network as BookSim's `anynet` reads it: links, then nodes of each router."""
    assert network.graph is not None
    made: dict[int, list[str]] = {}
    for a, b, latency in network.graph.links:
        made.setdefault(a, []).append(f"router {b} {latency}")
    for node, router in enumerate(network.graph.node_router):
        made.setdefault(router, []).append(f"node {node}")
    return "".join(f"router {r} {' '.join(parts)}\n" for r, parts in sorted(made.items()))
