"""Statistics against published formulae and numbers worked out by hand."""

import math
import tracemalloc

import numpy as np
import pytest

from archgym.analysis.statistics import (
    igd_plus,
    improvement_p_value,
    interquartile_mean,
    kaplan_meier,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    relative_improvement,
    scores,
    stratified_bootstrap,
)
from archgym.errors import InvalidArgumentError


def test_a_score_is_0_for_an_average_design_and_1_for_the_best() -> None:
    found = scores(np.array([0.2, 0.7, 1.2, -9.0, -np.inf]), average=0.2, best=1.2)

    assert found.tolist() == pytest.approx([0.0, 0.5, 1.0, -1.0, -1.0])


def test_scores_need_a_best_above_the_average() -> None:
    with pytest.raises(InvalidArgumentError, match="above"):
        scores(np.zeros(2), average=1.0, best=1.0)


def test_relative_improvement_counts_from_the_average_design() -> None:
    assert relative_improvement(75, 100, is_minimised=True) == 0.25
    assert relative_improvement(75, 60, is_minimised=False) == 0.25
    assert math.isnan(relative_improvement(1, 0, is_minimised=True))


def test_interquartile_mean_is_that_of_the_middle_half() -> None:
    assert interquartile_mean([7, 0, 1, 2, 3, 4, 5, 6]) == (2 + 3 + 4 + 5) / 4
    assert interquartile_mean([1.0, 2.0, 9.0]) == pytest.approx((0.25 + 2 + 2.25) / 1.5)


def test_gap_and_profile_are_counted() -> None:
    runs = [np.array([0.5, 1.5]), np.array([0.0, 1.0, 1.0, 1.0])]

    # 1.5 is no more than 1 here.
    assert optimality_gap(runs) == pytest.approx((0.5 + 0 + 1) / 6)
    # Half of the first task's runs and three quarters of the second's are above 0.5.
    assert performance_profile(runs, np.array([0.5]))[0] == pytest.approx((0.5 + 0.75) / 2)


def test_probability_of_improvement_is_mann_and_whitneys_u() -> None:
    # 3 beats 1, 2, and ties with 3; 2 beats 1 and ties with 2: U = 2.5 + 1.5 of 6.
    assert probability_of_improvement(
        [np.array([3.0, 2.0])], [np.array([1.0, 2.0, 3.0])]
    ) == pytest.approx(4 / 6)


def test_p_value_of_two_runs_against_two_is_a_third() -> None:
    # Of the six ways to deal two of four, two are as far as this: all high here or there.
    p = improvement_p_value([np.array([3.0, 4.0])], [np.array([1.0, 2.0])], resamples=20_000)

    assert p == pytest.approx(1 / 3, abs=0.015)


def test_p_value_of_five_against_five_is_that_of_the_exact_test() -> None:
    p = improvement_p_value([np.arange(5) + 10.0], [np.arange(5) + 0.0], resamples=100_000)

    # 2 of C(10, 5) = 252.
    assert p == pytest.approx(2 / 252, abs=0.001)


def test_bootstrap_of_two_values_has_their_known_distribution() -> None:
    # The mean of two draws of 0 and 1 is 0, 1/2, 1 with chances 1/4, 1/2, 1/4; of two values the
    # interquartile mean is the mean.
    found = stratified_bootstrap("iqm", [np.array([0.0, 1.0])], level=0.6)

    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)


def test_bootstrap_resamples_within_tasks_only() -> None:
    # All runs of a task are alike, so that nothing varies, however far apart tasks are.
    runs = [np.zeros(5), np.ones(5)]

    found = stratified_bootstrap("gap", runs)

    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_bootstrap_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    ours = [rng.normal(size=20) for _ in range(3)]
    theirs = [rng.normal(size=20) for _ in range(3)]

    found = stratified_bootstrap("improvement", ours, theirs)

    # Sixty pairs of independent ranks: about 0.5 +- 2 x 0.053.
    assert 0.15 < found.high - found.low < 0.26


def test_kaplan_meier_gives_the_textbook_shares() -> None:
    # Of six, one arrives at 1, one leaves at 2, two arrive at 3, one leaves at 3, one at 5.
    found = kaplan_meier([1, 2, 3, 3, 3, 5], [True, False, True, True, False, True])

    assert found.times.tolist() == [1, 3, 5]
    assert found.shares.tolist() == pytest.approx([5 / 6, 5 / 6 * 2 / 4, 0])
    assert found.median == 3


def test_median_is_where_exactly_half_have_arrived() -> None:
    # Five of ten have arrived at 3: in floats, 9/10 x 6/9 x 5/6 is above one half.
    times = [1, 2, 2, 2, 3, 4, 4, 4, 4, 6]

    assert kaplan_meier(times, [True] * 10).median == 3


def test_median_is_infinite_where_less_than_half_arrive() -> None:
    assert kaplan_meier([3, 9, 9], [True, False, False]).median == math.inf
    assert kaplan_meier([9], [False]).median == math.inf


def test_igd_plus_counts_losses_alone() -> None:
    exact = np.array([[0.0, 4.0], [4.0, 0.0]])
    found = np.array([[3.0, 0.0]])

    # To (0, 4) a loss of 4 in the second alone, since 3 is more than 0; to (4, 0) a loss of 1.
    assert igd_plus(found, exact) == pytest.approx((4 + 1) / 2)
    assert igd_plus(exact, exact) == 0
    assert igd_plus(np.empty((0, 2)), exact) == math.inf


def test_igd_plus_of_unknown_values_is_unknown() -> None:
    exact = np.array([[0.0, 1.0]])

    assert math.isnan(igd_plus(np.array([[math.nan, 1.0]]), exact))
    assert math.isnan(igd_plus(exact, np.array([[math.nan, 1.0]])))


def test_memory_of_an_improvement_grows_with_the_number_of_runs_not_of_pairs() -> None:
    # The test draws from seed 0; the same numbers here would order its first permutation.
    rng = np.random.default_rng(7)
    ours, theirs = [rng.random(300) + 0.3], [rng.random(300)]
    tracemalloc.start()

    p = improvement_p_value(ours, theirs)
    interval = stratified_bootstrap("improvement", ours, theirs)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # All pairs of all resamples at once take 7 GB.
    assert peak < 300e6
    assert p == 1e-4
    assert 0.5 < interval.low < interval.value < interval.high < 1.0


@pytest.mark.parametrize("n_values", [3, 1000])
def test_improvement_equals_the_comparison_of_all_pairs(n_values: int) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, n_values, 40) / 7, rng.integers(0, n_values, 30) / 7
    pairs = [1.0 if x > y else 0.5 if x == y else 0.0 for x in a for y in b]

    found = probability_of_improvement([a], [b])

    assert found == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)
