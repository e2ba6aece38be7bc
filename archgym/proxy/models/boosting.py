"""Gradient boosting by scikit-learn, an ensemble for each metric."""

from typing import ClassVar, final

import numpy as np

from archgym.proxy.model import ModelKind, Setting
from archgym.proxy.trees import GrownTree, TreeEnsemble, pack
from archgym.runtime.importing import import_library, one_thread

# Scaled metrics that are the same but for their unit differ by rounding alone.
_SAME = 1e-3
# chosen: with fewer rows, waiting for other threads takes longer than the work.
_THREADED_ROWS = 50_000


@final
class BoostingKind(ModelKind):
    """Gradient-boosted trees: each corrects part of the error of those before it.

    Source:
      Ke et al., *LightGBM*, NeurIPS 2017, whose histograms scikit-learn uses.
    """

    name = "boosting"
    doc = (
        "gradient boosting (scikit-learn's histograms): fast, and best on designs unlike any before"
    )
    encoding = "ordinal"
    # chosen: a simulator has no noise, so that a single design may have a leaf of its own; the
    # penalty on leaves draws those of few designs towards the trees before. With a thousand
    # designs or fewer, smaller trees without it err less.
    settings: ClassVar[tuple[Setting, ...]] = (
        {
            "n_trees": 20,
            "learning_rate": 0.4,
            "max_leaf_nodes": 63,
            "min_samples_leaf": 1,
            "l2": 0.5,
        },
        {
            "n_trees": 20,
            "learning_rate": 0.4,
            "max_leaf_nodes": 31,
            "min_samples_leaf": 1,
            "l2": 0.0,
        },
    )
    predictor = TreeEnsemble

    def fit(
        self, features: np.ndarray, targets: np.ndarray, setting: Setting, seed: int
    ) -> TreeEnsemble:
        """Fit the trees, metric by metric; metrics that differ only in sign share them."""
        n_outputs = targets.shape[1]
        if np.allclose(np.abs(targets), np.abs(targets[:, :1]), atol=_SAME):
            factors = np.sign((targets * targets[:, :1]).sum(axis=0))
            base, trees = _grow(features, targets[:, 0], setting, seed, 0, factors)
            bases = base * factors
        else:
            bases, trees = np.zeros(n_outputs), []
            for output in range(n_outputs):
                target = targets[:, output]
                bases[output], more = _grow(features, target, setting, seed, output, np.ones(1))
                trees += more
        return pack(trees, features.shape[1], bases)


def _grow(
    features: np.ndarray,
    target: np.ndarray,
    setting: Setting,
    seed: int,
    output: int,
    factors: np.ndarray,
) -> tuple[float, list[GrownTree]]:
    """Return constant that an ensemble starts from, and its trees, with their values by factors."""
    # Numbers as the packed trees see them, so that both fall on the same side of a threshold.
    model = import_library("sklearn.ensemble").HistGradientBoostingRegressor(
        max_iter=int(setting["n_trees"]),
        learning_rate=float(setting["learning_rate"]),
        max_leaf_nodes=int(setting["max_leaf_nodes"]),
        min_samples_leaf=int(setting["min_samples_leaf"]),
        l2_regularization=float(setting["l2"]),
        early_stopping=False,
        random_state=seed,
    )
    fit = one_thread(model.fit, "openmp") if len(features) < _THREADED_ROWS else model.fit
    fit(features.astype(np.float32), target)
    base = float(np.ravel(model._baseline_prediction)[0])
    return base, [_grown(stage[0].nodes, output, factors) for stage in model._predictors]


def _grown(nodes: np.ndarray, output: int, factors: np.ndarray) -> GrownTree:
    is_leaf = nodes["is_leaf"].astype(bool)
    return GrownTree(
        np.where(is_leaf, -1, nodes["feature_idx"].astype(np.int64)),
        nodes["num_threshold"].astype(np.float64),
        nodes["left"].astype(np.int64),
        nodes["right"].astype(np.int64),
        nodes["value"].astype(np.float64)[:, None] * factors,
        output,
    )
