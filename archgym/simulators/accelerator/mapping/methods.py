"""Search methods for mappings: annealing, random, genetic, exhaustive."""

import math
from typing import Final

import numpy as np

from archgym.errors import InvalidArgumentError, unknown_name
from archgym.simulators.accelerator.kernel.buffers import work_for
from archgym.simulators.accelerator.kernel.evaluation import (
    COUNT_MODES,
    evaluate_mappings,
    number_of,
)
from archgym.simulators.accelerator.mapping.bounds import LowerBound
from archgym.simulators.accelerator.mapping.mapper import (
    OBJECTIVES,
    Found,
    MapSpace,
    anneal_mapping,
    cost,
    found_mapping,
)
from archgym.simulators.accelerator.mapping.mapping import MappingArrays

METHODS: Final = ("annealing", "random", "genetic", "exhaustive")

_BATCH: Final = 2_000  # chosen: 5 MB of mappings at a time
# GAMMA (Kao, Krishna, ICCAD 2020) keeps the better half of about 100. chosen: twice that, since
# generations are cheap here, and shares of its operators within the published ranges.
_POPULATION: Final = 200
_ELITE: Final = 20
_REORDER, _MOVE, _GROW = 0.5, 0.5, 0.3


def search_mapping(
    space: MapSpace,
    objective: str = "edp",
    *,
    method: str = "annealing",
    tries: int = 100_000,
    seed: int = 0,
    counts: str = "timeloop",
) -> Found:
    """Search the best mapping of a layer on an accelerator.

    Args:
      space: The mappings.
      objective: `edp`, `energy` or `cycles`.
      method: One of `METHODS`; `exhaustive` proves its result if `tries` suffice.
      tries: Mappings to evaluate.
      seed: Seed of the generator; equal seeds give equal results.
      counts: `timeloop` or `ideal`.

    Raises:
      InvalidArgumentError: `tries` is below 1, or `exhaustive` does not support the space.
      UnknownNameError: The method, objective or count mode does not exist.
    """
    if method not in METHODS:
        raise unknown_name("mapping method", method, METHODS)
    if method == "annealing":
        return anneal_mapping(space, objective, tries=tries, seed=seed, counts=counts)
    number_of("mapping objective", objective, OBJECTIVES)
    number_of("count mode", counts, COUNT_MODES)
    if tries < 1:
        raise InvalidArgumentError(f"`tries` must be 1 or more; got {tries!r}.")
    bound = space.bound
    if space.is_empty:
        return Found(None, math.inf, math.inf, 0, 0, bound, False)
    if method == "exhaustive":
        return _exhaust(space, objective, tries, seed, counts, bound)
    rng = np.random.default_rng(seed)
    pool = _Pool(space, objective, counts)
    if method == "random":
        left = tries
        while left > 0:
            n = min(left, _BATCH)
            pool.evaluate(*pool.random(n, rng))
            left -= n
    else:
        _evolve(pool, tries, rng)
    return pool.found(bound)


class _Pool:
    """Mappings as slots of primes and orders of loops, and the best one seen."""

    def __init__(self, space: MapSpace, objective: str, counts: str) -> None:
        self._space, self._objective, self._counts = space, objective, counts
        self._best: MappingArrays | None = None
        self._cost = math.inf
        self._tries = self._valid = 0
        self.dimensions = space.primes[:, 0]
        self.n_slots = space.n_slots[self.dimensions]

    def random(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return `n` mappings: every prime in a random slot, every order equally likely."""
        picks = rng.integers(self.n_slots, size=(n, len(self.n_slots)))
        n_levels, n_dimensions = self._space.orders.shape[0], self._space.orders.shape[2]
        orders = np.argsort(rng.random((n, n_levels, n_dimensions)), axis=2)
        fixed = self._space.is_order_free == 0
        orders[:, fixed] = self._space.orders[fixed, 0]
        return picks, orders

    def arrays(self, picks: np.ndarray, orders: np.ndarray) -> MappingArrays:
        """Return the mappings as kernels read them."""
        space = self._space
        n, (n_levels, _, n_dimensions) = len(picks), space.orders.shape
        factors = np.ones((n, n_levels * 3, n_dimensions), dtype=np.int64)
        rows = np.arange(n)
        for prime, (d, value, _) in enumerate(space.primes):
            factors[rows, space.slots[d, picks[:, prime]], d] *= value
        both = np.tile(space.orders, (n, 1, 1, 1))
        both[:, :, 0] = orders
        keeps = np.tile(space.keeps, (n, 1, 1))
        return MappingArrays(factors.reshape(n, n_levels, 3, n_dimensions), both, keeps)

    def evaluate(self, picks: np.ndarray, orders: np.ndarray) -> np.ndarray:
        """Return costs, infinite where a mapping does not fit."""
        arrays = self.arrays(picks, orders)
        architecture = self._space.architecture
        found = evaluate_mappings(
            self._space.problem, architecture, arrays, self._counts, details=False
        )
        fits = found.status == 0
        spatial = arrays.factors[:, :, 1:].prod(axis=3)
        for level in range(architecture.n_levels):
            fits &= (spatial[:, level] <= architecture.fan_out(level)).all(axis=1)
        costs = np.full(len(picks), math.inf)
        for row in np.flatnonzero(fits):
            costs[row] = cost(
                float(found.totals[row, 0]), float(found.totals[row, 1]), self._objective
            )
        self._tries += len(picks)
        self._valid += int(fits.sum())
        best = int(costs.argmin())
        if costs[best] < self._cost:
            self._cost = float(costs[best])
            self._best = MappingArrays(*(a[best : best + 1].copy() for a in arrays))
        return costs

    def found(self, bound: LowerBound) -> Found:
        """Return the best mapping seen."""
        least = cost(bound.energy_pj, bound.cycles, self._objective)
        results = np.array([self._cost, self._tries, self._valid, self._cost <= least + 1e-9])
        if self._best is None:
            return Found(None, math.inf, math.inf, self._tries, self._valid, bound, False)
        return found_mapping(self._space, self._best, results, bound, self._counts)


def _evolve(pool: _Pool, tries: int, rng: np.random.Generator) -> None:
    """Search by a genetic algorithm with GAMMA's operators on tiles and orders."""
    n = min(_POPULATION, tries)
    picks, orders = pool.random(n, rng)
    # Half of the first generation has all loops at the outermost level, which always fits.
    picks[: n // 2 + 1] = pool.n_slots - 1
    costs = pool.evaluate(picks, orders)
    left = tries - n
    while left > 0:
        m = min(_POPULATION, left)
        ranked = np.argsort(costs, kind="stable")[: max(2, len(costs) // 2)]
        mother, father = rng.choice(ranked, size=(2, m))
        children, child_orders = picks[mother].copy(), orders[mother].copy()
        _cross(pool, children, picks[father], child_orders, orders[father], rng)
        _mutate(pool, children, child_orders, rng)
        child_costs = pool.evaluate(children, child_orders)
        left -= m
        elite = ranked[:_ELITE]
        best = np.argsort(child_costs, kind="stable")[: _POPULATION - len(elite)]
        picks = np.concatenate([picks[elite], children[best]])
        orders = np.concatenate([orders[elite], child_orders[best]])
        costs = np.concatenate([costs[elite], child_costs[best]])


def _cross(
    pool: _Pool,
    children: np.ndarray,
    others: np.ndarray,
    orders: np.ndarray,
    other_orders: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Take the tiles of some dimensions and the orders of some levels from the other parent."""
    n = len(children)
    taken = rng.random((n, int(pool.dimensions.max(initial=0)) + 1)) < 0.25
    from_other = taken[:, pool.dimensions]
    children[from_other] = others[from_other]
    levels = rng.random((n, orders.shape[1])) < 0.25
    orders[levels] = other_orders[levels]


def _mutate(
    pool: _Pool, children: np.ndarray, orders: np.ndarray, rng: np.random.Generator
) -> None:
    """Apply GAMMA's reorder, tile mutation and grow, which moves a prime inwards."""
    n, n_primes = children.shape
    n_levels, n_dimensions = orders.shape[1:]
    rows = np.arange(n)
    if n_primes:
        for share, inwards in ((_MOVE, False), (_GROW, True)):
            chosen = rng.random(n) < share
            prime: np.ndarray = np.asarray(rng.integers(n_primes, size=n))
            highest = children[rows, prime] if inwards else pool.n_slots[prime] - 1
            target = (rng.random(n) * (highest + 1)).astype(np.int64)
            children[rows[chosen], prime[chosen]] = target[chosen]
    chosen = rows[rng.random(n) < _REORDER]
    level = rng.integers(n_levels, size=len(chosen))
    first = rng.integers(n_dimensions, size=len(chosen))
    second = rng.integers(n_dimensions, size=len(chosen))
    kept = orders[chosen, level, first]
    orders[chosen, level, first] = orders[chosen, level, second]
    orders[chosen, level, second] = kept
    fixed = pool._space.is_order_free == 0
    orders[:, fixed] = pool._space.orders[fixed, 0]


def _exhaust(
    space: MapSpace, objective: str, tries: int, seed: int, counts: str, bound: LowerBound
) -> Found:
    """Prove the best mapping, starting from the one that annealing finds."""
    from archgym.simulators.accelerator.mapping.exhaustive import exhaust

    if len(space.toggles) or not space.is_order_free.all():
        raise InvalidArgumentError(
            "`exhaustive` needs free orders and levels that store what the architecture says; "
            "this space fixes orders or varies what is stored. Use `annealing`."
        )
    first = anneal_mapping(space, objective, tries=20_000, seed=seed, counts=counts)
    problem, architecture = space.problem, space.architecture
    best, start = space.start, math.inf
    if first.mapping is not None:
        given = first.mapping.arrays(problem, architecture)
        best.factors[:], best.orders[:] = given.factors, given.orders
        start = cost(first.energy_pj, first.cycles, objective)
    results = np.array([start, 0.0, 0.0, 0.0])
    exhaust(
        problem.arrays,
        architecture.arrays,
        space.start,
        space.moves(space.primes[np.lexsort((space.primes[:, 1], space.primes[:, 0]))]),
        number_of("count mode", counts, COUNT_MODES),
        number_of("mapping objective", objective, OBJECTIVES),
        tries,
        work_for(architecture, problem),
        best,
        np.zeros(len(space.primes), dtype=np.int64),
        np.zeros(architecture.n_levels, dtype=np.int64),
        results,
    )
    return found_mapping(space, best, results, bound, counts)
