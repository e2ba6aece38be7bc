"""Gradient boosting by XGBoost, an ensemble for each metric."""

import json
from typing import Any, ClassVar, final

import numpy as np

from archgym.proxy.model import ModelKind, Setting
from archgym.proxy.trees import GrownTree, TreeEnsemble, pack
from archgym.runtime.importing import import_library


@final
class XgboostKind(ModelKind):
    """Gradient-boosted trees: each corrects part of the error of those before it.

    Source:
      Chen and Guestrin, *XGBoost*, KDD 2016.
    """

    name = "xgboost"
    doc = "gradient boosting (XGBoost, extra `boosting`), a model for each metric"
    encoding = "ordinal"
    settings: ClassVar[tuple[Setting, ...]] = (
        {"n_trees": 300, "learning_rate": 0.1, "max_depth": 8},
        {"n_trees": 600, "learning_rate": 0.1, "max_depth": 6},
    )
    predictor = TreeEnsemble

    def fit(
        self, features: np.ndarray, targets: np.ndarray, setting: Setting, seed: int
    ) -> TreeEnsemble:
        """Grow the trees, metric by metric."""
        xgboost = import_library("xgboost", "boosting")
        narrow = features.astype(np.float32)
        trees = []
        for output in range(targets.shape[1]):
            matrix = xgboost.DMatrix(narrow, label=targets[:, output])
            booster = xgboost.train(
                {
                    "learning_rate": float(setting["learning_rate"]),
                    "max_depth": int(setting["max_depth"]),
                    "tree_method": "hist",
                    "base_score": 0.0,
                    "nthread": 1,
                    "seed": seed,
                },
                matrix,
                num_boost_round=int(setting["n_trees"]),
            )
            learner = json.loads(booster.save_raw("json"))["learner"]
            grown = learner["gradient_booster"]["model"]["trees"]
            trees += [_grown(tree, output) for tree in grown]
        return pack(trees, features.shape[1], np.zeros(targets.shape[1]))


def _grown(tree: dict[str, Any], output: int) -> GrownTree:
    left = np.array(tree["left_children"], dtype=np.int64)
    condition = np.array(tree["split_conditions"], dtype=np.float32)
    # XGBoost goes left below a threshold, the others up to it; at a leaf it keeps the value there.
    below = np.nextafter(condition, np.float32(-np.inf)).astype(np.float64)
    return GrownTree(
        np.where(left < 0, -1, np.array(tree["split_indices"], dtype=np.int64)),
        below,
        left,
        np.array(tree["right_children"], dtype=np.int64),
        condition.astype(np.float64)[:, None],
        output,
    )
