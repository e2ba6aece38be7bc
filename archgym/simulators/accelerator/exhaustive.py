"""Every mapping of a small layer, but for those that a bound rules out; compiled."""

import numpy as np

from archgym.runtime.kernels import compiled, entry_point, inlined
from archgym.simulators.accelerator.annealing import cost_of, fits, keep_best, weigh
from archgym.simulators.accelerator.buffers import Machine, Shape, Work
from archgym.simulators.accelerator.counting import LEAST, assess

__all__ = ["exhaust"]

# An order matters only if something is gained; equal costs keep the first.
_TIE = 1e-12


@inlined
def _next_order(orders: np.ndarray, level: int, n: int) -> bool:
    """The next order of the first `n` loops of a level in the dictionary; False after the last."""
    k = n - 2
    while k >= 0 and orders[0, level, 0, k] > orders[0, level, 0, k + 1]:
        k -= 1
    if k >= 0:
        other = n - 1
        while orders[0, level, 0, other] < orders[0, level, 0, k]:
            other -= 1
        kept = orders[0, level, 0, k]
        orders[0, level, 0, k] = orders[0, level, 0, other]
        orders[0, level, 0, other] = kept
    low, high = k + 1, n - 1
    while low < high:
        kept = orders[0, level, 0, low]
        orders[0, level, 0, low] = orders[0, level, 0, high]
        orders[0, level, 0, high] = kept
        low += 1
        high -= 1
    return k >= 0


@compiled
def _least(
    shape: Shape, machine: Machine, factors: np.ndarray, orders: np.ndarray, keeps: np.ndarray,
    objective: int, work: Work,
) -> float:  # fmt: skip
    """What a mapping that was laid out costs at least, whatever the order of its loops."""
    assess(shape, machine, factors, orders, keeps, 0, LEAST, work)
    return cost_of(work.totals[0], work.totals[1], objective)


@inlined
def _begin_orders(factors: np.ndarray, orders: np.ndarray, n_moving: np.ndarray) -> None:
    """Put each level's loops first in its order, by number."""
    n_levels, n_dimensions = factors.shape[1], factors.shape[3]
    for level in range(n_levels):
        n = 0
        for wanted in range(2):
            for d in range(n_dimensions):
                if (factors[0, level, 0, d] > 1) == (wanted == 0):
                    orders[0, level, 0, n] = d
                    n += 1
            if wanted == 0:
                # Within the innermost tile the order means nothing.
                n_moving[level] = n if level > 0 else 0


@entry_point(seconds=40)
def exhaust(
    shape: Shape, machine: Machine, factors: np.ndarray, orders: np.ndarray, keeps: np.ndarray,
    primes: np.ndarray, slots: np.ndarray, n_slots: np.ndarray, mode: int, objective: int,
    n_tries: int, work: Work, best_factors: np.ndarray, best_orders: np.ndarray,
    best_keeps: np.ndarray, picks: np.ndarray, n_moving: np.ndarray, results: np.ndarray,
) -> None:  # fmt: skip
    """Look at every split of the bounds and every order, unless a bound says that it is no better.

    Args:
      shape: The problem.
      machine: The architecture.
      factors: (1, n_levels, 3, n_dimensions) int64, scratch.
      orders: (1, n_levels, 2, n_dimensions) int64, scratch.
      keeps: (1, n_levels, 3) int64.
      primes: (n_primes, 3) int64, equal ones of a dimension side by side.
      slots: As for `anneal`.
      n_slots: As for `anneal`.
      mode: `TIMELOOP` or `IDEAL`.
      objective: `ENERGY`, `CYCLES` or `EDP`.
      n_tries: Splits and orders to look at; the search then ends incomplete.
      work: Scratch.
      best_factors: Takes the best mapping's.
      best_orders: Likewise.
      best_keeps: Likewise.
      picks: (n_primes,) int64, scratch.
      n_moving: (n_levels,) int64, scratch.
      results: (4,): the cost to beat; takes the least cost, tries, valid ones, and 1 where all
        were looked at.
    """
    n_levels, n_dimensions = factors.shape[1], factors.shape[3]
    n_primes = primes.shape[0]
    best = results[0]
    tries = n_valid = 0
    is_complete = False
    for prime in range(n_primes):
        picks[prime] = 0
    while tries < n_tries:
        tries += 1
        for level in range(n_levels):
            for kind in range(3):
                for d in range(n_dimensions):
                    factors[0, level, kind, d] = 1
        for prime in range(n_primes):
            d = primes[prime, 0]
            slot = slots[d, picks[prime]]
            factors[0, slot // 3, slot % 3, d] *= primes[prime, 1]
        _begin_orders(factors, orders, n_moving)
        if fits(shape, machine, factors, orders, keeps, 0, work) and (
            _least(shape, machine, factors, orders, keeps, objective, work) < best - _TIE
        ):
            more = True
            while more and tries < n_tries:
                tries += 1
                cost = weigh(
                    shape, machine, factors, orders, keeps, 0, mode, objective, 1.0, np.inf, work
                )
                n_valid += 1
                if cost < best - _TIE:
                    best = cost
                    keep_best(factors, orders, keeps, best_factors, best_orders, best_keeps)
                more = False
                for level in range(1, n_levels):
                    if n_moving[level] > 1 and _next_order(orders, level, n_moving[level]):
                        more = True
                        break
            if more:
                break
        prime = n_primes - 1
        while prime >= 0 and picks[prime] == n_slots[primes[prime, 0]] - 1:
            prime -= 1
        if prime < 0:
            is_complete = True
            break
        picks[prime] += 1
        for later in range(prime + 1, n_primes):
            # Equal primes are told apart by nothing: they stand in increasing slots.
            same = (
                primes[later, 0] == primes[later - 1, 0]
                and primes[later, 1] == primes[later - 1, 1]
            )
            picks[later] = picks[later - 1] if same else 0
    results[0] = best
    results[1] = tries
    results[2] = n_valid
    results[3] = 1.0 if is_complete else 0.0
