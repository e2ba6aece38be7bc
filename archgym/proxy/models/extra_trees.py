"""Extremely randomised trees, all metrics together."""

from typing import ClassVar, final

import numpy as np

from archgym.proxy.model import ModelKind, Setting
from archgym.proxy.trees import TreeEnsemble, grow_forests
from archgym.runtime.importing import import_library


@final
class ExtraTreesKind(ModelKind):
    """Trees that each learn all data, with thresholds drawn at random.

    Source:
      Geurts et al., *Extremely Randomized Trees*, Machine Learning 63, 2006.
    """

    name = "extra-trees"
    doc = "randomised trees on all data; the most accurate where designs resemble each other"
    encoding = "ordinal"
    settings: ClassVar[tuple[Setting, ...]] = (
        {"n_trees": 50, "min_samples_leaf": 1, "max_features": 1.0},
        {"n_trees": 50, "min_samples_leaf": 2, "max_features": 1.0},
        {"n_trees": 50, "min_samples_leaf": 1, "max_features": 0.7},
    )
    predictor = TreeEnsemble

    def fit(
        self, features: np.ndarray, targets: np.ndarray, setting: Setting, seed: int
    ) -> TreeEnsemble:
        """Grow the trees."""
        forest = import_library("sklearn.ensemble").ExtraTreesRegressor(
            n_estimators=int(setting["n_trees"]),
            min_samples_leaf=int(setting["min_samples_leaf"]),
            max_features=float(setting["max_features"]),
            random_state=seed,
        )
        return grow_forests([forest], features, targets)
