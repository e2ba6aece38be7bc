"""Choices of an agent: the value of each parameter, in one choice or in several small ones."""

import math
from typing import final

import numpy as np

from archgym.spaces.parameter import Factorisation, Permutation
from archgym.spaces.space import DesignSpace

# chosen: a mask over the values of a larger parameter is not worth its memory; all is allowed.
_MASK_LIMIT = 2**20
# chosen: a policy that has settled asks for few masks again and again; more take up to 100 MB.
_MAX_KEPT_MASKS = 2**17


@final
class Choices:
    """The choices that make up a design of a space, in a fixed order.

    A parameter is one choice among its values. A permutation is one choice for each pick among the
    items that are left, and a factorisation one for each prime, so that no choice is larger than
    can be listed. Every combination of choices is one design and the other way round: a design's
    index in such a parameter is the mixed-radix number of its choices.
    """

    def __init__(self, space: DesignSpace) -> None:
        self.space = space
        names: list[str] = []
        sizes: list[int] = []
        places: list[int] = []
        weights: list[int] = []
        ordered: list[bool] = []
        for place, parameter in enumerate(space.parameters):
            radices = [parameter.size]
            if isinstance(parameter, Permutation | Factorisation):
                radices = [size for size in parameter.sub_sizes if size > 1] or [1]
            for number, radix in enumerate(radices):
                names.append(parameter.name + (f"[{number}]" if len(radices) > 1 else ""))
                sizes.append(radix)
                places.append(place)
                weights.append(math.prod(radices[number + 1 :]))
                ordered.append(parameter.is_ordered)
        self.names = tuple(names)
        self.n = len(names)
        self.sizes: np.ndarray = np.array(sizes, dtype=np.int64)
        """Number of options of each choice, (n,)."""
        self.places: np.ndarray = np.array(places, dtype=np.int64)
        """Parameter that each choice belongs to, (n,)."""
        self.is_ordered: np.ndarray = np.array(ordered)
        """True if neighbouring options are alike, (n,)."""
        self._weights = np.array(weights, dtype=np.int64)
        self._is_plain = self.n == space.n_parameters
        # Constraints cannot speak of permutations and factorisations, so they need no masks.
        self._is_split = [
            isinstance(parameter, Permutation | Factorisation) for parameter in space.parameters
        ]
        self._masks: dict[tuple[int, ...], np.ndarray] = {}
        self.default: np.ndarray = self.split(space.default_indices[None, :])[0]
        """The default design's choices, (n,)."""

    def compose(self, picks: np.ndarray) -> np.ndarray:
        """Return designs, (k, n_parameters) indices, that choices, (k, n), make up."""
        if self._is_plain:
            return picks.astype(np.int64)
        indices = np.zeros((len(picks), self.space.n_parameters), dtype=np.int64)
        np.add.at(indices.T, self.places, (picks * self._weights).T)
        return indices

    def split(self, indices: np.ndarray) -> np.ndarray:
        """Return choices, (k, n), that make up designs, (k, n_parameters) indices."""
        picks: np.ndarray = (indices[:, self.places] // self._weights) % self.sizes
        return picks

    def mask(self, picks: np.ndarray, choice: int) -> np.ndarray:
        """Return True if each option of a choice has a feasible completion.

        Args:
          picks: (n,), of which the first `choice` are made.
          choice: The next choice.

        Returns:
          (sizes[choice],) bool; all true where the space is too large to tell.
        """
        key = tuple(picks[:choice].tolist())
        mask = self._masks.get(key)
        if mask is None:
            mask = self._judge(picks, choice)
            if len(self._masks) < _MAX_KEPT_MASKS:
                self._masks[key] = mask
        return mask

    def _judge(self, picks: np.ndarray, choice: int) -> np.ndarray:
        place = int(self.places[choice])
        if self._is_split[place]:
            return np.ones(int(self.sizes[choice]), dtype=bool)
        prefix = self.compose(picks[None, :])[0, :place]
        return self.space.masks([int(index) for index in prefix])

    def marginal_masks(self) -> list[np.ndarray]:
        """Return, for each choice, whether each option occurs in a feasible design, where known."""
        if int(self.space.sizes.max()) > _MASK_LIMIT:
            return [np.ones(int(size), dtype=bool) for size in self.sizes]
        masks = self.space.marginal_masks()
        return [
            np.ones(int(size), dtype=bool) if self._is_split[place] else masks[place]
            for size, place in zip(self.sizes, self.places, strict=True)
        ]
