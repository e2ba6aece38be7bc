"""D. E. Knuth's generators ran_array and ranf_array, in the form of 2002.

Source: D. E. Knuth, *The Art of Computer Programming*, volume 2, third edition, section 3.6, with
the author's revision of 2002 (public domain). Draws are the first 100 of each block of 1009.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from archgym.runtime.kernels import compiled, kept_apart

_LONG: Final = 100
_SHORT: Final = 37
_MODULUS: Final = 2**30
_STREAM: Final = 70
_BLOCK: Final = 1009
SIZE: Final = _BLOCK + _LONG + 1
"""Entries of a generator's array: a block, the state after it, and the number of draws."""


@compiled
def integer(numbers: Any, below: int) -> int:
    """Return an integer from 0 to `below` - 1."""
    return int(numbers[_next(numbers, True)]) % below


@compiled
def fraction(numbers: Any) -> float:
    """Return a fraction from 0 to below 1."""
    return float(numbers[_next(numbers, False)])


@compiled
def _next(numbers: Any, is_integer: bool) -> int:
    kept_apart()
    used = int(numbers[SIZE - 1])
    if used == _LONG:
        for j in range(_LONG):
            numbers[j] = numbers[_BLOCK + j]
        for j in range(_LONG, _BLOCK + _LONG):
            if is_integer:
                numbers[j] = (numbers[j - _LONG] - numbers[j - _SHORT]) % _MODULUS
            else:
                numbers[j] = (numbers[j - _LONG] + numbers[j - _SHORT]) % 1
        used = 0
    numbers[SIZE - 1] = used + 1
    return used


def integers(seed: int) -> npt.NDArray[np.int64]:
    """Return the array of a generator of integers."""
    x = [0] * (2 * _LONG - 1)
    value = (seed + 2) % _MODULUS & ~1
    for j in range(_LONG):
        x[j] = value
        value <<= 1
        if value >= _MODULUS:
            value -= _MODULUS - 2
    x[1] += 1
    return np.array(_seeded(x, seed, -1, _MODULUS), dtype=np.int64)


def fractions(seed: int) -> npt.NDArray[np.float64]:
    """Return the array of a generator of fractions."""
    unit = 2.0**-52
    x = [0.0] * (2 * _LONG - 1)
    value = 2.0 * unit * (seed % _MODULUS + 2)
    for j in range(_LONG):
        x[j] = value
        value += value
        if value >= 1.0:
            value -= 1.0 - 2.0 * unit
    x[1] += unit
    return np.array(_seeded(x, seed, 1, 1), dtype=np.float64)


def _seeded(x: list[Any], seed: int, sign: int, modulus: int) -> list[Any]:
    """Return a generator's array after seeding and ten blocks that warm it up."""
    steps, left = seed % _MODULUS, _STREAM - 1
    while left > 0:
        for j in range(_LONG - 1, 0, -1):
            x[2 * j], x[2 * j - 1] = x[j], 0 * x[j]
        for j in range(2 * _LONG - 2, _LONG - 1, -1):
            away = _LONG - _SHORT
            x[j - away] = (x[j - away] + sign * x[j]) % modulus
            x[j - _LONG] = (x[j - _LONG] + sign * x[j]) % modulus
        if steps % 2:
            for j in range(_LONG, 0, -1):
                x[j] = x[j - 1]
            x[0] = x[_LONG]
            x[_SHORT] = (x[_SHORT] + sign * x[_LONG]) % modulus
        if steps:
            steps //= 2
        else:
            left -= 1
    state = [x[(j + _SHORT) % _LONG] for j in range(_LONG)]
    for _ in range(10):
        state = _block(state, 2 * _LONG - 1, sign, modulus)[-_LONG:]
    block = _block(state, _BLOCK, sign, modulus)
    return [*block, 0]


def _block(state: list[Any], length: int, sign: int, modulus: int) -> list[Any]:
    """Return a state, the elements that follow it, and the state after `length` elements."""
    values = list(state)
    for j in range(_LONG, length + _LONG):
        values.append((values[j - _LONG] + sign * values[j - _SHORT]) % modulus)
    return values
