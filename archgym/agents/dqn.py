"""Deep Q-learning, by Stable-Baselines3."""

from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from archgym.agent import Agent, Evaluate
from archgym.learning import sb3_hyperparameters as shared
from archgym.learning.sb3 import Sb3Learner, hidden_layers, remade
from archgym.parameter import Ordinal, Parameter, PowerOfTwo
from archgym.policy import Policy
from archgym.space import DesignSpace
from archgym.task import Task

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv

__all__ = ["DqnAgent"]


@final
class DqnAgent(Agent):
    """Learns what each value of the next choice is worth, and takes the best but for a random few.

    It makes designs one choice at a time only: the algorithm knows no actions of several parts. At
    first all choices are random, then fewer and fewer. A drawn design of its policy has as many
    random choices as the search had in the end.

    Source:
      Mnih et al., *Human-Level Control through Deep Reinforcement Learning*, Nature 518, 2015.
    """

    name = "dqn"
    library = "stable-baselines3"
    batch = "batch"
    hyperparameters: ClassVar[tuple[Parameter, ...]] = (
        shared.n_envs(8),
        shared.start(64),
        PowerOfTwo(
            name="exploration",
            low=64,
            high=2**14,
            default=512,
            doc="Designs over which the share of random choices falls from all to the last one.",
        ),
        Ordinal(
            name="last_exploration",
            levels=(0.0, 0.01, 0.02, 0.05, 0.1, 0.2),
            default=0.05,
            doc="Share of random choices from then on.",
        ),
        shared.memory(8192),
        shared.batch_size(128),
        shared.updates(2),
        shared.tau(0.05),
        shared.learning_rate(1e-3),
        shared.discount(1.0),
        shared.floor(-2.0),
        shared.width(64),
        shared.layers(2),
    )

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        n_envs: int = 8,
        start: int = 64,
        exploration: int = 512,
        last_exploration: float = 0.05,
        memory: int = 8192,
        batch_size: int = 128,
        updates: int = 2,
        tau: float = 0.05,
        learning_rate: float = 1e-3,
        gamma: float = 1.0,
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
            type(self),
            self._values,
            self._make,
            seed=seed,
            formulation="sequential",
            actor="q_net.",
        )

    def search(self, evaluate: Evaluate, task: Task) -> None:
        self._learner.search(evaluate, task)

    def policy(self) -> Policy | None:
        return self._learner.policy()

    @classmethod
    def propose(cls, policy: Policy, task: Task, n: int, seed: int) -> np.ndarray:
        agent: DqnAgent = remade(cls, policy, task.space)
        return agent._learner.propose(policy, task, n, seed)

    def _make(self, env: "VecEnv", n_steps: int) -> "BaseAlgorithm":
        from stable_baselines3 import DQN

        from archgym.learning.sb3_training import NO_END

        values = self._values
        algorithm = DQN(
            "MlpPolicy",
            env,
            learning_rate=values["learning_rate"],
            buffer_size=max(values["memory"], env.num_envs) * n_steps,
            learning_starts=values["start"] * n_steps,
            batch_size=values["batch_size"],
            tau=values["tau"],
            # The target network follows after each step of all episodes.
            target_update_interval=env.num_envs,
            gamma=values["gamma"],
            train_freq=n_steps,
            gradient_steps=values["updates"] * env.num_envs,
            exploration_fraction=values["exploration"] * n_steps / NO_END,
            exploration_final_eps=values["last_exploration"],
            policy_kwargs={"net_arch": hidden_layers(values)},
            device="cpu",
        )
        # What it draws by before it has taken a step.
        algorithm.exploration_rate = values["last_exploration"]
        return algorithm
