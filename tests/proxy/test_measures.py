import numpy as np
import pytest

from archgym.evaluation.metrics import MetricSpec
from archgym.proxy.features import Scaling, alike
from archgym.proxy.measures import (
    conformal_quantile,
    errors_by_metric,
    folds,
    held_out,
    measure,
    outcome_groups,
    top_recall,
)

QUICK = {"n_trees": 2, "n_randomised": 0, "min_samples_leaf": 1}
LATENCY = MetricSpec("latency_ns", "ns", "minimise", 0.1, "Time.")


def test_conformal_quantile_is_the_finite_sample_one() -> None:
    scores = np.arange(1.0, 20.0)[:, None]

    assert conformal_quantile(scores, 0.9).tolist() == [18.0]
    assert conformal_quantile(scores[:8], 0.9).tolist() == [np.inf]


def test_measures_are_those_of_a_small_example() -> None:
    found = measure(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 6.0]), LATENCY)

    assert found["rmse"] == pytest.approx(3**0.5)
    assert found["rmse_percent_of_mean"] == pytest.approx(86.60, abs=0.01)
    assert found["rmse_percent_of_range"] == pytest.approx(86.60, abs=0.01)
    assert found["mape_percent"] == pytest.approx(33.33, abs=0.01)
    assert found["worst_percent"] == pytest.approx(150.0)
    assert found["r2"] == pytest.approx(-3.5)
    assert found["spearman"] == pytest.approx(1.0)
    assert found["top_recall"] == 1.0


def test_ties_with_the_best_are_all_the_best() -> None:
    actual = np.array([1.0, 1.0, 2.0, 3.0])

    assert top_recall(actual, np.array([9.0, 1.0, 2.0, 3.0]), LATENCY) == 0.5


def test_equal_outcomes_lie_in_one_fold() -> None:
    values = np.array([[0.1 + 0.2], [0.3], [5.0], [5.0], [7.0]])
    groups = outcome_groups(values)

    fold = folds(groups, 2, np.random.default_rng(0))

    assert groups[0] == groups[1]
    assert fold[0] == fold[1]
    assert fold[2] == fold[3]


def test_held_out_share_is_of_whole_groups() -> None:
    groups = np.repeat(np.arange(50), 4)

    chosen = held_out(groups, 0.2, np.random.default_rng(0))

    assert chosen.sum() == 40
    assert all(len(set(chosen[groups == group])) == 1 for group in range(50))


def test_logarithms_are_for_positive_metrics_with_a_range() -> None:
    values = np.array([[1.0, 0.0, 5.0, 100.0], [10.0, 9.0, 5.0, 101.0]])

    scaling = Scaling.of(values)

    assert scaling.is_log.tolist() == [True, False, False, False]
    assert scaling.changing.tolist() == [0, 1, 3]
    assert np.allclose(scaling.unscaled(scaling.scaled(values)), values)


def test_metrics_in_other_units_share_a_model() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 50))
    values = np.stack([first, -7 * first + 3, second], axis=1)
    scaling = Scaling.of(values)

    assert alike(scaling.scaled(values), scaling.changing) == [[0, 1], [2]]


def test_interval_of_an_error_draws_equal_outcomes_together() -> None:
    rng = np.random.default_rng(0)
    apart = rng.normal(10.0, 1.0, (40, 1))
    error = rng.normal(0.0, 0.5, (40, 1))
    many, many_errors = np.repeat(apart, 50, axis=0), np.repeat(error, 50, axis=0)

    few = errors_by_metric([LATENCY], apart, apart + error, with_intervals=True)
    copied = errors_by_metric([LATENCY], many, many + many_errors, with_intervals=True)

    low, high = few["latency_ns"]["rmse_percent_interval"]
    assert low < few["latency_ns"]["rmse_percent_of_mean"] < high
    # Copies add nothing: 40 outcomes stay 40.
    assert copied["latency_ns"]["rmse_percent_interval"] == pytest.approx([low, high], rel=1e-6)
