"""Tests of the genetic algorithm that breeds on a proxy."""

import warnings
from typing import Any

import numpy as np
import pytest

from archgym.agents.random import RandomAgent
from archgym.agents.surrogate_genetic import SurrogateGeneticAgent
from archgym.errors import InvalidArgumentError
from archgym.spaces.parameter import Integer
from archgym.spaces.space import DesignSpace
from archgym.testing import proving_tasks
from tests.agents.recorder import search
from tests.toys import toy_task

MIXED, MAPPING, TINY = proving_tasks()
MODELS = ("extra-trees", "gradient-boosting")


@pytest.mark.parametrize("model", MODELS)
def test_new_designs_that_keep_the_constraints_without_a_warning(model: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = search(SurrogateGeneticAgent, MIXED, 40, batch_size=6, model=model)

    assert {len(ask) for ask in found.asks} == {6, 4}
    assert found.n_repeated == 0
    assert MIXED.space.feasible(found.designs).all()


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("task", [MIXED, MAPPING], ids=["mixed", "mapping"])
def test_clearly_better_than_random_search(task: Any, model: str) -> None:
    mine = [
        max(search(SurrogateGeneticAgent, task, 60, seed, model=model).rewards) for seed in range(3)
    ]
    random = [max(search(RandomAgent, task, 60, seed).rewards) for seed in range(3)]

    assert np.mean(mine) > np.mean(random)


def test_models_lead_to_other_designs() -> None:
    one, other = (search(SurrogateGeneticAgent, MIXED, 40, model=model).designs for model in MODELS)

    assert np.array_equal(one[:16], other[:16])
    assert not np.array_equal(one, other)


def test_all_random_picks_are_a_random_search() -> None:
    found = search(SurrogateGeneticAgent, MIXED, 40, random_share=1.0)

    assert found.n_repeated == 0
    # Of random designs, about as many have either value; breeding would favour one.
    assert 0.2 < (found.designs[:, 0] >= 2).mean() < 0.9


def test_search_ends_when_the_space_is_known() -> None:
    assert len(search(SurrogateGeneticAgent, TINY, 100, startup=2).rewards) == 6


@pytest.mark.slow
def test_small_space_is_searched_to_its_last_design() -> None:
    found = search(SurrogateGeneticAgent, MAPPING, 10_000, inner_designs=50, batch_size=16)

    assert len(found.rewards) == MAPPING.space.count().value


def test_space_without_a_choice_is_one_design() -> None:
    agent = SurrogateGeneticAgent(DesignSpace("one", [Integer(name="a", low=3, high=3)]), seed=0)

    assert agent.ask().tolist() == [[0]]
    assert agent.ask().shape == (0, 1)


@pytest.mark.parametrize(
    "hyperparameter",
    [
        {"model": "neural"},
        {"startup": 1},
        {"inner_designs": 0},
        {"batch_size": 0},
        {"random_share": 1.1},
    ],
    ids=str,
)
def test_hyperparameter_that_cannot_be_is_refused(hyperparameter: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=f"`{next(iter(hyperparameter))}`"):
        SurrogateGeneticAgent(toy_task().space, seed=0, **hyperparameter)
