"""Costs that an ideal cluster does not pay, which explain a design."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from archgym.simulators.cluster.machine.design import Built

_ENDLESS: Final = 1e8
_COSTS: Final = {
    "latency": "links without latency, endpoints with a delay of 1 ns",
    "communication": "endless bandwidth, no latency, no reduction",
    "compute": "endless peak and memory bandwidth",
    "bubble": "stages never wait for another",
}


def costs_of(n_dimensions: int) -> Mapping[str, str]:
    """Return what can be taken away, by name, for a network with this number of dimensions."""
    dimensions = {
        f"bandwidth-{d}": f"endless bandwidth in dimension {d}" for d in range(n_dimensions)
    }
    return dimensions | _COSTS


def relieved(built: Built, cost: str) -> Built:
    """Return a design that does not pay a cost; the bubble is taken off its times afterwards."""
    system = built.system
    if cost.startswith("bandwidth-"):
        # A dimension of the cluster may be several of the system, one for each role.
        at = int(cost.removeprefix("bandwidth-"))
        pairs = zip(built.places, system.bandwidth, strict=True)
        wide = tuple(_ENDLESS if place == at else own for place, own in pairs)
        return replace(built, system=replace(system, bandwidth=wide))
    n = len(system.topology)
    no_latency: dict[str, Any] = {"latency": (0.0,) * n, "endpoint_ns": 1}
    changes: dict[str, dict[str, Any]] = {
        "latency": no_latency,
        "communication": {**no_latency, "bandwidth": (_ENDLESS,) * n},
        # What a product takes is at least a nanosecond; reductions take none.
        "compute": {"peak_tflops": _ENDLESS, "mem_gb_per_s": _ENDLESS},
        "bubble": {},
    }
    return replace(built, system=replace(system, **changes[cost]))
