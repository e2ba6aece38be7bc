"""Tests of grid search."""

import math
from typing import Any

import numpy as np
import pytest

from archgym.agents import grid
from archgym.agents.grid import GridAgent
from archgym.errors import InvalidArgumentError
from archgym.spaces.design import Constraint
from archgym.spaces.expression import P
from archgym.spaces.parameter import Factorisation, Integer, Permutation
from archgym.spaces.space import DesignSpace
from archgym.testing import proving_tasks
from tests.agents.recorder import search
from tests.agents.telling import asked
from tests.toys import toy_task

MIXED, MAPPING, TINY = proving_tasks()
FREE = DesignSpace(
    "free", [Integer(name=f"p{size}", low=1, high=size) for size in (4, 6, 12, 3, 10, 5, 2)]
)
VAST = DesignSpace(
    "vast",
    [
        Permutation(name="order", items=tuple("abcdefghijklmnopqrst")),
        Factorisation(name="tiles", total=2**10 * 3**4, parts=4),
        Integer(name="depth", low=1, high=1000),
    ],
)


def first(space: DesignSpace, n: int) -> np.ndarray:
    return asked(GridAgent(space, seed=0), lambda designs: np.zeros(len(designs)), n)[0]


@pytest.mark.parametrize("task", [MIXED, MAPPING, TINY], ids=["mixed", "mapping", "tiny"])
def test_every_design_is_asked_for_once(task: Any) -> None:
    space = task.space
    designs = first(space, 10**6)

    assert len(designs) == space.count().value
    assert len(np.unique(designs, axis=0)) == len(designs)
    assert space.feasible(designs).all()
    assert space.is_canonical(designs).all()


def test_first_designs_spread_over_each_parameters_values() -> None:
    designs = first(FREE, 120)

    for column, size in zip(designs.T, FREE.sizes, strict=True):
        counts = np.bincount(column, minlength=size)
        assert counts.min() >= 0.7 * 120 / size
        assert counts.max() <= 1.3 * 120 / size


def test_first_designs_hold_every_pair_of_values() -> None:
    designs = first(FREE, 720)

    for one in range(FREE.n_parameters):
        for other in range(one):
            pairs = designs[:, one] * FREE.sizes[other] + designs[:, other]
            assert len(np.unique(pairs)) == FREE.sizes[one] * FREE.sizes[other]


def test_it_starts_at_the_default_design() -> None:
    assert np.array_equal(first(MIXED.space, 1)[0], MIXED.space.default_indices)


def test_seed_decides_nothing() -> None:
    one, other = (GridAgent(MIXED.space, seed=seed).ask() for seed in (1, 2))

    assert np.array_equal(one, other)


def test_batch_size_changes_no_designs_turn() -> None:
    one, many = (search(GridAgent, MIXED, 500, batch_size=size).designs[:500] for size in (1, 128))

    assert np.array_equal(one, many)


def test_space_beyond_all_numbers_is_covered_evenly() -> None:
    assert VAST.size > 2**63

    designs = first(VAST, 1000)

    assert len(np.unique(designs, axis=0)) == 1000
    VAST.check_indices(designs)
    for column, size in zip(designs.T, VAST.sizes.tolist(), strict=True):
        quarters = np.bincount([4 * int(index) // size for index in column], minlength=4)
        assert quarters.min() > 200


@pytest.mark.parametrize(
    "sizes", [[2], [1, 1], [3, 5, 7], [8, 8], [30, 7, 2, 11], [2] * 70], ids=str
)
def test_stride_shares_no_factor_with_the_size(sizes: list[int]) -> None:
    assert math.gcd(grid._best_stride(sizes), math.prod(sizes)) == 1


def test_rest_is_drawn_where_numbers_hold_no_design(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "_MOST_IN_VAIN", 1000)
    names = [f"{letter}{n}" for n in range(6) for letter in "ab"]
    space = DesignSpace(
        "sparse",
        [Integer(name=name, low=0, high=31) for name in names],
        [Constraint(f"c{n}", P(f"a{n}") == P(f"b{n}"), "They differ.") for n in range(6)],
    )

    one, other = first(space, 300), first(space, 300)

    assert len(np.unique(one, axis=0)) == 300
    assert space.feasible(one).all()
    assert np.array_equal(one, other)


@pytest.mark.parametrize("batch_size", [0, 1.5, "8"])
def test_batch_size_that_cannot_be_is_refused(batch_size: int) -> None:
    with pytest.raises(InvalidArgumentError, match="`batch_size`"):
        GridAgent(toy_task().space, seed=0, batch_size=batch_size)
