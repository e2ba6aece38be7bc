"""Tests of Bayesian optimisation."""

import logging
import warnings
from typing import Any

import numpy as np
import pytest

from archgym.agents.bayesian import BayesianAgent
from archgym.agents.random import RandomAgent
from archgym.errors import InvalidArgumentError
from archgym.spaces.parameter import Integer
from archgym.spaces.space import DesignSpace
from archgym.testing import proving_tasks
from tests.agents.recorder import search
from tests.toys import toy_task

MIXED, MAPPING, TINY = proving_tasks()


def test_no_design_is_asked_for_twice() -> None:
    assert search(BayesianAgent, MIXED, 80).n_repeated == 0


def test_constraints_are_never_broken() -> None:
    assert MIXED.space.feasible(search(BayesianAgent, MIXED, 80).designs).all()


@pytest.mark.nightly
@pytest.mark.parametrize("task", [MIXED, MAPPING], ids=["mixed", "mapping"])
def test_clearly_better_than_random_search(task: Any) -> None:
    bayesian = [max(search(BayesianAgent, task, 80, seed).rewards) for seed in range(5)]
    random = [max(search(RandomAgent, task, 80, seed).rewards) for seed in range(5)]

    assert np.mean(bayesian) > np.mean(random)


def test_search_ends_when_the_space_is_known() -> None:
    assert len(search(BayesianAgent, TINY, 100, startup=2).rewards) == 6


def test_space_without_a_choice_is_one_design() -> None:
    task = toy_task()
    space = DesignSpace("one", [Integer(name="a", low=3, high=3)])

    agent = BayesianAgent(space, seed=0)

    assert agent.ask().tolist() == [[0]]
    assert agent.ask().shape == (0, 1)
    assert task is not None


def test_batch_holds_designs_that_differ() -> None:
    found = search(BayesianAgent, MIXED, 80, batch_size=8)

    assert {len(ask) for ask in found.asks} == {8, 2}
    assert found.n_repeated == 0


def test_model_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"`model` must be .*tpe.*gp"):
        BayesianAgent(MIXED.space, seed=0, model="gp")


def test_optuna_says_nothing_and_its_settings_stay(caplog: pytest.LogCaptureFixture) -> None:
    import optuna

    level = optuna.logging.get_verbosity()
    logging.getLogger("optuna").addHandler(caplog.handler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            search(BayesianAgent, MIXED, 15, batch_size=3)
    finally:
        logging.getLogger("optuna").removeHandler(caplog.handler)

    assert caplog.records == []
    assert optuna.logging.get_verbosity() == level


@pytest.mark.parametrize("name", ["startup", "candidates", "batch_size"])
def test_hyperparameter_that_cannot_be_is_refused(name: str) -> None:
    wrong: dict[str, Any] = {name: 0}

    with pytest.raises(InvalidArgumentError, match=f"`{name}`"):
        BayesianAgent(toy_task().space, seed=0, **wrong)
