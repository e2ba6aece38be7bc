"""Costs of mappings on ideal machines, each of which removes one cost and keeps the mapping.

Time is the longest of the units' time and the time of each level's bandwidth. Energy is the sum
over units and levels. A cost that is hidden behind a larger one therefore causes no time.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from archgym.simulators.accelerator.kernel.evaluation import ManyEvaluations, evaluate_mappings
from archgym.simulators.accelerator.machine.architecture import Architecture
from archgym.simulators.accelerator.mapping.bounds import touched_words
from archgym.simulators.accelerator.mapping.mapper import Search, find_mapping
from archgym.simulators.accelerator.problem import INPUTS, OUTPUTS, WEIGHTS, Problem
from archgym.simulators.accelerator.workloads import Network

ARITHMETIC: Final = "arithmetic"
_IDLE: Final = "idle-units"
_REFETCHING: Final = "refetching"
_ENERGY_OF: Final = {
    "dram-energy": "dram",
    "buffer-energy": "buffers",
    "register-energy": "registers",
}
_BANDWIDTH_OF: Final = {
    "dram-bandwidth": ("dram",),
    "buffer-bandwidth": ("buffers", "registers"),
}

COSTS: Final[Mapping[str, str]] = {
    ARITHMETIC: "time and energy of the operations",
    _IDLE: "time lost to units without work",
    _REFETCHING: "words that cross to or from DRAM again",
    "dram-bandwidth": "limits of DRAM's bandwidth",
    "buffer-bandwidth": "limits of bandwidth on the chip",
    "dram-energy": "energy of DRAM",
    "buffer-energy": "energy of buffers that units share",
    "register-energy": "energy of each unit's own registers",
}
"""By name, a description; the four energies add up to the total."""

# Parameters that relieve each cost, for agents that move by bottlenecks.
_ARRAY: Final = ("array_x", "array_y", "num_pes", "mac_mesh_x")
_LOOPS: Final = (
    "split_c", "split_m", "split_r", "split_s", "split_p", "split_q", "stationary",
    "tiles_k", "tiles_c", "tiles_x", "tiles_y", "tiles_s", "tiles_r",
)  # fmt: skip
_ORDERS: Final = (
    "dataflow", "parallel_inner", "parallel_outer", "order_inner", "order_outer",
    "order_weights_spad", "order_ifmap_spad", "order_dummybuffer", "order_shared_glb",
    "order_dram",
)  # fmt: skip
_REGISTERS: Final = (
    "output_words", "weight_words", "input_words",
    "psum_depth", "weights_depth", "ifmap_depth", "psum_class", "weights_class", "ifmap_class",
)  # fmt: skip
_BUFFER: Final = ("buffer_kib", "buffer_weights", "glb_depth", "glb_class")

RELIEF: Final[Mapping[str, tuple[str, ...]]] = {
    "arithmetic": ("precision_bits", *_ARRAY),
    "idle-units": (*_ARRAY, *_ORDERS[:3], *_LOOPS),
    "refetching": (*_BUFFER, *_REGISTERS, *_LOOPS, *_ORDERS),
    "dram-bandwidth": ("dram_bandwidth", *_BUFFER, *_LOOPS, *_ORDERS),
    "buffer-bandwidth": (
        "buffer_bandwidth", "buffer_banks", "glb_read_bandwidth", "glb_write_bandwidth",
        *("glb_banks", *_REGISTERS, *_LOOPS),
    ),
    "dram-energy": (*_BUFFER, "precision_bits", *_LOOPS, *_ORDERS),
    "buffer-energy": (*_REGISTERS, "precision_bits", *_BUFFER, *_LOOPS, *_ORDERS),
    "register-energy": (*_REGISTERS, "precision_bits", *_LOOPS),
}  # fmt: skip
"""By cost, what decides it by the model's rules; a space need not have all."""


def network_without(
    cost: str, network: Network, architecture: Architecture, search: Search
) -> np.ndarray:
    """Return energy [pJ], cycles and DRAM's energy [pJ] of a network without one of `COSTS`, (3,).

    Each layer keeps the mapping that `search` finds for the real machine. The accelerator must be
    able to run all layers.
    """
    totals = np.zeros(3)
    for layer in network.layers:
        problem = layer.problem
        mapping = find_mapping(problem, architecture, search).mapping
        assert mapping is not None, "the accelerator can run the layer"
        arrays = mapping.arrays(problem, architecture)
        found = evaluate_mappings(problem, architecture, arrays, search.counts)
        parts = without(cost, problem, architecture, found, architecture.mac.instances)
        totals += layer.count * np.concatenate(parts)
    return totals


def without(
    cost: str,
    problem: Problem,
    architecture: Architecture,
    found: ManyEvaluations,
    n_units: int | np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the costs of n mappings that fit without one of `COSTS`.

    Args:
      cost: Name of the cost.
      problem, architecture: The layer and the accelerator.
      found: Costs of the mappings, with details.
      n_units: Number of units, for all mappings or (n,).

    Returns:
      Energy [pJ], cycles and DRAM's energy [pJ], each (n,).
    """
    kinds = np.array(_kinds(architecture))
    computing = found.totals[:, 3]
    moving = _moving_cycles(architecture, found.counts, computing)
    energies = found.energies.sum(axis=2)
    freed = np.zeros(len(computing))
    if cost == ARITHMETIC:
        freed = np.full(len(computing), problem.n_operations * architecture.mac.energy_pj)
        computing = np.ones(len(computing))
    elif cost == _IDLE:
        computing = np.ceil(problem.n_operations / np.broadcast_to(n_units, computing.shape))
    elif cost == _REFETCHING:
        counts = _fetched_once(problem, found.counts)
        moving[:, -1] = _moving_cycles(architecture, counts, computing)[:, -1]
        once = _outermost_energy(architecture, counts)
        freed, energies[:, -1] = energies[:, -1] - once, once
    elif cost in _BANDWIDTH_OF:
        moving[:, np.isin(kinds, _BANDWIDTH_OF[cost])] = 0.0
    else:
        levels = kinds == _ENERGY_OF[cost]
        freed = energies[:, levels].sum(axis=1)
        energies[:, levels] = 0.0
    cycles = np.maximum(computing, moving.max(axis=1))
    return found.totals[:, 0] - freed, cycles, energies[:, -1]


def _kinds(architecture: Architecture) -> list[str]:
    """Return the class of each level: a unit has its own registers; units share buffers."""
    inner = [
        "registers" if level.instances == architecture.mac.instances else "buffers"
        for level in architecture.levels[:-1]
    ]
    return [*inner, "dram"]


def _moving_cycles(
    architecture: Architecture, counts: np.ndarray, computing: np.ndarray
) -> np.ndarray:
    """Return (n, n_levels), cycles that each level's bandwidths need for its words.

    They are rounded as in the kernel: cycles of computing over the speed of the level.
    """
    cycles = computing[:, None, None]
    read = (counts[:, :, :, 0] / cycles).sum(axis=2)
    written = ((counts[:, :, :, 1] + counts[:, :, :, 2]) / cycles).sum(axis=2)
    limits = architecture.arrays.costs[:-1]
    with np.errstate(divide="ignore"):
        speed = np.minimum(limits[:, 4] / read, limits[:, 5] / written)
        speed = np.minimum(speed, limits[:, 6] / (read + written))
        return np.asarray(np.ceil(cycles[:, :, 0] / speed))


def _fetched_once(problem: Problem, counts: np.ndarray) -> np.ndarray:
    """Return counts in which DRAM reads each operand once and writes each result once."""
    once = counts.copy()
    for tensor in (WEIGHTS, INPUTS):
        reads = once[:, -1, tensor, 0]
        np.minimum(reads, touched_words(problem, tensor), out=reads)
    once[:, -1, OUTPUTS, 0] = 0.0
    updates = once[:, -1, OUTPUTS, 2]
    np.minimum(updates, touched_words(problem, OUTPUTS), out=updates)
    return once


def _outermost_energy(architecture: Architecture, counts: np.ndarray) -> np.ndarray:
    """Return (n,), energy of DRAM's accesses [pJ]."""
    level = architecture.levels[-1]
    accesses = np.ceil(counts[:, -1, :, :3] / level.block).sum(axis=1)
    prices = np.array([level.read_energy_pj, level.write_energy_pj, level.write_energy_pj])
    return np.asarray(accesses @ prices)
