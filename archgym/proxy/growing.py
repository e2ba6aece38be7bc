"""What scikit-learn's forests look like as flat trees."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from archgym.proxy.trees import GrownTree, TreeEnsemble, pack

__all__ = ["grow_forests"]


def grow_forests(forests: Sequence[Any], features: np.ndarray, targets: np.ndarray) -> TreeEnsemble:
    """Fits scikit-learn's forests on all targets together, and packs all their trees as one."""
    narrow = np.ascontiguousarray(features, dtype=np.float32)
    trees = []
    for forest in forests:
        forest.fit(narrow, targets if targets.shape[1] > 1 else targets[:, 0])
        trees += [_grown(estimator.tree_) for estimator in forest.estimators_]
    n_outputs = targets.shape[1]
    scale = np.full(n_outputs, 1.0 / len(trees))
    return pack(trees, np.zeros(n_outputs), scale, features.shape[1])


def _grown(tree: Any) -> GrownTree:
    return GrownTree(
        # scikit-learn marks leaves by children of -1.
        np.where(tree.children_left < 0, -1, tree.feature),
        tree.threshold,
        tree.children_left,
        tree.children_right,
        tree.value[:, :, 0],
    )
