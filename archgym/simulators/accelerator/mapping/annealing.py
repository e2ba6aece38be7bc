"""Mapping search by simulated annealing over factors, orders and stored tensors; compiled.

A mapping is represented by the slot of each prime factor of each bound. A step moves a prime to
another level or axis, exchanges two primes, moves a loop within its level, or changes whether a
level stores a tensor. Three rules save most of the work:

- a mapping that does not fit is rejected before anything is counted;
- a mapping is rejected if its cycles and the minimum energy of all mappings cost too much;
- loops of bound 1 and loops within the innermost tile are not reordered, since their order has no
  effect.
"""

from typing import NamedTuple

import numpy as np

from archgym.simulators.accelerator.kernel.buffers import Work
from archgym.simulators.accelerator.kernel.counting import assess
from archgym.simulators.accelerator.kernel.layout import VALID, lay_out, tile_words
from archgym.simulators.accelerator.machine.architecture import Machine
from archgym.simulators.accelerator.machine.mapping import MappingArrays
from archgym.simulators.accelerator.problem import Shape
from archgym.simulators.kit.kernels import compiled, entry_point, inlined

ENERGY, CYCLES, EDP = range(3)

# chosen: among mappings of equal cycles the one of least energy is better, and vice versa.
_SECOND = 1e-4


class Moves(NamedTuple):
    """Prime factors of the bounds, and the slots that they may move to.

    Attributes:
      primes: (n_primes, 3) int64: dimension, value and current slot. Primes of dimensions whose
        loops have several slots come first.
      slots: (n_dimensions, 3 * n_levels) int64: slots of a dimension's loops, as 3 x level + kind,
        in increasing order.
      n_slots: (n_dimensions,) int64, number of slots of each dimension.
      is_order_free: (n_levels,) int64, 1 if a level's loops in time may be reordered.
      toggles: (n, 2) int64: level and tensor of what may be stored or not.
    """

    primes: np.ndarray
    slots: np.ndarray
    n_slots: np.ndarray
    is_order_free: np.ndarray
    toggles: np.ndarray


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
    """Return an integer from 0 to `n` - 1."""
    # No `int()` here: Numba would make it a call.
    return (np.int64(_draw(random) >> np.uint64(33)) * n) >> 31  # type: ignore[return-value]  # an int


@inlined
def draw_share(random: np.ndarray) -> float:
    """Return a number from 0 to 1."""
    return np.float64(np.int64(_draw(random) >> np.uint64(11))) * 2.0**-53


@inlined
def cost_of(energy: float, cycles: float, objective: int) -> float:
    """Return the cost to minimise: a logarithm, so that a difference is a ratio."""
    of_energy: float = np.log(energy)
    of_cycles: float = np.log(cycles)
    if objective == ENERGY:
        return of_energy + _SECOND * of_cycles
    if objective == CYCLES:
        return of_cycles + _SECOND * of_energy
    return of_energy + of_cycles


@compiled
def fits(shape: Shape, machine: Machine, mapping: MappingArrays, work: Work) -> bool:
    """Return True if a mapping fits, in each level's own fan-out too, which Timeloop ignores."""
    if lay_out(shape, machine, mapping, 0, work) != VALID:
        return False
    for level in range(mapping.keeps.shape[1]):
        if work.fans[level, 1] > machine.sizes[level, 4]:
            return False
        if work.fans[level, 2] > machine.sizes[level, 5]:
            return False
    return True


@compiled
def cost_within(
    shape: Shape, machine: Machine, mapping: MappingArrays, mode: int, objective: int,
    least_energy: float, limit: float, work: Work,
) -> float:  # fmt: skip
    """Return the cost of a mapping, or infinity if it does not fit or must exceed `limit`.

    `least_energy` is a lower bound of the energy of all mappings [pJ].
    """
    if not fits(shape, machine, mapping, work):
        return np.inf
    cycles = 1.0
    for z in range(work.starts[mapping.keeps.shape[1]]):
        cycles *= work.loops[z, 1]
    if cost_of(least_energy, cycles, objective) > limit:
        return np.inf
    assess(shape, machine, mapping, 0, mode, work)
    return cost_of(work.totals[0], work.totals[1], objective)


@compiled
def copy_mapping(mapping: MappingArrays, copy: MappingArrays) -> None:
    """Copy a mapping."""
    for level in range(mapping.keeps.shape[1]):
        for d in range(mapping.factors.shape[3]):
            for kind in range(3):
                copy.factors[0, level, kind, d] = mapping.factors[0, level, kind, d]
            for kind in range(2):
                copy.orders[0, level, kind, d] = mapping.orders[0, level, kind, d]
        for tensor in range(3):
            copy.keeps[0, level, tensor] = mapping.keeps[0, level, tensor]


@inlined
def clear_factors(factors: np.ndarray) -> None:
    """Set all bounds to 1."""
    for level in range(factors.shape[1]):
        for kind in range(3):
            for d in range(factors.shape[3]):
                factors[0, level, kind, d] = 1


@compiled
def _excess(shape: Shape, machine: Machine, keeps: np.ndarray, work: Work) -> float:
    """Return by how much a mapping in `work` is too large, 0 if it fits."""
    n_levels = keeps.shape[1]
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
            if keeps[0, level, tensor]:
                words += tile_words(shape, tensor, work.extents, level)
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
    """Move a loop from one position of its level's order to another."""
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
def _scatter(mapping: MappingArrays, moves: Moves, is_random: bool, random: np.ndarray) -> None:
    """Set a start: primes in random slots or all outermost, orders at random."""
    factors, orders = mapping.factors, mapping.orders
    n_levels, n_dimensions = factors.shape[1], factors.shape[3]
    clear_factors(factors)
    for level in range(n_levels):
        if moves.is_order_free[level]:
            for place in range(n_dimensions - 1, 0, -1):
                other = draw_below(random, place + 1)
                kept = orders[0, level, 0, place]
                orders[0, level, 0, place] = orders[0, level, 0, other]
                orders[0, level, 0, other] = kept
    primes = moves.primes
    for prime in range(primes.shape[0]):
        d = primes[prime, 0]
        n_slots = moves.n_slots[d]
        pick = draw_below(random, n_slots) if is_random else n_slots - 1
        slot = moves.slots[d, pick]
        factors[0, slot // 3, slot % 3, d] *= primes[prime, 1]
        primes[prime, 2] = slot


@compiled
def _repair(
    shape: Shape, machine: Machine, mapping: MappingArrays, moves: Moves, random: np.ndarray,
    tries: int, work: Work,
) -> int:  # fmt: skip
    """Move primes until the mapping fits, preferring moves that lower the excess; return tries."""
    primes, factors = moves.primes, mapping.factors
    if primes.shape[0] == 0:
        return 1 if fits(shape, machine, mapping, work) else tries
    excess = np.inf
    for trial in range(tries):
        prime = draw_below(random, primes.shape[0])
        old = primes[prime, 2]
        if trial > 0:
            d = primes[prime, 0]
            slot = moves.slots[d, draw_below(random, moves.n_slots[d])]
            _move_prime(factors, primes, prime, slot)
        if fits(shape, machine, mapping, work):
            return trial + 1
        now = _excess(shape, machine, mapping.keeps, work)
        # chosen: a worse step is accepted now and then, to leave dead ends.
        if now <= excess or draw_share(random) < 0.02:
            excess = now
        else:
            _move_prime(factors, primes, prime, old)
    return tries


@entry_point(seconds=60)
def anneal(
    shape: Shape, machine: Machine, mapping: MappingArrays, moves: Moves, n_movable: int,
    mode: int, objective: int, random: np.ndarray, n_tries: int, n_starts: int, hot: float,
    cold: float, least_energy: float, bound: float, work: Work, best_mapping: MappingArrays,
    results: np.ndarray,
) -> None:  # fmt: skip
    """Search for a mapping of least cost.

    Args:
      shape, machine: The problem and the architecture.
      mapping: One mapping; its orders and stored tensors are the start, all of it is scratch.
      moves: The possible moves; current slots are scratch.
      n_movable: Number of primes that have several slots.
      mode: `TIMELOOP` or `IDEAL`.
      objective: `ENERGY`, `CYCLES` or `EDP`.
      random: (1,) uint64, state of the generator.
      n_tries: Mappings to evaluate.
      n_starts: Number of starts that share them.
      hot, cold: Temperatures at the beginning and end of a start. A temperature is the rise of cost
        that is accepted with probability 1/e.
      least_energy: Lower bound of the energy of all mappings [pJ].
      bound: Cost at which to stop, since no mapping costs less.
      work: Scratch memory.
      best_mapping: Set to the best mapping.
      results: (4,), set to the least cost, tries, valid tries, and 1 if the bound was met.
    """
    factors, orders, keeps = mapping.factors, mapping.orders, mapping.keeps
    primes, slots, n_slots, is_order_free, toggles = moves
    n_levels, n_dimensions = factors.shape[1], factors.shape[3]
    best = np.inf
    tries = n_valid = 0
    nonunit = work.offsets
    for start in range(n_starts):
        end = n_tries * (start + 1) // n_starts
        _scatter(mapping, moves, start > 0, random)
        tries += _repair(shape, machine, mapping, moves, random, max(1, end - tries), work)
        begin = tries
        current = cost_within(shape, machine, mapping, mode, objective, 1.0, np.inf, work)
        if current < best:
            best = current
            copy_mapping(mapping, best_mapping)
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
                    # A prime that is in the target slot takes the old slot, if it may.
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
                    # The loop may be anywhere in the order of its new level.
                    level = slot // 3
                    source = _place_of(orders, level, d)
                    target = draw_below(random, n_dimensions)
                    _rotate(orders, level, source, target)
            limit = current - temperature * np.log(draw_share(random) + 1e-300)
            cost = cost_within(shape, machine, mapping, mode, objective, least_energy, limit, work)
            n_valid += cost < np.inf
            if cost < np.inf and cost <= limit:
                current = cost
                if cost < best:
                    best = cost
                    copy_mapping(mapping, best_mapping)
            else:
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
