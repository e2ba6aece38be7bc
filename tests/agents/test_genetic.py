"""Tests of the genetic algorithm."""

from typing import Any

import numpy as np
import pytest

from archgym.agents.genetic import GeneticAgent
from archgym.errors import InvalidArgumentError
from archgym.testing import proving_tasks
from tests.agents.recorder import search
from tests.toys import toy_task

MIXED, MAPPING, TINY = proving_tasks()


def test_start_is_random_and_as_large_as_the_population() -> None:
    one = search(GeneticAgent, MIXED, 20, population=20, mutation=0.5).designs[:20]
    other = search(GeneticAgent, MIXED, 20, population=20, mutation=5.0).designs[:20]

    assert np.array_equal(one, other)


def test_optimum_of_the_toy_is_found() -> None:
    task = toy_task()
    best = max(task.evaluate(rows).reward.max() for rows in task.space.enumerate(canonical=True))

    found = [max(search(GeneticAgent, task, 400, seed).rewards) for seed in range(5)]

    assert found == [best] * 5


@pytest.mark.parametrize(
    "hyperparameter",
    [
        {"population": 1},
        {"batch_size": 0},
        {"tournament": 0},
        {"crossover": 1.1},
        {"crossover": float("nan")},
        {"mutation": 0},
        {"step": 0},
        {"step": "far"},
    ],
    ids=str,
)
def test_hyperparameter_that_cannot_be_is_refused(hyperparameter: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=f"`{next(iter(hyperparameter))}`"):
        GeneticAgent(toy_task().space, seed=0, **hyperparameter)
