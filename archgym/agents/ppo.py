"""Proximal policy optimisation, by Stable-Baselines3."""

from typing import TYPE_CHECKING, final

from archgym.agents import _hyperparameters as shared
from archgym.agents._sb3.learner import Sb3Agent, ppo_arguments
from archgym.spaces.space import DesignSpace

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv


@final
class PpoAgent(Sb3Agent):
    """Proximal policy optimisation: policy gradient steps of bounded size.

    With whole designs a policy is one distribution for each choice, independent of the others, and
    learns from rewards as a bandit does. One choice at a time it sees what was chosen before. Asks
    for designs again once it is sure of them.

    Source:
      Schulman et al., *Proximal Policy Optimization Algorithms*, arXiv:1707.06347, 2017.
    """

    name = "ppo"
    library = "stable-baselines3"

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        formulation: shared.Formulation = "whole",
        n_envs: shared.NEnvs = 16,
        rollout: shared.Rollout = 32,
        minibatches: shared.Minibatches = 4,
        epochs: shared.Epochs = 10,
        learning_rate: shared.LearningRate = 1e-3,
        gamma: shared.Discount = 1.0,
        gae_lambda: shared.TraceDecay = 0.95,
        entropy: shared.Entropy = 0.03,
        clip: shared.Clip = 0.2,
        floor: shared.Floor = -2.0,
        width: shared.Width = 64,
        layers: shared.Layers = 2,
    ) -> None:
        """Check the hyperparameters, whose annotations explain them."""
        self._set_up(locals())

    def _make(self, env: "VecEnv", n_steps: int) -> "BaseAlgorithm":
        from stable_baselines3 import PPO

        return PPO("MlpPolicy", env, **ppo_arguments(self._values, env, n_steps))
