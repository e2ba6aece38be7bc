"""Advantage actor-critic, by Stable-Baselines3."""

from typing import TYPE_CHECKING, final

from archgym.agents import _hyperparameters as shared
from archgym.agents._sb3.learner import Sb3Agent, network_arguments
from archgym.spaces.space import DesignSpace

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv


@final
class A2cAgent(Sb3Agent):
    """Advantage actor-critic: a policy gradient step after every few designs.

    It learns once from each design and forgets it, which makes it quick. Policies are as those of
    `ppo`.

    Source:
      Mnih et al., *Asynchronous Methods for Deep Reinforcement Learning*, ICML 2016.
    """

    name = "a2c"
    library = "stable-baselines3"

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        formulation: shared.Formulation = "whole",
        n_envs: shared.NEnvs = 16,
        rollout: shared.Rollout = 16,
        learning_rate: shared.LearningRate = 1e-3,
        gamma: shared.Discount = 1.0,
        gae_lambda: shared.TraceDecay = 0.95,
        entropy: shared.Entropy = 0.1,
        floor: shared.Floor = -2.0,
        width: shared.Width = 64,
        layers: shared.Layers = 2,
    ) -> None:
        """Check the hyperparameters, whose annotations explain them."""
        self._set_up(locals())

    def _make(self, env: "VecEnv", n_steps: int) -> "BaseAlgorithm":
        from stable_baselines3 import A2C

        values = self._values
        n_steps *= -(-values["rollout"] // env.num_envs)
        return A2C(
            "MlpPolicy",
            env,
            n_steps=n_steps,
            gae_lambda=values["gae_lambda"],
            ent_coef=values["entropy"],
            # Rewards are small logarithms, and an infeasible design's is not.
            normalize_advantage=True,
            **network_arguments(values),
        )
