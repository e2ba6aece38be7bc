"""Contention of exchanges between servers in a leaf-spine fabric, by how flows choose their paths.

Loads are fluid, in flows of equal size, without queues. ASTRA-sim has no such mode. Splitting
reaches the load of spraying where all flows of a leaf have equal size: Addanki, Goyal and Marinos,
*Challenging the Need for Packet Spraying in Large-Scale Distributed Training*, arXiv 2407.00550,
2024. The MoE serving simulator takes the contention of its exchanges from here.
"""

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit import InvalidArgumentError, check_choice, check_whole

EXCHANGE_PATHS: Final = ("ecmp", "split", "spray")
# chosen: draws of the hash that the expected contention is taken over; its error is then some 2 %.
_DRAWS: Final = 32
_MAX_SERVERS: Final = 512

Ints = npt.NDArray[np.int64]


@cache
def contention(n_servers: int, n_uplinks: int, paths: str, subflows: int = 1) -> float:
    """Return the load of the busiest link of an exchange over the mean; 1 is even.

    Every server hangs on a leaf with as many uplinks as it has accelerators, each to a spine of
    its own. Accelerator g of a server sends to accelerator g of every other, all flows at once and
    of equal size, so that the exchange ends when the busiest link is through.

    Args:
      n_servers: Servers that exchange, 1 or more.
      n_uplinks: Uplinks of each server's leaf, and flows from it to each other server.
      paths: `ecmp` hashes each part of a flow to a path and gives the mean of 32 draws, `split`
        puts each part on the emptiest path, and `spray` is even.
      subflows: Parts of a flow, each with a path of its own, where paths are `ecmp` or `split`.

    Raises:
      InvalidArgumentError: A number is outside its limits.
    """
    check_whole("n_servers", n_servers, 1, _MAX_SERVERS)
    check_whole("n_uplinks", n_uplinks, 1, 64)
    check_choice("paths", paths, EXCHANGE_PATHS)
    if not 1 <= subflows <= 64:
        raise InvalidArgumentError(f"`subflows` must be from 1 to 64; got {subflows!r}.")
    if n_servers == 1 or n_uplinks == 1 or paths == "spray":
        return 1.0
    n_parts = n_uplinks * subflows
    across = np.argwhere(~np.eye(n_servers, dtype=bool)).repeat(n_parts, axis=0)
    if paths == "split":
        return _busiest(_spread_greedily(n_servers, n_uplinks, across))
    return float(
        np.mean([_busiest(_hashed(n_servers, n_uplinks, across, seed)) for seed in range(_DRAWS)])
    )


def _busiest(counts: Ints) -> float:
    return float(counts.max() / counts.mean())


def _hashed(n: int, n_spines: int, across: Ints, seed: int) -> Ints:
    """Return (2, servers, spines), flows on uplinks and downlinks with hashed paths.

    Args:
      n: Servers.
      n_spines: Spines.
      across: (n_flows, 2), servers that flows leave and enter.
      seed: Seed of the hash.
    """
    # Paths within a server are drawn as well, and not used.
    shape = (n, n, len(across) // (n * (n - 1)))
    spine = np.random.default_rng(seed).integers(n_spines, size=shape)
    taken = spine[~np.eye(n, dtype=bool)].ravel()
    ends = (np.bincount(leaf * n_spines + taken, minlength=n * n_spines) for leaf in across.T)
    return np.stack([counts.reshape(n, n_spines) for counts in ends])


def _spread_greedily(n: int, n_spines: int, across: Ints) -> Ints:
    """Return loads with each part of a flow on the path whose busier link is emptiest."""
    counts = np.zeros((2, n, n_spines), dtype=np.int64)
    for source, target in across.tolist():
        spine = int(np.argmin(np.maximum(counts[0, source], counts[1, target])))
        counts[0, source, spine] += 1
        counts[1, target, spine] += 1
    return counts
