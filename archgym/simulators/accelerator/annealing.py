"""The mapper's search: simulated annealing over factors, orders and what levels store; compiled.

A mapping is told by where each prime factor of each bound stands. Steps move a prime to another
level or axis, exchange two of them, move a loop within its level, or store a tensor where it was
not. Three rules spare most of the work:

- a mapping that does not fit is rejected before anything is counted;
- so is one whose cycles alone, with the least energy that any mapping has, are too many;
- loops of bound 1 and those within the innermost tile, whose order means nothing, are not moved.
"""

import numpy as np

from archgym.runtime.kernels import compiled, entry_point, inlined
from archgym.simulators.accelerator.buffers import Machine, Shape, Work
from archgym.simulators.accelerator.counting import assess
from archgym.simulators.accelerator.layout import VALID, lay_out

__all__ = ["CYCLES", "EDP", "ENERGY", "anneal"]

ENERGY, CYCLES, EDP = range(3)

# chosen: among mappings of equal cycles the one of least energy, and the other way round.
_SECOND = 1e-4


@inlined
def _draw(random: np.ndarray) -> np.uint64:
    """Return the next number of SplitMix64: Steele, Lea, Flood, OOPSLA 2014, figure 17."""
    random[0] = random[0] + np.uint64(0x9E3779B97F4A7C15)
    z = random[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.uint64(z ^ (z >> np.uint64(31)))


@inlined
def draw_below(random: np.ndarray, n: int) -> int:
    """Return a whole number from 0 to `n` - 1."""
    # No `int()` here: Numba would make it a call.
    return (np.int64(_draw(random) >> np.uint64(33)) * n) >> 31  # type: ignore[return-value]  # an int


@inlined
def draw_share(random: np.ndarray) -> float:
    """Return a number from 0 to 1."""
    return np.float64(np.int64(_draw(random) >> np.uint64(11))) * 2.0**-53


@inlined
def cost_of(energy: float, cycles: float, objective: int) -> float:
    """What is minimised: a logarithm, so that a difference is a ratio."""
    of_energy: float = np.log(energy)
    of_cycles: float = np.log(cycles)
    if objective == ENERGY:
        return of_energy + _SECOND * of_cycles
    if objective == CYCLES:
        return of_cycles + _SECOND * of_energy
    return of_energy + of_cycles


@compiled
def fits(
    shape: Shape, machine: Machine, factors: np.ndarray, orders: np.ndarray, keeps: np.ndarray,
    row: int, work: Work,
) -> bool:  # fmt: skip
    """True if a mapping fits, each level's own fan-out included, which Timeloop's model ignores."""
    if lay_out(shape, machine, factors, orders, keeps, row, work) != VALID:
        return False
    for level in range(factors.shape[1]):
        if work.fans[level, 1] > machine.sizes[level, 4]:
            return False
        if work.fans[level, 2] > machine.sizes[level, 5]:
            return False
    return True


@compiled
def weigh(
    shape: Shape, machine: Machine, factors: np.ndarray, orders: np.ndarray, keeps: np.ndarray,
    row: int, mode: int, objective: int, least_energy: float, limit: float, work: Work,
) -> float:  # fmt: skip
    """What a mapping costs; infinity where it does not fit or cannot cost `limit` or less.

    Args:
      shape: The problem.
      machine: The architecture.
      factors: As for `lay_out`, as are orders, keeps and row.
      orders: Dimensions of loops.
      keeps: What levels store.
      row: Which mapping.
      mode: `TIMELOOP` or `IDEAL`.
      objective: `ENERGY`, `CYCLES` or `EDP`.
      least_energy: What no mapping falls below [pJ].
      limit: A cost.
      work: Scratch.
    """
    if not fits(shape, machine, factors, orders, keeps, row, work):
        return np.inf
    cycles = 1.0
    for z in range(work.starts[factors.shape[1]]):
        cycles *= work.loops[z, 1]
    if cost_of(least_energy, cycles, objective) > limit:
        return np.inf
    assess(shape, machine, factors, orders, keeps, row, mode, work)
    return cost_of(work.totals[0], work.totals[1], objective)


@compiled
def keep_best(
    factors: np.ndarray, orders: np.ndarray, keeps: np.ndarray, best_factors: np.ndarray,
    best_orders: np.ndarray, best_keeps: np.ndarray,
) -> None:  # fmt: skip
    """Copy a mapping."""
    for level in range(factors.shape[1]):
        for d in range(factors.shape[3]):
            for kind in range(3):
                best_factors[0, level, kind, d] = factors[0, level, kind, d]
            for kind in range(2):
                best_orders[0, level, kind, d] = orders[0, level, kind, d]
        for tensor in range(3):
            best_keeps[0, level, tensor] = keeps[0, level, tensor]


@compiled
def _excess(
    shape: Shape, machine: Machine, factors: np.ndarray, keeps: np.ndarray, row: int, work: Work
) -> float:
    """By how much a mapping that was laid out is too large, 0 where it fits."""
    n_levels = factors.shape[1]
    excess = 0.0
    along_x = along_y = 1
    for number in range(n_levels + 1):
        level = n_levels - 1 - number if number < n_levels else n_levels
        excess += max(0.0, np.log(along_x / machine.sizes[level, 2]))
        excess += max(0.0, np.log(along_y / machine.sizes[level, 3]))
        if level < n_levels:
            along_x *= work.fans[level, 1]
            along_y *= work.fans[level, 2]
            excess += max(0.0, np.log(work.fans[level, 1] / machine.sizes[level, 4]))
            excess += max(0.0, np.log(work.fans[level, 2] / machine.sizes[level, 5]))
    for level in range(n_levels):
        words = 0.0
        for tensor in range(3):
            if keeps[row, level, tensor]:
                volume = 1.0
                for a in range(shape.n_axes[tensor]):
                    volume *= (
                        1
                        + shape.axes[tensor, a, 1]
                        * (work.extents[level, shape.axes[tensor, a, 0]] - 1)
                        + shape.axes[tensor, a, 3]
                        * (work.extents[level, shape.axes[tensor, a, 2]] - 1)
                    )
                words += volume
        if words > machine.sizes[level, 0]:
            excess += np.log(words / machine.sizes[level, 0])
    return excess


@inlined
def _move_prime(factors: np.ndarray, primes: np.ndarray, prime: int, slot: int) -> None:
    """Move a prime factor to another slot: 3 x level + kind."""
    d = primes[prime, 0]
    value = primes[prime, 1]
    old = primes[prime, 2]
    factors[0, old // 3, old % 3, d] //= value
    factors[0, slot // 3, slot % 3, d] *= value
    primes[prime, 2] = slot


@inlined
def _rotate(orders: np.ndarray, level: int, source: int, target: int) -> None:
    """Move a loop from one place of its level's order to another."""
    moved = orders[0, level, 0, source]
    step = 1 if target > source else -1
    place = source
    while place != target:
        orders[0, level, 0, place] = orders[0, level, 0, place + step]
        place += step
    orders[0, level, 0, target] = moved


@inlined
def _place_of(orders: np.ndarray, level: int, d: int) -> int:
    place = 0
    while orders[0, level, 0, place] != d:
        place += 1
    return place


@compiled
def _scatter(
    factors: np.ndarray, orders: np.ndarray, primes: np.ndarray, slots: np.ndarray,
    n_slots: np.ndarray, is_random: bool, is_order_free: np.ndarray, random: np.ndarray,
) -> None:  # fmt: skip
    """A start: all primes outermost or anywhere, orders at random."""
    n_levels, n_dimensions = factors.shape[1], factors.shape[3]
    for level in range(n_levels):
        for kind in range(3):
            for d in range(n_dimensions):
                factors[0, level, kind, d] = 1
        if is_order_free[level]:
            for place in range(n_dimensions - 1, 0, -1):
                other = draw_below(random, place + 1)
                kept = orders[0, level, 0, place]
                orders[0, level, 0, place] = orders[0, level, 0, other]
                orders[0, level, 0, other] = kept
    for prime in range(primes.shape[0]):
        d = primes[prime, 0]
        pick = draw_below(random, n_slots[d]) if is_random else n_slots[d] - 1
        slot = slots[d, pick]
        factors[0, slot // 3, slot % 3, d] *= primes[prime, 1]
        primes[prime, 2] = slot


@compiled
def _settle(
    shape: Shape, machine: Machine, factors: np.ndarray, orders: np.ndarray, keeps: np.ndarray,
    primes: np.ndarray, slots: np.ndarray, n_slots: np.ndarray, random: np.ndarray,
    tries: int, work: Work,
) -> int:  # fmt: skip
    """Move primes until the mapping fits, always to what is less too large; tries it took."""
    if primes.shape[0] == 0:
        return 1 if fits(shape, machine, factors, orders, keeps, 0, work) else tries
    excess = np.inf
    for trial in range(tries):
        prime = draw_below(random, primes.shape[0])
        old = primes[prime, 2]
        if trial > 0:
            d = primes[prime, 0]
            _move_prime(factors, primes, prime, slots[d, draw_below(random, n_slots[d])])
        if fits(shape, machine, factors, orders, keeps, 0, work):
            return trial + 1
        now = _excess(shape, machine, factors, keeps, 0, work)
        # chosen: a step that makes it a little worse is taken now and then, out of dead ends.
        if now <= excess or draw_share(random) < 0.02:
            excess = now
        else:
            _move_prime(factors, primes, prime, old)
    return tries


@compiled
def _restart(
    shape: Shape, machine: Machine, factors: np.ndarray, orders: np.ndarray, keeps: np.ndarray,
    primes: np.ndarray, slots: np.ndarray, n_slots: np.ndarray, is_order_free: np.ndarray,
    is_random: bool, mode: int, objective: int, random: np.ndarray, tries: int, work: Work,
    spent: np.ndarray,
) -> float:  # fmt: skip
    """Start afresh; the cost of a mapping that fits, or infinity. `spent` takes the tries."""
    _scatter(factors, orders, primes, slots, n_slots, is_random, is_order_free, random)
    spent[0] = _settle(
        shape, machine, factors, orders, keeps, primes, slots, n_slots, random, tries, work
    )
    return weigh(shape, machine, factors, orders, keeps, 0, mode, objective, 1.0, np.inf, work)


@entry_point(seconds=60)
def anneal(
    shape: Shape, machine: Machine, factors: np.ndarray, orders: np.ndarray, keeps: np.ndarray,
    primes: np.ndarray, n_movable: int, slots: np.ndarray, n_slots: np.ndarray,
    is_order_free: np.ndarray, toggles: np.ndarray, mode: int, objective: int,
    random: np.ndarray, n_tries: int, n_starts: int, hot: float, cold: float,
    least_energy: float, bound: float, work: Work,
    best_factors: np.ndarray, best_orders: np.ndarray, best_keeps: np.ndarray,
    results: np.ndarray,
) -> None:  # fmt: skip
    """Search a mapping of least cost.

    Args:
      shape: The problem.
      machine: The architecture.
      factors: (1, n_levels, 3, n_dimensions) int64, scratch.
      orders: (1, n_levels, 2, n_dimensions) int64, a start, then scratch.
      keeps: (1, n_levels, 3) int64, likewise.
      primes: (n_primes, 3) int64: dimension, value, scratch; those of dimensions whose loops may
        stand in several slots first.
      n_movable: How many those are.
      slots: (n_dimensions, 3 * n_levels) int64: where a dimension's loops may stand, as 3 x level
        + kind, in increasing order.
      n_slots: (n_dimensions,) int64, how many those are.
      is_order_free: (n_levels,) int64, whether a level's loops in time may be reordered.
      toggles: (n, 2) int64: level and tensor of what may be stored or not.
      mode: `TIMELOOP` or `IDEAL`.
      objective: `ENERGY`, `CYCLES` or `EDP`.
      random: (1,) uint64, the generator's state.
      n_tries: Mappings to look at.
      n_starts: Among how many starts they are shared out.
      hot: Temperature at first: a rise of cost that is accepted at one in e.
      cold: Temperature at last.
      least_energy: What no mapping falls below [pJ].
      bound: Cost at which to stop, since nothing is less.
      work: Scratch.
      best_factors: Like `factors`, takes the best mapping's.
      best_orders: Likewise.
      best_keeps: Likewise.
      results: (4,), takes the least cost, tries, valid ones, and 1 where the bound was met.
    """
    n_levels, n_dimensions = factors.shape[1], factors.shape[3]
    best = np.inf
    tries = n_valid = 0
    spent = results
    nonunit = work.offsets
    for start in range(n_starts):
        end = n_tries * (start + 1) // n_starts
        current = _restart(
            shape, machine, factors, orders, keeps, primes, slots, n_slots, is_order_free,
            start > 0, mode, objective, random, max(1, end - tries), work, spent,
        )  # fmt: skip
        tries += int(spent[0])
        begin = tries
        if current < best:
            best = current
            keep_best(factors, orders, keeps, best_factors, best_orders, best_keeps)
            n_valid += 1
        temperature = hot
        cooling = (cold / hot) ** (1.0 / max(1, end - begin))
        if not np.isfinite(current):
            continue
        while tries < end and best > bound:
            tries += 1
            temperature *= cooling
            kind = draw_below(random, 16)
            prime = other = level = -1
            old = other_old = source = target = toggle = -1
            if kind < 5:
                # A loop moves within its level.
                level = 1 + draw_below(random, max(1, n_levels - 1))
                n_nonunit = 0
                if level < n_levels and is_order_free[level]:
                    for place in range(n_dimensions):
                        if factors[0, level, 0, orders[0, level, 0, place]] > 1:
                            nonunit[n_nonunit] = place
                            n_nonunit += 1
                if n_nonunit > 1:
                    a = draw_below(random, n_nonunit)
                    b = draw_below(random, n_nonunit - 1)
                    b += b >= a
                    source = nonunit[a]
                    target = nonunit[b]
                    _rotate(orders, level, source, target)
            elif kind == 15 and toggles.shape[0] > 0:
                toggle = draw_below(random, toggles.shape[0])
                keeps[0, toggles[toggle, 0], toggles[toggle, 1]] ^= 1
            if source < 0 and toggle < 0:
                if n_movable == 0:
                    continue
                prime = draw_below(random, n_movable)
                d = primes[prime, 0]
                old = primes[prime, 2]
                pick = draw_below(random, n_slots[d] - 1)
                slot = slots[d, pick] if slots[d, pick] < old else slots[d, pick + 1]
                if kind >= 11:
                    # Another one comes back from where it goes, if one can.
                    first = draw_below(random, n_movable)
                    for step in range(n_movable):
                        candidate = (first + step) % n_movable
                        if primes[candidate, 2] == slot and candidate != prime:
                            e = primes[candidate, 0]
                            for s in range(n_slots[e]):
                                if slots[e, s] == old:
                                    other = candidate
                            break
                _move_prime(factors, primes, prime, slot)
                if other >= 0:
                    other_old = slot
                    _move_prime(factors, primes, other, old)
                if slot % 3 == 0 and kind % 2 == 0 and is_order_free[slot // 3]:
                    # The loop may come to stand anywhere in its new level.
                    level = slot // 3
                    source = _place_of(orders, level, d)
                    target = draw_below(random, n_dimensions)
                    _rotate(orders, level, source, target)
            accepted = False
            limit = current - temperature * np.log(draw_share(random) + 1e-300)
            cost = weigh(
                shape, machine, factors, orders, keeps, 0, mode, objective, least_energy, limit,
                work,
            )  # fmt: skip
            if cost < np.inf:
                n_valid += 1
                accepted = cost <= limit
            if accepted:
                current = cost
                if cost < best:
                    best = cost
                    keep_best(factors, orders, keeps, best_factors, best_orders, best_keeps)
            if not accepted:
                if target >= 0:
                    _rotate(orders, level, target, source)
                if other >= 0:
                    _move_prime(factors, primes, other, other_old)
                if prime >= 0:
                    _move_prime(factors, primes, prime, old)
                if toggle >= 0:
                    keeps[0, toggles[toggle, 0], toggles[toggle, 1]] ^= 1
    results[0] = best
    results[1] = tries
    results[2] = n_valid
    results[3] = 1.0 if best <= bound else 0.0
