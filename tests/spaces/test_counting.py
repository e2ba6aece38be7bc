"""Tests of components and counts."""

import numpy as np
import pytest

from archgym.errors import InvalidSpaceError
from archgym.spaces.counting import Component, Count, number_text


def judged(sizes: tuple[int, ...], limit: int) -> Component:
    """Feasible are sums of at most `limit`; canonical needs a last of 0 or a first above."""

    def judge(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        feasible = rows.sum(axis=1) <= limit
        return feasible, feasible & ((rows[:, -1] == 0) | (rows[:, 0] > 0))

    return Component(tuple(range(len(sizes))), sizes, judge, is_free=False)


def test_combinations_run_with_the_last_place_fastest() -> None:
    assert judged((2, 3), 9).combinations(1, 5).tolist() == [[0, 1], [0, 2], [1, 0], [1, 1]]


def test_count_is_of_feasible_canonical_combinations() -> None:
    assert judged((2, 3), 2).count() == Count(3, 3, 3, True)


def test_allowed_and_marginal_ask_for_feasibility_alone() -> None:
    component = judged((2, 3), 1)

    assert component.allowed(()).tolist() == [True, True]
    assert component.allowed((0,)).tolist() == [True, True, False]
    assert component.allowed((1,)).tolist() == [True, False, False]
    assert component.marginal(1).tolist() == [True, True, False]


def test_large_component_masks_nothing() -> None:
    component = judged((5000, 5000), 3)

    assert component.allowed(()).all()
    assert component.marginal(1).all()


@pytest.mark.parametrize("sizes", [(2, 3), (5000, 5000)])
def test_sampling_where_nothing_is_feasible_is_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(InvalidSpaceError, match="Loosen"):
        judged(sizes, -1).sample(1, np.random.default_rng(0))


def test_sampling_goes_on_while_it_finds_some() -> None:
    # One combination in 1,250: two hundred draws of 1,024 would find 160 of them.
    component = judged((5000, 5000), 199)

    drawn = component.sample(400, np.random.default_rng(0))

    assert len(drawn) == 400
    assert component.judge(drawn)[1].all()


def test_counts_multiply_and_stay_estimates() -> None:
    product = Count(10, 8, 12, False) * Count(3, 3, 3, True)

    assert product == Count(30, 24, 36, False)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (1234567, "1,234,567"),
        (999_999_999_999_999, "999,999,999,999,999"),
        (10**15, "1.00e+15"),
        (10**600, "1.00e+600"),
    ],
)
def test_numbers_read_in_full_until_they_are_long(number: int, text: str) -> None:
    assert number_text(number) == text


def test_counts_read_as_words() -> None:
    assert str(Count(1500, 1500, 1500, True)) == "1,500"
    assert str(Count(1500, 1400, 1600, False)) == (
        "about 1.50e+3 (95 % interval 1.40e+3 to 1.60e+3)"
    )
