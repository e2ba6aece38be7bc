"""Intervals that hold a stated share of the time: normalised split conformal prediction."""

import math
from collections.abc import Sequence

import numpy as np

from archgym.proxy.measures import folds
from archgym.proxy.model import ModelKind, Predictor, Setting, model_kind
from archgym.proxy.trees import TreeEnsemble
from archgym.runtime.reductions import report_reduction

LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
"""Shares of unseen designs that intervals are kept for."""
# chosen: designs on which all trees agree get an interval of some width too.
_FLOOR_SHARE = 0.1
_LEAST_FLOOR = 1e-9


def spread_floor(spread: np.ndarray) -> np.ndarray:
    """Return the term added to each metric's spread, (m,), from calibration designs, (n, m)."""
    return np.asarray(np.maximum(_FLOOR_SHARE * spread.mean(axis=0), _LEAST_FLOOR))


def conformal_quantile(scores: np.ndarray, level: float) -> np.ndarray:
    """Return widths in units of the spread that hold at least `level` of unseen designs, (m,).

    Args:
      scores: (n, m), error over spread of designs that were not learned from.
      level: Above 0, below 1.

    Returns:
      The ceil((n + 1) level)-th smallest score; infinity where there are too few.

    Source:
      Lei et al., *Distribution-Free Predictive Inference for Regression*, JASA 113, 2018,
      algorithm 2 with the local scale of section 5.2.
    """
    n = len(scores)
    rank = math.ceil((n + 1) * level)
    if rank > n:
        return np.full(scores.shape[1], np.inf)
    return np.asarray(np.sort(scores, axis=0)[rank - 1])


# chosen: where errors are large shows on so many rows; more would take as long as the models.
_MOST_ROWS = 4000
_N_FOLDS = 2
# chosen: coarse, since a single error says little about its neighbours'.
_SETTING = {
    "n_trees": 20,
    "learning_rate": 0.2,
    "max_leaf_nodes": 15,
    "min_samples_leaf": 5,
    "l2": 0.0,
}


def fit_doubt(
    kind: ModelKind,
    features: np.ndarray,
    targets: np.ndarray,
    groups: Sequence[tuple[Sequence[int], Predictor]],
    designs: np.ndarray,
    setting: Setting,
    seed: int,
) -> TreeEnsemble | None:
    """Return trees that predict the absolute error of each group's first metric.

    They learn errors on designs that were left out, in folds. None if all models say how sure
    they are.

    Args:
      targets: (n, n_metrics), scaled.
      groups: Metrics' places with the model that answers for them.
      designs: (n,), number of each row's design.
      seed: Random seed of rows and folds.
    """
    if all(model.spread(features[:1]) is not None for _, model in groups):
        return None
    rng = np.random.default_rng(np.random.SeedSequence([seed, 6]))
    some = np.sort(rng.permutation(len(features))[:_MOST_ROWS])
    report_reduction(
        "rows for the model of interval widths", len(some), len(features),
        "they are a random sample of fixed size",
    )  # fmt: skip
    fold = folds(np.unique(designs[some], return_inverse=True)[1], _N_FOLDS, rng)
    errors = np.zeros((len(some), len(groups)))
    for number in range(_N_FOLDS):
        train, test = some[fold != number], some[fold == number]
        for place, (metrics, _) in enumerate(groups):
            model = kind.fit(features[train], targets[np.ix_(train, metrics[:1])], setting, seed)
            expected = model.predict(features[test])[:, 0]
            errors[fold == number, place] = np.abs(expected - targets[test, metrics[0]])
    doubt = model_kind("boosting").fit(features[some], errors, _SETTING, seed)
    assert isinstance(doubt, TreeEnsemble)
    return doubt
