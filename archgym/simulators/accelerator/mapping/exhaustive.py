"""Exhaustive search of a small layer's mappings, except those that a bound excludes; compiled."""

import numpy as np

from archgym.runtime.kernels import entry_point, inlined
from archgym.simulators.accelerator.kernel.architecture import Machine
from archgym.simulators.accelerator.kernel.buffers import Work
from archgym.simulators.accelerator.kernel.counting import LEAST, assess
from archgym.simulators.accelerator.kernel.problem import Shape
from archgym.simulators.accelerator.mapping.annealing import (
    Moves,
    clear_factors,
    copy_mapping,
    cost_of,
    cost_within,
    fits,
)
from archgym.simulators.accelerator.mapping.mapping import MappingArrays

# chosen: an order is better only by more than rounding; of equal costs the first is kept.
_TIE = 1e-12


@inlined
def _next_order(orders: np.ndarray, level: int, n: int) -> bool:
    """Set the next order of a level's first `n` loops, lexicographically; False after the last."""
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
                # Within the innermost tile the order has no effect.
                n_moving[level] = n if level > 0 else 0


@entry_point(seconds=40)
def exhaust(
    shape: Shape, machine: Machine, mapping: MappingArrays, moves: Moves, mode: int,
    objective: int, n_tries: int, work: Work, best_mapping: MappingArrays, picks: np.ndarray,
    n_moving: np.ndarray, results: np.ndarray,
) -> None:  # fmt: skip
    """Evaluate every split of the bounds and every order, except where a bound excludes a gain.

    Args:
      shape, machine: The problem and the architecture.
      mapping: One mapping; factors and orders are scratch.
      moves: The possible moves; equal primes of a dimension are adjacent.
      mode: `TIMELOOP` or `IDEAL`.
      objective: `ENERGY`, `CYCLES` or `EDP`.
      n_tries: Splits and orders to evaluate; the search then ends incomplete.
      work: Scratch memory.
      best_mapping: Set to the best mapping, if it is better than the cost to beat.
      picks: (n_primes,) int64, scratch.
      n_moving: (n_levels,) int64, scratch.
      results: (4,): the cost to beat; set to the least cost, tries, valid tries, and 1 if all
        mappings were covered.
    """
    factors, orders = mapping.factors, mapping.orders
    primes, slots, n_slots = moves.primes, moves.slots, moves.n_slots
    n_levels, n_primes = factors.shape[1], primes.shape[0]
    best = results[0]
    tries = n_valid = 0
    is_complete = False
    for prime in range(n_primes):
        picks[prime] = 0
    while tries < n_tries:
        tries += 1
        clear_factors(factors)
        for prime in range(n_primes):
            d = primes[prime, 0]
            slot = slots[d, picks[prime]]
            factors[0, slot // 3, slot % 3, d] *= primes[prime, 1]
        _begin_orders(factors, orders, n_moving)
        least = np.inf
        if fits(shape, machine, mapping, work):
            # A lower bound for any order of the loops.
            assess(shape, machine, mapping, 0, LEAST, work)
            least = cost_of(work.totals[0], work.totals[1], objective)
        if least < best - _TIE:
            more = True
            while more and tries < n_tries:
                tries += 1
                cost = cost_within(shape, machine, mapping, mode, objective, 1.0, np.inf, work)
                n_valid += 1
                if cost < best - _TIE:
                    best = cost
                    copy_mapping(mapping, best_mapping)
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
            # Equal primes are interchangeable, so their slots do not decrease.
            same = (
                primes[later, 0] == primes[later - 1, 0]
                and primes[later, 1] == primes[later - 1, 1]
            )
            picks[later] = picks[later - 1] if same else 0
    results[0] = best
    results[1] = tries
    results[2] = n_valid
    results[3] = 1.0 if is_complete else 0.0
