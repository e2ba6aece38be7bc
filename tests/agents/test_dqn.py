"""Tests of deep Q-learning."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")

from archgym.agent.agent import make_agent
from archgym.agents.dqn import DqnAgent
from archgym.errors import BudgetExhausted
from archgym.testing import proving_tasks
from tests.agents.recorder import Recorder

MIXED, MAPPING, TINY = proving_tasks()
SMALL = {"n_envs": 4, "start": 8, "batch_size": 16, "width": 8}


def searched(budget: int, **hyperparameters: Any) -> Any:
    agent = make_agent(DqnAgent, MAPPING.space, 0, {**SMALL, **hyperparameters})
    with pytest.raises(BudgetExhausted):
        agent.search(Recorder(MAPPING, budget), MAPPING)
    return agent


def test_it_makes_one_choice_at_a_time_only() -> None:
    policy = searched(10).policy()

    assert policy.description["formulation"] == "sequential"
    assert "formulation" not in policy.hyperparameters


@pytest.mark.parametrize(
    ("asked", "exploration", "last", "share"),
    [(40, 80, 0.0, 0.5), (40, 160, 0.2, 0.8), (40, 20, 0.1, 0.1)],
)
def test_share_of_random_choices_falls_over_so_many_designs(
    asked: int, exploration: int, last: float, share: float
) -> None:
    agent = make_agent(
        DqnAgent,
        MAPPING.space,
        0,
        {**SMALL, "exploration": exploration, "last_exploration": last},
    )
    seen = 0

    def evaluate(indices: np.ndarray) -> Any:
        nonlocal seen
        seen += len(indices)
        if seen > asked:
            raise BudgetExhausted("done")
        return Recorder(MAPPING, 10**9)(indices)

    with pytest.raises(BudgetExhausted):
        agent.search(evaluate, MAPPING)

    # The last choice of the ask that ended it has not been counted.
    rate = agent._algorithm.exploration_rate  # type: ignore[attr-defined]
    assert rate == pytest.approx(share, abs=5 / exploration)


def test_policy_without_random_choices_draws_one_design() -> None:
    policy = searched(20, last_exploration=0.0).policy()

    designs = DqnAgent.propose(policy, MAPPING, 10, 0)

    assert len(np.unique(designs, axis=0)) == 1


def test_target_network_is_not_part_of_a_policy() -> None:
    names = set(searched(10).policy().weights)

    assert names == {f"q_net.q_net.{n}.{what}" for n in (0, 2, 4) for what in ("weight", "bias")}
