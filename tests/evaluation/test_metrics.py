"""Tests of metrics."""

import math

import pytest

from archgym.errors import InvalidArgumentError
from archgym.evaluation.metrics import Metrics, MetricSpec


def test_metrics_are_a_mapping() -> None:
    metrics = Metrics({"time_ns": 2.0, "power_mw": 3.0})

    assert dict(metrics) == {"time_ns": 2.0, "power_mw": 3.0}
    assert len(metrics) == 2
    assert metrics.infeasible is None
    assert repr(metrics) == "Metrics(time_ns=2, power_mw=3)"


def test_infeasible_metrics_have_a_reason_and_no_numbers() -> None:
    metrics = Metrics({}, infeasible="It is too hot.")

    assert len(metrics) == 0
    assert repr(metrics) == "Metrics(infeasible='It is too hot.')"


def test_metrics_do_not_change_with_their_source() -> None:
    source = {"time_ns": 2.0}
    metrics = Metrics(source)

    source["time_ns"] = 5.0

    assert metrics["time_ns"] == 2.0


@pytest.mark.parametrize("resolution", [0.0, -1.0, math.nan, math.inf])
def test_resolution_that_keeps_no_reward_finite_is_refused(resolution: float) -> None:
    with pytest.raises(InvalidArgumentError, match="resolution"):
        MetricSpec("time_ns", "ns", "minimise", resolution, "Time.")


def test_unknown_goal_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="goal"):
        MetricSpec("time_ns", "ns", "least", 1.0, "Time.")  # type: ignore[arg-type]  # the point


def test_specification_goes_to_json() -> None:
    spec = MetricSpec("time_ns", "ns", "minimise", 1.0, "Time.")

    assert MetricSpec(**spec.to_json()) == spec
