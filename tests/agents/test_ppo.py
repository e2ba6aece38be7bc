"""Tests of proximal policy optimisation."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")

from archgym.agent.agent import make_agent
from archgym.agents._sb3.training import make_episodes, no_results
from archgym.agents.ppo import PpoAgent
from archgym.testing import proving_tasks
from tests.agents.recorder import search

MIXED, MAPPING, TINY = proving_tasks()


@pytest.mark.parametrize(
    ("formulation", "given", "steps", "part"),
    [
        ("whole", {"n_envs": 16, "rollout": 64, "minibatches": 4}, 4, 16),
        ("sequential", {"n_envs": 16, "rollout": 64, "minibatches": 4}, 28, 112),
        ("whole", {"n_envs": 64, "rollout": 8, "minibatches": 1}, 1, 64),
        ("whole", {"n_envs": 5, "rollout": 12, "minibatches": 4}, 3, 5),
    ],
)
def test_rollout_counts_designs_in_both_formulations(
    formulation: str, given: dict[str, Any], steps: int, part: int
) -> None:
    # Designs of the mixed space are seven choices.
    agent: Any = make_agent(PpoAgent, MIXED.space, 0, {**given, "formulation": formulation})
    env = make_episodes(MIXED, given["n_envs"], formulation, -2.0, no_results(MIXED), 0)

    algorithm = agent._make(env, env.longest_episode)

    assert (algorithm.n_steps, algorithm.batch_size) == (steps, part)


def test_first_designs_are_even_draws() -> None:
    designs = search(PpoAgent, MIXED, 512, n_envs=1024, rollout=1024).designs

    for column, size in zip(designs.T, MIXED.space.sizes, strict=True):
        share = np.bincount(column, minlength=int(size)) / len(designs) * size
        assert np.abs(share - 1.0).max() < 4.5 * np.sqrt(size / len(designs)) + 0.1
