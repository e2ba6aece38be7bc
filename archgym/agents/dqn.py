"""Deep Q-learning, by Stable-Baselines3."""

from typing import TYPE_CHECKING, Annotated, final

from archgym.agent.hyperparameters import Within
from archgym.agents import _hyperparameters as shared
from archgym.agents._sb3.learner import Sb3Agent, replay_arguments
from archgym.spaces.parameter import Ordinal, PowerOfTwo
from archgym.spaces.space import DesignSpace

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv


@final
class DqnAgent(Sb3Agent):
    """Deep Q-network: learned values of the next choice, with random exploration.

    It makes designs one choice at a time only: the algorithm knows no actions of several parts. At
    first all choices are random, then fewer and fewer. A drawn design of its policy has as many
    random choices as the search had in the end.

    Source:
      Mnih et al., *Human-Level Control through Deep Reinforcement Learning*, Nature 518, 2015.
    """

    name = "dqn"
    library = "stable-baselines3"
    _actor = "q_net."

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        n_envs: shared.NEnvs = 8,
        start: shared.Start = 64,
        exploration: Annotated[
            int,
            PowerOfTwo(
                name="exploration",
                low=64,
                high=2**14,
                doc="Designs over which the share of random choices falls from all to the last "
                "one.",
            ),
            Within(1, 2**30),
        ] = 512,
        last_exploration: Annotated[
            float,
            Ordinal(
                name="last_exploration",
                levels=(0.0, 0.01, 0.02, 0.05, 0.1, 0.2),
                doc="Share of random choices from then on.",
            ),
            Within(0.0, 1.0),
        ] = 0.05,
        memory: shared.Memory = 8192,
        batch_size: shared.BatchSize = 128,
        updates: shared.Updates = 2,
        tau: shared.Tau = 0.05,
        learning_rate: shared.LearningRate = 1e-3,
        gamma: shared.Discount = 1.0,
        floor: shared.Floor = -2.0,
        width: shared.Width = 64,
        layers: shared.Layers = 2,
    ) -> None:
        """Check the hyperparameters, whose annotations explain them."""
        self._set_up(locals())

    def _make(self, env: "VecEnv", n_steps: int) -> "BaseAlgorithm":
        from stable_baselines3 import DQN

        from archgym.agents._sb3.training import NO_END

        values = self._values
        algorithm = DQN(
            "MlpPolicy",
            env,
            # The target network follows after each step of all episodes.
            target_update_interval=env.num_envs,
            exploration_fraction=values["exploration"] * n_steps / NO_END,
            exploration_final_eps=values["last_exploration"],
            **replay_arguments(values, env, n_steps),
        )
        # What it draws by before it has taken a step.
        algorithm.exploration_rate = values["last_exploration"]
        return algorithm
