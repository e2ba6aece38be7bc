"""Problems: the loop bounds of a layer, and the dimensions that each tensor depends on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple, final

import numpy as np

from archgym.simulators.kit import InvalidArgumentError

TENSORS: Final = ("Weights", "Inputs", "Outputs")
"""The tensors of every problem, in the order of all arrays; only Outputs are written."""
WEIGHTS, INPUTS, OUTPUTS = range(3)

MAX_DIMENSIONS: Final = 10  # chosen: a grouped convolution has 8
MAX_AXES: Final = 5  # chosen: Inputs of a grouped convolution have 5
# Counts are kept in doubles and 64-bit integers; within these limits all of them are exact.
MAX_OPERATIONS: Final = 2**50
MAX_ELEMENTS: Final = 2**40

Axis = tuple[tuple[str, int], ...]


class Shape(NamedTuple):
    """Arrays of a problem, as kernels take them.

    Attributes:
      bounds: (n_dimensions,) int64, loop bounds.
      axes: (3, MAX_AXES, 4) int64: first dimension and coefficient, second ones. An axis of fewer
        dimensions has dimension `n_dimensions`, whose extent is 1, with coefficient 0.
      n_axes: (3,) int64, number of axes.
      axis_of: (3, n_dimensions) int64, -1 where the tensor does not depend on the dimension.
      step: (3, n_dimensions) int64, distance in its axis of one step along a dimension.
      radix: (3, MAX_AXES) int64; a move of a tile is one number, the sum of radix x move.
      is_plain: (3, n_dimensions) int64, 1 if no other dimension moves along its axis.
      is_sliding: (3,) int64, 1 if different tiles may overlap.
    """

    bounds: np.ndarray
    axes: np.ndarray
    n_axes: np.ndarray
    axis_of: np.ndarray
    step: np.ndarray
    radix: np.ndarray
    is_plain: np.ndarray
    is_sliding: np.ndarray


@final
@dataclass(frozen=True)
class Problem:
    """A loop nest over three tensors, for any order and tiling of its loops.

    Attributes:
      name: Name in messages.
      bounds: Loop bounds by dimension.
      projections: Axes of Weights, Inputs and Outputs. An axis is a sum of coefficient x dimension
        over one or two dimensions.
    """

    name: str
    bounds: Mapping[str, int]
    projections: tuple[tuple[Axis, ...], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "bounds", dict(self.bounds))
        _check(self)

    def __hash__(self) -> int:
        return hash((self.name, tuple(self.bounds.items()), self.projections))

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Names of the loops, in the order of all arrays."""
        return tuple(self.bounds)

    @property
    def shape(self) -> tuple[object, ...]:
        """Bounds and projections: everything that results depend on."""
        return (tuple(self.bounds.items()), self.projections)

    @property
    def n_operations(self) -> int:
        """Multiply-accumulates."""
        return math.prod(self.bounds.values())

    def tensor_size(self, tensor: int) -> int:
        """Return the words of a tensor by its index, with the points that strides skip."""
        return math.prod(
            1 + sum(coefficient * (self.bounds[d] - 1) for d, coefficient in axis)
            for axis in self.projections[tensor]
        )

    @cached_property
    def arrays(self) -> Shape:
        """Arrays for kernels."""
        names = self.dimensions
        n = len(names)
        axes = np.zeros((3, MAX_AXES, 4), dtype=np.int64)
        axes[:, :, 0] = axes[:, :, 2] = n
        axis_of = np.full((3, n), -1, dtype=np.int64)
        step = np.zeros((3, n), dtype=np.int64)
        radix = np.zeros((3, MAX_AXES), dtype=np.int64)
        is_plain = np.zeros((3, n), dtype=np.int64)
        is_sliding = np.zeros(3, dtype=np.int64)
        for tensor, projection in enumerate(self.projections):
            weight = 1
            for place, axis in enumerate(projection):
                span = 1
                for part, (name, coefficient) in enumerate(axis):
                    d = names.index(name)
                    axes[tensor, place, 2 * part : 2 * part + 2] = d, coefficient
                    axis_of[tensor, d] = place
                    step[tensor, d] = coefficient
                    span += coefficient * (self.bounds[name] - 1)
                # A move along an axis lies between -span and span, so that moves do not mix.
                radix[tensor, place] = weight
                weight *= 2 * span + 1
                moving = sum(self.bounds[name] > 1 for name, _ in axis)
                for name, _ in axis:
                    is_plain[tensor, names.index(name)] = moving == 1
                is_sliding[tensor] |= int(moving > 1)
        n_axes = np.array([len(p) for p in self.projections], dtype=np.int64)
        bounds = np.array(list(self.bounds.values()), dtype=np.int64)
        found = Shape(bounds, axes, n_axes, axis_of, step, radix, is_plain, is_sliding)
        for array in found:
            array.flags.writeable = False
        return found


def _check(problem: Problem) -> None:
    bounds = problem.bounds
    fine = all(type(n) is int and n >= 1 for n in bounds.values())
    if not (fine and 1 <= len(bounds) <= MAX_DIMENSIONS):
        raise InvalidArgumentError(
            f"Problem {problem.name!r} needs 1 to {MAX_DIMENSIONS} loop bounds of 1 or more; "
            f"got {dict(bounds)!r}."
        )
    if len(problem.projections) != len(TENSORS):
        raise InvalidArgumentError(
            f"Problem {problem.name!r} needs projections of {', '.join(TENSORS)}; "
            f"got {len(problem.projections)}."
        )
    for tensor, axes in zip(TENSORS, problem.projections, strict=True):
        named = [d for axis in axes for d, _ in axis]
        coefficients = [c for axis in axes for _, c in axis]
        fits = len(axes) <= MAX_AXES and all(1 <= len(axis) <= 2 for axis in axes)
        known = set(named) <= set(bounds) and len(set(named)) == len(named)
        if not (fits and known and all(type(c) is int and 1 <= c <= 10**6 for c in coefficients)):
            raise InvalidArgumentError(
                f"{tensor} of problem {problem.name!r} need up to {MAX_AXES} axes, each of one or "
                f"two dimensions that stand in no other axis, with coefficients of 1 or more; got "
                f"{axes!r}."
            )
    sizes = [problem.tensor_size(tensor) for tensor in range(3)]
    if problem.n_operations > MAX_OPERATIONS or max(sizes) > MAX_ELEMENTS:
        raise InvalidArgumentError(
            f"Problem {problem.name!r} must have at most 2^50 operations and 2^40 words a tensor; "
            f"got {problem.n_operations} and {max(sizes)}. Split it."
        )


def convolution(
    name: str,
    *,
    channels: int,
    filters: int,
    output: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    batch: int = 1,
    groups: int = 1,
) -> Problem:
    """Return a two-dimensional convolution.

    Dimensions are C, M, R, S, N, P, Q: input channels, filters, kernel width and height, batch,
    output width and height. With as many groups as channels and filters it is depthwise and has no
    C. With other groups above 1 it has G, and C and M count within a group.

    Args:
      name: Name in messages.
      channels, filters: Input and output channels of all groups.
      output, kernel: Width and height of the output and of the filter.
      stride, dilation: Along width and height.
      batch: Number of images.
      groups: Groups of channels; must divide `channels` and `filters`.

    Raises:
      InvalidArgumentError: Groups do not divide the channels, or a number is below 1.
    """
    if groups < 1 or channels % groups or filters % groups:
        raise InvalidArgumentError(
            f"`groups` of {name!r} must divide channels and filters; got {groups}, {channels}, "
            f"{filters}."
        )
    window: dict[str, int] = {
        "R": kernel[0],
        "S": kernel[1],
        "N": batch,
        "P": output[0],
        "Q": output[1],
    }
    width: Axis = (("R", dilation[0]), ("P", stride[0]))
    height: Axis = (("S", dilation[1]), ("Q", stride[1]))
    if groups > 1 and groups == channels == filters:
        return Problem(
            name,
            {"M": filters, **window},
            (
                _plain("M", "R", "S"),
                (*_plain("N", "M"), width, height),
                _plain("N", "M", "Q", "P"),
            ),
        )
    group = ("G",) if groups > 1 else ()
    bounds = {"G": groups} if groups > 1 else {}
    return Problem(
        name,
        {**bounds, "C": channels // groups, "M": filters // groups, **window},
        (
            _plain(*group, "C", "M", "R", "S"),
            (*_plain(*group, "N", "C"), width, height),
            _plain(*group, "N", "M", "Q", "P"),
        ),
    )


def matrix_multiply(name: str, *, rows: int, inner: int, columns: int, batch: int = 1) -> Problem:
    """Return outputs (rows x columns) = Inputs (rows x inner) times Weights (inner x columns).

    Dimensions are C (inner), M (columns) and P (rows), and G for a batch of independent products
    with different weights, such as heads of attention or experts.
    """
    group = ("G",) if batch > 1 else ()
    bounds = {"G": batch} if batch > 1 else {}
    return Problem(
        name,
        {**bounds, "C": inner, "M": columns, "P": rows},
        (_plain(*group, "C", "M"), _plain(*group, "P", "C"), _plain(*group, "P", "M")),
    )


def _plain(*dimensions: str) -> tuple[Axis, ...]:
    return tuple(((d, 1),) for d in dimensions)


def divisors(number: int) -> Sequence[int]:
    """Return the divisors in increasing order."""
    small = [n for n in range(1, math.isqrt(number) + 1) if number % n == 0]
    return sorted({*small, *(number // n for n in small)})
