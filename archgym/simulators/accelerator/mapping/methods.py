"""Search methods for mappings: annealing and exhaustive search."""

import math
from typing import Final

import numpy as np

from archgym.errors import InvalidArgumentError, unknown_name
from archgym.simulators.accelerator.kernel.buffers import work_for
from archgym.simulators.accelerator.kernel.evaluation import (
    COUNT_MODES,
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

METHODS: Final = ("annealing", "exhaustive")


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
    return _exhaust(space, objective, tries, seed, counts, bound)


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
