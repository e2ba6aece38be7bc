"""Proximal policy optimisation, by Stable-Baselines3."""

from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from archgym.agent import Agent, Evaluate
from archgym.learning import sb3_hyperparameters as shared
from archgym.learning.sb3 import Sb3Learner, even_parts, hidden_layers, remade
from archgym.parameter import Parameter
from archgym.policy import Policy
from archgym.space import DesignSpace
from archgym.task import Task

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv

__all__ = ["PpoAgent"]


@final
class PpoAgent(Agent):
    """Moves the odds of each choice towards designs that did better, a bounded way at a time.

    With whole designs a policy is one distribution for each choice, independent of the others, and
    learns from rewards as a bandit does. One choice at a time it sees what was chosen before. Asks
    for designs again once it is sure of them.

    Source:
      Schulman et al., *Proximal Policy Optimization Algorithms*, arXiv:1707.06347, 2017.
    """

    name = "ppo"
    library = "stable-baselines3"
    batch = "batch"
    hyperparameters: ClassVar[tuple[Parameter, ...]] = (
        shared.formulation("whole"),
        shared.n_envs(16),
        shared.rollout(32),
        shared.minibatches(4),
        shared.epochs(10),
        shared.learning_rate(1e-3),
        shared.discount(1.0),
        shared.trace_decay(0.95),
        shared.entropy(0.03),
        shared.clip(0.2),
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
        rollout: int = 32,
        minibatches: int = 4,
        epochs: int = 10,
        learning_rate: float = 1e-3,
        gamma: float = 1.0,
        gae_lambda: float = 0.95,
        entropy: float = 0.03,
        clip: float = 0.2,
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
        agent: PpoAgent = remade(cls, policy, task.space)
        return agent._learner.propose(policy, task, n, seed)

    def _make(self, env: "VecEnv", n_steps: int) -> "BaseAlgorithm":
        from stable_baselines3 import PPO

        values = self._values
        n_steps *= -(-values["rollout"] // env.num_envs)
        return PPO(
            "MlpPolicy",
            env,
            learning_rate=values["learning_rate"],
            n_steps=n_steps,
            batch_size=even_parts(n_steps * env.num_envs, values["minibatches"]),
            n_epochs=values["epochs"],
            gamma=values["gamma"],
            gae_lambda=values["gae_lambda"],
            clip_range=values["clip"],
            ent_coef=values["entropy"],
            policy_kwargs={"net_arch": hidden_layers(values)},
            device="cpu",
        )
