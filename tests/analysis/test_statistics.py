"""Statistics against published formulae and numbers worked out by hand."""

import math
import tracemalloc

import numpy as np
import pytest

from archgym.analysis.statistics import (
    expected_best_of,
    igd_plus,
    improvement_p_value,
    interquartile_mean,
    kaplan_meier,
    leading_chances,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    relative_improvement,
    scores,
    stratified_bootstrap,
    unshared_variance,
    variance_split,
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


def test_expected_best_of_counts_all_subsets() -> None:
    # Pairs of 1, 2, 4: best 2, 4, 4.
    assert expected_best_of([4.0, 1.0, 2.0], 2) == pytest.approx(10 / 3)
    assert expected_best_of([4.0, 1.0, 2.0], 3) == 4
    assert expected_best_of([4.0, 1.0, 2.0], 1) == pytest.approx(7 / 3)
    assert expected_best_of([4.0, -math.inf, 2.0], 2) == pytest.approx(10 / 3)


def test_chances_of_very_many_draws_are_numbers() -> None:
    chances = leading_chances(5000, 300)

    assert chances.dtype == np.float64
    assert chances.sum() == pytest.approx(1)


def test_variance_is_split_between_draws_tasks_and_seeds() -> None:
    # Draws shift by 0 or 2, tasks by 0 or 4, seeds by -1 and +1, without interaction: draws have a
    # variance of 2 and seeds of 2; that of tasks is 8, of which a mean of two seeds makes 1.
    table = np.array([[[d + t + s for s in (-1, 1)] for t in (0, 4)] for d in (0, 2)], float)

    split = variance_split(table)

    assert split.hyperparameters == pytest.approx(2 / 11)
    assert split.task == pytest.approx(7 / 11)
    assert split.seed == pytest.approx(2 / 11)
    assert split.interaction == pytest.approx(0, abs=1e-12)
    assert math.isnan(variance_split(np.ones((2, 2, 2))).seed)


def test_settings_that_do_nothing_have_no_share_of_the_variance() -> None:
    split = variance_split(np.random.default_rng(0).normal(size=(32, 8, 5)))

    # Sums of squares would give the interaction some 15 %.
    assert split.hyperparameters < 0.02
    assert split.interaction < 0.03
    assert split.seed > 0.95


def test_components_of_variance_are_found_again() -> None:
    rng = np.random.default_rng(1)
    draws, tasks = rng.normal(0, 1, (400, 1, 1)), rng.normal(0, 2, (1, 400, 1))
    pairs, seeds = rng.normal(0, 3, (400, 400, 1)), rng.normal(0, 4, (400, 400, 3))

    split = variance_split(draws + tasks + pairs + seeds)

    assert split.hyperparameters == pytest.approx(1 / 30, rel=0.2)
    assert split.task == pytest.approx(4 / 30, rel=0.2)
    assert split.interaction == pytest.approx(9 / 30, rel=0.05)
    assert split.seed == pytest.approx(16 / 30, rel=0.05)


def test_what_a_seed_does_to_all_draws_does_not_tell_draws_apart() -> None:
    rng = np.random.default_rng(3)
    table = rng.normal(size=(1, 8, 5)) + 0.01 * rng.normal(size=(32, 8, 5))

    assert unshared_variance(table) == pytest.approx(1e-4, rel=0.1)
    assert variance_split(table).seed > 0.8


def test_one_seed_cannot_be_told_from_the_interaction() -> None:
    split = variance_split(np.random.default_rng(2).normal(size=(20, 20, 1)))

    assert split.interaction == 0
    assert split.seed > 0.9
    assert math.isnan(variance_split(np.arange(3.0)[:, None, None]).hyperparameters)


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
