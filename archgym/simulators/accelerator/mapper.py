"""The mapper: the best way found to run a layer on an accelerator."""

import math
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from archgym.errors import InvalidArgumentError, unknown_name
from archgym.simulators.accelerator.architecture import Architecture, allowed_dimensions
from archgym.simulators.accelerator.bounds import LowerBound, lower_bound
from archgym.simulators.accelerator.buffers import machine, shape
from archgym.simulators.accelerator.evaluation import mode_number, work_for
from archgym.simulators.accelerator.mapping import Mapping, MappingArrays, mapping_from_arrays
from archgym.simulators.accelerator.problem import Problem

__all__ = ["OBJECTIVES", "Found", "MapSpace", "anneal_mapping", "cost", "map_space"]

OBJECTIVES: Final = ("energy", "cycles", "edp")

# chosen: on twelve layers and three architectures, starts from 1 to 16 and temperatures from 0.1 to
# 4 at first and 0.003 to 0.1 at last were tried; costs are logarithms, so 1 is a factor of e.
_TRIES_A_START: Final = 20_000
_HOT: Final = 1.0
_COLD: Final = 0.02


@final
@dataclass(frozen=True)
class Found:
    """The best mapping of a search.

    Attributes:
      mapping: None where no mapping was found that fits.
      energy_pj, cycles: What it costs.
      tries: Mappings that were looked at.
      valid: How many of them fitted and were counted.
      bound: What no mapping beats.
      is_optimal: Whether the search met the bound, or has seen every mapping.
      outermost_energy_pj: The part of the outermost level, DRAM, in the energy [pJ].
    """

    mapping: Mapping | None
    energy_pj: float
    cycles: float
    tries: int
    valid: int
    bound: LowerBound
    is_optimal: bool
    outermost_energy_pj: float = math.inf

    @property
    def edp(self) -> float:
        """Energy times cycles [pJ x cycles]."""
        return self.energy_pj * self.cycles


@final
@dataclass(frozen=True)
class MapSpace:
    """Where the loops of a problem may stand on an architecture.

    Attributes:
      problem: The layer.
      architecture: The accelerator.
      primes: (n_primes, 3) int64: dimension, value and 0; first those that can move.
      n_movable: How many can move.
      slots: (n_dimensions, 3 x n_levels) int64: 3 x level + kind, in increasing order.
      n_slots: (n_dimensions,) int64.
      keeps: (n_levels, 3) int64, what levels store at first.
      toggles: (n, 2) int64, level and tensor of what may be stored or not.
      orders: (n_levels, 2, n_dimensions) int64, the order at first.
      is_order_free: (n_levels,) int64, whether loops in time may be reordered.
    """

    problem: Problem
    architecture: Architecture
    primes: np.ndarray
    n_movable: int
    slots: np.ndarray
    n_slots: np.ndarray
    keeps: np.ndarray
    toggles: np.ndarray
    orders: np.ndarray
    is_order_free: np.ndarray

    @property
    def is_empty(self) -> bool:
        """True if a dimension's loops may stand nowhere."""
        return bool((self.n_slots[self.primes[:, 0]] == 0).any())

    @property
    def size(self) -> float:
        """About how many mappings there are: splits of the bounds times orders of the loops."""
        splits = 1.0
        for d, name in enumerate(self.problem.dimensions):
            for exponent in _exponents(self.problem.bounds[name]).values():
                splits *= math.comb(exponent + int(self.n_slots[d]) - 1, exponent)
        orders = math.factorial(sum(b > 1 for b in self.problem.bounds.values()))
        return splits * float(orders) ** int(self.is_order_free.sum()) * 2.0 ** len(self.toggles)


def map_space(
    problem: Problem,
    architecture: Architecture,
    *,
    bypass: bool = False,
    fixed_orders: MappingOf[str, tuple[str, ...]] | None = None,
) -> MapSpace:
    """Return the mappings among which to search.

    Args:
      problem: The layer.
      architecture: The accelerator.
      bypass: Whether what levels store is searched too.
      fixed_orders: For levels by name, dimensions innermost first where their order is given
        beside those that the architecture gives.
    """
    names = problem.dimensions
    n_levels = architecture.n_levels
    allowed = allowed_dimensions(architecture, names)
    slots = np.zeros((len(names), 3 * n_levels), dtype=np.int64)
    n_slots = np.zeros(len(names), dtype=np.int64)
    for d in range(len(names)):
        # In time last among a level's, so that the last slot of all is the outermost in time.
        places = [
            3 * level + kind
            for level in range(n_levels)
            for kind in range(3)
            if allowed[level, kind, d]
        ]
        slots[d, : len(places)] = places
        n_slots[d] = len(places)
    primes = [
        (d, prime, 0)
        for d, name in enumerate(names)
        for prime, exponent in _exponents(problem.bounds[name]).items()
        for _ in range(exponent)
    ]
    primes.sort(key=lambda p: n_slots[p[0]] == 1)
    keeps = architecture.keeps.copy()
    toggles = [(i, t) for i in range(n_levels - 1) for t in range(3)] if bypass else []
    orders = np.tile(np.arange(len(names)), (n_levels, 2, 1)).astype(np.int64)
    is_order_free = np.ones(n_levels, dtype=np.int64)
    given = {level.name: level.order for level in architecture.levels if level.order is not None}
    for level_name, order in {**given, **(fixed_orders or {})}.items():
        place = architecture.level_index(level_name)
        listed = [n for n in order if n in names]
        orders[place, :] = [names.index(n) for n in dict.fromkeys([*listed, *names])]
        is_order_free[place] = 0
    return MapSpace(
        problem,
        architecture,
        np.array(primes, dtype=np.int64).reshape(-1, 3),
        sum(int(n_slots[p[0]] > 1) for p in primes),
        slots,
        n_slots,
        keeps,
        np.array(toggles, dtype=np.int64).reshape(-1, 2),
        orders,
        is_order_free,
    )


def anneal_mapping(
    space: MapSpace,
    objective: str = "edp",
    *,
    tries: int = 100_000,
    starts: int | None = None,
    seed: int = 0,
    counts: str = "timeloop",
    temperatures: tuple[float, float] = (_HOT, _COLD),
) -> Found:
    """Search by simulated annealing from several starts.

    Args:
      space: The mappings.
      objective: One of `OBJECTIVES`.
      tries: Mappings to look at.
      starts: How many starts share them; by default one for each 20,000 tries.
      seed: Equal seeds give equal results.
      counts: `timeloop` or `ideal`.
      temperatures: At first and at last.

    Raises:
      InvalidArgumentError: There is nothing to try.
      UnknownNameError: There is no such objective or count mode.
    """
    from archgym.simulators.accelerator.annealing import anneal

    if tries < 1:
        raise InvalidArgumentError(f"`tries` must be 1 or more; got {tries!r}.")
    number = objective_number(objective)
    problem, architecture = space.problem, space.architecture
    bound = lower_bound(problem, architecture, bypass=len(space.toggles) > 0)
    if space.is_empty:
        return Found(None, math.inf, math.inf, 0, 0, bound, False)
    n_levels, n = architecture.n_levels, len(problem.dimensions)
    factors = np.ones((1, n_levels, 3, n), dtype=np.int64)
    orders, keeps = space.orders[None].copy(), space.keeps[None].copy()
    best = MappingArrays(factors.copy(), orders.copy(), keeps.copy())
    results = np.zeros(4)
    anneal(
        shape(problem.arrays),
        machine(architecture.arrays),
        factors,
        orders,
        keeps,
        space.primes.copy(),
        space.n_movable,
        space.slots,
        space.n_slots,
        space.is_order_free,
        space.toggles,
        mode_number(counts),
        number,
        np.array([seed], dtype=np.uint64),
        tries,
        max(1, round(tries / _TRIES_A_START)) if starts is None else starts,
        *temperatures,
        bound.energy_pj,
        # Logarithms of what is equal may differ in the last digits.
        cost(bound.energy_pj, bound.cycles, objective) + 1e-9,
        work_for(architecture, problem),
        best.factors,
        best.orders,
        best.keeps,
        results,
    )
    return found_mapping(space, best, results, bound, counts)


def found_mapping(
    space: MapSpace,
    best: MappingArrays,
    results: np.ndarray,
    bound: LowerBound,
    counts: str,
) -> Found:
    """What a kernel's search has found; `results` as `anneal` gives them."""
    from archgym.simulators.accelerator.evaluation import evaluate_mappings

    tries, valid, is_optimal = int(results[1]), int(results[2]), bool(results[3])
    if not math.isfinite(results[0]):
        return Found(None, math.inf, math.inf, tries, valid, bound, False)
    evaluated = evaluate_mappings(space.problem, space.architecture, best, counts)
    return Found(
        mapping_from_arrays(space.problem, best, 0),
        float(evaluated.totals[0, 0]),
        float(evaluated.totals[0, 1]),
        tries,
        valid,
        bound,
        is_optimal,
        float(evaluated.energies[0, -1].sum()),
    )


def objective_number(objective: str) -> int:
    """Return the kernel's number of an objective.

    Raises:
      UnknownNameError: There is no such objective.
    """
    if objective not in OBJECTIVES:
        raise unknown_name("mapping objective", objective, OBJECTIVES)
    return OBJECTIVES.index(objective)


def cost(energy_pj: float, cycles: float, objective: str) -> float:
    """What a mapper minimises: the logarithm of energy, cycles or their product."""
    energy, time = math.log(max(energy_pj, 1e-300)), math.log(cycles)
    # As `cost_of` in the kernel: what is second decides among equals.
    return {"energy": energy + 1e-4 * time, "cycles": time + 1e-4 * energy, "edp": energy + time}[
        objective
    ]


def _exponents(number: int) -> dict[int, int]:
    """Return prime factors and how often each divides."""
    found: dict[int, int] = {}
    prime = 2
    while number > 1:
        if prime * prime > number:
            prime = number
        while number % prime == 0:
            found[prime] = found.get(prime, 0) + 1
            number //= prime
        prime += 1
    return found
