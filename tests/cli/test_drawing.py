"""Curves, numbers and tables."""

import numpy as np
import pytest

from archgym.cli.console.terminal import number
from archgym.cli.views.study import text_curve, verdict
from archgym.evaluation.metrics import MetricSpec
from archgym.files.json_types import plain
from archgym.report.study_summary import span

LATENCY = MetricSpec("latency_ns", "ns", "minimise", 0.1, "Time.")


def test_curve_rises_to_its_top_line() -> None:
    lines = text_curve(np.linspace(0.0, 1.0, 40), width=40, height=4)

    assert len(lines) == 5
    assert lines[0].lstrip().startswith("1 |")
    assert lines[0].count("█") < lines[3].count("█")


def test_curve_without_a_value_is_not_drawn() -> None:
    assert text_curve(np.full(10, np.nan), width=40, height=4) == []


def test_curve_of_one_value_is_drawn() -> None:
    assert len(text_curve(np.array([3.0]), width=40, height=4)) == 5


def test_span_leaves_out_a_bad_beginning() -> None:
    values = np.array([900.0, *np.linspace(60.0, 50.0, 99)])

    low, high = span(values)

    assert low == 50.0
    assert high <= 60.0


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1234567.8, "1,234,568"), (0.123456789, "0.123457"), (float("nan"), "–")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "word"), [(50.0, "better"), (200.0, "worse"), (100.05, ""), (float("nan"), "")]
)
def test_verdict_follows_the_goal(value: float, word: str) -> None:
    assert verdict(LATENCY, value, 100.0).plain == word


def test_json_has_no_nan() -> None:
    assert plain({"a": (float("nan"), np.array([1.0]))}) == {"a": [None, [1.0]]}
