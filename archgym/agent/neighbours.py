"""Steps from a parameter's value to similar values.

Local search and mutation ask for nothing more of a parameter: a step along the scale where values
have an order, two items swapped in a permutation, one prime moved in a factorisation, and any
other value where nothing is near.
"""

import sys
from collections.abc import Callable
from functools import cache
from typing import Final

import numpy as np

from archgym.spaces.parameter import Factorisation, Parameter, Permutation
from archgym.spaces.space import DesignSpace

# chosen: short searches by `genetic` make fewer; Python takes a quarter of the time for these that
# loading compiled ones takes, a tenth of a second.
_LOADED_AFTER: Final = 2**13
# Steps of this process.
_made: Final = [0]


def step(parameter: Parameter, index: int, length: float, rng: np.random.Generator) -> int:
    """Return a neighbour of the value with this index, another one where there is one.

    Args:
      parameter: Parameter of the value.
      index: The value's number.
      length: Mean length of a step along an ordered parameter, as a share of its size, above 0; a
        step is never shorter than one value.
      rng: Random numbers of the choice.

    Returns:
      The neighbour's number.
    """
    size = parameter.size
    if size == 1:
        return index
    if parameter.is_ordered:
        return _along(index, size, length, rng)
    if isinstance(parameter, Permutation) and not parameter.kept:
        order = list(parameter.value(index))
        i, j = rng.choice(len(order), size=2, replace=False)
        order[i], order[j] = order[j], order[i]
        return parameter.index(tuple(order))
    if isinstance(parameter, Factorisation) and not parameter.kept:
        return _moved_prime(parameter, index, rng)
    return (index + int(rng.integers(1, size))) % size


def step_designs(
    space: DesignSpace,
    indices: np.ndarray,
    rate: float,
    length: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return designs near the ones with these indices, not checked for feasibility.

    Args:
      space: The space.
      indices: (n, n_parameters); inactive parameters are left alone.
      rate: Mean number of parameters that step in a design; at least one does.
      length: As for `step`.
      rng: Random numbers of the choice.

    Returns:
      (n, n_parameters) indices.
    """
    changed = np.array(indices, dtype=np.int64)
    movable = space.active(changed) & (space.sizes > 1)
    n_movable = movable.sum(axis=1, keepdims=True)
    order = np.where(movable, rng.random(changed.shape), 2.0)
    # The movable parameter with the least number steps in any case.
    least = order == order.min(axis=1, keepdims=True)
    chosen = movable & (least | (order < rate / np.maximum(n_movable, 1)))
    rows, places = np.nonzero(chosen)
    _made[0] += len(rows)
    # Compiled code makes the same steps. It is used in long searches, where a simulator has loaded
    # its library.
    if _made[0] > _LOADED_AFTER and "archgym.runtime.kernels" in sys.modules:
        are_ordered, are_listed = space.are_ordered, space.are_listed
        if are_listed.all() or are_listed[places].all():
            odds = np.minimum(1.0, 1.0 / (length * space.sizes))
            _compiled_steps()(changed, rows, places, space.sizes, are_ordered, odds, rng)
            return changed
    for row, place in zip(rows.tolist(), places.tolist(), strict=True):
        changed[row, place] = step(space.parameters[place], int(changed[row, place]), length, rng)
    return changed


@cache
def _compiled_steps() -> Callable[..., None]:
    from archgym.runtime.kernels import entry_point

    return entry_point(seconds=2.0, allocates=True)(_take_steps)


def _take_steps(
    designs: np.ndarray,
    rows: np.ndarray,
    places: np.ndarray,
    sizes: np.ndarray,
    are_ordered: np.ndarray,
    odds: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Step in place as `step_designs` does, with the same random numbers, once it is compiled.

    Args:
      designs: (n, n_parameters), changed in place.
      rows: (k,), row of each step.
      places: (k,), its parameter.
      sizes: (n_parameters,).
      are_ordered: (n_parameters,), False where any other value is near.
      odds: (n_parameters,), chance that a step along the values ends at the next one.
      rng: Random numbers of the choice.
    """
    for number in range(len(places)):
        row, place = rows[number], places[number]
        size, index = sizes[place], designs[row, place]
        if not are_ordered[place]:
            designs[row, place] = (index + rng.integers(1, size)) % size
            continue
        stride = min(rng.geometric(odds[place]), size - 1)
        low, high = index - stride, index + stride
        if low >= 0 and high < size:
            designs[row, place] = high if rng.integers(0, 2) == 1 else low
        elif low >= 0:
            designs[row, place] = low
        elif high < size:
            designs[row, place] = high
        else:
            designs[row, place] = 0 if 2 * index >= size else size - 1


def _along(index: int, size: int, length: float, rng: np.random.Generator) -> int:
    """Return a step of geometric length that stays inside, to the farther end where none does."""
    stride = min(int(rng.geometric(min(1.0, 1.0 / (length * size)))), size - 1)
    low, high = index - stride, index + stride
    if low >= 0 and high < size:
        return high if rng.integers(2) else low
    if low >= 0 or high < size:
        return low if low >= 0 else high
    return 0 if 2 * index >= size else size - 1


def _moved_prime(parameter: Factorisation, index: int, rng: np.random.Generator) -> int:
    factors = [int(factor) for factor in parameter.value(index)]
    giver = int(rng.choice([i for i, factor in enumerate(factors) if factor > 1]))
    taker = (giver + int(rng.integers(1, len(factors)))) % len(factors)
    primes = _primes(factors[giver])
    prime = primes[int(rng.integers(len(primes)))]
    factors[giver] //= prime
    factors[taker] *= prime
    return parameter.index(tuple(factors))


def _primes(number: int) -> list[int]:
    """Return prime factors that differ, in increasing order."""
    found, prime = [], 2
    while prime * prime <= number:
        if number % prime == 0:
            found.append(prime)
            while number % prime == 0:
                number //= prime
        prime += 1
    return [*found, number] if number > 1 else found
