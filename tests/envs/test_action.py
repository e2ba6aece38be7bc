"""What actions stand for."""

import numpy as np
import pytest
from scipy.stats import chisquare

from archgym.envs.formulation import binned, require_shape, require_whole
from archgym.errors import InvalidArgumentError


def test_uniform_numbers_reach_every_option_equally_often() -> None:
    rng = np.random.default_rng(3)
    sizes = np.array([2, 3, 5, 7, 14])
    actions = rng.uniform(-1.0, 1.0, size=(70_000, 5)).astype(np.float32)

    picks = binned(actions, sizes)

    for column, size in enumerate(sizes):
        counts = np.bincount(picks[:, column], minlength=size)
        assert len(counts) == size
        assert chisquare(counts).pvalue > 0.01


def test_corners_of_the_box_are_first_and_last_options() -> None:
    sizes = np.array([1, 2, 3, 10])

    low, high = binned(np.array([[-1.0] * 4, [1.0] * 4], dtype=np.float32), sizes)

    assert low.tolist() == [0, 0, 0, 0]
    assert high.tolist() == [0, 1, 2, 9]


def test_options_have_parts_of_equal_width() -> None:
    edges = np.array([-1.0, -0.5001, -0.4999, -0.0001, 0.0001, 0.4999, 0.5001, 1.0])

    picks = binned(edges, np.array(4))

    assert picks.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_numbers_beyond_the_box_count_as_its_ends() -> None:
    assert binned(np.array([-7.0, 7.0, np.inf, -np.inf]), np.array(3)).tolist() == [0, 2, 2, 0]


def test_nan_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="got NaN"):
        binned(np.array([0.0, np.nan]), np.array(3))


def test_action_outside_its_options_is_refused_by_name() -> None:
    with pytest.raises(InvalidArgumentError, match="`banks` must be 0 to 4; got 5"):
        require_whole(np.array([[0, 5]]), np.array([3, 5]), ("mode", "banks"))


def test_numbers_with_fractions_are_refused_where_whole_ones_are_due() -> None:
    with pytest.raises(InvalidArgumentError, match="whole numbers; got dtype float64"):
        require_whole(np.array([[0.0]]), np.array([3]), ("mode",))


def test_action_of_another_shape_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"shape \(2, 5\); got \(2, 4\)"):
        require_shape(np.zeros((2, 4)), (2, 5))
