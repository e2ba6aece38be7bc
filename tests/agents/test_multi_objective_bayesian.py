"""Tests of Bayesian optimisation of all terms at once."""

from typing import Any

import numpy as np
import pytest

from archgym.agents.bayesian import BayesianAgent
from archgym.agents.multi_objective_bayesian import MultiObjectiveBayesianAgent
from archgym.agents.random import RandomAgent
from archgym.errors import InvalidArgumentError
from archgym.spaces.space import DesignSpace
from archgym.tasks.task import Task
from archgym.testing import proving_tasks
from tests.agents.recorder import search
from tests.toys import toy_task

MIXED, MAPPING, TINY = proving_tasks()


def covered(task: Task, designs: np.ndarray) -> float:
    """Share of the box round all designs' terms that these designs' terms dominate."""
    every = np.concatenate(list(task.space.enumerate(canonical=True)))
    terms = terms_of(task, every)
    low, high = terms.min(axis=0), terms.max(axis=0)
    draws = np.random.default_rng(0).uniform(low, high, size=(2000, len(low)))
    mine = terms_of(task, designs)
    covered = np.asarray((draws[:, None] <= mine[None]).all(axis=2))
    return float(covered.any(axis=1).mean())


def terms_of(task: Task, designs: np.ndarray) -> np.ndarray:
    trials = task.trials(designs, task.evaluate(designs), np.zeros(len(designs), dtype=bool))
    return np.asarray(trials.terms[trials.feasible])


def test_no_design_is_asked_for_twice_and_none_breaks_a_constraint() -> None:
    found = search(MultiObjectiveBayesianAgent, MIXED, 60, batch_size=4)

    assert found.n_repeated == 0
    assert MIXED.space.feasible(found.designs).all()


@pytest.mark.slow
def test_wider_front_than_of_random_search() -> None:
    task = toy_task()

    def mean(kind: Any) -> float:
        return float(np.mean([covered(task, search(kind, task, 60, s).designs) for s in range(5)]))

    assert mean(MultiObjectiveBayesianAgent) > mean(RandomAgent)


def test_one_term_is_searched_as_bayesian_does() -> None:
    one = search(MultiObjectiveBayesianAgent, MAPPING, 40).designs
    other = search(BayesianAgent, MAPPING, 40).designs

    assert len(MAPPING.objective.terms) == 1
    assert np.array_equal(one, other)


@pytest.mark.parametrize("name", ["startup", "candidates", "batch_size", "model"])
def test_hyperparameter_that_cannot_be_is_refused(name: str) -> None:
    space: DesignSpace = toy_task().space

    with pytest.raises(InvalidArgumentError, match=f"`{name}`"):
        MultiObjectiveBayesianAgent(space, seed=0, **{name: 0})  # type: ignore[arg-type]  # wrong
