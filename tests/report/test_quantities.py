"""Engineering notation of quantities."""

import math

import pytest

from archgym.evaluation.metrics import MetricSpec
from archgym.report.quantities import (
    axis_unit,
    change_text,
    counted,
    metric_title,
    plain_number,
    quantity,
    size_text,
)


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (119_820.0, "ns", "119.8 µs"),
        (1.1982e5, "cycles", "119,820 cycles"),
        (183_841_575.0, "pJ", "183.8 µJ"),
        (1_515.72, "mW", "1.516 W"),
        (0.42, "GB/s", "420 MB/s"),
        (999.99, "ns", "1 µs"),
        (7_200.0, "s", "7,200 s"),
        (2.5e9, "cycles", "2.5×10⁹ cycles"),
        (3.2e-7, "instructions/cycle", "320×10⁻⁹ instructions/cycle"),
        (41.772, "%", "41.77 %"),
        (5.0, "mm2", "5 mm²"),
        (0.0, "ns", "0 ns"),
        (-0.002, "W", "-2 mW"),
        (12.0, "", "12"),
        (math.nan, "ns", "–"),
        (None, "ns", "–"),
    ],
)
def test_quantity_has_an_engineering_unit(value: float, unit: str, expected: str) -> None:
    assert quantity(value, unit) == expected


def test_no_number_has_an_exponent_of_a_program() -> None:
    for power in range(-320, 309):
        for mantissa in (1.1982, 9.9999999, -3.0):
            assert "e" not in plain_number(mantissa * 10.0**power)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (-0.5297, "-53.0 %"),
        (4.5e-8, "no change"),
        (-4.9e-4, "no change"),
        (6e-4, "+0.1 %"),
        (0.9996, "+100 %"),
        (49.227, "50.2 times"),
        (1.5e6, "1.5×10⁶ times"),
        (math.inf, ""),
    ],
)
def test_change_is_plain_percent_or_a_factor(share: float, text: str) -> None:
    assert change_text(share) == text


@pytest.mark.parametrize(
    ("log_ratio", "text"),
    [(math.log(3.7), "3.7 times"), (-0.01, "1.0 %"), (4.5e-8, "less than 0.05 %")],
)
def test_difference_of_rewards_is_plain_percent_or_a_factor(log_ratio: float, text: str) -> None:
    assert size_text(log_ratio) == text


def test_whole_numbers_keep_their_digits() -> None:
    assert plain_number(64.0) == "64"
    assert plain_number(100.0) == "100"
    assert plain_number(1_200.0) == "1,200"


def test_axis_has_one_unit_for_all_its_values() -> None:
    factor, unit = axis_unit(42_000.0, "ns")

    assert unit == "µs"
    assert 500.0 * factor == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("name", "unit", "title"),
    [
        ("total_time_ns", "ns", "total time"),
        ("bandwidth_gb_per_s", "GB/s", "bandwidth"),
        ("edp_nj_s", "nJ s", "edp"),
        ("p99_5_area_mm2", "mm2", "p99.5 area"),
        ("utilisation_percent", "%", "utilisation"),
        ("row_hits", "", "row hits"),
        ("total_cycles", "cycles", "total cycles"),
        ("data_pins", "pins", "data pins"),
        ("ipc", "instructions/cycle", "ipc"),
    ],
)
def test_title_of_a_metric_omits_its_unit(name: str, unit: str, title: str) -> None:
    assert metric_title(MetricSpec(name, unit, "minimise", 0.1, "Metric.")) == title


def test_one_thing_has_no_plural() -> None:
    found = [counted(n, noun) for n in (1, 2000) for noun in ("evaluation", "study")]

    assert found == ["1 evaluation", "1 study", "2,000 evaluations", "2,000 studies"]
