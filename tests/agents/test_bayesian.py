"""Tests of Bayesian optimisation."""

import logging
import warnings
from typing import Any

import pytest

from archgym.agents.bayesian import BayesianAgent
from archgym.errors import InvalidArgumentError
from archgym.testing import proving_tasks
from tests.agents.recorder import search
from tests.toys import toy_task

MIXED, MAPPING, TINY = proving_tasks()


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
