"""Comparison of searches: scores, their aggregation, and its uncertainty.

A score is 0 for an average random design and 1 for the best there is. Scores of an agent are one
array a task, one entry a run; statistics resample runs within their task, never across tasks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from archgym.checks import check_number, check_whole
from archgym.errors import InvalidArgumentError

LOWEST_SCORE = -1.0
"""Scores end here: as far below an average design as the best is above it. Chosen, so that a run
without any design that can be built has a score, and no run outweighs all others."""

# chosen: numbers that one step of a resampling holds at once, 32 MB of them.
_MAX_COUNTS = 4_000_000

Scores = Sequence[np.ndarray]
"""Scores of an agent, one array a task."""


@final
@dataclass(frozen=True)
class Interval:
    """A number and the ends of its interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """Return the numbers by name."""
        return dict(vars(self))


def scores(rewards: np.ndarray, average: float, best: float) -> np.ndarray:
    """Return the scores of rewards: 0 for an average random design, 1 for the best.

    >>> scores(np.array([0.0, 1.0, 2.0, -np.inf]), 0.0, 2.0).tolist()
    [0.0, 0.5, 1.0, -1.0]

    Args:
      rewards: (n,), -inf for a run that has built nothing, NaN where nothing is known.
      average: Mean reward of random designs.
      best: Reward of the best design.

    Raises:
      InvalidArgumentError: The best is not above the average.
    """
    if not (math.isfinite(average) and math.isfinite(best) and best > average):
        raise InvalidArgumentError(
            f"`best` must be a reward above that of an average design, {average!r}; got {best!r}. "
            "Where all designs are alike there is nothing to score."
        )
    scaled = (np.asarray(rewards, dtype=np.float64) - average) / (best - average)
    return np.asarray(np.maximum(scaled, LOWEST_SCORE))


def relative_improvement(value: float, average: float, is_minimised: bool) -> float:
    """Return the improvement of a metric over the mean of random designs, as a share of that mean.

    >>> relative_improvement(75.0, 100.0, is_minimised=True)
    0.25

    Source:
      Yang, Esperança & Carlucci, *NAS evaluation is frustratingly hard*, ICLR 2020, equation 1,
      there of accuracies: (method - random) / random.
    """
    if average == 0:
        return math.nan
    return (average - value if is_minimised else value - average) / abs(average)


def interquartile_mean(values: Sequence[float] | np.ndarray) -> float:
    """Return mean of the middle half of the values; those at its ends count by their share in it.

    >>> interquartile_mean([0.0, 1.0, 2.0, 9.0])
    1.5
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if not len(ordered) or not np.isfinite(ordered).all():
        return math.nan
    return float(_middle(ordered[None, :])[0])


def _middle(ordered: np.ndarray) -> np.ndarray:
    """Return interquartile means of sorted rows, (n_rows, n)."""
    n = ordered.shape[1]
    edges = np.arange(n + 1)
    shares = np.minimum(edges[1:], 0.75 * n) - np.maximum(edges[:-1], 0.25 * n)
    shares = np.maximum(shares, 0.0)
    return np.asarray(ordered @ shares / shares.sum())


def optimality_gap(runs: Scores) -> float:
    """Return the mean distance of scores from 1 (the optimality gap).

    Source:
      Agarwal et al., *Deep Reinforcement Learning at the Edge of the Statistical Precipice*,
      NeurIPS 2021, section 4.3, with gamma = 1.
    """
    pooled = np.concatenate(list(runs))
    return float(np.maximum(1.0 - pooled, 0.0).mean()) if len(pooled) else math.nan


def performance_profile(runs: Scores, thresholds: np.ndarray) -> np.ndarray:
    """Return share of runs with a score above each threshold, tasks counting alike.

    Source:
      Agarwal et al., as for `optimality_gap`, section 4.2, equation 1.
    """
    rows = [(task[:, None] > np.asarray(thresholds)[None, :]).mean(axis=0) for task in runs]
    return np.asarray(np.mean(rows, axis=0))


def probability_of_improvement(ours: Scores, theirs: Scores) -> float:
    """Return chance that a run of one agent beats a run of another on a task drawn at random.

    Ties count by half.

    Source:
      Agarwal et al., as for `optimality_gap`, section 4.3: the mean over tasks of Mann and
      Whitney's U over the number of pairs.
    """
    shares = []
    for a, b in zip(ours, theirs, strict=True):
        first, second, n_values = _ranked(a, b)
        shares.append(_wins(first[None, :], second[None, :], n_values)[0])
    return float(np.mean(shares))


def _ranked(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Return dense ranks of two samples among all their values, and the number of values."""
    values, ranks = np.unique(np.concatenate([ours, theirs]), return_inverse=True)
    return ranks[: len(ours)], ranks[len(ours) :], len(values)


def _wins(ours: np.ndarray, theirs: np.ndarray, n_values: int) -> np.ndarray:
    """Return the share of pairs won in each row, ties by half.

    Time and memory grow with n + m, where comparing all pairs would take n times m.

    Args:
      ours: (n_rows, n), ranks below `n_values`.
      theirs: (n_rows, m), ranks on the same scale.
      n_values: Number of ranks.

    Returns:
      (n_rows,).
    """
    shares = np.empty(len(ours))
    step = max(1, _MAX_COUNTS // n_values)
    for start in range(0, len(ours), step):
        own = _counts(ours[start : start + step], n_values)
        other = _counts(theirs[start : start + step], n_values)
        below = np.cumsum(other, axis=1) - other
        won = (own * (below + 0.5 * other)).sum(axis=1)
        shares[start : start + step] = won / (ours.shape[1] * theirs.shape[1])
    return shares


def _counts(ranks: np.ndarray, n_values: int) -> np.ndarray:
    """Return how often each rank is in each row, (n_rows, n_values)."""
    places = ranks + n_values * np.arange(len(ranks))[:, None]
    return np.bincount(places.ravel(), minlength=n_values * len(ranks)).reshape(-1, n_values)


def stratified_bootstrap(
    statistic: str,
    ours: Scores,
    theirs: Scores | None = None,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return a statistic with its percentile interval, from runs resampled within their task.

    Args:
      statistic: ``"iqm"``, ``"gap"`` or, with `theirs`, ``"improvement"``.
      ours: Scores of an agent, one array a task.
      theirs: Those of another on the same tasks.
      level: Share of resamples between the ends.
      resamples: Number of resamples.
      seed: Random seed of the resampling.

    Source:
      Efron, *Bootstrap Methods*, Annals of Statistics 7, 1979; strata as Agarwal et al.
    """
    level = check_number("level", level, 0.5, 1.0)
    resamples = check_whole("resamples", resamples, 1, 10**6)
    rng = np.random.default_rng(seed)
    if statistic == "improvement":
        if theirs is None:
            raise InvalidArgumentError("`theirs` must be scores for an improvement; got None.")
        value = probability_of_improvement(ours, theirs)
        drawn = np.zeros(resamples)
        for a, b in zip(ours, theirs, strict=True):
            first, second, n_values = _ranked(a, b)
            drawn += _wins(
                _resampled(first, resamples, rng), _resampled(second, resamples, rng), n_values
            )
        drawn /= len(list(ours))
    else:
        pooled = np.concatenate([_resampled(task, resamples, rng) for task in ours], axis=1)
        flat = np.concatenate(list(ours))
        if statistic == "iqm":
            value, drawn = interquartile_mean(flat), _middle(np.sort(pooled, axis=1))
        elif statistic == "gap":
            value, drawn = optimality_gap(ours), np.maximum(1.0 - pooled, 0.0).mean(axis=1)
        else:
            raise InvalidArgumentError(
                f"`statistic` must be one of iqm, gap, improvement; got {statistic!r}."
            )
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(value, float(low), float(high))


def _resampled(values: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(values)[rng.integers(0, len(values), (resamples, len(values)))]


def improvement_p_value(
    ours: Scores, theirs: Scores, *, resamples: int = 9999, seed: int = 0
) -> float:
    """Return the share of random assignments of runs within tasks that differ at least as much.

    A bootstrap of two or three runs has intervals without width; this has not: with two runs
    against two on one task it is never below 1/3.

    Source:
      The permutation test with the statistic of van Elteren, 1960, tasks weighted alike; (b + 1) /
      (m + 1) as Phipson & Smyth, *Permutation P-values Should Never Be Zero*, 2010.
    """
    rng = np.random.default_rng(seed)
    drawn = np.zeros(resamples)
    for a, b in zip(ours, theirs, strict=True):
        first, second, n_values = _ranked(a, b)
        both = np.concatenate([first, second])
        step = max(1, _MAX_COUNTS // len(both))
        for start in range(0, resamples, step):
            n_rows = min(step, resamples - start)
            dealt = both[rng.random((n_rows, len(both))).argsort(axis=1)]
            drawn[start : start + n_rows] += _wins(dealt[:, : len(a)], dealt[:, len(a) :], n_values)
    distance = abs(probability_of_improvement(ours, theirs) - 0.5)
    # Rounding must not lose those that are just as far.
    as_far = np.abs(drawn / len(list(ours)) - 0.5) >= distance - 1e-12
    return float((as_far.sum() + 1) / (resamples + 1))


@final
@dataclass(frozen=True)
class Survival:
    """Share of runs that have not reached their goal, after each evaluation at which one does."""

    times: np.ndarray
    shares: np.ndarray

    @property
    def median(self) -> float:
        """Evaluations after which half of the runs have reached the goal; infinite if fewer do."""
        # Products such as 5/6 x 4/5 x 3/4 may round to just above one half.
        below = np.flatnonzero(self.shares <= 0.5 + 1e-12)
        return float(self.times[below[0]]) if len(below) else math.inf


def kaplan_meier(times: Sequence[float], arrived: Sequence[bool]) -> Survival:
    """Return the share of runs that have not yet found their goal, where some ended before.

    Args:
      times: Evaluations until a run found it, or until it ended without.
      arrived: True for runs that found it.

    Source:
      Kaplan & Meier, *Nonparametric Estimation from Incomplete Observations*, Journal of the
      American Statistical Association 53, 1958; a run that ends where another arrives counts as
      at risk there.
    """
    from scipy.stats import CensoredData, ecdf

    when, is_event = np.asarray(times, dtype=np.float64), np.asarray(arrived, dtype=bool)
    sample = CensoredData(uncensored=when[is_event], right=when[~is_event])
    curve = ecdf(sample).sf
    # SciPy also lists the times at which runs only ended.
    is_step = np.isin(curve.quantiles, when[is_event])
    return Survival(curve.quantiles[is_step], curve.probabilities[is_step])


def igd_plus(found: np.ndarray, exact: np.ndarray) -> float:
    """Return the mean distance of the exact front from the points found, counting losses alone.

    Args:
      found: (n, k), larger is better.
      exact: (m, k), one row or more.

    Returns:
      0 where nothing is missed; infinite where nothing was found.

    Source:
      Ishibuchi et al., *Modified Distance Calculation in Generational Distance and Inverted
      Generational Distance*, EMO 2015, equation 18, here for maximisation.
    """
    import moocore

    points, goal = np.asarray(found, dtype=np.float64), np.asarray(exact, dtype=np.float64)
    if not len(goal) or points.shape[1:] != goal.shape[1:]:
        raise InvalidArgumentError(
            f"`exact` must have one or more rows, and as many columns as `found`; got shapes "
            f"{goal.shape} and {points.shape}."
        )
    if not len(points):
        return math.inf
    if np.isnan(points).any() or np.isnan(goal).any():
        return math.nan
    return float(moocore.igd_plus(points, ref=goal, maximise=True))


def normal_scores(rewards: np.ndarray) -> np.ndarray:
    """Return the normal score of each reward, by its rank.

    However far the worst designs fall behind, the differences among the best stay visible.

    Args:
      rewards: (n,), finite.

    Returns:
      (n,), about 0 in the mean; equal rewards have equal scores.

    Source:
      Blom, *Statistical Estimates and Transformed Beta-Variables*, 1958: (rank - 3/8) / (n + 1/4).
    """
    from scipy.special import ndtri

    _, which, counts = np.unique(rewards, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    return np.asarray(ndtri((mean_rank[which] - 0.375) / (len(rewards) + 0.25)))
