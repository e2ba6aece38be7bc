"""Loop nests walked point by point, to check the closed forms of the kernel."""

import itertools
from collections.abc import Iterator

import numpy as np

from archgym.simulators.accelerator.machine.architecture import Architecture
from archgym.simulators.accelerator.machine.mapping import MappingArrays
from archgym.simulators.accelerator.problem import Problem


def random_mappings(
    problem: Problem, architecture: Architecture, n: int, rng: np.random.Generator
) -> MappingArrays:
    """Mappings with every prime anywhere within the fan-outs, and any order."""
    n_levels, names = architecture.n_levels, problem.dimensions
    factors = np.ones((n, n_levels, 3, len(names)), dtype=np.int64)
    fans = [(1, *architecture.fan_out(level)) for level in range(n_levels)]
    for row, (d, name) in itertools.product(range(n), enumerate(names)):
        left, prime = problem.bounds[name], 2
        while left > 1:
            if left % prime:
                prime += 1
                continue
            left //= prime
            level, kind = int(rng.integers(n_levels)), int(rng.integers(3))
            spread = factors[row, level, kind].prod() * prime
            if kind and spread > fans[level][kind]:
                level, kind = n_levels - 1, 0
            factors[row, level, kind, d] *= prime
    orders = rng.permuted(
        np.tile(np.arange(len(names), dtype=np.int64), (n, n_levels, 2, 1)), axis=3
    )
    return MappingArrays(factors, orders, np.tile(architecture.keeps, (n, 1, 1)))


def tiles(
    problem: Problem, mappings: MappingArrays, row: int, tensor: int, level: int
) -> Iterator[frozenset[tuple[int, ...]]]:
    """Boxes of a tensor that the first instance of a level holds, visit by visit."""
    factors, orders = mappings.factors[row], mappings.orders[row]
    inside = factors[: level + 1].prod(axis=(0, 1))
    loops = []
    extents = inside.copy()
    for outer in range(level + 1, len(factors)):
        extents = extents * factors[outer, 1] * factors[outer, 2]
        for d in orders[outer, 0]:
            loops.append((d, int(factors[outer, 0, d]), int(extents[d])))
            extents[d] *= factors[outer, 0, d]
    for indices in itertools.product(*(range(bound) for _, bound, _ in reversed(loops))):
        start = np.zeros(len(inside), dtype=np.int64)
        for (d, _, step), index in zip(reversed(loops), indices, strict=True):
            start[d] += step * index
        yield box(problem, tensor, start, inside)


def box(
    problem: Problem, tensor: int, start: np.ndarray, extents: np.ndarray
) -> frozenset[tuple[int, ...]]:
    """Points of the bounding box of what a part of the loops touches."""
    names = problem.dimensions
    sides = []
    for axis in problem.projections[tensor]:
        low = sum(c * int(start[names.index(d)]) for d, c in axis)
        length = 1 + sum(c * (int(extents[names.index(d)]) - 1) for d, c in axis)
        sides.append(range(low, low + length))
    return frozenset(itertools.product(*sides))
