"""Tests of checks of plain numbers."""

import math
from typing import Any

import numpy as np
import pytest

from archgym.checks import check_choice, check_number, check_path, check_whole, parse_whole, whole
from archgym.errors import InvalidArgumentError


@pytest.mark.parametrize("value", [0, 2.0, "3", None, True, math.nan, 11])
def test_whole_number_outside_is_refused(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="`n` must be a whole number from 1 to 10; got"):
        check_whole("n", value, 1, 10)


@pytest.mark.parametrize("value", [-0.1, 1.1, "0.5", None, True, math.nan, math.inf, [1]])
def test_number_outside_is_refused(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="`x` must be a number from 0 to 1; got"):
        check_number("x", value, 0, 1)


@pytest.mark.parametrize("text", ["1e3", "1000", "1000.0", "1.0e+3", "+1000", "1E3", "10000e-1"])
def test_whole_number_may_be_written_with_an_exponent(text: str) -> None:
    assert parse_whole("n", text, 1, 5000) == 1000
    assert whole(float(text)) == 1000


@pytest.mark.parametrize(
    "text", ["1.5", "1e-3", "", "e3", "1e9", "nan", "inf", "1_0", "٣", "1e999"]
)
def test_text_that_is_no_whole_number_within_the_limits_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="`n` must be a whole number from 1 to 5,000; g"):
        parse_whole("n", text, 1, 5000)


def test_numbers_inside_come_back_as_plain_ones() -> None:
    assert type(check_whole("n", np.int64(3), 1)) is int
    assert type(check_number("x", np.float32(0.5), 0)) is float
    assert check_number("x", 2, 0) == 2.0


def test_open_limit_says_or_more() -> None:
    with pytest.raises(InvalidArgumentError, match="of 1 or more; got 0"):
        check_whole("n", 0, 1)


@pytest.mark.parametrize("value", ["Best", "", 1, None, ["best"]])
def test_value_that_is_no_choice_is_refused(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="`improvement` must be one of first, best; got"):
        check_choice("improvement", value, ("first", "best"))


def test_choice_is_returned() -> None:
    assert check_choice("improvement", "best", ("first", "best")) == "best"


def test_empty_text_is_no_path() -> None:
    # Before, it was the current folder: `cache=""` wrote evaluations there.
    with pytest.raises(InvalidArgumentError, match="must be a path; got ''"):
        check_path("cache", "")
