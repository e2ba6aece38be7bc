"""Scratch memory of the kernels: one set per thread, allocated once for all mappings."""

import threading
from typing import Final, NamedTuple

import numpy as np

from archgym.simulators.accelerator.machine.architecture import Architecture
from archgym.simulators.accelerator.problem import MAX_AXES, Problem


class Work(NamedTuple):
    """Scratch memory of one mapping's evaluation, and its results.

    Attributes:
      extents: (n_levels, n_dimensions + 1), a level's tile by dimension; the last is 1.
      blocks: As `extents`, for all that the instances below a level hold at one time.
      spatial: (n_levels, n_dimensions + 1), number of instances that a dimension is spread over.
      loops: (n_loops, 3): dimension, bound and step of each loop in time, innermost first.
      starts: (n_levels + 1,), each level's first row in `loops`.
      fans: (n_levels, 3): instances used below an instance of a level, along X and along Y.
      used: (n_levels + 1,), instances used of each level, and of the units in the last row.
      tiles: (n_levels, 3), words of what is stored.
      outside: (n_loops + 1,), product of the bounds of a loop in time and all loops outside it.
      repeats: (n_levels, 3), fetches by a level of a tensor whose tiles never overlap.
      axis_sizes: (MAX_AXES,), a tile along each axis of a tensor.
      moved: (MAX_AXES,), distance that the inner loops have moved it.
      keys: (n_loops,), distinct moves.
      overlaps: (n_loops,), words that a tile shares with the one before it.
      state_costs: (2, n_states, 3), words by state of the walk.
      state_exits: (2, n_states), the state in which the walk ends.
      links: (n_loops, 2): remaining groups, and instances that a neighbour serves.
      offsets: (n_instances or n_dimensions, the larger), start of each instance's tile.
      table: (power of two,), a hash table of the offsets.
      counts: (n_levels, 3, 6): reads, fills, updates, words of a tile, words from neighbours, and
        words that enter the network below the level; per instance.
      costs: (n_levels, 3), energy of a level's tensor in all instances [pJ].
      totals: (4,): energy [pJ], cycles, utilisation, cycles without limits of bandwidth.
    """

    extents: np.ndarray
    blocks: np.ndarray
    spatial: np.ndarray
    loops: np.ndarray
    starts: np.ndarray
    fans: np.ndarray
    used: np.ndarray
    tiles: np.ndarray
    outside: np.ndarray
    repeats: np.ndarray
    axis_sizes: np.ndarray
    moved: np.ndarray
    keys: np.ndarray
    overlaps: np.ndarray
    state_costs: np.ndarray
    state_exits: np.ndarray
    links: np.ndarray
    offsets: np.ndarray
    table: np.ndarray
    counts: np.ndarray
    costs: np.ndarray
    totals: np.ndarray


def work(n_levels: int, n_dimensions: int, n_instances: int) -> Work:
    """Return scratch memory for one thread; `n_instances` is the number of multipliers."""
    n_loops = n_levels * n_dimensions + 1
    n_states = 2 * (n_loops + 2)
    tile = (n_levels, n_dimensions + 1)

    def whole(*size: int) -> np.ndarray:
        return np.zeros(size, dtype=np.int64)

    return Work(
        extents=np.ones(tile, dtype=np.int64),
        blocks=np.ones(tile, dtype=np.int64),
        spatial=np.ones(tile, dtype=np.int64),
        loops=whole(n_loops, 3),
        starts=whole(n_levels + 1),
        fans=whole(n_levels, 3),
        used=whole(n_levels + 1),
        tiles=whole(n_levels, 3),
        outside=np.ones(n_loops + 1),
        repeats=np.ones((n_levels, 3)),
        axis_sizes=whole(MAX_AXES),
        moved=whole(MAX_AXES),
        keys=whole(n_loops),
        overlaps=whole(n_loops),
        state_costs=np.zeros((2, n_states, 3)),
        state_exits=whole(2, n_states),
        links=whole(n_loops, 2),
        # The mapper lists loops in it, of which there may be more than instances.
        offsets=whole(max(n_instances, n_dimensions)),
        table=whole(2 ** (2 * n_instances - 1).bit_length()),
        counts=np.zeros((n_levels, 3, 6)),
        costs=np.zeros((n_levels, 3)),
        totals=np.zeros(4),
    )


_LOCAL: Final = threading.local()


def work_for(architecture: Architecture, problem: Problem) -> Work:
    """Return this thread's scratch memory for a problem on an architecture."""
    key = (architecture.n_levels, len(problem.dimensions), architecture.mac.instances)
    kept = getattr(_LOCAL, "work", None)
    if kept is None or kept[0] != key:
        _LOCAL.work = (key, work(*key))
    found: Work = _LOCAL.work[1]
    return found
