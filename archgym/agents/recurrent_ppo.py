"""Proximal policy optimisation with a memory, by sb3-contrib."""

from typing import TYPE_CHECKING, Annotated, final

from archgym.agent.hyperparameters import Within
from archgym.agents import _hyperparameters as shared
from archgym.agents._sb3.learner import Sb3Agent, ppo_arguments
from archgym.spaces.parameter import PowerOfTwo
from archgym.spaces.space import DesignSpace

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv


@final
class RecurrentPpoAgent(Sb3Agent):
    """PPO whose network remembers, in LSTM cells, the choices of its episode.

    Observations show them anyway, so that it has to prove its cost, some times that of `ppo`.

    Source:
      Pleines et al., *Generalization, Mayhems and Limits in Recurrent Proximal Policy
      Optimization*, arXiv:2205.11104, 2022.
    """

    name = "recurrent_ppo"
    library = "sb3-contrib"

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
        layers: shared.Layers = 1,
        cells: Annotated[
            int,
            PowerOfTwo(name="cells", low=8, high=256, doc="Cells that remember."),
            Within(1, 4096),
        ] = 32,
    ) -> None:
        """Check the hyperparameters, whose annotations explain them."""
        self._set_up(locals())

    def _make(self, env: "VecEnv", n_steps: int) -> "BaseAlgorithm":
        from sb3_contrib import RecurrentPPO

        arguments = ppo_arguments(self._values, env, n_steps)
        arguments["policy_kwargs"]["lstm_hidden_size"] = self._values["cells"]
        return RecurrentPPO("MlpLstmPolicy", env, **arguments)
