"""Tests of proximal policy optimisation with a memory."""

import pytest

pytest.importorskip("sb3_contrib")

from archgym.agent.agent import make_agent
from archgym.agents.recurrent_ppo import RecurrentPpoAgent
from archgym.errors import BudgetExhausted
from archgym.testing import proving_tasks
from tests.agents.recorder import Recorder

MIXED, MAPPING, TINY = proving_tasks()


def test_policy_has_as_many_cells_as_asked_for() -> None:
    agent = make_agent(RecurrentPpoAgent, TINY.space, 0, {"cells": 16, "n_envs": 2, "width": 8})
    with pytest.raises(BudgetExhausted):
        agent.search(Recorder(TINY, 2), TINY)
    policy = agent.policy()

    assert policy is not None
    # Four gates a cell.
    assert policy.weights["lstm_actor.weight_hh_l0"].shape == (4 * 16, 16)
