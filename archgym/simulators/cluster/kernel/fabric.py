"""Paths of a leaf-spine fabric: loads of its links when flows are hashed, split or sprayed.

A fabric has L leaves of h NPUs and S spines. A step of a collective is a set of flows of equal
size; a flow within a leaf uses no uplink. Loads are fluid, in flows, without queues. ASTRA-sim has
no such mode. Splitting reaches the load of spraying where all flows of a leaf have equal size:
Addanki, Goyal and Marinos, *Challenging the Need for Packet Spraying in
Large-Scale Distributed Training*, arXiv 2407.00550, 2024.

The MoE serving simulator takes the contention of its exchanges from here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import gcd
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.checks import check_choice, check_whole
from archgym.errors import InvalidArgumentError

PATHS: Final = ("ecmp", "round-robin", "split", "spray")
PATTERNS: Final = ("ring", "leaf-shift", "halving", "all-to-all")
EXCHANGE_PATHS: Final = ("ecmp", "split", "spray")
# chosen: draws of the hash that the expected contention is taken over; its error is then some 2 %.
_DRAWS: Final = 32
_MAX_SERVERS: Final = 512

Flow = tuple[int, int]
Ints = npt.NDArray[np.int64]


@final
@dataclass(frozen=True)
class Fabric:
    """A leaf-spine fabric.

    Attributes:
      leaves: Leaf switches.
      hosts: NPUs of each.
      spines: Spine switches, each with a link to and from each leaf.
    """

    leaves: int
    hosts: int
    spines: int

    def __post_init__(self) -> None:
        sizes = (self.leaves, self.hosts, self.spines)
        if not all(1 <= size <= 4096 for size in sizes) or self.leaves * self.hosts > 1 << 16:
            raise InvalidArgumentError(
                "A fabric must have 1 to 4,096 leaves, hosts and spines, and at most 65,536 NPUs; "
                f"got {sizes}."
            )

    @property
    def n_npus(self) -> int:
        """NPUs of the fabric."""
        return self.leaves * self.hosts


def flows_of(fabric: Fabric, pattern: str) -> list[Flow]:
    """Return the flows of a step, by source.

    Args:
      fabric: Fabric.
      pattern: `ring` sends to the next NPU, `leaf-shift` to its counterpart in the next leaf,
        `halving` to the NPU whose number differs in the highest bit, `all-to-all` to all others;
        else pairs such as `0>3;1>2`.

    Raises:
      InvalidArgumentError: There is no such pattern.
    """
    n = fabric.n_npus
    if pattern == "ring":
        return [(i, (i + 1) % n) for i in range(n)]
    if pattern == "leaf-shift":
        return [(i, (i + fabric.hosts) % n) for i in range(n)]
    if pattern == "halving":
        if n & (n - 1):
            raise InvalidArgumentError(f"`halving` needs a power of two of NPUs; got {n}.")
        return [(i, i ^ (n // 2)) for i in range(n)]
    if pattern == "all-to-all":
        return [(i, j) for i in range(n) for j in range(n) if i != j]
    try:
        flows = [(int(a), int(b)) for a, b in (pair.split(">") for pair in pattern.split(";"))]
    except ValueError:
        raise InvalidArgumentError(
            f"`pattern` must be one of {', '.join(PATTERNS)}, or pairs such as 0>3;1>2; "
            f"got {pattern[:60]!r}."
        ) from None
    if not all(0 <= end < n for flow in flows for end in flow):
        raise InvalidArgumentError(f"Flows must be between NPUs 0 to {n - 1}.")
    return flows


def loads(fabric: Fabric, flows: Sequence[Flow], paths: str) -> tuple[Fraction, Fraction]:
    """Return the largest loads of an uplink and of a downlink, in flows.

    Args:
      fabric: Fabric.
      flows: Source and target of each.
      paths: `round-robin`, `split` or `spray`; see `ecmp_loads` for the other.
    """
    s, h = fabric.spines, fabric.hosts
    up = [[Fraction(0)] * s for _ in range(fabric.leaves)]
    down = [[Fraction(0)] * s for _ in range(fabric.leaves)]
    across = [(a // h, b // h) for a, b in flows if a // h != b // h]
    leaving = [sum(a == leaf for a, _ in across) for leaf in range(fabric.leaves)]
    turn: dict[object, int] = {}
    for a, b in across:
        if paths == "spray":
            parts = s
            places = range(s)
        elif paths == "split":
            parts = s // gcd(s, leaving[a])
            start = turn.get(a, 0)
            turn[a] = start + parts
            places = range(start, start + parts)
        elif paths == "round-robin":
            parts = 1
            start = turn.get((a, b), 0)
            turn[a, b] = start + 1
            places = range(start + a, start + a + 1)
        else:
            raise InvalidArgumentError(f"`paths` must be one of {PATHS[1:]}; got {paths!r}.")
        for place in places:
            up[a][place % s] += Fraction(1, parts)
            down[b][place % s] += Fraction(1, parts)
    return max(map(max, up)), max(map(max, down))


def ecmp_loads(
    fabric: Fabric, flows: Sequence[Flow], n_hashes: int = 1000, seed: int = 0
) -> np.ndarray:
    """Return the largest load of any link for each of many random hashes, (n_hashes,).

    Args:
      fabric: Fabric.
      flows: Source and target of each.
      n_hashes: Hashes to draw.
      seed: Seed of the hashes.
    """
    rng = np.random.default_rng(seed)
    s, h = fabric.spines, fabric.hosts
    pairs = [(a // h, b // h) for a, b in flows if a // h != b // h]
    # Without a type, an empty list would be floats, which cannot index links.
    across = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    draws = (rng.integers(s, size=len(across)) for _ in range(n_hashes))
    return np.array([_counts(fabric, across, spine).max() for spine in draws], dtype=float)


def _counts(fabric: Fabric, across: Ints, spine: Ints) -> Ints:
    """Return (2, leaves, spines), flows on uplinks and downlinks.

    Args:
      fabric: Fabric.
      across: (n, 2), leaves that flows leave and enter.
      spine: (n,), spine that each takes.
    """
    shape = (fabric.leaves, fabric.spines)
    size = fabric.leaves * fabric.spines
    ends = (np.bincount(leaf * fabric.spines + spine, minlength=size) for leaf in across.T)
    return np.stack([counts.reshape(shape) for counts in ends])


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
    fabric = Fabric(n_servers, n_uplinks, n_uplinks)
    n_parts = n_uplinks * subflows
    across = np.argwhere(~np.eye(n_servers, dtype=bool)).repeat(n_parts, axis=0)
    if paths == "split":
        return _busiest(_spread_greedily(fabric, across))
    return float(np.mean([_busiest(_hashed(fabric, across, seed)) for seed in range(_DRAWS)]))


def _busiest(counts: Ints) -> float:
    return float(counts.max() / counts.mean())


def _hashed(fabric: Fabric, across: Ints, seed: int) -> Ints:
    n = fabric.leaves
    # Paths within a server are drawn as well, and not used.
    shape = (n, n, len(across) // (n * (n - 1)))
    spine = np.random.default_rng(seed).integers(fabric.spines, size=shape)
    return _counts(fabric, across, spine[~np.eye(n, dtype=bool)].ravel())


def _spread_greedily(fabric: Fabric, across: Ints) -> Ints:
    """Return loads with each part of a flow on the path whose busier link is emptiest."""
    counts = np.zeros((2, fabric.leaves, fabric.spines), dtype=np.int64)
    for source, target in across.tolist():
        spine = int(np.argmin(np.maximum(counts[0, source], counts[1, target])))
        counts[0, source, spine] += 1
        counts[1, target, spine] += 1
    return counts


def step_ns(
    fabric: Fabric,
    flows: Sequence[Flow],
    n_bytes: float,
    paths: str,
    link_gb_per_s: float,
    uplink_gb_per_s: float,
) -> float:
    """Return how long a step takes: its fullest uplink, or the NPUs' own links [ns].

    Args:
      fabric: Fabric.
      flows: Source and target of each.
      n_bytes: Bytes of a flow.
      paths: One of `PATHS`; of ECMP the mean.
      link_gb_per_s: Bandwidth of an NPU's link [GB/s].
      uplink_gb_per_s: Bandwidth of a link between leaf and spine [GB/s].
    """
    if not flows:
        return 0.0
    if paths == "ecmp":
        load = float(ecmp_loads(fabric, flows).mean())
    else:
        load = float(max(loads(fabric, flows, paths)))
    sources = np.bincount([a for a, _ in flows]).max()
    targets = np.bincount([b for _, b in flows]).max()
    own = float(max(sources, targets)) / link_gb_per_s
    return n_bytes * max(load / uplink_gb_per_s, own)
