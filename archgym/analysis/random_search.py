"""Exact results of random search on spaces where the reward of every design is known.

Random search that never evaluates a design twice draws n of N designs without replacement. The
best of them is known in distribution, so that its curve needs no runs and has no noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from archgym.checks import check_number, check_whole
from archgym.errors import InvalidArgumentError

# The smallest positive double is e^-745: what is rarer adds nothing to any sum.
_RAREST_LOG = -745.0


@final
@dataclass(frozen=True)
class RandomCurve:
    """Distribution of the best value after each of several budgets.

    `budgets` is (k,), in increasing order; `expected` is (k,), the mean; `quantiles` maps each
    share to (k,), the least value that is not exceeded with that probability. Numbers are NaN
    where what they stand for is: a metric of a design that cannot be built. `empty` is (k,), the
    share of runs that have met none that can: quantiles count them, and `expected` is the mean of
    the others.
    """

    budgets: np.ndarray
    expected: np.ndarray
    quantiles: dict[float, np.ndarray]
    empty: np.ndarray


def random_curve(
    rewards: np.ndarray,
    budgets: Sequence[int],
    quantiles: Sequence[float] = (0.05, 0.5, 0.95),
    values: np.ndarray | None = None,
) -> RandomCurve:
    """Return the exact curve of random search without replacement.

    With the designs sorted best first, none of the first d is among n that were drawn with
    probability ``C(N - d, n) / C(N, n)``, the product of ``1 - n / (N - k)`` over k below d. It is
    summed up in logarithms, whose error grows with their size alone, and is cut off where it can no
    longer be told from 0, so that a budget n costs no more than N and some 745 N / n steps.

    Args:
      rewards: (N,), larger is better, finite: of every design of a space, each once.
      budgets: Numbers of evaluations, 1 to N.
      quantiles: Shares between 0 and 1.
      values: (N,), what the best design is shown by instead of its reward, a metric say. Designs
        that are equally good should have equal ones. Where some are NaN, what is expected is the
        mean over the others: that which is seen where any design was built.

    Raises:
      InvalidArgumentError: An argument is something else.

    Source:
      The hypergeometric distribution, of which this is the probability of no success: nothing more
      than counting is needed.
    """
    ranked, shown = _ranked(rewards, values)
    steps = np.array([check_whole("budgets", n, 1, len(ranked)) for n in budgets], dtype=np.int64)
    if not len(steps) or (np.diff(steps) <= 0).any():
        raise InvalidArgumentError(f"`budgets` must increase; got {list(budgets)!r}.")
    shares = [check_number("quantiles", share, 0.0, 1.0) for share in quantiles]
    expected, empty = np.empty(len(steps)), np.empty(len(steps))
    found = {share: np.empty(len(steps)) for share in shares}
    for place, n in enumerate(steps.tolist()):
        missed = _missed(len(ranked), n)
        # The best drawn is the design of rank d, counted from 0: none before it, and it itself.
        chance = missed * (n / (len(ranked) - np.arange(len(missed))))
        is_known = ~np.isnan(shown[: len(missed)])
        weight = chance[is_known].sum()
        mean = (chance[is_known] * shown[: len(missed)][is_known]).sum()
        expected[place] = mean / weight if weight > 0 else np.nan
        empty[place] = chance[~is_known].sum()
        for share, curve in found.items():
            # The last rank such that all before it are missed with that probability or more.
            rank = int(np.searchsorted(-missed, -share, side="right")) - 1
            curve[place] = shown[max(rank, 0)]
    return RandomCurve(steps, expected, found, empty)


def _ranked(rewards: np.ndarray, values: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    rewards = np.asarray(rewards, dtype=np.float64)
    shown = rewards if values is None else np.asarray(values, dtype=np.float64)
    if rewards.ndim != 1 or not len(rewards) or shown.shape != rewards.shape:
        raise InvalidArgumentError(
            f"`rewards` must be one number a design, and `values` as many; got shapes "
            f"{rewards.shape} and {shown.shape}."
        )
    if not np.isfinite(rewards).all():
        raise InvalidArgumentError("`rewards` must be finite; some are not.")
    order = np.argsort(-rewards, kind="stable")
    return rewards[order], shown[order]


def _missed(total: int, n: int) -> np.ndarray:
    """Return probabilities that none of the d best is drawn, from d = 0 until about 0."""
    # Of the best total - n + 1, one at least is drawn.
    last = total - n
    # The logarithm falls by at least n / total a step.
    reach = min(last, int(-_RAREST_LOG * total / n) + 1)
    steps = np.log1p(-n / (total - np.arange(reach, dtype=np.float64)))
    logs = np.concatenate([[0.0], np.cumsum(steps)])
    return np.asarray(np.exp(logs[logs >= _RAREST_LOG]))


def budgets_up_to(most: int, total: int, points: int = 120) -> list[int]:
    """Return budgets to draw a curve through: all small ones, then evenly in ratio.

    Args:
      most: The largest budget that is wanted.
      total: Number of designs.
      points: About how many.
    """
    end = max(1, min(most, total))
    spread = np.geomspace(1, end, points).round().astype(np.int64)
    return [int(n) for n in np.unique(np.concatenate([np.arange(1, min(end, 20) + 1), spread]))]
