"""Tests of advantage actor-critic."""

from typing import Any

import pytest

pytest.importorskip("stable_baselines3")

from archgym.agent.agent import make_agent
from archgym.agents.a2c import A2cAgent
from archgym.errors import BudgetExhausted
from archgym.testing import proving_tasks
from tests.agents.recorder import Recorder

MIXED, MAPPING, TINY = proving_tasks()


@pytest.mark.parametrize(("formulation", "steps"), [("whole", 2), ("sequential", 14)])
def test_it_learns_once_from_so_many_designs(formulation: str, steps: int) -> None:
    hyperparameters = {"n_envs": 4, "rollout": 8, "formulation": formulation}
    agent: Any = make_agent(A2cAgent, MIXED.space, 0, hyperparameters)
    recorder = Recorder(MIXED, 60)
    with pytest.raises(BudgetExhausted):
        agent.search(recorder, MIXED)
    algorithm = agent._algorithm

    # Designs of the mixed space are up to seven choices; 4 x 7 x 2 steps are one update's.
    assert algorithm.n_steps == steps
    assert algorithm._n_updates == algorithm.num_timesteps // (4 * steps)
    assert algorithm._n_updates >= 60 // 8 - 1
