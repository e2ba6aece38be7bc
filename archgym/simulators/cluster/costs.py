"""Costs that an ideal cluster does not pay, which explain a design."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from archgym.simulators.cluster.designs import Built

__all__ = ["costs_of", "relieved"]

_ENDLESS: Final = 1e8
_COSTS: Final = {
    "latency": "links without latency, endpoints with a delay of 1 ns",
    "communication": "endless bandwidth, no latency, no reduction",
    "compute": "endless peak and memory bandwidth",
    "bubble": "stages never wait for another",
}


def costs_of(n_dimensions: int) -> Mapping[str, str]:
    """Return what can be taken away, by name, for a network of so many dimensions."""
    dimensions = {
        f"bandwidth-{d}": f"endless bandwidth in dimension {d}" for d in range(n_dimensions)
    }
    return dimensions | _COSTS


def relieved(built: Built, cost: str) -> Built:
    """Return a design that does not pay a cost; the bubble is taken off its times afterwards."""
    system = built.system
    n = len(system.topology)
    if cost.startswith("bandwidth-"):
        at = int(cost.removeprefix("bandwidth-"))
        wide = tuple(_ENDLESS if d == at else b for d, b in enumerate(system.bandwidth))
        return replace(built, system=replace(system, bandwidth=wide))
    if cost == "latency":
        system = replace(system, latency=(0.0,) * n, endpoint_ns=1)
        return replace(built, system=system)
    if cost == "communication":
        system = replace(system, latency=(0.0,) * n, endpoint_ns=1, bandwidth=(_ENDLESS,) * n)
        return replace(built, system=system)
    if cost == "compute":
        # What a product takes is at least a nanosecond; reductions take none.
        system = replace(system, peak_tflops=_ENDLESS, mem_gb_per_s=_ENDLESS)
        return replace(built, system=system)
    return built
