"""Held-out rows, and measures of the accuracy of predictions on them."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from archgym.evaluation.metrics import MetricSpec
from archgym.proxy.model import ModelKind, Predictor, Setting, model_kind
from archgym.proxy.trees import TreeEnsemble
from archgym.runtime.reductions import report_reduction

# Sums of doubles that are equal on paper differ by some 1e-16.
_DIGITS = 12
# chosen: ends of intervals then differ by some percent from draw to draw.
_N_BOOTSTRAPS = 1000
_BOOTSTRAP_SEED = 0
# chosen: the share of designs that count as the best.
_TOP_SHARE = 0.01


def design_groups(indices: np.ndarray) -> np.ndarray:
    """Return number of each row's design, (n,), of canonical designs (n, n_parameters)."""
    return np.unique(indices, axis=0, return_inverse=True)[1].reshape(-1)


def outcome_groups(values: np.ndarray) -> np.ndarray:
    """Return the group of each row, (n,): rows with equal metrics, (n, n_metrics), share one.

    Designs whose parameters do nothing on a workload share an outcome, and with one of them in the
    training data the others do not test a model.
    """
    with np.errstate(divide="ignore"):
        size = np.floor(np.log10(np.abs(values)))
    scale = 10.0 ** (_DIGITS - np.where(np.isfinite(size), size, 0.0))
    rounded = np.round(values * scale) / scale
    return np.unique(rounded, axis=0, return_inverse=True)[1].reshape(-1)


def folds(groups: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return the fold, 0 to n - 1, of each row, (n_rows,), with each group in one fold.

    Groups are dealt in random order, each to the fold that has fewest rows so far.
    """
    sizes = np.bincount(groups)
    fold_of = np.empty(len(sizes), dtype=np.int64)
    filled = np.zeros(n, dtype=np.int64)
    for group in rng.permutation(len(sizes)):
        fold_of[group] = np.argmin(filled)
        filled[fold_of[group]] += sizes[group]
    return np.asarray(fold_of[groups])


def sampled_folds(
    groups: np.ndarray, n: int, most: int, seed: tuple[int, int], subject: str
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the rows to learn from and the rows to test on, for each of `n` folds of a sample.

    Args:
      groups: (n_rows,), number of each row's group, which lies in one fold.
      n: Number of folds.
      most: Rows of the sample.
      seed: Random seed, and a number that differs for each use of the sample.
      subject: Name of the rows in the message that only a sample of them is used.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    some = np.sort(rng.permutation(len(groups))[:most])
    report_reduction(subject, len(some), len(groups), "they are a random sample of fixed size")
    fold = folds(np.unique(groups[some], return_inverse=True)[1], n, rng)
    return [(some[fold != number], some[fold == number]) for number in range(n)]


def held_out(groups: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return True for rows held out, (n,) bool: whole groups in random order up to `share`."""
    sizes = np.bincount(groups)
    order = rng.permutation(len(sizes))
    before = np.cumsum(sizes[order]) - sizes[order]
    chosen = np.zeros(len(sizes), dtype=bool)
    chosen[order] = before < share * len(groups)
    return np.asarray(chosen[groups])


def errors_by_metric(
    metrics: Sequence[MetricSpec],
    actual: np.ndarray,
    predicted: np.ndarray,
    *,
    with_intervals: bool = False,
) -> dict[str, dict[str, Any]]:
    """Return `measure` of each metric by its name, of (n, n_metrics) each.

    With intervals, ``rmse_percent_interval`` is what 95 % of bootstrap samples of outcomes have as
    ``rmse_percent_of_mean``: designs that share an outcome are drawn together.
    """
    found: dict[str, dict[str, Any]] = {
        spec.name: {**measure(actual[:, place], predicted[:, place], spec)}
        for place, spec in enumerate(metrics)
    }
    if with_intervals:
        for spec, ends in zip(metrics, _intervals(actual, predicted).T.tolist(), strict=True):
            is_known = found[spec.name]["rmse_percent_of_mean"] is not None
            found[spec.name]["rmse_percent_interval"] = ends if is_known else None
    return found


def _intervals(actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return low and high ends of errors as percent of the mean, (2, n_metrics), by the bootstrap.

    Source:
      Efron, *Bootstrap Methods*, Annals of Statistics 7, 1979: the percentile method, over groups.
    """
    group = outcome_groups(actual)
    n = int(group.max()) + 1
    sums = np.zeros((2, n, actual.shape[1]))
    np.add.at(sums[0], group, (predicted - actual) ** 2)
    np.add.at(sums[1], group, np.abs(actual))
    sizes = np.bincount(group)
    rng = np.random.default_rng(_BOOTSTRAP_SEED)
    percents = np.empty((_N_BOOTSTRAPS, actual.shape[1]))
    for row in percents:
        weights = np.bincount(rng.integers(n, size=n), minlength=n)
        squares, sizes_drawn = weights @ sums[0], weights @ sizes
        with np.errstate(divide="ignore", invalid="ignore"):
            row[:] = 100 * np.sqrt(squares * sizes_drawn) / (weights @ sums[1])
    return np.nanpercentile(np.nan_to_num(percents, posinf=0.0), (2.5, 97.5), axis=0)


def measure(actual: np.ndarray, predicted: np.ndarray, spec: MetricSpec) -> dict[str, float | None]:
    """Return errors of one metric, (n,) each; None if a measure is undefined.

    Returns:
      ``rmse``, in the metric's unit, and as percent of the mean and of the range; ``mape_percent``
      over values that are not 0; ``worst_percent``, the largest error as percent of the mean;
      ``r2``; ``spearman``; ``top_recall``, the share of the true best percent of designs that are
      among as many that the prediction ranks best.
    """
    error = predicted - actual
    rmse = float(np.sqrt((error**2).mean()))
    mean, spread = float(np.abs(actual).mean()), float(actual.max() - actual.min())
    some = actual != 0
    return {
        "n": len(actual),
        "rmse": rmse,
        "rmse_percent_of_mean": 100 * rmse / mean if mean else None,
        "rmse_percent_of_range": 100 * rmse / spread if spread else None,
        "mape_percent": (
            float(100 * np.abs(error[some] / actual[some]).mean()) if some.any() else None
        ),
        "worst_percent": float(100 * np.abs(error).max() / mean) if mean else None,
        "r2": 1 - float((error**2).sum() / ((actual - actual.mean()) ** 2).sum())
        if spread
        else None,
        "spearman": _spearman(actual, predicted) if spread else None,
        "top_recall": top_recall(actual, predicted, spec) if spread else None,
    }


def top_recall(actual: np.ndarray, predicted: np.ndarray, spec: MetricSpec) -> float | None:
    """Return share of the true best designs among as many predicted best; None without a goal.

    Designs that tie with the last of the best are all of the best.
    """
    if spec.goal == "none":
        return None
    sign = 1.0 if spec.goal == "minimise" else -1.0
    n = max(1, round(_TOP_SHARE * len(actual)))
    limit = np.sort(sign * actual)[n - 1]
    is_best = sign * actual <= limit
    chosen = np.argsort(sign * predicted, kind="stable")[: int(is_best.sum())]
    return float(is_best[chosen].mean())


def best_row(values: np.ndarray, spec: MetricSpec) -> int:
    """Return the row with the best value of a metric, (n,); the first of equals."""
    return int(np.argmax(values) if spec.goal == "maximise" else np.argmin(values))


def _spearman(actual: np.ndarray, predicted: np.ndarray) -> float | None:
    from scipy.stats import spearmanr

    if np.ptp(predicted) == 0:
        return None
    return float(spearmanr(actual, predicted).statistic)


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


# chosen: where errors are large shows on this many rows; more would take as long as the models.
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
    parts = sampled_folds(
        designs, _N_FOLDS, _MOST_ROWS, (seed, 6), "rows for the model of interval widths"
    )
    errors = np.zeros((len(features), len(groups)))
    for train, test in parts:
        for place, (metrics, _) in enumerate(groups):
            own = targets[:, metrics[0]]
            model = kind.fit(features[train], own[train][:, None], setting, seed)
            errors[test, place] = np.abs(model.predict(features[test])[:, 0] - own[test])
    some = np.sort(np.concatenate([test for _, test in parts]))
    doubt = model_kind("boosting").fit(features[some], errors[some], _SETTING, seed)
    assert isinstance(doubt, TreeEnsemble)
    return doubt
