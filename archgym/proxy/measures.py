"""Measures of the accuracy of predictions."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from archgym.evaluation.metrics import MetricSpec
from archgym.proxy.splits import outcome_groups

# chosen: ends of intervals then differ by some percent from draw to draw.
_N_BOOTSTRAPS = 1000
_BOOTSTRAP_SEED = 0
# chosen: the share of designs that count as the best.
_TOP_SHARE = 0.01


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
