"""Choices: how designs come apart into what an agent picks."""

import numpy as np
import pytest

from archgym.spaces.choices import Choices
from archgym.spaces.parameter import Categorical, Factorisation, Integer, Permutation
from archgym.spaces.space import DesignSpace
from tests.toys import SPACE

MAPPING = DesignSpace(
    "mapping",
    [
        Permutation(name="order", items=("n", "k", "c")),
        Integer(name="unroll", low=1, high=4),
        Factorisation(name="tiles", total=12, parts=2),
    ],
)


def test_listed_parameters_are_one_choice_each() -> None:
    choices = Choices(SPACE)

    assert choices.names == SPACE.names
    assert choices.sizes.tolist() == [3, 5, 8, 11, 4]
    assert choices.is_ordered.tolist() == [False, True, True, True, True]


def test_permutations_and_factorisations_come_apart() -> None:
    choices = Choices(MAPPING)

    # 3 and then 2 items to pick from; 2^2 shared out in 3 ways and 3^1 in 2.
    assert choices.names == ("order[0]", "order[1]", "unroll", "tiles[0]", "tiles[1]")
    assert choices.sizes.tolist() == [3, 2, 4, 3, 2]


@pytest.mark.parametrize("space", [SPACE, MAPPING])
def test_every_design_is_one_combination_of_choices(space: DesignSpace) -> None:
    choices = Choices(space)
    designs = np.concatenate(list(space.enumerate()))

    picks = choices.split(designs)

    assert (picks < choices.sizes).all()
    assert len(np.unique(picks, axis=0)) == space.size
    assert (choices.compose(picks) == designs).all()


def test_first_pick_of_a_permutation_is_its_first_item() -> None:
    choices = Choices(MAPPING)

    design = MAPPING.design_at(choices.compose(np.array([[2, 0, 0, 0, 0]]))[0])

    assert design["order"] == ("c", "n", "k")


def test_mask_excludes_only_what_has_no_feasible_completion() -> None:
    choices = Choices(SPACE)

    depth = choices.mask(np.array([0, 4, 0, 0, 0]), 2)
    banks = choices.mask(np.array([0, 0, 0, 0, 0]), 1)

    # 16 banks of depth 4 make the 64 entries that are allowed.
    assert depth.tolist() == [True] * 4 + [False] * 4
    assert banks.tolist() == [True] * 5


def test_all_picks_of_a_permutation_are_allowed() -> None:
    choices = Choices(MAPPING)

    masks = choices.marginal_masks()

    assert [len(mask) for mask in masks] == [3, 2, 4, 3, 2]
    assert all(mask.all() for mask in masks)
    assert choices.mask(choices.default, 1).tolist() == [True, True]


def test_permutation_too_large_to_list_is_not_masked() -> None:
    space = DesignSpace(
        "large",
        [
            Permutation(name="order", items=tuple("abcdefghijklmnopqrst")),
            Categorical(name="mode", choices=("on", "off")),
        ],
    )
    choices = Choices(space)

    assert choices.n == 20
    assert all(mask.all() for mask in choices.marginal_masks())
    assert choices.mask(choices.default, 5).tolist() == [True] * 15
    assert (choices.compose(choices.default[None, :]) == 0).all()
