"""Compiled steps to neighbours, for spaces whose parameters have an order or choices."""

import numpy as np

from archgym.runtime.kernels import entry_point


@entry_point(seconds=2.0, allocates=True)
def take_steps(
    designs: np.ndarray,
    places: np.ndarray,
    sizes: np.ndarray,
    are_ordered: np.ndarray,
    odds: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Step in place as `step_designs` does by Python, with the same random numbers.

    Args:
      designs: (n, n_parameters), changed in place.
      places: (k, 2), row and parameter of each step, in order.
      sizes: (n_parameters,).
      are_ordered: (n_parameters,), False where any other value is near.
      odds: (n_parameters,), chance that a step along the values ends at the next one.
      rng: Random numbers of the choice.
    """
    for number in range(len(places)):
        row, place = places[number, 0], places[number, 1]
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
