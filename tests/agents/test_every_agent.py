"""What every agent does that keeps the designs it has asked for."""

from typing import Any

import numpy as np
import pytest

from archgym.agent.agent import agent_class
from archgym.spaces.parameter import Integer
from archgym.spaces.space import DesignSpace
from archgym.testing import proving_tasks
from tests.agents.recorder import search

MIXED, MAPPING, TINY = proving_tasks()

# Evaluations and seeds by agent, as many as show that it is ahead of random search.
SEARCHES: dict[str, tuple[int, int]] = {
    "ant_colony": (150, 8),
    "genetic": (150, 8),
    "hill_climbing": (150, 8),
    "simulated_annealing": (150, 8),
    "bayesian": (80, 5),
    "extra_trees": (60, 3),
}
SLOW = ("bayesian", "extra_trees")
# Agents that end by themselves, with hyperparameters that let them be quick.
ENDING: dict[str, dict[str, Any]] = {
    "ant_colony": {},
    "genetic": {"population": 8},
    "grid": {},
    "hill_climbing": {},
    "nsga2": {"population": 8},
    "quasi_random": {},
    "random": {},
    "simulated_annealing": {},
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.nightly] * (n in SLOW)) for n in SEARCHES]
)
@pytest.mark.parametrize("task", [MIXED, MAPPING], ids=["mixed", "mapping"])
def test_agent_is_clearly_better_than_random_search(name: str, task: Any) -> None:
    budget, seeds = SEARCHES[name]
    best, random = (
        [max(search(agent_class(each), task, budget, seed).rewards) for seed in range(seeds)]
        for each in (name, "random")
    )

    assert np.mean(best) > np.mean(random)


@pytest.mark.parametrize("name", ["ant_colony", "genetic", "hill_climbing", "nsga2",
                                  "simulated_annealing", "bayesian"])  # fmt: skip
def test_no_design_is_asked_for_twice_and_no_constraint_broken(name: str) -> None:
    found = search(agent_class(name), MIXED, 80 if name == "bayesian" else 300)

    assert found.n_repeated == 0
    assert MIXED.space.feasible(found.designs).all()
    assert MIXED.space.is_canonical(found.designs).all()


@pytest.mark.parametrize("name", ENDING)
def test_small_space_is_searched_to_its_last_design(name: str) -> None:
    assert len(search(agent_class(name), TINY, 100, **ENDING[name]).rewards) == 6
    found = search(agent_class(name), MAPPING, 10_000, **ENDING[name])
    assert len(found.rewards) == MAPPING.space.count().value


@pytest.mark.parametrize("name", ["bayesian", "extra_trees", "multi_objective_bayesian"])
def test_agent_with_a_model_ends_when_the_space_is_known(name: str) -> None:
    assert len(search(agent_class(name), TINY, 100, startup=2).rewards) == 6


@pytest.mark.parametrize("name", ["bayesian", "extra_trees", "quasi_random"])
def test_space_without_a_choice_is_one_design(name: str) -> None:
    space = DesignSpace("one", [Integer(name="a", low=3, high=3)])
    agent: Any = agent_class(name)
    made = agent(space, seed=0)

    assert made.ask().tolist() == [[0]]
    assert made.ask().shape == (0, 1)
