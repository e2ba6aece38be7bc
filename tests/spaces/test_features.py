"""Tests of designs as a model sees them."""

import numpy as np
import pytest

from archgym.spaces.features import Coordinates
from archgym.spaces.parameter import Categorical, Factorisation, Integer, Permutation, PowerOfTwo
from archgym.spaces.space import DesignSpace
from archgym.testing import proving_tasks

SPACE = DesignSpace(
    "all",
    [
        Permutation(name="p", items=tuple("abcd")),
        Factorisation(name="f", total=360, parts=3),
        Factorisation(name="g", total=1, parts=3),
        Categorical(name="c", choices=("x", "y", "z")),
        Categorical(name="d", choices=("no", "yes")),
        Categorical(name="only", choices=("one",)),
        PowerOfTwo(name="banks", low=1, high=16),
    ],
)


@pytest.mark.parametrize("space", [SPACE, *(task.space for task in proving_tasks())], ids=repr)
def test_designs_are_split_and_joined(space: DesignSpace) -> None:
    coordinates = Coordinates(space)
    designs = space.sample(200, np.random.default_rng(0))

    digits = coordinates.digits(designs)

    assert np.array_equal(coordinates.indices(digits), designs)
    assert digits.shape == (200, len(coordinates.labels))
    assert (digits >= 0).all()
    assert (digits < coordinates.sizes).all()
    assert (digits.max(axis=0) > 0).all()


def test_never_listed_parameters_have_a_coordinate_for_each_sub_action() -> None:
    coordinates = Coordinates(SPACE)

    # A permutation's last pick and a factorisation of 1 leave nothing to choose.
    assert coordinates.labels == (
        ("p/0", "p/1", "p/2", "f/0", "f/1", "f/2", "c/0", "d/0", "banks/0")
    )
    assert coordinates.sizes == (4, 3, 2, 10, 6, 3, 3, 2, 5)
    assert coordinates.are_ordered == (False,) * 8 + (True,)


def test_features_say_what_a_value_means() -> None:
    design = SPACE.indices_of(
        {
            "p": tuple("cabd"),
            "f": (6, 60, 1),
            "g": (1, 1, 1),
            "c": "y",
            "d": "yes",
            "only": "one",
            "banks": 4,
        }
    )

    features = Coordinates(SPACE).features(design[None, :])[0]

    places = [1 / 3, 2 / 3, 0.0, 1.0]
    logarithms = [np.log(6) / np.log(360), np.log(60) / np.log(360), 0.0]
    assert features == pytest.approx([*places, *logarithms, 0.0, 1.0, 0.0, 1.0, 0.5])


def test_features_lie_between_0_and_1() -> None:
    features = Coordinates(SPACE).features(SPACE.sample(300, np.random.default_rng(0)))

    assert features.min() == 0.0
    assert features.max() == 1.0


def test_space_without_a_choice_has_no_coordinates() -> None:
    space = DesignSpace("one", [Integer(name="a", low=3, high=3)])
    coordinates = Coordinates(space)

    assert coordinates.labels == ()
    assert coordinates.digits(np.zeros((2, 1), np.int64)).shape == (2, 0)
    assert coordinates.indices(np.zeros((2, 0), np.int64)).tolist() == [[0], [0]]
    assert coordinates.features(np.zeros((2, 1), np.int64)).shape == (2, 0)


def test_no_designs_have_no_features() -> None:
    designs = np.zeros((0, SPACE.n_parameters), np.int64)

    assert Coordinates(SPACE).features(designs).shape == (0, 12)
    assert Coordinates(SPACE).digits(designs).shape == (0, 9)
