"""Comparison of policies on one scale: the gap from best static settings to look-ahead."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import log
from pathlib import Path
from time import perf_counter
from typing import Any, Final, final

import numpy as np

from archgym.analysis.statistics import Interval
from archgym.checks import check_whole
from archgym.control.policies import ControlPolicy, LookAhead, beam, proven_bound
from archgym.control.tasks import (
    ControlTask,
    Rollout,
    hindsight,
    hindsight_name,
    joint_actions,
    roll,
    task_of,
    unit,
)
from archgym.errors import InvalidArgumentError

_RESAMPLES: Final = 10_000
_LEVEL: Final = 0.95
# chosen: minutes of the fastest task.
_MOST_SEQUENCES: Final = 10**6
# chosen: a gap that the table shows as 0.0; shares of it say nothing.
_LEAST_GAP_PERCENT: Final = 0.05


@final
@dataclass(frozen=True)
class Row:
    """A policy on the episodes of a split, paired with the best static actions in hindsight.

    Attributes:
      policy, split: Names.
      scores: (n_episodes,) cost over work.
      gain_percent: Share of the static action's cost that is saved; mean of episodes.
      gap_percent: Share of what look-ahead saves; NaN where that is nothing.
      p_value: Chance of such a gain, one-sided sign-flip test; NaN if equal or of one episode.
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
      bound: Score of look-ahead and least possible score on a short episode; None if not asked for.
      rollouts: Rollout of each policy on the first episode that was tested, for a picture.
      seconds: Time that the best static actions of an episode took to find.
    """

    task: ControlTask
    rows: tuple[Row, ...]
    bound: tuple[float, float] | None
    rollouts: dict[str, Rollout]
    seconds: float = 0.0

    @property
    def baseline(self) -> str:
        """Static settings that savings count from, as a phrase."""
        n, n_all = len(joint_actions(self.task)), len(self.task.actions) ** len(self.task.agents)
        if hindsight_name(self.task) == "hindsight":
            return f"the best of all {n_all} static settings in hindsight"
        return f"the best of {n} static settings that all agents share, of {n_all} joint ones"

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON types."""
        return {
            "task": self.task.name,
            "cost": self.task.cost,
            "baseline": self.baseline,
            "seconds_per_episode": self.seconds,
            "rows": [asdict(row) for row in self.rows],
            "bound": None if self.bound is None else list(self.bound),
        }


def compare_policies(
    task: str | ControlTask,
    policies: Sequence[ControlPolicy],
    *,
    splits: Sequence[str] = ("held-out",),
    n_episodes: int = 5,
    horizons: Sequence[int] | None = None,
    width: int = 0,
    bound_epochs: int = 0,
) -> ControlComparison:
    """Compare policies on episodes that they were not made on.

    Look-ahead of an episode is the best of several horizons, of a beam search and of static
    actions: a number that can be reached, not a bound.

    Args:
      task: The task, or its name, of one agent where a `width` or `bound_epochs` is given.
      policies: Policies; look-ahead and the best static actions in hindsight are always there.
      splits: Splits with the episodes.
      n_episodes: First episodes of each split.
      horizons: Work that look-ahead sees; None for the task's, empty for static actions alone.
      width: Prefixes that the beam search keeps; 0 for none.
      bound_epochs: Epochs of the first episode whose least cost is proven by trying every sequence
        of actions; 0 for none.

    Raises:
      InvalidArgumentError: A number does not fit.
      UnknownNameError: There is no such split.
    """
    task = task_of(task)
    if horizons is None:
        horizons = task.horizons or (task.epoch, 2 * task.epoch, 4 * task.epoch)
    check_whole("width", width, 0, 10_000)
    for what, asked in (("width", width), ("bound_epochs", bound_epochs)):
        if asked and len(task.agents) > 1:
            raise InvalidArgumentError(
                f"`{what}` must be 0 for task {task.name!r}, since a search of several agents "
                f"needs every joint action; got {asked}."
            )
    if not splits or (bound_epochs and not horizons):
        what = "horizons" if splits else "splits"
        raise InvalidArgumentError(f"`{what}` must have a value; got none.")
    most = int(log(_MOST_SEQUENCES, max(2, len(task.actions))))
    check_whole("bound_epochs", bound_epochs, 0, most)
    looks = [LookAhead(horizon) for horizon in horizons]
    rows: list[Row] = []
    rollouts: dict[str, Rollout] = {}
    seconds, n_seen = 0.0, 0
    for split in dict.fromkeys(splits):
        known = task.episodes(split)
        names = known[: check_whole("n_episodes", n_episodes, 1, len(known))]
        started = perf_counter()
        fixed = np.array([hindsight(task, name)[1] for name in names])
        seconds, n_seen = seconds + perf_counter() - started, n_seen + len(names)
        units = unit(task, fixed)
        ahead = fixed.copy()
        for look in looks:
            ahead = np.minimum(ahead, _scores(task, names, look, rollouts))
        if width:
            ahead = np.minimum(ahead, [beam(task, name, width) for name in names])
        scores = {"look-ahead": ahead, hindsight_name(task): fixed}
        own = [_row(name, split, each, fixed, ahead, units) for name, each in scores.items()]
        for policy in policies:
            each = _scores(task, names, policy, rollouts)
            own.append(_row(policy.name, split, each, fixed, ahead, units))
        rows += sorted(own, key=lambda row: -row.gain_percent.value)
    bound = None
    if bound_epochs:
        name = task.episodes(splits[0])[0]
        least = proven_bound(task, name, bound_epochs)
        starts = [rollouts[look.name] for look in looks]
        bound = (min(_start(each, bound_epochs) for each in starts), least)
    return ControlComparison(task, tuple(rows), bound, rollouts, seconds / n_seen)


def _start(found: Rollout, n: int) -> float:
    """Return the score over the first epochs."""
    return float(found.cost[:n].sum() / max(1e-9, found.work[:n].sum()))


def _scores(
    task: ControlTask, names: Sequence[str], policy: ControlPolicy, rollouts: dict[str, Rollout]
) -> np.ndarray:
    """Return a policy's score of each episode, and keep its rollout on the first one of all."""
    found = []
    for name in names:
        policy.start(task, name)
        found.append(roll(task, name, policy.act))
    rollouts.setdefault(policy.name, found[0])
    return np.array([each.score for each in found])


def _row(
    policy: str,
    split: str,
    scores: np.ndarray,
    fixed: np.ndarray,
    ahead: np.ndarray,
    units: np.ndarray,
) -> Row:
    """Return a row with intervals over episodes."""
    # Exactly 1 less a quotient but where the static cost is 0.
    gains = 100.0 * (fixed / units - scores / units)
    most = 100.0 * (fixed / units - ahead / units)
    rng = np.random.default_rng(0)
    picks = rng.integers(len(gains), size=(_RESAMPLES, len(gains)))
    means, tops = gains[picks].mean(axis=1), most[picks].mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = 100.0 * means / tops
        share = 100.0 * gains.mean() / most.mean()
    if most.mean() < _LEAST_GAP_PERCENT:
        share, shares = np.nan, shares[:0]
    if len(gains) == 1:
        means, shares = means[:0], shares[:0]
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
    if len(gains) == 1 or not gains.any():
        return float("nan")
    flips = rng.choice((-1.0, 1.0), size=(_RESAMPLES, len(gains)))
    at_least = (flips * np.abs(gains)).mean(axis=1) >= gains.mean() - 1e-12
    return float((1 + at_least.sum()) / (1 + _RESAMPLES))


def picture(comparison: ControlComparison, path: str | Path) -> None:
    """Draw the settings of each policy over one episode, and the cost of each epoch.

    Args:
      comparison: Comparison with its rollouts.
      path: File that ends in .png, .svg or .pdf.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    shown = comparison.rollouts
    labels = comparison.task.labels()
    figure, axes = plt.subplots(
        len(shown) + 1, 1, sharex=True, figsize=(9, 1.5 * len(shown) + 3), layout="constrained"
    )
    for axis, (name, rollout) in zip(axes, shown.items(), strict=False):
        axis.step(range(len(rollout.actions)), rollout.actions, where="mid", linewidth=1)
        used = sorted(set(rollout.actions.ravel().tolist()))
        axis.set_yticks(used, [labels[action] for action in used], fontsize=6)
        axis.set_ylabel(name, fontsize=8)
    for name, rollout in shown.items():
        each = (rollout.cost / np.maximum(rollout.work, 1e-9)).mean(axis=1)
        axes[-1].plot(each, label=name, linewidth=1)
    axes[-1].set_yscale("log")
    axes[-1].set_ylabel(comparison.task.cost, fontsize=8)
    axes[-1].set_xlabel("epoch")
    axes[-1].legend(fontsize=6, ncols=3)
    figure.savefig(path, dpi=110)
    plt.close(figure)
