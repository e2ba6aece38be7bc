"""Advantage actor-critic, by Stable-Baselines3."""

from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from archgym.agent import Agent, Evaluate
from archgym.learning import sb3_hyperparameters as shared
from archgym.learning.sb3 import Sb3Learner, hidden_layers, remade
from archgym.parameter import Parameter
from archgym.policy import Policy
from archgym.space import DesignSpace
from archgym.task import Task

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv

__all__ = ["A2cAgent"]


@final
class A2cAgent(Agent):
    """Moves the odds of each choice towards designs that did better, after each few designs.

    It learns once from each design and forgets it, which makes it quick. Policies are as those of
    `ppo`.

    Source:
      Mnih et al., *Asynchronous Methods for Deep Reinforcement Learning*, ICML 2016.
    """

    name = "a2c"
    library = "stable-baselines3"
    batch = "batch"
    hyperparameters: ClassVar[tuple[Parameter, ...]] = (
        shared.formulation("whole"),
        shared.n_envs(16),
        shared.rollout(16),
        shared.learning_rate(1e-3),
        shared.discount(1.0),
        shared.trace_decay(0.95),
        shared.entropy(0.1),
        shared.floor(-2.0),
        shared.width(64),
        shared.layers(2),
    )

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        formulation: str = "whole",
        n_envs: int = 16,
        rollout: int = 16,
        learning_rate: float = 1e-3,
        gamma: float = 1.0,
        gae_lambda: float = 0.95,
        entropy: float = 0.1,
        floor: float = -2.0,
        width: int = 64,
        layers: int = 2,
    ) -> None:
        """Checks the hyperparameters, which `hyperparameters` explains.

        Args:
          space: Where to search.
          seed: What decides.
        """
        # `locals()` is what was given, by name.
        self._values = shared.check_values(self.hyperparameters, locals())
        self._learner = Sb3Learner(
            type(self), self._values, self._make, seed=seed, formulation=formulation
        )

    def search(self, evaluate: Evaluate, task: Task) -> None:
        self._learner.search(evaluate, task)

    def policy(self) -> Policy | None:
        return self._learner.policy()

    @classmethod
    def propose(cls, policy: Policy, task: Task, n: int, seed: int) -> np.ndarray:
        agent: A2cAgent = remade(cls, policy, task.space)
        return agent._learner.propose(policy, task, n, seed)

    def _make(self, env: "VecEnv", n_steps: int) -> "BaseAlgorithm":
        from stable_baselines3 import A2C

        values = self._values
        n_steps *= -(-values["rollout"] // env.num_envs)
        return A2C(
            "MlpPolicy",
            env,
            learning_rate=values["learning_rate"],
            n_steps=n_steps,
            gamma=values["gamma"],
            gae_lambda=values["gae_lambda"],
            ent_coef=values["entropy"],
            # Rewards are small logarithms, and an infeasible design's is not.
            normalize_advantage=True,
            policy_kwargs={"net_arch": hidden_layers(values)},
            device="cpu",
        )
