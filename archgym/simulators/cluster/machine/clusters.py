"""NPUs, tiers of a network, whole clusters that ship or that a user describes, and what they cost.

A cluster file is YAML or JSON::

    name: my-cluster
    npu: h100-80g            # or peak_tflops, memory_gb_per_s, memory_gb, dollars, watts
    dimensions:
      - {topology: Switch, npus: 8, gb_per_s: 450, latency_ns: 500, tier: node}
      - {topology: Switch, npus: 32, gb_per_s: 50, latency_ns: 2000, tier: pod}
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final, final

from archgym.simulators.cluster.machine.system import TOPOLOGIES
from archgym.simulators.cluster.workloads import name_of
from archgym.simulators.kit import Node, read_document, unknown_name


@final
@dataclass(frozen=True)
class Npu:
    """An accelerator with its share of a server.

    Attributes:
      name: Name in messages.
      peak_tflops: Dense products at 16 bits.
      memory_gb_per_s: Bandwidth of its memory [GB/s].
      memory_gb: Capacity [GB, 1e9 bytes].
      dollars: Price.
      watts: Thermal design power.
    """

    name: str
    peak_tflops: float
    memory_gb_per_s: float
    memory_gb: float
    dollars: float
    watts: float


# Peaks, memories and powers from NVIDIA's, AMD's and Google's data sheets (V100 SXM2 32 GB, A100
# SXM 80 GB, H100 SXM, H200 SXM, MI300X). Prices are chosen: those of single
# units that the press reported in 2023 and 2024, rounded; vendors publish none. Hosts come on top.
# The TPU is not sold and its power not published: its price and power are those of the A100.
NPUS: Final[Mapping[str, Npu]] = {
    npu.name: npu
    for npu in (
        Npu("v100-32g", 125.0, 900.0, 32.0, 8_000.0, 300.0),
        Npu("a100-80g", 312.0, 2039.0, 80.0, 15_000.0, 400.0),
        Npu("h100-80g", 989.0, 3350.0, 80.0, 30_000.0, 700.0),
        Npu("h200-141g", 989.0, 4800.0, 141.0, 35_000.0, 700.0),
        Npu("mi300x-192g", 1307.0, 5300.0, 192.0, 20_000.0, 750.0),
        Npu("tpu-v5p", 459.0, 2765.0, 95.0, 15_000.0, 400.0),
    )
}

# Dollars for each GB/s of a link, a switch's port and a network card: Won et al., *LIBRA*, 2024.
TIERS: Final[Mapping[str, tuple[float, float, float]]] = {
    "chiplet": (2.0, 0.0, 0.0),
    "package": (4.0, 13.0, 0.0),
    "node": (4.0, 13.0, 0.0),
    "pod": (7.8, 18.0, 31.6),
}


@final
@dataclass(frozen=True)
class Dimension:
    """A dimension of a network.

    Attributes:
      topology: One of `TOPOLOGIES`.
      npus: NPUs along it.
      gb_per_s: Bandwidth of a link, one direction [GB/s].
      latency_ns: Latency of a link [ns].
      tier: One of `TIERS`, which sets its price.
    """

    topology: str
    npus: int
    gb_per_s: float
    latency_ns: float
    tier: str = "pod"


@final
@dataclass(frozen=True)
class Cluster:
    """NPUs and the network between them."""

    name: str
    npu: Npu
    dimensions: tuple[Dimension, ...]


def _dgx(name: str, npu: str, inner: float, outer: float, n_nodes: int) -> Cluster:
    # Latencies: 936 ns a hop of NVLink and 2,000 ns of the fabric, as `published/` was tried with.
    return Cluster(
        name,
        NPUS[npu],
        (
            Dimension("Switch", 8, inner, 936.0, "node"),
            Dimension("Switch", n_nodes, outer, 2000.0, "pod"),
        ),
    )


def _cosmic(
    name: str,
    peak: float,
    memory: float,
    topology: str,
    npus: tuple[int, ...],
    bandwidth: tuple[float, ...],
    latency: tuple[float, ...],
) -> Cluster:
    """Return a system of COSMIC (Raju et al. 2025), whose NPUs have 24 GB in its files."""
    kinds = {"R": "Ring", "F": "FullyConnected", "S": "Switch"}
    dimensions = tuple(
        Dimension(kinds[kind], n, b, t, tier)
        for kind, n, b, t, tier in zip(
            topology, npus, bandwidth, latency, ("package", "node", "pod", "pod"), strict=True
        )
    )
    # chosen: COSMIC gives neither; those of an A100.
    return Cluster(name, Npu(name, peak, memory, 24.0, 15_000.0, 400.0), dimensions)


CLUSTERS: Final[Mapping[str, Cluster]] = {
    found.name: found
    for found in (
        _dgx("a100-256", "a100-80g", 300.0, 25.0, 32),
        _dgx("h100-512", "h100-80g", 450.0, 50.0, 64),
        _cosmic(
            "cosmic-1.1", 10.0, 50.0, "RFRS", (4, 8, 4, 8),
            (187.5, 25.0, 75.0, 100.0), (20.0, 700.0, 700.0, 1700.0),
        ),
        _cosmic(
            "cosmic-1.2", 900.0, 3000.0, "FSRR", (8, 16, 4, 4),
            (128.5714, 100.0, 25.0, 6.25), (20.0, 300.0, 700.0, 1700.0),
        ),
        _cosmic(
            "cosmic-1.3", 459.0, 2765.0, "RRRS", (4, 4, 4, 8),
            (100.0, 100.0, 100.0, 50.0), (50.0, 50.0, 50.0, 2000.0),
        ),
    )
}  # fmt: skip


def cluster(name: str) -> Cluster:
    """Return the shipped cluster with this name, or the one in the file at this path.

    Raises:
      UnknownNameError: Neither.
      FileFormatError: The file is not a cluster.
    """
    if name in CLUSTERS:
        return CLUSTERS[name]
    path = Path(name)
    if path.suffix not in (".yaml", ".yml", ".json") and not path.is_file():
        raise unknown_name("cluster", name, tuple(CLUSTERS))
    return _read_cluster(path)


def _read_cluster(path: Path) -> Cluster:
    root = read_document(path).root
    needed = ("npu", "dimensions")
    members = root.members("a cluster", ("format", "name", *needed), needed)
    if "format" in members:
        members["format"].whole("format", 1, 1)
    found = members["dimensions"]
    if not isinstance(found.value, tuple) or not 1 <= len(found.value) <= 4:
        came = f"{len(found.value)}" if isinstance(found.value, tuple) else found.kind
        raise found.refusal(f"`dimensions` must be a list of 1 to 4; got {came}")
    dimensions = tuple(_dimension(node) for node in found.value)
    total = prod(dimension.npus for dimension in dimensions)
    if total > 1 << 17:
        raise found.refusal(f"a cluster must have at most 131,072 NPUs; it has {total}")
    name = name_of(members["name"]) if "name" in members else path.stem
    return Cluster(name, _npu(members["npu"]), dimensions)


def _npu(node: Node) -> Npu:
    if not isinstance(node.value, Mapping):
        return NPUS[node.choice("`npu`", NPUS)]
    limits = {
        "peak_tflops": (1e-3, 1e6),
        "memory_gb_per_s": (1e-3, 1e6),
        "memory_gb": (1e-3, 1e6),
        "dollars": (0.0, 1e9),
        "watts": (0.0, 1e6),
    }
    members = node.members("an NPU", ("name", *limits), limits)
    values = [members[key].number(key, low, high) for key, (low, high) in limits.items()]
    name = name_of(members["name"]) if "name" in members else "npu"
    return Npu(name, *values)


def _dimension(node: Node) -> Dimension:
    needed = ("topology", "npus", "gb_per_s", "latency_ns")
    members = node.members("a dimension", (*needed, "tier"), needed)
    return Dimension(
        members["topology"].choice("`topology`", TOPOLOGIES),
        members["npus"].whole("npus", 1, 1 << 16),
        members["gb_per_s"].number("gb_per_s", 1e-5, 1e6),
        members["latency_ns"].number("latency_ns", 0.0, 1e9),
        members["tier"].choice("`tier`", TIERS) if "tier" in members else "pod",
    )


def dollars_per_gb(topology: str, npus: int, tier: str) -> float:
    """Return the dollars of a dimension for each NPU and GB/s (LIBRA)."""
    link, switch, nic = TIERS[tier]
    if topology == "Ring":
        return 2.0 * link
    if topology == "FullyConnected":
        return (npus - 1) * link
    return link + switch + nic


def network_dollars(dimensions: Sequence[Dimension]) -> float:
    """Return the price of a network.

    Source:
      Won et al., *LIBRA: Enabling Workload-Aware Multi-Dimensional Network Topology Optimization
      for Distributed Training of Large AI Models*, 2024, table of component costs.
    """
    total = prod(d.npus for d in dimensions)
    return sum(
        total * d.gb_per_s * dollars_per_gb(d.topology, d.npus, d.tier)
        for d in dimensions
        if d.npus > 1
    )
