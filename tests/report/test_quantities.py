"""Engineering notation of quantities."""

import math

import pytest

from archgym.evaluation.metrics import MetricSpec
from archgym.report.quantities import axis_unit, metric_title, plain_number, quantity


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
        ("utilisation_percent", "%", "utilisation"),
        ("row_hits", "", "row hits"),
        ("ipc", "instructions/cycle", "ipc"),
    ],
)
def test_title_of_a_metric_omits_its_unit(name: str, unit: str, title: str) -> None:
    assert metric_title(MetricSpec(name, unit, "minimise", 0.1, "Metric.")) == title
