"""Which combinations of values a proxy has seen, and where it extrapolates."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import combinations
from typing import Self, final

import numpy as np

from archgym.coordinates import Coordinates
from archgym.space import DesignSpace

__all__ = ["PAIR", "VALUE", "Familiarity"]

PAIR, VALUE = 1, 2
"""What may be new of a design."""

# chosen: larger tables say little, since most of their entries are empty anyway.
_MOST_PAIRS = 4096
_MOST_VALUES = 65536
# chosen: with more parameters than that, pairs are judged of the first ones only.
_MOST_COORDINATES = 64


@final
class Familiarity:
    """What occurred in the training data: each parameter's values, and pairs of values.

    A design is unfamiliar where it has a value, or two values together, that no canonical design
    in the training data had: a model can only guess what they do. Permutations and factorisations
    are judged by their parts.
    """

    def __init__(self, space: DesignSpace, seen: np.ndarray) -> None:
        """Takes `seen`, (n_entries,) bool, of the tables that follow from the space.

        Raises:
          ValueError: It has another length.
        """
        self._coordinates = Coordinates(space)
        if seen.shape != (self._size,) or seen.dtype != np.bool_:
            raise ValueError(f"array 'seen' has shape {seen.shape} of {seen.dtype}")
        self.seen = seen

    @classmethod
    def of(cls, space: DesignSpace, indices: np.ndarray) -> Self:
        """What occurs in canonical designs, (n, n_parameters)."""
        empty = cls(space, np.zeros(_Tables(Coordinates(space)).size, dtype=bool))
        digits = empty._coordinates.digits(indices)
        for entries in empty._tables.entries(digits):
            empty.seen[entries] = True
        return empty

    @classmethod
    def read(cls, space: DesignSpace, arrays: Mapping[str, np.ndarray]) -> Self:
        """From what `arrays` gave; ValueError where it is something else."""
        if "seen" not in arrays:
            raise ValueError("array 'seen' is missing")
        packed = arrays["seen"]
        size = _Tables(Coordinates(space)).size
        if packed.dtype != np.uint8 or packed.shape != ((size + 7) // 8,):
            raise ValueError(f"array 'seen' has shape {packed.shape} of {packed.dtype}")
        return cls(space, np.unpackbits(packed, count=size).astype(bool))

    def arrays(self) -> dict[str, np.ndarray]:
        """All that it consists of, by name."""
        return {"seen": np.packbits(self.seen)}

    def novelty(self, indices: np.ndarray) -> np.ndarray:
        """What is new of each canonical design, (n,) int8: 0 nothing, 1 a pair, 2 a value."""
        novelty = np.zeros(len(indices), dtype=np.int8)
        if self.seen.all():
            return novelty
        digits = self._coordinates.digits(indices)
        for table, entries in enumerate(self._tables.entries(digits)):
            new = PAIR if table >= self._tables.n_single else VALUE
            np.maximum(novelty, np.where(self.seen[entries], 0, new), out=novelty, casting="unsafe")
        return novelty

    @cached_property
    def _tables(self) -> "_Tables":
        return _Tables(self._coordinates)

    @property
    def _size(self) -> int:
        return self._tables.size


@final
class _Tables:
    """Where the entry of each value and pair stands."""

    def __init__(self, coordinates: Coordinates) -> None:
        self._tables: list[tuple[int, int, int, int]] = []
        sizes = coordinates.sizes[:_MOST_COORDINATES]
        self.size = 0
        for place, n in enumerate(sizes):
            if n <= _MOST_VALUES:
                self._append(place, place, 0, n)
        self.n_single = len(self._tables)
        for (first, n), (second, m) in combinations(enumerate(sizes), 2):
            if n * m <= _MOST_PAIRS:
                self._append(first, second, m, n * m)

    def _append(self, first: int, second: int, stride: int, n: int) -> None:
        self._tables.append((first, second, stride, self.size))
        self.size += n

    def entries(self, digits: np.ndarray) -> Iterator[np.ndarray]:
        """For each table the entry of each design, (n,)."""
        for first, second, stride, start in self._tables:
            yield start + digits[:, first] * stride + digits[:, second]
