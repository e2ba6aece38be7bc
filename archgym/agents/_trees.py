"""An ensemble of extremely randomised trees, grown by scikit-learn one by one."""

from typing import Any, Self, final

import numpy as np

from archgym.runtime.importing import import_library

# chosen: share of the features that a split is drawn from.
_FEATURE_SHARE = 0.5


@final
class RandomisedTrees:
    """Trees that are each fitted to all data, with splits drawn at random.

    scikit-learn's own ensemble spends most of the time of a small one on starting its trees as
    parallel jobs.

    Source:
      Geurts et al., *Extremely Randomized Trees*, Machine Learning 63, 2006.
    """

    def __init__(self, n_trees: int, rng: np.random.Generator) -> None:
        """Set up `n_trees` trees that have learned nothing; `rng` decides."""
        self._n_trees = n_trees
        self._rng = rng
        self._trees: list[Any] = []

    def fit(self, features: np.ndarray, scores: np.ndarray) -> Self:
        """Learn scores, (n,), of features, (n, n_features)."""
        import sklearn

        tree = import_library("sklearn.tree")
        narrow = np.ascontiguousarray(features, dtype=np.float32)
        # One stream for all trees, since seeding one takes longer than growing a small tree.
        random_state = np.random.RandomState(int(self._rng.integers(2**32)))
        # Its checks of what cannot be wrong here take longer than growing a small tree.
        with sklearn.config_context(skip_parameter_validation=True):
            self._trees = [
                tree.ExtraTreeRegressor(max_features=_FEATURE_SHARE, random_state=random_state)
                .fit(narrow, scores, check_input=False)
                .tree_
                for _ in range(self._n_trees)
            ]
        return self

    def leaves(self, features: np.ndarray) -> np.ndarray:
        """Return the leaf of each tree that each row of features falls into, (n, n_trees)."""
        narrow = np.ascontiguousarray(features, dtype=np.float32)
        return np.stack([tree.apply(narrow) for tree in self._trees], axis=1)

    def scores(self, leaves: np.ndarray) -> np.ndarray:
        """Return each tree's prediction in these leaves, (n, n_trees)."""
        columns = zip(self._trees, leaves.T, strict=True)
        return np.stack([tree.value[column, 0, 0] for tree, column in columns], axis=1)

    def expected(self, features: np.ndarray) -> np.ndarray:
        """Return each tree's prediction for each row of features, (n, n_trees)."""
        return self.scores(self.leaves(features))
