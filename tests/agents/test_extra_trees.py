"""Tests of Bayesian optimisation with randomised trees."""

import warnings
from typing import Any

import numpy as np
import pytest

from archgym.agents.extra_trees import ExtraTreesAgent
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


@pytest.mark.parametrize("name", ["startup", "trees", "pool", "batch_size"])
def test_hyperparameter_that_cannot_be_is_refused(name: str) -> None:
    wrong: dict[str, Any] = {name: 0}

    with pytest.raises(InvalidArgumentError, match=f"`{name}`"):
        ExtraTreesAgent(toy_task().space, seed=0, **wrong)
