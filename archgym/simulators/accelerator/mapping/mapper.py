"""Mapper: search for the best mapping of a layer on an accelerator, whose costs are cached."""

import hashlib
import math
import threading
from collections import OrderedDict
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, final

import numpy as np

from archgym.simulators.accelerator.kernel.buffers import work_for
from archgym.simulators.accelerator.kernel.evaluation import (
    COUNT_MODES,
    evaluate_mappings,
    number_of,
)
from archgym.simulators.accelerator.machine.architecture import Architecture, allowed_dimensions
from archgym.simulators.accelerator.machine.mapping import (
    Mapping,
    MappingArrays,
    mapping_from_arrays,
)
from archgym.simulators.accelerator.mapping.bounds import LowerBound, lower_bound
from archgym.simulators.accelerator.problem import Problem
from archgym.simulators.kit import InvalidArgumentError

if TYPE_CHECKING:
    from archgym.simulators.accelerator.mapping.annealing import Moves

OBJECTIVES: Final = ("energy", "cycles", "edp")

# chosen: the best of 1 to 16 starts, first temperatures from 0.1 to 4 and last ones from 0.003 to
# 0.1, on twelve layers and three architectures. Costs are logarithms, so 1 is a factor of e.
_TRIES_A_START: Final = 20_000
_HOT: Final = 1.0
_COLD: Final = 0.02


@final
@dataclass(frozen=True)
class Found:
    """The best mapping of a search.

    Attributes:
      mapping: The mapping; None if no mapping was found that fits.
      energy_pj, cycles: Its cost.
      tries: Mappings evaluated.
      valid: Number of those that fitted and were counted.
      bound: Lower bound of the cost of all mappings.
      is_optimal: True if the search met the bound.
      outermost_energy_pj: Energy of the outermost level, DRAM [pJ].
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
    """Mappings of a problem on an architecture among which to search.

    Attributes:
      problem, architecture: The layer and the accelerator.
      primes: (n_primes, 3) int64: dimension, value and 0; first those that can move.
      n_movable: Number of primes that can move.
      slots, n_slots, is_order_free, toggles: As in `Moves`.
      keeps: (n_levels, 3) int64, 1 where a level stores a tensor at first.
      orders: (n_levels, 2, n_dimensions) int64, the order at first.
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

    def moves(self, primes: np.ndarray) -> "Moves":
        """Return the moves of `primes`, for kernels."""
        from archgym.simulators.accelerator.mapping.annealing import Moves

        return Moves(primes, self.slots, self.n_slots, self.is_order_free, self.toggles)

    @property
    def start(self) -> MappingArrays:
        """One mapping of which kernels use the orders and the stored tensors."""
        shape = (1, self.architecture.n_levels, 3, len(self.problem.dimensions))
        factors = np.ones(shape, dtype=np.int64)
        return MappingArrays(factors, self.orders[None].copy(), self.keeps[None].copy())

    @property
    def bound(self) -> LowerBound:
        """Lower bound of the cost of the mappings."""
        return lower_bound(self.problem, self.architecture, bypass=len(self.toggles) > 0)

    @property
    def is_empty(self) -> bool:
        """True if a dimension has no slot for its loops."""
        return bool((self.n_slots[self.primes[:, 0]] == 0).any())

    @property
    def size(self) -> float:
        """Approximate number of mappings: splits of the bounds times orders of the loops."""
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
      problem, architecture: The layer and the accelerator.
      bypass: Search also which tensors each level stores.
      fixed_orders: Orders of dimensions, innermost first, by name of level, in addition to the
        orders that the architecture fixes.
    """
    names = problem.dimensions
    n_levels = architecture.n_levels
    allowed = allowed_dimensions(architecture, names)
    slots = np.zeros((len(names), 3 * n_levels), dtype=np.int64)
    n_slots = np.zeros(len(names), dtype=np.int64)
    for d in range(len(names)):
        places = np.flatnonzero(allowed[:, :, d].ravel())
        slots[d, : len(places)] = places
        n_slots[d] = len(places)
    primes = [
        (d, prime, 0)
        for d, name in enumerate(names)
        for prime, exponent in _exponents(problem.bounds[name]).items()
        for _ in range(exponent)
    ]
    primes.sort(key=lambda p: n_slots[p[0]] == 1)
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
        problem=problem,
        architecture=architecture,
        primes=np.array(primes, dtype=np.int64).reshape(-1, 3),
        n_movable=sum(int(n_slots[p[0]] > 1) for p in primes),
        slots=slots,
        n_slots=n_slots,
        keeps=architecture.keeps.copy(),
        toggles=np.array(toggles, dtype=np.int64).reshape(-1, 2),
        orders=orders,
        is_order_free=is_order_free,
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
      tries: Mappings to evaluate.
      starts: Number of starts that share them; by default one per 20,000 tries.
      seed: Seed of the generator; equal seeds give equal results.
      counts: `timeloop` or `ideal`.
      temperatures: First and last temperature.

    Raises:
      InvalidArgumentError: `tries` is below 1.
      UnknownNameError: The objective or count mode does not exist.
    """
    from archgym.simulators.accelerator.mapping.annealing import anneal

    if tries < 1:
        raise InvalidArgumentError(f"`tries` must be 1 or more; got {tries!r}.")
    number = number_of("mapping objective", objective, OBJECTIVES)
    problem, architecture = space.problem, space.architecture
    bound = space.bound
    if space.is_empty:
        return Found(None, math.inf, math.inf, 0, 0, bound, False)
    best, results = space.start, np.zeros(4)
    anneal(
        problem.arrays,
        architecture.arrays,
        space.start,
        space.moves(space.primes.copy()),
        space.n_movable,
        number_of("count mode", counts, COUNT_MODES),
        number,
        np.array([seed], dtype=np.uint64),
        tries,
        max(1, round(tries / _TRIES_A_START)) if starts is None else starts,
        *temperatures,
        bound.energy_pj,
        # Logarithms of equal costs may differ in the last digits.
        cost(bound.energy_pj, bound.cycles, objective) + 1e-9,
        work_for(architecture, problem),
        best,
        results,
    )
    return found_mapping(space, best, results, bound, counts)


def found_mapping(
    space: MapSpace, best: MappingArrays, results: np.ndarray, bound: LowerBound, counts: str
) -> Found:
    """Return the result of a kernel's search; `results` are those of `anneal`."""
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


def cost(energy_pj: float, cycles: float, objective: str) -> float:
    """Return what a mapper minimises: the logarithm of energy, cycles or their product."""
    energy, time = math.log(max(energy_pj, 1e-300)), math.log(cycles)
    # As `cost_of` in the kernel: the second quantity decides among equals.
    costs = {"energy": energy + 1e-4 * time, "cycles": time + 1e-4 * energy, "edp": energy + time}
    return costs[objective]


def _exponents(number: int) -> dict[int, int]:
    """Return the prime factors and their exponents."""
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


# chosen: about 20 MB; a network of 20 layers on 5,000 accelerators.
_MAX_KEPT: Final = 100_000

_kept: "OrderedDict[bytes, tuple[float, float, float]]" = OrderedDict()
_lock = threading.Lock()


class Search(NamedTuple):
    """Settings of the search for each layer's mapping.

    Attributes:
      objective: Quantity that the mapper minimises.
      tries: Mappings that it evaluates.
      seed: Seed of the search.
      counts: `timeloop` or `ideal`.
      fixed_orders: Fixed orders of loops, by level.
    """

    objective: str
    tries: int
    seed: int
    counts: str
    fixed_orders: MappingOf[str, tuple[str, ...]] | None = None


def cached_cost(
    problem: Problem, architecture: Architecture, search: Search
) -> tuple[float, float, float]:
    """Return the cost of the best mapping found; equal arguments are searched once.

    Returns:
      Energy [pJ], cycles and DRAM's energy [pJ]; infinite if no mapping was found.
    """
    key = _key(problem, architecture, search)
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    found = find_mapping(problem, architecture, search)
    cost = (found.energy_pj, found.cycles, found.outermost_energy_pj)
    with _lock:
        _kept[key] = cost
        if len(_kept) > _MAX_KEPT:
            _kept.popitem(last=False)
    return cost


def find_mapping(problem: Problem, architecture: Architecture, search: Search) -> Found:
    """Return the mapping whose cost `cached_cost` keeps; it is always searched."""
    space = map_space(problem, architecture, fixed_orders=search.fixed_orders)
    return anneal_mapping(
        space, search.objective, tries=search.tries, seed=search.seed, counts=search.counts
    )


def _key(problem: Problem, architecture: Architecture, search: Search) -> bytes:
    digest = hashlib.sha256()
    for array in (
        architecture.arrays.sizes,
        architecture.arrays.costs,
        architecture.keeps,
        allowed_dimensions(architecture, problem.dimensions),
    ):
        digest.update(repr(array.shape).encode())
        digest.update(array.tobytes())
    names = [(level.name, level.order) for level in architecture.levels]
    digest.update(repr((names, problem.shape, search)).encode())
    return digest.digest()
