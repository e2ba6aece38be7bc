"""Tests of the global random numbers that a search borrows."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from archgym.agents._random_state import RandomState


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(n_threads)


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(1))  # noqa: NPY002


def state() -> list[Any]:
    numbers = np.random.get_state(legacy=False)["state"]["key"].tolist()  # noqa: NPY002
    return [random.getstate(), numbers, torch.get_rng_state().tolist(), torch.get_num_threads()]


def test_same_seed_draws_the_same_and_another_does_not() -> None:
    drawn = []
    for seed in (1, 1, 2, 2**63 - 1):
        with RandomState(seed):
            drawn.append(draw())

    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3


def test_all_is_as_before_after_it() -> None:
    before = state()

    with RandomState(0):
        draw()
        assert torch.get_num_threads() == 1

    assert state() == before


def test_all_is_as_before_after_an_error() -> None:
    before = state()

    with pytest.raises(ZeroDivisionError), RandomState(0) as own, own.lent():
        1 / 0  # noqa: B018

    assert state() == before


def test_block_that_is_entered_again_starts_again() -> None:
    own = RandomState(3)
    with own:
        first = draw()

    with own:
        assert draw() == first


def test_evaluation_has_everyone_elses_numbers() -> None:
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    alone = [draw(), draw()]
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    seen: list[Any] = []

    def evaluate(indices: np.ndarray) -> Any:
        seen.append(draw())
        assert torch.get_num_threads() == 2
        return indices

    with RandomState(0) as own:
        first = draw()
        given = own.outside(evaluate)(np.zeros(1))
        second = draw()
    with RandomState(0):
        undisturbed = [draw(), draw()]

    assert np.asarray(given).tolist() == [0.0]
    assert [*seen, draw()] == alone
    assert [first, second] == undisturbed
