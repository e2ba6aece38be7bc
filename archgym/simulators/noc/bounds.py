"""Bounds of latency and area that no design with some choices betters, for proofs."""

from functools import lru_cache
from typing import Any, Final

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from archgym.simulators.noc.machine import Network, wiring
from archgym.simulators.noc.runs import Packets, Run
from archgym.simulators.noc.state import Ints

_STAGES: Final = 4
"""Routing, VC allocation, switch allocation and crossbar, a step each."""


def router_cycles(network: Network) -> int:
    """Return cycles between the arrival of a head at an idle router and its sending."""
    skipped = (network.routing_delay == 0) + network.speculative
    return int((_STAGES - 1 - skipped) // network.internal_speedup)


def least_cycles(network: Network, packets: Packets) -> Ints:
    """Return the least latency of each packet on an empty network [cycles]."""
    away = _distances(network, router_cycles(network))
    wires = wiring(network)
    ends = wires.node_latency[packets.source] + wires.node_latency[packets.target] + 2
    between = away[wires.node_router[packets.source], wires.node_router[packets.target]]
    found: Ints = ends + between + packets.size - 1
    return found


@lru_cache(maxsize=64)
def _distances(network: Network, inside: int) -> Ints:
    """Return cycles between the arrival at a router and the sending of another to a node."""
    wires = wiring(network)
    size = len(wires.inputs)
    near = np.full((size, size), np.inf)
    for a, _, b, _, latency in wires.links.tolist():
        near[a, b] = min(near[a, b], inside + 1 + latency)
    near[~np.isfinite(near)] = 0.0
    found = dijkstra(csr_array(near)) + inside
    return np.asarray(found, dtype=np.int64)


def least_area(network: Network, bits: int) -> float:
    """Return the area of a network, which does not depend on traffic [mm2]."""
    return float(Run(network, Packets.of([], [], [], [])).powers(bits)["total_area"])


def completions(space: Any, partial: Ints, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return designs with some choices, of which one has the least latency and area.

    Args:
      space: The space.
      partial: (n_parameters,) indices; -1 where a parameter may have any value.
      names: Parameters whose values are all tried; of others the most favourable is taken.
    """
    best = {
        "routing_delay": 0, "speculative": 1, "internal_speedup": 2, "num_vcs": 2,
        "vc_buf_size": 1, "input_speedup": 1,
    }  # fmt: skip
    found: list[dict[str, Any]] = [{}]
    for column, parameter in enumerate(space.parameters):
        values = [parameter.values[partial[column]]] if partial[column] >= 0 else None
        if values is None and parameter.name in names:
            values = list(parameter.values)
        elif values is None:
            default = parameter.values[parameter.default_index]
            wanted = best.get(parameter.name, default)
            values = [wanted if wanted in parameter.values else min(parameter.values)]
        found = [{**made, parameter.name: value} for made in found for value in values]
    return found
