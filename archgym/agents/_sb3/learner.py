"""Shared base of agents on Stable-Baselines3: an algorithm that learns from a task's episodes."""

import importlib.util
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from archgym.agent.agent import Agent, checked_hyperparameters, make_agent
from archgym.agents._policy_layout import require_layout
from archgym.agents._random_state import RandomState
from archgym.checks import check_whole
from archgym.errors import ArchGymError, InvalidArgumentError, MissingExtraError
from archgym.evaluation.trials import Evaluate
from archgym.files.policy import Policy
from archgym.spaces.space import DesignSpace
from archgym.tasks.task import Task

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv

    from archgym.agents._sb3.training import LearningEnv


class Sb3Agent(Agent):
    """An agent that trains an algorithm of the library on a study's evaluations.

    A constructor calls `_set_up`, and `_make` returns the untrained algorithm. The trained one is
    turned into a policy and back.
    """

    batch = "batch"
    _has_masks: ClassVar[bool] = False
    """True if the algorithm takes action masks."""

    @final
    def _set_up(self, given: Mapping[str, Any]) -> None:
        """Check the constructor's arguments, `locals()` of it; train nothing yet.

        Raises:
          InvalidArgumentError: A hyperparameter is outside its limits.
          MissingExtraError: The library is not installed.
        """
        self._values = checked_hyperparameters(type(self), given)
        for package in ("stable_baselines3", self.library.replace("-", "_")):
            if importlib.util.find_spec(package) is None:
                raise MissingExtraError(package, "rl")
        self._seed: int = given["seed"]
        self._formulation: str = self._values.get("formulation", "sequential")
        self._task: Task | None = None
        self._algorithm: BaseAlgorithm | None = None

    @abstractmethod
    def _make(self, env: "VecEnv", n_steps: int) -> "BaseAlgorithm":
        """Return the untrained algorithm, for episodes of at most `n_steps` steps."""

    @final
    def search(self, evaluate: Evaluate, task: Task) -> None:
        with RandomState(self._seed):
            # The library draws random numbers when it is imported, which is once in a process.
            from archgym.agents._sb3.training import learn, make_episodes

        with RandomState(self._seed) as random_state:
            env = make_episodes(
                task,
                self._values["n_envs"],
                self._formulation,
                self._values["floor"],
                random_state.outside(evaluate),
                self._seed,
            )
            self._algorithm = self._make(env, env.longest_episode)
            self._task = task
            learn(self._algorithm)

    @final
    def policy(self) -> Policy | None:
        if self._algorithm is None or self._task is None:
            return None
        from archgym.agents._sb3.training import describe, weights_of

        return Policy(
            self.name,
            dict(self._values),
            describe(self._algorithm, self._task, self._formulation),
            weights_of(self._algorithm),
        )

    @final
    @classmethod
    def propose(cls, policy: Policy, task: Task, n: int, seed: int) -> np.ndarray:
        agent: Sb3Agent = remade(cls, policy, task.space)
        n = check_whole("n", n, 1)
        seed = check_whole("seed", seed, 0)
        with RandomState(seed):
            from archgym.agents._sb3.training import (
                layout,
                load_weights,
                make_designs,
                make_episodes,
                no_results,
            )

        form = agent._formulation
        require_layout(policy, task, layout(task, form))

        def episodes(n_envs: int) -> "LearningEnv":
            return make_episodes(task, n_envs, form, 0.0, no_results(task), seed)

        with RandomState(seed):
            env = episodes(1)
            algorithm = agent._make(env, env.longest_episode)
            load_weights(algorithm, policy)
            best = make_designs(algorithm, env, cls._has_masks, deterministic=True)
            if n == 1:
                return best
            drawn = make_designs(algorithm, episodes(n - 1), cls._has_masks, deterministic=False)
        return np.concatenate([best, drawn])


def remade(kind: type[Agent], policy: Policy, space: DesignSpace) -> Any:
    """Return an agent of this kind with a policy's hyperparameters.

    Raises:
      InvalidArgumentError: The policy is another agent's, or says what the agent does not take.
    """
    if policy.agent != kind.name:
        raise InvalidArgumentError(
            f"`policy` must be one of agent {kind.name!r}; got one of {policy.agent!r}. Use it "
            "with that agent."
        )
    try:
        return make_agent(kind, space, 0, policy.hyperparameters)
    except MissingExtraError:
        raise
    except ArchGymError as error:
        raise InvalidArgumentError(
            f"`policy` must have the hyperparameters of agent {kind.name!r}. {error}"
        ) from None


def even_parts(n_steps: int, n_parts: int) -> int:
    """Return the steps of one part if `n_steps` are divided into at most `n_parts`.

    A part has at least two, since advantages are seen against each other.
    """
    most = max(1, min(n_parts, n_steps // 2))
    return n_steps // next(parts for parts in range(most, 0, -1) if n_steps % parts == 0)


def network_arguments(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that all algorithms share."""
    return {
        "learning_rate": hyperparameters["learning_rate"],
        "gamma": hyperparameters["gamma"],
        "policy_kwargs": {"net_arch": [hyperparameters["width"]] * hyperparameters["layers"]},
        "device": "cpu",
    }


def ppo_arguments(
    hyperparameters: Mapping[str, Any], env: "VecEnv", n_steps: int
) -> dict[str, Any]:
    """Return the arguments of all variants of PPO, for episodes of at most `n_steps` steps."""
    n_steps *= -(-hyperparameters["rollout"] // env.num_envs)
    return {
        **network_arguments(hyperparameters),
        "n_steps": n_steps,
        "batch_size": even_parts(n_steps * env.num_envs, hyperparameters["minibatches"]),
        "n_epochs": hyperparameters["epochs"],
        "gae_lambda": hyperparameters["gae_lambda"],
        "clip_range": hyperparameters["clip"],
        "ent_coef": hyperparameters["entropy"],
    }
