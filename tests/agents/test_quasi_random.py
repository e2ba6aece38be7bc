"""Tests of quasi-random search."""

import warnings

import numpy as np
import pytest

from archgym.agents.quasi_random import QuasiRandomAgent
from archgym.agents.random import RandomAgent
from archgym.errors import InvalidArgumentError
from archgym.spaces.parameter import Integer, Permutation
from archgym.spaces.space import DesignSpace
from archgym.testing import proving_tasks
from tests.agents.recorder import search
from tests.toys import toy_task

MIXED, MAPPING, TINY = proving_tasks()
# So large that no two of some hundred designs are alike.
LARGE = DesignSpace(
    "large",
    [Integer(name=f"p{size}", low=1, high=size) for size in (3, 7, 10, 16, 99_999, 100_000)],
)


def imbalance(designs: np.ndarray, space: DesignSpace) -> int:
    """Most by which two values of a parameter of up to 16 differ in how often they occur."""
    return max(
        int(np.ptp(np.bincount(column, minlength=size)))
        for column, size in zip(designs.T, space.sizes, strict=True)
        if size <= 16
    )


@pytest.mark.parametrize("n", [64, 256, 1024])
def test_sobol_hits_every_value_equally_often(n: int) -> None:
    for seed in range(5):
        designs = QuasiRandomAgent(LARGE, seed=seed, batch_size=n).ask()

        assert imbalance(designs, LARGE) <= 2
    assert imbalance(RandomAgent(LARGE, seed=0, batch_size=n).ask(), LARGE) > 6


def test_sobol_hits_every_pair_of_two_parameters_once() -> None:
    space = DesignSpace("square", [Integer(name=name, low=1, high=16) for name in "ab"])

    designs = QuasiRandomAgent(space, seed=3, batch_size=256).ask()

    assert sorted(space.flat(designs).tolist()) == list(range(256))


def test_halton_hits_every_value_about_equally_often() -> None:
    designs = QuasiRandomAgent(LARGE, seed=0, sequence="halton", batch_size=256).ask()

    assert imbalance(designs, LARGE) <= 6


def test_permutation_has_a_dimension_for_each_pick() -> None:
    space = DesignSpace("order", [Permutation(name="p", items=tuple("abcdefghijklmnopqrst"))])

    designs = QuasiRandomAgent(space, seed=0, batch_size=1024).ask()

    orders = space.parameters[0].array(designs[:, 0])
    for place in range(20):
        items = [order[place] for order in orders]
        counts = [items.count(item) for item in "abcdefghijklmnopqrst"]
        assert min(counts) > 20


def test_seed_changes_the_points() -> None:
    one, other = (QuasiRandomAgent(LARGE, seed=seed).ask() for seed in (1, 2))

    assert not np.array_equal(one, other)


def test_batch_size_changes_no_designs_turn() -> None:
    one, many = (
        search(QuasiRandomAgent, MIXED, 700, batch_size=size).designs[:700] for size in (1, 128)
    )

    assert np.array_equal(one, many)


@pytest.mark.parametrize("sequence", ["sobol", "halton"])
def test_designs_are_new_canonical_and_feasible(sequence: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = search(QuasiRandomAgent, MIXED, 1000, sequence=sequence)

    assert found.n_repeated == 0
    assert MIXED.space.is_canonical(found.designs).all()
    assert MIXED.space.feasible(found.designs).all()


def test_more_dimensions_than_sobol_has_are_refused() -> None:
    space = DesignSpace("wide", [Integer(name=f"p{n}", low=0, high=1) for n in range(21_202)])

    with pytest.raises(InvalidArgumentError, match=r'21201 dimensions.*21202.*sequence="halton"'):
        QuasiRandomAgent(space, seed=0)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"sequence": "sobel"}], ids=str)
def test_hyperparameter_that_cannot_be_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidArgumentError, match=f"`{next(iter(wrong))}`"):
        QuasiRandomAgent(toy_task().space, seed=0, **wrong)  # type: ignore[arg-type]
