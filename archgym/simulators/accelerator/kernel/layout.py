"""Extents of the tiles of a mapping, and a check that they fit; compiled."""

import numpy as np

from archgym.simulators.accelerator.kernel.buffers import Work
from archgym.simulators.accelerator.machine.architecture import Machine
from archgym.simulators.accelerator.machine.mapping import MappingArrays
from archgym.simulators.accelerator.problem import Shape
from archgym.simulators.kit.kernels import inlined

# Reasons why a mapping cannot run; a status is 16 x the level + the reason.
VALID, OVER_CAPACITY, FAN_OUT_X, FAN_OUT_Y, FAN_OUT, NOT_KEPT = range(6)


@inlined
def axis_size(shape: Shape, tensor: int, a: int, extents: np.ndarray, level: int) -> int:
    """Return the size of a tensor's tile along an axis."""
    d, e = shape.axes[tensor, a, 0], shape.axes[tensor, a, 2]
    size = 1 + shape.axes[tensor, a, 1] * (extents[level, d] - 1)
    return size + shape.axes[tensor, a, 3] * (extents[level, e] - 1)  # type: ignore[no-any-return]


@inlined
def tile_words(shape: Shape, tensor: int, extents: np.ndarray, level: int) -> int:
    """Return the words of a tensor's tile."""
    volume = 1
    for a in range(shape.n_axes[tensor]):
        volume *= axis_size(shape, tensor, a, extents, level)
    return volume


@inlined
def lay_out(shape: Shape, machine: Machine, mapping: MappingArrays, row: int, work: Work) -> int:
    """Lay out the loops of one row of the mappings.

    Returns:
      0 if the mapping fits, else 16 x level + reason; the units' level is `n_levels`.
    """
    factors, orders = mapping.factors, mapping.orders
    n_levels, n_dimensions = factors.shape[1], factors.shape[3]
    n_loops = 0
    for level in range(n_levels):
        work.starts[level] = n_loops
        along_x = along_y = 1
        for d in range(n_dimensions):
            x = factors[row, level, 1, d]
            y = factors[row, level, 2, d]
            along_x *= x
            along_y *= y
            below = work.extents[level - 1, d] if level > 0 else 1
            work.spatial[level, d] = x * y
            work.blocks[level, d] = below * x * y
            work.extents[level, d] = below * x * y * factors[row, level, 0, d]
        work.fans[level, 0] = along_x * along_y
        work.fans[level, 1] = along_x
        work.fans[level, 2] = along_y
        for place in range(n_dimensions):
            d = orders[row, level, 0, place]
            bound = factors[row, level, 0, d]
            if bound > 1:
                work.loops[n_loops, 0] = d
                work.loops[n_loops, 1] = bound
                work.loops[n_loops, 2] = work.blocks[level, d]
                n_loops += 1
    work.starts[n_levels] = n_loops
    return _fit(shape, machine, mapping.keeps, row, work, n_levels)


@inlined
def _fit(
    shape: Shape, machine: Machine, keeps: np.ndarray, row: int, work: Work, n_levels: int
) -> int:
    """Check instances and capacities; return the status."""
    along_x = along_y = 1
    for number in range(n_levels + 1):
        # From the outermost level to the units below level 0, which come last.
        level = n_levels - 1 - number if number < n_levels else n_levels
        used = along_x * along_y
        work.used[level] = used
        if along_x > machine.sizes[level, 2]:
            return 16 * level + FAN_OUT_X
        if along_y > machine.sizes[level, 3]:
            return 16 * level + FAN_OUT_Y
        if used > machine.sizes[level, 1]:
            return 16 * level + FAN_OUT
        if level < n_levels:
            along_x *= work.fans[level, 1]
            along_y *= work.fans[level, 2]
    for level in range(n_levels):
        words = 0
        for tensor in range(3):
            if keeps[row, level, tensor]:
                volume = tile_words(shape, tensor, work.extents, level)
                work.tiles[level, tensor] = volume
                words += volume
        if words > machine.sizes[level, 0]:
            return 16 * level + OVER_CAPACITY
    for tensor in range(3):
        kept = 0
        for level in range(n_levels):
            kept += keeps[row, level, tensor]
        if kept == 0:
            return 16 * (n_levels - 1) + NOT_KEPT
    return VALID
