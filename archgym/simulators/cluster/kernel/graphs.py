"""Graphs of compute, collective, send and receive nodes, as the kernels read them."""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from archgym.simulators.cluster.kernel import state
from archgym.simulators.cluster.machine.system import System

Ints = npt.NDArray[np.int64]


@final
@dataclass(frozen=True)
class Standing:
    """The NPUs that stand for all others.

    Attributes:
      coordinates: (n_simulated, 8), their addresses.
      steps: Difference between numbers of neighbours by dimension; 0 if one stands for all.
    """

    coordinates: Ints
    steps: tuple[int, ...]


@final
@dataclass(frozen=True)
class Graphs:
    """Graphs of all simulated NPUs.

    Attributes:
      nodes: (n_nodes, `NODE_WORDS`) int64, graph by graph; successors are offsets in `following`.
      following: int64, numbers of successors within their graph.
      ranges: (n_graphs, 2) int64, first node and number of nodes.
      graph_of: (n_simulated,) int64.
      groups: Members of each group, by number from 1.
      slots: (n_simulated, n_slots) int64, group of each slot, 0 without one.
      is_shared: True if the members of each collective have the same graph.
      standing: NPUs that stand for others; None where all are simulated.
    """

    nodes: Ints
    following: Ints
    ranges: Ints
    graph_of: Ints
    groups: tuple[tuple[int, ...], ...] = ()
    slots: Ints | None = None
    is_shared: bool = False
    standing: Standing | None = None


def compute_ns(system: System, flops: float, n_bytes: float) -> int:
    """Return how long a node computes on a roofline, rounded down [ns]."""
    intensity = flops / n_bytes
    power = min(system.mem_gb_per_s * 1e9 * intensity, system.peak_tflops * 1e12)
    return math.floor(flops / power * 1e9)


def link(nodes: Ints, edges: Ints, ranges: Ints) -> Ints:
    """Fill in numbers of predecessors and offsets of successors; return the successors.

    Args:
      nodes: (n_nodes, `NODE_WORDS`) int64, changed in place.
      edges: (n_edges, 2) int64, predecessor and successor among all nodes.
      ranges: (n_graphs, 2) int64.
    """
    order = np.argsort(edges[:, 0], kind="stable")
    counts = np.bincount(edges[:, 0], minlength=len(nodes))
    nodes[:, state.N_BEFORE] = np.bincount(edges[:, 1], minlength=len(nodes))
    nodes[:, state.N_FOLLOWING] = counts
    nodes[:, state.FOLLOWING] = np.cumsum(counts) - counts
    first = np.repeat(ranges[:, 0], ranges[:, 1])
    successors = edges[order, 1]
    return np.asarray(successors - first[successors], dtype=np.int64)
