"""Memory that the counting kernel borrows: one set a thread, made once and used for any mapping."""

from typing import NamedTuple

import numpy as np

from archgym.simulators.accelerator.architecture import ArchitectureArrays
from archgym.simulators.accelerator.problem import MAX_AXES, ProblemArrays

__all__ = ["Machine", "Shape", "Work", "machine", "shape", "work"]


class Shape(NamedTuple):
    """`ProblemArrays` as the kernel takes them."""

    bounds: np.ndarray
    axes: np.ndarray
    n_axes: np.ndarray
    axis_of: np.ndarray
    step: np.ndarray
    radix: np.ndarray
    is_plain: np.ndarray
    is_sliding: np.ndarray


class Machine(NamedTuple):
    """`ArchitectureArrays` as the kernel takes them."""

    sizes: np.ndarray
    costs: np.ndarray


class Work(NamedTuple):
    """Scratch of one mapping's evaluation, and its results.

    Attributes:
      extents: (n_levels, n_dimensions + 1), a level's tile by dimension; the last is 1.
      blocks: Likewise, of all that the instances below a level hold at one time.
      spatial: (n_levels, n_dimensions + 1), how many instances share out a dimension.
      loops: (n_loops, 3): dimension, bound and step of each loop in time, innermost first.
      starts: (n_levels + 1,), each level's first row in `loops`.
      fans: (n_levels, 3): instances used below an instance of a level, along X and along Y.
      used: (n_levels + 1,), instances used of each level, and of the units in the last row.
      tiles: (n_levels, 3), words of what is stored.
      outside: (n_loops + 1,), product of the bounds of a loop in time and all outside it.
      repeats: (n_levels, 3), how often a level fetches a tensor whose tiles never overlap.
      axis_sizes: (MAX_AXES,), a tile along each axis of a tensor.
      moved: (MAX_AXES,), what the inner loops have moved it by.
      keys: (n_loops,), distinct moves.
      overlaps: (n_loops,), what a tile has in common with the one before it.
      state_costs: (2, n_states, 3), words by state of the walk.
      state_exits: (2, n_states), the state that it ends in.
      links: (n_loops, 2): groups left, and instances served by a neighbour.
      offsets: (n_instances or n_dimensions, the larger), where each instance's tile begins.
      table: (power of two,), a hash table of them.
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


def shape(arrays: ProblemArrays) -> Shape:
    """Return a problem for the kernel."""
    return Shape(**vars(arrays))


def machine(arrays: ArchitectureArrays) -> Machine:
    """Return an architecture for the kernel."""
    return Machine(arrays.sizes, arrays.costs)


def work(n_levels: int, n_dimensions: int, n_instances: int) -> Work:
    """Return scratch for one thread.

    Args:
      n_levels: Of the architecture.
      n_dimensions: Of the problem.
      n_instances: Multiply-accumulate units, the most that can be used.
    """
    n_loops = n_levels * n_dimensions + 1
    n_states = 2 * (n_loops + 2)
    table = 2 ** (2 * n_instances - 1).bit_length()

    def whole(*size: int) -> np.ndarray:
        return np.zeros(size, dtype=np.int64)

    return Work(
        extents=np.ones((n_levels, n_dimensions + 1), dtype=np.int64),
        blocks=np.ones((n_levels, n_dimensions + 1), dtype=np.int64),
        spatial=np.ones((n_levels, n_dimensions + 1), dtype=np.int64),
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
        table=whole(table),
        counts=np.zeros((n_levels, 3, 6)),
        costs=np.zeros((n_levels, 3)),
        totals=np.zeros(4),
    )
