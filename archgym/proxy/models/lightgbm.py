"""Gradient boosting by LightGBM, an ensemble for each metric."""

from typing import Any, ClassVar, final

import numpy as np

from archgym.proxy.model import ModelKind, Setting
from archgym.proxy.trees import GrownTree, TreeEnsemble, pack
from archgym.runtime.importing import import_library


@final
class LightgbmKind(ModelKind):
    """Gradient-boosted trees: each corrects part of the error of those before it.

    Source:
      Ke et al., *LightGBM*, NeurIPS 2017.
    """

    name = "lightgbm"
    doc = "gradient boosting (LightGBM, extra `boosting`), a model for each metric"
    encoding = "ordinal"
    settings: ClassVar[tuple[Setting, ...]] = (
        {"n_trees": 300, "learning_rate": 0.1, "num_leaves": 31},
        {"n_trees": 300, "learning_rate": 0.2, "num_leaves": 63},
    )
    predictor = TreeEnsemble

    def fit(
        self, features: np.ndarray, targets: np.ndarray, setting: Setting, seed: int
    ) -> TreeEnsemble:
        """Grow the trees, metric by metric."""
        lightgbm = import_library("lightgbm", "boosting")
        narrow = features.astype(np.float32).astype(np.float64)
        trees = []
        for output in range(targets.shape[1]):
            booster = lightgbm.train(
                {
                    "objective": "regression",
                    "learning_rate": float(setting["learning_rate"]),
                    "num_leaves": int(setting["num_leaves"]),
                    "min_data_in_leaf": 5,
                    "num_threads": 1,
                    "deterministic": True,
                    "force_col_wise": True,
                    "seed": seed,
                    "verbosity": -1,
                },
                lightgbm.Dataset(narrow, label=targets[:, output]),
                num_boost_round=int(setting["n_trees"]),
            )
            model = booster.dump_model()
            trees += [_grown(tree["tree_structure"], output) for tree in model["tree_info"]]
        return pack(trees, features.shape[1], np.zeros(targets.shape[1]))


def _grown(root: dict[str, Any], output: int) -> GrownTree:
    nodes = [root]
    left, right = [], []
    for node in nodes:
        is_inner = "split_feature" in node
        left.append(len(nodes) if is_inner else -1)
        right.append(len(nodes) + 1 if is_inner else -1)
        if is_inner:
            nodes += [node["left_child"], node["right_child"]]
    return GrownTree(
        np.array([node.get("split_feature", -1) for node in nodes], dtype=np.int64),
        np.array([node.get("threshold", 0.0) for node in nodes], dtype=np.float64),
        np.array(left, dtype=np.int64),
        np.array(right, dtype=np.int64),
        np.array([[node.get("leaf_value", 0.0)] for node in nodes], dtype=np.float64),
        output,
    )
