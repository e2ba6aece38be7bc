"""Paths of a leaf-spine fabric: loads of its links when flows are hashed, split or sprayed.

A fabric has L leaves of h NPUs and S spines. A step of a collective is a set of flows of equal
size; a flow within a leaf uses no uplink. Loads are fluid, in flows, without queues. ASTRA-sim has
no such mode. Splitting reaches the load of spraying where all flows of a leaf have equal size:
Addanki, Goyal and Marinos, *Challenging the Need for Packet Spraying in
Large-Scale Distributed Training*, 2024.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd
from typing import Final, final

import numpy as np

from archgym.errors import InvalidArgumentError

__all__ = ["PATHS", "PATTERNS", "Fabric", "ecmp_loads", "flows_of", "loads", "step_ns"]

PATHS: Final = ("ecmp", "round-robin", "split", "spray")
PATTERNS: Final = ("ring", "leaf-shift", "halving", "all-to-all")

Flow = tuple[int, int]


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
    across = np.array([(a // h, b // h) for a, b in flows if a // h != b // h]).reshape(-1, 2)
    found = np.zeros(n_hashes)
    for i in range(n_hashes):
        spine = rng.integers(s, size=len(across))
        for leaf in across.T:
            counts = np.bincount(leaf * s + spine, minlength=1)
            found[i] = max(found[i], counts.max(initial=0))
    return found


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
    if paths == "ecmp":
        load = float(ecmp_loads(fabric, flows).mean())
    else:
        load = float(max(loads(fabric, flows, paths)))
    sources = np.bincount([a for a, _ in flows]).max()
    targets = np.bincount([b for _, b in flows]).max()
    own = float(max(sources, targets)) / link_gb_per_s
    return n_bytes * max(load / uplink_gb_per_s, own)
