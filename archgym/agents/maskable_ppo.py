"""Proximal policy optimisation that never chooses what cannot be completed, by sb3-contrib."""

from typing import TYPE_CHECKING, final

from archgym.agents import _hyperparameters as shared
from archgym.agents._sb3.learner import Sb3Agent, ppo_arguments
from archgym.spaces.space import DesignSpace

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv


@final
class MaskablePpoAgent(Sb3Agent):
    """PPO that gives zero probability to values without a feasible completion.

    One choice at a time that leaves feasible designs only, as far as the space's constraints tell;
    of whole designs each choice is judged alone. What only the simulator knows to be infeasible is
    learned, as `ppo` learns all of it.

    Source:
      Huang and Ontañón, *A Closer Look at Invalid Action Masking in Policy Gradient Algorithms*,
      FLAIRS 2022.
    """

    name = "maskable_ppo"
    library = "sb3-contrib"
    _has_masks = True

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        formulation: shared.Formulation = "sequential",
        n_envs: shared.NEnvs = 16,
        rollout: shared.Rollout = 64,
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
        from sb3_contrib import MaskablePPO

        return MaskablePPO("MlpPolicy", env, **ppo_arguments(self._values, env, n_steps))
