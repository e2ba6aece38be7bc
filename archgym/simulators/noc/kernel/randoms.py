"""D. E. Knuth's generators ran_array and ranf_array, in the form of 2002.

Source: D. E. Knuth, *The Art of Computer Programming*, volume 2, third edition, section 3.6, with
the author's revision of 2002 (public domain). Draws are the first 100 of each block of 1009.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit.kernels import compiled, entry_point, inlined, kept_apart

LONG: Final = 100
"""Draws from a block."""
_SHORT: Final = 37
_MODULUS: Final = 2**30
_STREAM: Final = 70
_BLOCK: Final = 1009
SIZE: Final = _BLOCK + LONG + 1
"""Entries of a generator's array: a block, the state after it, and the number of draws from it."""


@inlined
def integer(numbers: Any, below: int) -> int:
    """Return an integer from 0 to `below` - 1."""
    if numbers[SIZE - 1] == LONG:
        refill(numbers, -1, _MODULUS)
        numbers[SIZE - 1] = 0
    used = numbers[SIZE - 1]
    numbers[SIZE - 1] = used + 1
    return int(numbers[used]) % below


@compiled
def refill(numbers: Any, sign: int, modulus: int) -> None:
    """Make the next block, from the state behind the last one."""
    kept_apart()
    for j in range(LONG):
        numbers[j] = numbers[_BLOCK + j]
    _extend(numbers, _BLOCK + LONG, sign, modulus)


@inlined
def _extend(numbers: Any, length: int, sign: int, modulus: int) -> None:
    """Let the elements up to a length follow from the first 100."""
    for j in range(LONG, length):
        # Both are in range, so a sum or difference is out of it once at most.
        value = numbers[j - LONG] + sign * numbers[j - _SHORT]
        if sign < 0:
            numbers[j] = value + modulus if value < 0 else value
        else:
            numbers[j] = value - modulus if value >= modulus else value


def integers(seed: int) -> npt.NDArray[np.int64]:
    """Return the array of a generator of integers."""
    x = np.zeros(2 * LONG - 1, dtype=np.int64)
    value = (seed + 2) % _MODULUS & ~1
    for j in range(LONG):
        x[j] = value
        value <<= 1
        if value >= _MODULUS:
            value -= _MODULUS - 2
    x[1] += 1
    numbers = np.zeros(SIZE, dtype=np.int64)
    _seed(x, numbers, seed % _MODULUS, -1, _MODULUS)
    return numbers


def fractions(seed: int) -> npt.NDArray[np.float64]:
    """Return the array of a generator of fractions."""
    unit = 2.0**-52
    x = np.zeros(2 * LONG - 1, dtype=np.float64)
    value = 2.0 * unit * (seed % _MODULUS + 2)
    for j in range(LONG):
        x[j] = value
        value += value
        if value >= 1.0:
            value -= 1.0 - 2.0 * unit
    x[1] += unit
    numbers = np.zeros(SIZE, dtype=np.float64)
    _seed(x, numbers, seed % _MODULUS, 1, 1)
    return numbers


@entry_point(seconds=3.0)
def _seed(x: Any, numbers: Any, steps: int, sign: int, modulus: int) -> None:
    """Fill a generator's array by seeding and ten blocks that warm it up."""
    left, away = _STREAM - 1, LONG - _SHORT
    while left > 0:
        for j in range(LONG - 1, 0, -1):
            x[2 * j], x[2 * j - 1] = x[j], 0
        for j in range(2 * LONG - 2, LONG - 1, -1):
            x[j - away] = (x[j - away] + sign * x[j]) % modulus
            x[j - LONG] = (x[j - LONG] + sign * x[j]) % modulus
        if steps % 2:
            for j in range(LONG, 0, -1):
                x[j] = x[j - 1]
            x[0] = x[LONG]
            x[_SHORT] = (x[_SHORT] + sign * x[LONG]) % modulus
        if steps:
            steps //= 2
        else:
            left -= 1
    for j in range(LONG):
        numbers[j] = x[(j + _SHORT) % LONG]
    for _ in range(10):
        _extend(numbers, 2 * LONG - 1 + LONG, sign, modulus)
        for j in range(LONG):
            numbers[j] = numbers[2 * LONG - 1 + j]
    _extend(numbers, _BLOCK + LONG, sign, modulus)
