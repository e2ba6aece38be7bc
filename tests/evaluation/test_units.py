"""Tests of units in limits."""

import pytest

from archgym.errors import InvalidArgumentError
from archgym.evaluation.limits import unit_factor
from archgym.tasks.task import Task


@pytest.mark.parametrize(
    ("given", "wanted", "factor"),
    [
        ("us", "ns", 1000.0),
        ("µs", "us", 1.0),
        ("W", "mW", 1000.0),
        ("GiB", "MiB", 1024.0),
        ("GB/s", "MB/s", 1000.0),
        ("tokens/s", "tokens/min", 60.0),
        ("mm2", "um2", 1e6),
        ("h", "s", 3600.0),
        ("%", "percent", 1.0),
    ],
)
def test_units_of_one_quantity_convert(given: str, wanted: str, factor: float) -> None:
    assert unit_factor(given, wanted) == factor


@pytest.mark.parametrize(
    ("given", "wanted"), [("W", "ns"), ("GB", "GB/s"), ("parsec", "m"), ("xs", "s"), ("", "ns")]
)
def test_units_of_other_quantities_do_not(given: str, wanted: str) -> None:
    assert unit_factor(given, wanted) is None


def test_limits_are_converted_to_the_unit_of_their_metric() -> None:
    task = Task.make("dram", subject_to="total_time_ns <= 171us, power_mw <= 1.5 W")

    assert [(limit.metric, limit.bound) for limit in task.limits] == [
        ("total_time_ns", 171_000.0), ("power_mw", 1500.0)
    ]  # fmt: skip


def test_limit_in_a_unit_of_something_else_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="`power_mw` must be in mW"):
        Task.make("dram", subject_to="power_mw <= 3 ns")
