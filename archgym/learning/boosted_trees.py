"""A few gradient-boosted ensembles, by scikit-learn, which differ where little is known."""

from typing import Any, Self, final

import numpy as np

from archgym.learning.importing import import_quietly

__all__ = ["BoostedTrees"]

# chosen: rows that a member learns from, drawn anew for each tree; their depth; the share of an
# error that a tree makes good.
_ROW_SHARE = 0.7
_DEPTH = 4
_LEARNING_RATE = 0.15


@final
class BoostedTrees:
    """Members that each learn a resample of the data, tree after tree.

    Source:
      Friedman, *Stochastic Gradient Boosting*, Computational Statistics & Data Analysis 38, 2002.
    """

    def __init__(self, n_members: int, n_trees: int, rng: np.random.Generator) -> None:
        """Sets up `n_members` of `n_trees` trees that have learned nothing; `rng` decides."""
        self._n_members = n_members
        self._n_trees = n_trees
        self._rng = rng
        self._members: list[Any] = []

    def fit(self, features: np.ndarray, scores: np.ndarray) -> Self:
        """Learns scores, (n,), of features, (n, n_features)."""
        ensemble = import_quietly("sklearn.ensemble")
        n = len(scores)
        self._members = []
        for _ in range(self._n_members):
            rows = self._rng.integers(n, size=n)
            member = ensemble.GradientBoostingRegressor(
                n_estimators=self._n_trees,
                max_depth=_DEPTH,
                learning_rate=_LEARNING_RATE,
                subsample=_ROW_SHARE,
                random_state=int(self._rng.integers(2**32)),
            )
            self._members.append(member.fit(features[rows], scores[rows]))
        return self

    def expected(self, features: np.ndarray) -> np.ndarray:
        """What each member expects of each row of features, (n, n_members)."""
        return np.stack([member.predict(features) for member in self._members], axis=1)
