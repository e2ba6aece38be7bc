"""Soft actor-critic, by Stable-Baselines3."""

from typing import TYPE_CHECKING, Annotated, final

import numpy as np

from archgym.agent.hyperparameters import Within
from archgym.agents import _hyperparameters as shared
from archgym.agents._sb3.learner import Sb3Agent, replay_arguments
from archgym.spaces.parameter import Ordinal
from archgym.spaces.space import DesignSpace

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv
    from stable_baselines3.sac.policies import Actor

# chosen: a normal number of this deviation, squashed by tanh, is even over the interval to within
# 13 % for each of up to 16 options, which of all deviations is the best.
_EVEN_DEVIATION = 0.845


@final
class SacAgent(Sb3Agent):
    """Soft actor-critic: off-policy learning with an entropy bonus.

    An action is a number from -1 to 1 for each choice, of which every option has an equal part, so
    that no design is out of reach or harder to reach than another. How undecided the policy stays
    is set by its entropy, whose weight is learned.

    Source:
      Haarnoja et al., *Soft Actor-Critic Algorithms and Applications*, arXiv:1812.05905, 2018.
    """

    name = "sac"
    library = "stable-baselines3"
    _actions = "box"
    _actor = "actor."

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        formulation: shared.Formulation = "whole",
        n_envs: shared.NEnvs = 8,
        start: shared.Start = 64,
        memory: shared.Memory = 8192,
        batch_size: shared.BatchSize = 128,
        updates: shared.Updates = 1,
        tau: shared.Tau = 0.01,
        learning_rate: shared.LearningRate = 1e-3,
        gamma: shared.Discount = 1.0,
        target_entropy: Annotated[
            float,
            Ordinal(
                name="target_entropy",
                levels=(-3.0, -2.0, -1.5, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5),
                doc="Entropy of each number of an action that is aimed at, in nats; 0.69 is "
                "uniform, and -1 as much as even over a fifth of the interval.",
            ),
            Within(-20.0, 0.69),
        ] = -1.0,
        first_entropy: Annotated[
            float,
            Ordinal(
                name="first_entropy",
                levels=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
                doc="Weight of the entropy at the start.",
            ),
            Within(1e-9, 1e6),
        ] = 0.1,
        floor: shared.Floor = -2.0,
        width: shared.Width = 64,
        layers: shared.Layers = 2,
    ) -> None:
        """Check the hyperparameters, whose annotations explain them."""
        self._set_up(locals())

    def _make(self, env: "VecEnv", n_steps: int) -> "BaseAlgorithm":
        from stable_baselines3 import SAC

        values = self._values
        shape = env.action_space.shape
        assert shape is not None
        algorithm = SAC(
            "MlpPolicy",
            env,
            ent_coef=f"auto_{values['first_entropy']}",
            target_entropy=values["target_entropy"] * shape[0],
            **replay_arguments(values, env, n_steps),
        )
        _make_even(algorithm.actor)
        return algorithm


def _make_even(actor: "Actor") -> None:
    """Let a new policy reach every option as easily, whatever it sees.

    As the library makes it, an option may be twice as likely as its share.
    """
    import torch

    for layer, bias in ((actor.mu, 0.0), (actor.log_std, float(np.log(_EVEN_DEVIATION)))):
        assert isinstance(layer, torch.nn.Linear)
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.constant_(layer.bias, bias)
