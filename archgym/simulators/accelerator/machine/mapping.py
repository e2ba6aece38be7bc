"""Mappings: how a problem's loops are split over an accelerator's levels, and in which order."""

import json
import math
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, final

import numpy as np

from archgym.simulators.accelerator.machine.architecture import Architecture
from archgym.simulators.accelerator.problem import TENSORS, Problem
from archgym.simulators.kit import InvalidArgumentError

_MAX_LOOPS: Final = 64  # chosen: more than eight dimensions with eight loops each
_KINDS: Final = ("temporal", "spatial_x", "spatial_y")

Loop = tuple[str, int]


@final
@dataclass(frozen=True)
class LevelLoops:
    """Loops of a level, innermost first, and the tensors that it stores.

    Attributes:
      temporal: Loops in time.
      spatial_x: Loops over the instances below it along X.
      spatial_y: Loops over the instances below it along Y, outside those along X.
      keeps: Tensors that it stores.
    """

    temporal: tuple[Loop, ...] = ()
    spatial_x: tuple[Loop, ...] = ()
    spatial_y: tuple[Loop, ...] = ()
    keeps: frozenset[str] = frozenset(TENSORS)

    @property
    def nests(self) -> tuple[tuple[Loop, ...], ...]:
        """Loops in time, along X and along Y."""
        return self.temporal, self.spatial_x, self.spatial_y


class MappingArrays(NamedTuple):
    """Arrays of n mappings, as kernels take them.

    Attributes:
      factors: (n, n_levels, 3, n_dimensions) int64, bounds in time, along X and along Y.
      orders: (n, n_levels, 2, n_dimensions) int64, dimensions of loops in time and space,
        innermost first.
      keeps: (n, n_levels, 3) int64, 1 where a level stores a tensor.
    """

    factors: np.ndarray
    orders: np.ndarray
    keeps: np.ndarray


@final
@dataclass(frozen=True)
class Mapping:
    """Loop nest on an architecture; `levels` are innermost first, as in the architecture."""

    levels: tuple[LevelLoops, ...]

    def arrays(self, problem: Problem, architecture: Architecture) -> MappingArrays:
        """Return the arrays of the mapping, as a batch of one.

        Raises:
          InvalidArgumentError: Levels, dimensions or products of bounds are not the problem's.
        """
        n_levels, names = architecture.n_levels, problem.dimensions
        if len(self.levels) != n_levels:
            raise InvalidArgumentError(
                f"A mapping on {architecture.name!r} must have {n_levels} levels; "
                f"got {len(self.levels)}."
            )
        factors = np.ones((1, n_levels, 3, len(names)), dtype=np.int64)
        orders = np.zeros((1, n_levels, 2, len(names)), dtype=np.int64)
        keeps = np.zeros((1, n_levels, len(TENSORS)), dtype=np.int64)
        for place, level in enumerate(self.levels):
            for kind, loops in enumerate(level.nests):
                for name, bound in loops:
                    if name not in names or type(bound) is not int or bound < 1:
                        raise InvalidArgumentError(
                            f"Loops of level {architecture.level_names[place]!r} must be over "
                            f"{', '.join(names)} with whole bounds of 1 or more; "
                            f"got {name!r}, {bound!r}."
                        )
                    d = names.index(name)
                    if factors[0, place, kind, d] != 1:
                        raise InvalidArgumentError(
                            f"Level {architecture.level_names[place]!r} must have one "
                            f"{_KINDS[kind]} loop over {name}; it has two. Multiply them."
                        )
                    factors[0, place, kind, d] = bound
            orders[0, place, 0] = _order(names, [n for n, _ in level.temporal])
            spatial = [n for n, _ in (*level.spatial_x, *level.spatial_y)]
            orders[0, place, 1] = _order(names, spatial)
            keeps[0, place] = [int(t in level.keeps) for t in TENSORS]
        products = [math.prod(map(int, factors[0, :, :, d].ravel())) for d in range(len(names))]
        for name, product in zip(names, products, strict=True):
            if product != problem.bounds[name]:
                raise InvalidArgumentError(
                    f"Loops over {name} must multiply to {problem.bounds[name]}; got {product}."
                )
        return MappingArrays(factors, orders, keeps)

    def text(self, architecture: Architecture) -> str:
        """Return the loop nest, outermost first, one loop a line."""
        lines, depth = [], 0
        for name, level in self._outermost_first(architecture):
            kept = [t for t in TENSORS if t in level.keeps]
            lines.append(f"{'  ' * depth}{name} [{', '.join(kept)}]")
            loops = [(n, b, "for") for n, b in reversed(level.temporal)]
            loops += [(n, b, "for-y") for n, b in reversed(level.spatial_y)]
            loops += [(n, b, "for-x") for n, b in reversed(level.spatial_x)]
            for dimension, bound, word in loops:
                if bound > 1:
                    depth += 1
                    lines.append(f"{'  ' * depth}{word} {dimension} in {bound}")
        return "\n".join([*lines, f"{'  ' * (depth + 1)}{architecture.mac.name}"])

    def to_json(self, architecture: Architecture) -> list[dict[str, Any]]:
        """Return the levels, outermost first, each with its loops as text, outermost first."""
        return [
            {
                "level": name,
                "keep": [t for t in TENSORS if t in level.keeps],
                **{
                    kind: " ".join(f"{n}{b}" for n, b in reversed(loops) if b > 1)
                    for kind, loops in zip(_KINDS, level.nests, strict=True)
                    if any(b > 1 for _, b in loops)
                },
            }
            for name, level in self._outermost_first(architecture)
        ]

    def _outermost_first(self, architecture: Architecture) -> Iterator[tuple[str, LevelLoops]]:
        names = reversed(architecture.level_names)
        return zip(names, reversed(self.levels), strict=True)

    def json_text(self, architecture: Architecture) -> str:
        """Return `to_json` as text, one level a line."""
        lines = [json.dumps(level) for level in self.to_json(architecture)]
        return "[\n" + ",\n".join(f"  {line}" for line in lines) + "\n]"


def mapping_from_arrays(problem: Problem, arrays: MappingArrays, row: int) -> Mapping:
    """Return the mapping in one row of a batch."""
    names = problem.dimensions
    levels = []
    for factors, orders, keeps in zip(
        arrays.factors[row], arrays.orders[row], arrays.keeps[row], strict=True
    ):
        loops = [
            tuple(
                (names[d], int(factors[kind, d]))
                for d in orders[min(kind, 1)]
                if factors[kind, d] > 1
            )
            for kind in range(3)
        ]
        kept = frozenset(t for t, keep in zip(TENSORS, keeps, strict=True) if keep)
        levels.append(LevelLoops(loops[0], loops[1], loops[2], kept))
    return Mapping(tuple(levels))


def _order(names: Sequence[str], first: Sequence[str]) -> list[int]:
    """Return the indices of all dimensions: those in `first`, then the others."""
    listed = list(dict.fromkeys([*first, *names]))
    return [names.index(name) for name in listed]


def loops_from_text(text: str, dimensions: MappingOf[str, int]) -> tuple[Loop, ...]:
    """Parse loops such as `P4 Q2`, outermost first; return them innermost first.

    Raises:
      InvalidArgumentError: A word is not a dimension with a bound.
    """
    loops = []
    words = text.split()
    if len(words) > _MAX_LOOPS:
        raise InvalidArgumentError(
            f"A level must have at most {_MAX_LOOPS} loops; got {len(words)}. Merge loops of one "
            "dimension."
        )
    for word in words:
        name = word.rstrip("0123456789")
        digits = word[len(name) :]
        if name not in dimensions or not digits or len(digits) > 9:
            raise InvalidArgumentError(
                f"A loop must be a dimension ({', '.join(dimensions)}) and its bound, such as "
                f"{next(iter(dimensions))}4; got {word[:20]!r}."
            )
        loops.append((name, int(digits)))
    return tuple(reversed(loops))
