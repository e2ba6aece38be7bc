"""Tests of Bayesian optimisation with randomised trees."""

import warnings
from typing import Any

import numpy as np
import pytest

from archgym.agents.extra_trees import ExtraTreesAgent
from archgym.agents.random import RandomAgent
from archgym.errors import InvalidArgumentError
from archgym.spaces.parameter import Integer
from archgym.spaces.space import DesignSpace
from archgym.testing import proving_tasks
from tests.agents.recorder import search
from tests.agents.telling import asked
from tests.toys import toy_task

MIXED, MAPPING, TINY = proving_tasks()


def test_new_designs_that_keep_the_constraints_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = search(ExtraTreesAgent, MIXED, 30, batch_size=6)

    assert {len(ask) for ask in found.asks} == {6, 4}
    assert found.n_repeated == 0
    assert MIXED.space.feasible(found.designs).all()


@pytest.mark.nightly
@pytest.mark.parametrize("task", [MIXED, MAPPING], ids=["mixed", "mapping"])
def test_clearly_better_than_random_search(task: Any) -> None:
    trees = [max(search(ExtraTreesAgent, task, 60, seed).rewards) for seed in range(3)]
    random = [max(search(RandomAgent, task, 60, seed).rewards) for seed in range(3)]

    assert np.mean(trees) > np.mean(random)


@pytest.mark.slow
def test_plateau_is_left_for_what_the_trees_think_bad() -> None:
    space = DesignSpace("flat", [Integer(name=name, low=1, high=8) for name in "abcd"])

    def worth(designs: np.ndarray) -> np.ndarray:
        # Three in eight designs are alike, most others worse, and one in 16 is better.
        is_better = (designs[:, :2] >= 7).all(axis=1)
        return np.where(designs[:, 0] < 4, 0.0, np.where(is_better, 1.0, -1.0))

    found = [
        asked(ExtraTreesAgent(space, seed=seed, trees=10, pool=100), worth, 150)[1]
        for seed in range(5)
    ]

    # Without random designs, only a search that starts with a better one finds any: one of these.
    assert sum(rewards.max() == 1.0 for rewards in found) >= 4


def test_search_ends_when_the_space_is_known() -> None:
    assert len(search(ExtraTreesAgent, TINY, 100, startup=2).rewards) == 6


@pytest.mark.slow
def test_small_space_is_searched_to_its_last_design() -> None:
    found = search(ExtraTreesAgent, MAPPING, 10_000, trees=10, pool=100, batch_size=8)

    assert len(found.rewards) == MAPPING.space.count().value


def test_space_without_a_choice_is_one_design() -> None:
    agent = ExtraTreesAgent(DesignSpace("one", [Integer(name="a", low=3, high=3)]), seed=0)

    assert agent.ask().tolist() == [[0]]
    assert agent.ask().shape == (0, 1)


@pytest.mark.parametrize("name", ["startup", "trees", "pool", "batch_size"])
def test_hyperparameter_that_cannot_be_is_refused(name: str) -> None:
    wrong: dict[str, Any] = {name: 0}

    with pytest.raises(InvalidArgumentError, match=f"`{name}`"):
        ExtraTreesAgent(toy_task().space, seed=0, **wrong)
