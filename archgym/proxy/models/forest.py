"""A small forest of two kinds of trees, for fast and even predictions."""

from typing import ClassVar, final

import numpy as np

from archgym.proxy.model import ModelKind, Setting
from archgym.proxy.trees import TreeEnsemble, grow_forests
from archgym.runtime.importing import import_library


@final
class ForestKind(ModelKind):
    """Trees on resampled data with the best thresholds, and randomised trees on all data.

    Few trees answer fast; how far they are apart says how sure they are.

    Source:
      Breiman, *Random Forests*, Machine Learning 45, 2001; Geurts et al., *Extremely Randomized
      Trees*, Machine Learning 63, 2006.
    """

    name = "forest"
    doc = "a few trees of two kinds; narrow intervals where designs resemble each other"
    encoding = "ordinal"
    # chosen: more trees err a little less and take longer in proportion.
    settings: ClassVar[tuple[Setting, ...]] = (
        {"n_trees": 6, "n_randomised": 0, "min_samples_leaf": 1},
        {"n_trees": 3, "n_randomised": 3, "min_samples_leaf": 1},
    )
    predictor = TreeEnsemble

    def fit(
        self, features: np.ndarray, targets: np.ndarray, setting: Setting, seed: int
    ) -> TreeEnsemble:
        """Grow the trees."""
        ensemble = import_library("sklearn.ensemble")
        kinds = (
            (ensemble.RandomForestRegressor, setting["n_trees"]),
            (ensemble.ExtraTreesRegressor, setting["n_randomised"]),
        )
        if not any(n for _, n in kinds):
            raise ValueError("`n_trees` or `n_randomised` must be above 0.")
        forests = [
            kind(
                n_estimators=int(n),
                min_samples_leaf=int(setting["min_samples_leaf"]),
                max_features=1.0,
                random_state=seed,
            )
            for kind, n in kinds
            if n
        ]
        return grow_forests(forests, features, targets)
