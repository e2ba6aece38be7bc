"""Lower bounds of energy and cycles over all mappings."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from archgym.simulators.accelerator.machine.architecture import Architecture, allowed_dimensions
from archgym.simulators.accelerator.problem import (
    INPUTS,
    OUTPUTS,
    TENSORS,
    WEIGHTS,
    Problem,
    divisors,
)


@final
@dataclass(frozen=True)
class LowerBound:
    """Energy [pJ] and cycles that no mapping falls below."""

    energy_pj: float
    cycles: float

    @property
    def edp(self) -> float:
        """Energy times cycles [pJ x cycles]."""
        return self.energy_pj * self.cycles


def lower_bound(
    problem: Problem, architecture: Architecture, *, bypass: bool = False
) -> LowerBound:
    """Return the bound of a layer on an accelerator.

    Energy: every operation is computed. The innermost level of each tensor serves each operation;
    one access serves as many operations as its instances can reach. Every touched word comes from
    DRAM once and passes each level that stores its tensor. Cycles: the active units are at most
    those that loops with whole factors can fill along each axis, and DRAM's bandwidth limits.

    Args:
      problem, architecture: The layer and the accelerator.
      bypass: Allow mappings to store tensors at other levels than the architecture says. Then only
        the costs of DRAM and the units are bounded.
    """
    operations = problem.n_operations
    energy = operations * architecture.mac.energy_pj
    touched = [touched_words(problem, tensor) for tensor in range(len(TENSORS))]
    for tensor, name in enumerate(TENSORS):
        keeping = [i for i, level in enumerate(architecture.levels) if name in level.keeps]
        if bypass:
            keeping = keeping[-1:]
        innermost = keeping[0]
        for place in keeping:
            level = architecture.levels[place]
            read, written = level.read_energy_pj / level.block, level.write_energy_pj / level.block
            # Every instance serves at most this many units with one access.
            served = architecture.mac.instances // level.instances
            accesses = operations / served if place == innermost and not bypass else 0.0
            accesses = max(accesses, touched[tensor])
            energy += accesses * (written if tensor == OUTPUTS else read)
            if tensor != OUTPUTS and place != keeping[-1]:
                energy += touched[tensor] * written
    cycles = math.ceil(operations / _most_parallel(problem, architecture))
    outermost = architecture.levels[-1]
    for moved, bandwidth in (
        (touched[WEIGHTS] + touched[INPUTS], outermost.read_bandwidth),
        (touched[OUTPUTS], outermost.write_bandwidth),
        (sum(touched), outermost.shared_bandwidth),
    ):
        if bandwidth is not None:
            # A quotient of whole numbers is rounded up, and the count may be one off by rounding.
            cycles = max(cycles, math.ceil(moved / bandwidth) - 1)
    # Sums of a few doubles may be off in the last digits.
    return LowerBound(energy * (1 - 1e-12), float(max(1, cycles)))


def touched_words(problem: Problem, tensor: int) -> int:
    """Return the words of a tensor that operations use."""
    words = 1
    for axis in problem.projections[tensor]:
        if len(axis) == 1:
            words *= problem.bounds[axis[0][0]]
            continue
        (first, a), (second, b) = axis
        m, n = problem.bounds[first], problem.bounds[second]
        g = math.gcd(a, b)
        words *= m * n - max(0, m - b // g) * max(0, n - a // g)
    return words


def _most_parallel(problem: Problem, architecture: Architecture) -> int:
    """Return the most operations that loops with whole factors can spread over the instances."""
    allowed = allowed_dimensions(architecture, problem.dimensions)
    most = 1
    for place in range(architecture.n_levels):
        fan = architecture.fan_out(place)
        for kind in (1, 2):
            bounds = [
                problem.bounds[d]
                for d, free in zip(problem.dimensions, allowed[place, kind], strict=True)
                if free
            ]
            most *= _largest_product(bounds, fan[kind - 1])
    return min(most, architecture.mac.instances, problem.n_operations)


def _largest_product(bounds: Iterable[int], limit: int) -> int:
    """Return the largest product of one divisor of each bound up to a limit."""
    reached = {1}
    for bound in bounds:
        factors = [f for f in divisors(bound) if f <= limit]
        reached = {r * f for r in reached for f in factors if r * f <= limit}
    return max(reached)
