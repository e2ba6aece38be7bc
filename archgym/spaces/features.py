"""Designs as a model sees them: small whole numbers to choose, or features to learn from."""

from typing import final

import numpy as np

from archgym.spaces.parameter import Factorisation, Parameter, Permutation
from archgym.spaces.space import DesignSpace

# chosen: a choice without an order costs a model a column a value; a longer one is seen as a scale.
_MOST_CHOICES = 256


@final
class Coordinates:
    """A space's designs split into coordinates, each a choice among a few values.

    A parameter is one coordinate. A permutation or factorisation has a coordinate for each of its
    sub-actions, since it is never listed. What cannot change has none.
    """

    def __init__(self, space: DesignSpace) -> None:
        """Split every parameter of `space`."""
        self._space = space
        self._radices = [_radices(parameter) for parameter in space.parameters]
        found = [
            (f"{parameter.name}/{part}", radix, parameter.is_ordered)
            for parameter, radices in zip(space.parameters, self._radices, strict=True)
            for part, radix in enumerate(radices)
            if radix > 1
        ]
        self.labels = tuple(label for label, _, _ in found)
        """A name for each coordinate."""
        self.sizes = tuple(radix for _, radix, _ in found)
        """The number of values of each."""
        self.are_ordered = tuple(
            is_ordered or radix > _MOST_CHOICES for _, radix, is_ordered in found
        )
        """True if neighbouring values of each are alike, or too many to tell apart."""

    def digits(self, indices: np.ndarray) -> np.ndarray:
        """Return coordinates, (n, n_coordinates) int64, of designs, (n, n_parameters) indices."""
        columns: list[np.ndarray] = []
        for place, radices in enumerate(self._radices):
            rest = indices[:, place]
            parts: list[np.ndarray] = []
            for radix in reversed(radices):
                rest, digit = np.divmod(rest, radix)
                if radix > 1:
                    parts.append(digit)
            columns += reversed(parts)
        return np.stack(columns, axis=1) if columns else np.zeros((len(indices), 0), np.int64)

    def indices(self, digits: np.ndarray) -> np.ndarray:
        """Return designs, (n, n_parameters) indices, of coordinates: the inverse of `digits`."""
        indices = np.zeros((len(digits), self._space.n_parameters), dtype=np.int64)
        column = 0
        for place, radices in enumerate(self._radices):
            for radix in radices:
                if radix > 1:
                    indices[:, place] = indices[:, place] * radix + digits[:, column]
                    column += 1
        return indices

    def features(self, indices: np.ndarray, are_choices_split: bool = True) -> np.ndarray:
        """Return features for regressors, (n, n_features) float64 in [0, 1], of canonical designs.

        Ordered parameters by their place on the scale, choices by a column a value (or by their
        number alone where `are_choices_split` is false), permutations by the place of each item,
        factorisations by the logarithm of each factor.
        """
        columns = [np.zeros((len(indices), 0))]
        for place, parameter in enumerate(self._space.parameters):
            if parameter.size > 1:
                numbers = indices[:, place]
                columns.append(parameter_features(parameter, numbers, are_choices_split))
        return np.concatenate(columns, axis=1)


def _radices(parameter: Parameter) -> tuple[int, ...]:
    """Return the coordinates into which a parameter's index splits."""
    if isinstance(parameter, Permutation | Factorisation):
        return parameter.sub_sizes or (1,)
    return (parameter.size,)


def parameter_features(
    parameter: Parameter, numbers: np.ndarray, are_choices_split: bool = True
) -> np.ndarray:
    """Return features of one parameter of 2 or more values, (n, n_features)."""
    if isinstance(parameter, Permutation):
        return _places(parameter, numbers)
    if isinstance(parameter, Factorisation):
        factors = [parameter.value(number) for number in numbers.tolist()]
        logarithms = np.log(np.array(factors, np.float64).reshape(-1, parameter.parts))
        return np.asarray(logarithms / np.log(parameter.total))
    is_scale = parameter.is_ordered or not are_choices_split
    if is_scale or parameter.size > _MOST_CHOICES:
        return numbers[:, None] / (parameter.size - 1)
    if parameter.size == 2:
        return numbers[:, None].astype(np.float64)
    return np.asarray(numbers[:, None] == np.arange(parameter.size), dtype=np.float64)


def _places(parameter: Permutation, numbers: np.ndarray) -> np.ndarray:
    """Return the place of each item in each order, (n, n_items)."""
    orders = [parameter.value(number) for number in numbers.tolist()]
    places = [[order.index(item) for item in parameter.items] for order in orders]
    n_items = len(parameter.items)
    return np.array(places, np.float64).reshape(-1, n_items) / max(n_items - 1, 1)
