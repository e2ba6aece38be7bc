"""Load of an all-to-all exchange on the links of a leaf-spine network.

Every server hangs on a leaf with as many uplinks as it has accelerators, each to a spine of its
own. Accelerator g of a server sends to accelerator g of every other, all flows at once and of equal
size, so the exchange ends when the busiest link is through: what counts is its load over the mean.

Source:
  *Packet spraying*, arXiv 2407.00550: one path a flow, with flows split a little, has the same
  largest congestion as ideal spraying.
"""

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from archgym.checks import check_choice, check_whole
from archgym.errors import InvalidArgumentError

__all__ = ["PATHS", "contention"]

PATHS: Final = ("ecmp", "split", "spray")
"""A path by hash; parts of a flow each on the emptiest path; every packet on another path."""
# chosen: draws of the hash that the expected value is taken over; its error is then some 2 %.
_DRAWS: Final = 32
_MAX_SERVERS: Final = 512


@cache
def contention(n_servers: int, n_uplinks: int, paths: str, subflows: int = 1) -> float:
    """Load of the busiest link over that of an average one; 1 is even.

    Args:
      n_servers: Servers that exchange, 1 or more.
      n_uplinks: Uplinks of each server's leaf, and flows from it to each other server.
      paths: One of `PATHS`.
      subflows: Parts of a flow, each with a path of its own, where paths are `ecmp` or `split`.

    Raises:
      InvalidArgumentError: A number is outside its limits.
    """
    check_whole("n_servers", n_servers, 1, _MAX_SERVERS)
    check_whole("n_uplinks", n_uplinks, 1, 64)
    check_choice("paths", paths, PATHS)
    if not 1 <= subflows <= 64:
        raise InvalidArgumentError(f"`subflows` must be from 1 to 64; got {subflows!r}.")
    if n_servers == 1 or n_uplinks == 1 or paths == "spray":
        return 1.0
    if paths == "split":
        return _busiest(_spread_greedily(n_servers, n_uplinks, subflows))
    draws = [_spread_by_hash(n_servers, n_uplinks, subflows, seed) for seed in range(_DRAWS)]
    return float(np.mean([_busiest(loads) for loads in draws]))


def _busiest(loads: npt.NDArray[np.float64]) -> float:
    return float(loads.max() / loads.mean())


def _spread_by_hash(
    n_servers: int, n_uplinks: int, subflows: int, seed: int
) -> npt.NDArray[np.float64]:
    """Return (2, n_servers, n_uplinks), loads up and down, each flow's parts on paths of chance."""
    rng = np.random.default_rng(seed)
    shape = (n_servers, n_servers, n_uplinks * subflows)
    spine = rng.integers(n_uplinks, size=shape)
    loads = np.zeros((2, n_servers, n_uplinks))
    for source in range(n_servers):
        for target in range(n_servers):
            if source != target:
                counts = np.bincount(spine[source, target], minlength=n_uplinks)
                loads[0, source] += counts
                loads[1, target] += counts
    return loads


def _spread_greedily(n_servers: int, n_uplinks: int, subflows: int) -> npt.NDArray[np.float64]:
    """Return the same, each part of a flow on the path whose busier link is emptiest."""
    loads = np.zeros((2, n_servers, n_uplinks))
    for source in range(n_servers):
        for target in range(n_servers):
            if source == target:
                continue
            for _ in range(n_uplinks * subflows):
                spine = int(np.argmin(np.maximum(loads[0, source], loads[1, target])))
                loads[0, source, spine] += 1
                loads[1, target, spine] += 1
    return loads
