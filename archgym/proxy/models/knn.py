"""Nearest neighbours: averages over the most similar known designs."""

from collections.abc import Mapping
from typing import ClassVar, final

import numpy as np

from archgym.proxy.model import ModelKind, Predictor, Setting, checked

# chosen: distances of a block take some tens of megabytes.
_BLOCK_DISTANCES = 4_000_000


@final
class NeighbourPredictor(Predictor):
    """The mean of the nearest designs, nearer ones counting more.

    Of designs equally far, those that were learned first count as nearer, so that an answer does
    not depend on how distances are sorted.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], n_features: int, n_outputs: int) -> None:
        """Take `known` features, their `targets`, and `n_neighbours`."""
        self.known = checked(arrays, "known", "f", (None, n_features))
        self.targets = checked(arrays, "targets", "f", (len(self.known), n_outputs))
        self.n = checked(arrays, "n_neighbours", "i", (1,), 1, len(self.known))

    def arrays(self) -> dict[str, np.ndarray]:
        return {"known": self.known, "targets": self.targets, "n_neighbours": self.n}

    def predict(self, features: np.ndarray) -> np.ndarray:
        weights, near = self._near(features)
        return np.asarray(np.einsum("nk,nkm->nm", weights, self.targets[near]))

    def spread(self, features: np.ndarray) -> np.ndarray | None:
        weights, near = self._near(features)
        mean = np.einsum("nk,nkm->nm", weights, self.targets[near])
        square = np.einsum("nk,nkm->nm", weights, (self.targets[near] - mean[:, None]) ** 2)
        return np.asarray(np.sqrt(square))

    def _near(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return weights, (n, k), summing to 1, and places among the known, (n, k)."""
        k = int(self.n[0])
        step = max(1, _BLOCK_DISTANCES // (len(self.known) * max(1, features.shape[1])))
        parts = [
            self._near_block(features[first : first + step], k)
            for first in range(0, len(features), step)
        ]
        if not parts:
            return np.zeros((0, k)), np.zeros((0, k), dtype=np.int64)
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    def _near_block(self, features: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        squares = ((features[:, None, :] - self.known[None, :, :]) ** 2).sum(axis=2)
        near = np.argsort(squares, axis=1, kind="stable")[:, :k]
        distance = np.sqrt(np.take_along_axis(squares, near, axis=1))
        # A design that was seen answers for itself, with others that are equal to it.
        is_same = distance == 0.0
        with np.errstate(divide="ignore"):
            weights = np.where(is_same.any(axis=1)[:, None], is_same, 1.0 / distance)
        return weights / weights.sum(axis=1, keepdims=True), near


@final
class KnnKind(ModelKind):
    """Nearest neighbours."""

    name = "knn"
    doc = "nearest neighbours by parameters' places; nothing to fit"
    encoding = "one-hot"
    settings: ClassVar[tuple[Setting, ...]] = (
        {"n_neighbours": 5},
        {"n_neighbours": 2},
        {"n_neighbours": 12},
    )
    predictor = NeighbourPredictor

    def fit(
        self, features: np.ndarray, targets: np.ndarray, setting: Setting, seed: int
    ) -> NeighbourPredictor:
        """Store the training data."""
        del seed
        n = np.array([min(int(setting["n_neighbours"]), len(features))])
        arrays = {"known": features, "targets": targets, "n_neighbours": n}
        return NeighbourPredictor(arrays, features.shape[1], targets.shape[1])
