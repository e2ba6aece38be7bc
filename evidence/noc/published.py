"""A published comparison of networks: dies as a HexaMesh against dies as a grid.

Source: Iff et al., *HexaMesh: Scaling to Hundreds of Chiplets with an Optimized Chiplet
Arrangement*, DAC 2023, abstract: on average 19 % less latency and 34 % more throughput.
"""

from typing import Final

import numpy as np

from archgym.simulators.noc.machine import Network
from archgym.simulators.noc.sampling import Load, measured
from archgym.simulators.noc.space import dies
from evidence.agreement import Agreement

DIES: Final = (10, 20, 30, 40, 50, 60)
"""The paper has 1 to 100 dies."""
_CLAIMS: Final = (
    ("change of latency at 1 % load [%]", -19.0, 2.0, True, "their mean is over 1 to 100 dies"),
    (
        "change of saturation throughput [%]", 34.0, 5.0, True,
        "their mean is over 1 to 100 dies, and ours of six loads known to 1/128",
    ),
)  # fmt: skip
_WIDTH: Final = 4.0 / 6.0
"""Width of the six links of a die over that of four: links share the bumps of a die."""


def compare_published(group: str, sizes: tuple[int, ...] = DIES) -> list[Agreement]:
    """Return agreements with the claims; `worst` is the deviation in percentage points.

    Args:
      group: Name of the group of rows.
      sizes: Numbers of dies, over which changes are averaged.
    """
    changes = []
    for count in sizes:
        grid, hexagons = (
            Network(
                topology="anynet", k=1, n=1, graph=dies(name, count, by_rows=True),
                routing_function="min", num_vcs=8, vc_buf_size=16,
            )
            for name in ("grid", "hexamesh")
        )  # fmt: skip
        latency = _latency(hexagons, 0.01) / _latency(grid, 0.01)
        changes.append((latency, _WIDTH * _most(hexagons) / _most(grid)))
    found = 100.0 * (np.mean(changes, axis=0) - 1.0)
    return [
        Agreement(
            group, "hexamesh", quantity, 1, int(abs(ours - theirs) <= most), abs(ours - theirs),
            note=f"{ours:+.1f}, published {theirs:+.0f}: {why}", is_required=is_required,
        )
        for ours, (quantity, theirs, most, is_required, why) in zip(found, _CLAIMS, strict=True)
    ]  # fmt: skip


def _latency(network: Network, load: float) -> float:
    """Return the mean latency of single flits to random nodes [cycles], infinite if unstable."""
    stats, _ = measured(network, Load(injection_rate=load))
    return float(stats["plat_avg"]) if stats["status"] == "ok" else np.inf


def _most(network: Network) -> float:
    """Return the largest stable load, to 1/128 flit a cycle and node."""
    low, high = 0.0, 1.0
    for _ in range(7):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _latency(network, middle) < np.inf else (low, middle)
    return low
