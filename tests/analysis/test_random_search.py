"""Tests of the exact curve of random search."""

import math
from itertools import combinations

import numpy as np
import pytest

from archgym.analysis.random_search import budgets_up_to, random_curve
from archgym.errors import InvalidArgumentError

REWARDS = np.array([0.5, -25.0, 2.0, 2.0, 1.0, -25.0, 0.5])


def enumerated(rewards: np.ndarray, n: int) -> np.ndarray:
    """The best of every set of n designs, sorted."""
    return np.sort([max(drawn) for drawn in combinations(rewards.tolist(), n)])


@pytest.mark.parametrize("n", range(1, 8))
def test_mean_and_quantiles_are_those_of_all_draws(n: int) -> None:
    curve = random_curve(REWARDS, [n], [0.05, 0.3, 0.5, 0.95])

    best = enumerated(REWARDS, n)
    assert curve.expected[0] == pytest.approx(best.mean(), rel=1e-12)
    for share, found in curve.quantiles.items():
        rank = math.ceil(round(share * len(best), 9))
        assert found[0] == best[max(rank, 1) - 1], share


def test_last_budget_finds_the_optimum() -> None:
    curve = random_curve(REWARDS, [1, 7])

    assert curve.expected.tolist() == [pytest.approx(REWARDS.mean()), 2.0]
    assert [curve.quantiles[share][1] for share in (0.05, 0.5, 0.95)] == [2.0, 2.0, 2.0]


def test_metric_is_that_of_designs_that_were_built() -> None:
    metric = np.array([3.0, np.nan, 1.0, 1.0, 2.0, np.nan, 3.0])

    curve = random_curve(REWARDS, [1, 3], [0.1, 0.5], metric)

    assert curve.expected[0] == pytest.approx(np.nanmean(metric))
    assert np.isnan(curve.quantiles[0.1][0])
    assert curve.quantiles[0.5].tolist() == [3.0, 1.0]
    # Of 7 designs, 2 cannot be built: 2 of 7 draws of one, and no draw of three, meet none.
    assert curve.empty.tolist() == [pytest.approx(2 / 7), 0.0]


def test_half_a_million_designs_are_exact_for_every_budget() -> None:
    # Ranks 1 to N: the largest of n drawn without replacement has mean n (N + 1) / (n + 1).
    total = 561_340
    budgets = [1, 2, 50, 1000, 20_000, 400_000, total - 1, total]

    curve = random_curve(np.arange(1, total + 1), budgets)

    exact = [n * (total + 1) / (n + 1) for n in budgets]
    assert np.allclose(curve.expected, exact, rtol=1e-9)


def test_curve_rises_and_the_band_holds_the_median() -> None:
    rewards = np.random.default_rng(0).normal(size=5000)

    curve = random_curve(rewards, budgets_up_to(5000, 5000))

    assert (np.diff(curve.expected) >= 0).all()
    low, middle, high = (curve.quantiles[share] for share in (0.05, 0.5, 0.95))
    assert (low <= middle).all()
    assert (middle <= high).all()
    assert curve.expected[-1] == rewards.max()


@pytest.mark.parametrize(
    ("rewards", "budgets", "match"),
    [
        ([1.0, 2.0], [3], "from 1 to 2"),
        ([1.0, 2.0], [0], "from 1 to 2"),
        ([1.0, 2.0], [2, 1], "must increase"),
        ([1.0, 2.0], [], "must increase"),
        ([1.0, np.nan], [1], "must be finite"),
        ([], [1], "one number a design"),
    ],
)
def test_other_arguments_are_refused(rewards: list[float], budgets: list[int], match: str) -> None:
    with pytest.raises(InvalidArgumentError, match=match):
        random_curve(np.array(rewards), budgets)


def test_budgets_run_from_one_to_the_last() -> None:
    budgets = budgets_up_to(1000, 500)

    assert budgets[:3] == [1, 2, 3]
    assert budgets[-1] == 500
    assert budgets == sorted(set(budgets))
