"""Comparison of policies on one scale: the share of the gap from best static to oracle."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, final

import numpy as np

from archgym.analysis.statistics import Interval
from archgym.checks import check_whole
from archgym.control.policies import ControlPolicy, Oracle, hindsight_score
from archgym.control.tasks import ControlTask, Rollout, roll

_RESAMPLES: Final = 10_000
_LEVEL: Final = 0.95
# chosen: a gap that the table shows as 0.0; shares of it say nothing.
_LEAST_GAP_PERCENT: Final = 0.05


@final
@dataclass(frozen=True)
class Row:
    """A policy on the episodes of a split, paired with the best static action in hindsight.

    Attributes:
      policy, split: Names.
      scores: (n_episodes,) cost over work.
      gain_percent: Share of the static action's cost that is saved; mean of episodes.
      gap_percent: Share of what the oracle saves; NaN where that is nothing.
      p_value: Probability of such a gain by chance, one-sided sign-flip test; NaN if equal.
    """

    policy: str
    split: str
    scores: tuple[float, ...]
    gain_percent: Interval
    gap_percent: Interval
    p_value: float


@final
@dataclass(frozen=True)
class ControlComparison:
    """Policies of a task.

    Attributes:
      task: Name of the task.
      cost: Name of what is minimised.
      rows: Rows by split, best first.
      rollouts: Rollout of each policy on the first episode that was tested, for a picture.
    """

    task: ControlTask
    rows: tuple[Row, ...]
    rollouts: dict[str, Rollout]

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON types."""
        return {
            "task": self.task.name,
            "cost": self.task.cost,
            "rows": [asdict(row) for row in self.rows],
        }


def compare_policies(
    task: ControlTask,
    policies: Sequence[ControlPolicy],
    *,
    splits: Sequence[str] = ("held-out",),
    n_episodes: int = 5,
    horizons: Sequence[int] = (1, 2, 4),
) -> ControlComparison:
    """Compare policies on episodes that they were not made on.

    The oracle of an episode is the best of look-aheads and of every static action: a number that
    can be reached, not a bound.

    Args:
      task: The task.
      policies: Policies; the oracle and the best static action in hindsight are always there.
      splits: Splits with the episodes.
      n_episodes: First episodes of each split.
      horizons: Look-aheads of the oracle [epochs].

    Raises:
      InvalidArgumentError: A number does not fit.
      UnknownNameError: There is no such split.
    """
    rows: list[Row] = []
    rollouts: dict[str, Rollout] = {}
    for split in dict.fromkeys(splits):
        known = task.episodes(split)
        names = known[: check_whole("n_episodes", n_episodes, 1, len(known))]
        fixed = np.array([hindsight_score(task, name) for name in names])
        oracle = fixed.copy()
        for horizon in horizons:
            policy = Oracle(horizon)
            found = [_rolled(task, name, policy) for name in names]
            scores = np.array([each.score for each in found])
            rollouts.setdefault(policy.name, found[0])
            oracle = np.minimum(oracle, scores)
        own = [_row("oracle", split, oracle, fixed, oracle)]
        own.append(_row("hindsight", split, fixed, fixed, oracle))
        for each in policies:
            found = [_rolled(task, name, each) for name in names]
            rollouts.setdefault(each.name, found[0])
            own.append(_row(each.name, split, np.array([f.score for f in found]), fixed, oracle))
        rows += sorted(own, key=lambda row: -row.gain_percent.value)
    return ControlComparison(task, tuple(rows), rollouts)


def _rolled(task: ControlTask, name: str, policy: ControlPolicy) -> Rollout:
    policy.start(task, name)
    return roll(task, name, policy.act)


def _row(policy: str, split: str, scores: np.ndarray, fixed: np.ndarray, oracle: np.ndarray) -> Row:
    """Return a row with intervals over episodes."""
    gains = 100.0 * (1.0 - scores / fixed)
    most = 100.0 * (1.0 - oracle / fixed)
    rng = np.random.default_rng(0)
    picks = rng.integers(len(gains), size=(_RESAMPLES, len(gains)))
    means, tops = gains[picks].mean(axis=1), most[picks].mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = 100.0 * means / tops
        share = 100.0 * gains.mean() / most.mean()
    if most.mean() < _LEAST_GAP_PERCENT:
        share, shares = np.nan, shares[:0]
    return Row(
        policy,
        split,
        tuple(scores.tolist()),
        _interval(float(gains.mean()), means),
        _interval(float(share), shares),
        _p_value(gains, rng),
    )


def _interval(value: float, resampled: np.ndarray) -> Interval:
    finite = resampled[np.isfinite(resampled)]
    if not len(finite):
        return Interval(value, float("nan"), float("nan"))
    tail = 50.0 * (1.0 - _LEVEL)
    low, high = np.percentile(finite, [tail, 100.0 - tail])
    return Interval(value, float(low), float(high))


def _p_value(gains: np.ndarray, rng: np.random.Generator) -> float:
    """Return the share of sign flips whose mean is at least the mean gain."""
    if not gains.any():
        return float("nan")
    flips = rng.choice((-1.0, 1.0), size=(_RESAMPLES, len(gains)))
    at_least = (flips * np.abs(gains)).mean(axis=1) >= gains.mean() - 1e-12
    return float((1 + at_least.sum()) / (1 + _RESAMPLES))
