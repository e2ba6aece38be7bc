"""Shared base of agents on Stable-Baselines3: an algorithm that learns from a task's episodes."""

import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, final

import numpy as np

from archgym.agents._policy_layout import require_layout
from archgym.agents._random_state import RandomState
from archgym.checks import check_whole
from archgym.errors import ArchGymError, InvalidArgumentError, MissingExtraError
from archgym.evaluation.task import Task
from archgym.evaluation.trials import Evaluate
from archgym.search.agent import Agent, make_agent
from archgym.search.policy import Policy
from archgym.spaces.space import DesignSpace

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv

__all__ = [
    "MakeAlgorithm",
    "Sb3Agent",
    "Sb3Learner",
    "even_parts",
    "hidden_layers",
    "ppo_arguments",
    "remade",
]


class MakeAlgorithm(Protocol):
    """Makes an algorithm of the library, untrained."""

    def __call__(self, env: "VecEnv", n_steps: int) -> "BaseAlgorithm":
        """Make it.

        Args:
          env: Episodes it learns from.
          n_steps: Steps of the longest episode.
        """


@final
class Sb3Learner:
    """Trains an algorithm on a study's evaluations, and turns it into a policy and back."""

    def __init__(
        self,
        agent: type[Agent],
        hyperparameters: Mapping[str, Any],
        make: MakeAlgorithm,
        *,
        seed: int,
        formulation: str,
        actions: str = "multidiscrete",
        actor: str = "",
        has_masks: bool = False,
    ) -> None:
        """Train nothing yet.

        Args:
          agent: Whose learner it is.
          hyperparameters: All of the agent's, with `n_envs` and `floor`.
          make: Makes the algorithm.
          seed: What decides.
          formulation: "whole" or "sequential".
          actions: "multidiscrete" or "box".
          actor: Start of the names of those weights that choose actions; all by default.
          has_masks: Whether the algorithm takes action masks.

        Raises:
          MissingExtraError: The library is not installed.
        """
        for package in ("stable_baselines3", agent.library.replace("-", "_")):
            if importlib.util.find_spec(package) is None:
                raise MissingExtraError(package, "rl")
        self._agent = agent
        self._hyperparameters = dict(hyperparameters)
        self._make = make
        self._seed = seed
        self._formulation = formulation
        self._actions = actions
        self._actor = actor
        self._has_masks = has_masks
        self._task: Task | None = None
        self._algorithm: BaseAlgorithm | None = None

    def search(self, evaluate: Evaluate, task: Task) -> None:
        """Learn for ever, until `evaluate` raises something, which passes through."""
        with RandomState(self._seed):
            # The library draws random numbers when it is imported, which is once in a process.
            from archgym.agents._sb3.training import learn, make_episodes

        with RandomState(self._seed) as random_state:
            env = make_episodes(
                task,
                self._hyperparameters["n_envs"],
                self._formulation,
                self._actions,
                self._hyperparameters["floor"],
                random_state.outside(evaluate),
                self._seed,
            )
            self._algorithm = self._make(env, env.longest_episode)
            self._task = task
            learn(self._algorithm)

    def policy(self) -> Policy | None:
        """Return the learned policy; None before a search."""
        if self._algorithm is None or self._task is None:
            return None
        from archgym.agents._sb3.policy import describe, weights_of

        return Policy(
            self._agent.name,
            dict(self._hyperparameters),
            describe(self._algorithm, self._task, self._formulation, self._actions),
            weights_of(self._algorithm, self._actor),
        )

    def propose(self, policy: Policy, task: Task, n: int, seed: int) -> np.ndarray:
        """Return designs that a policy of this agent makes; see `Agent.propose`."""
        n = check_whole("n", n, 1)
        seed = check_whole("seed", seed, 0)
        with RandomState(seed):
            from archgym.agents._sb3.policy import layout, load_weights, make_designs
            from archgym.agents._sb3.training import make_episodes, no_results

        require_layout(policy, task, layout(task, self._formulation, self._actions))

        def episodes(n_envs: int) -> Any:
            return make_episodes(
                task, n_envs, self._formulation, self._actions, 0.0, no_results(task), seed
            )

        with RandomState(seed):
            env = episodes(1)
            algorithm = self._make(env, env.longest_episode)
            load_weights(algorithm, self._actor, policy)
            best = make_designs(algorithm, env, self._has_masks, deterministic=True)
            if n == 1:
                return best
            drawn = make_designs(algorithm, episodes(n - 1), self._has_masks, deterministic=False)
        return np.concatenate([best, drawn])


class Sb3Agent(Agent):
    """An agent that trains an algorithm of the library.

    Its constructor makes `_learner`, which does the rest.
    """

    batch = "batch"
    _learner: Sb3Learner

    @final
    def search(self, evaluate: Evaluate, task: Task) -> None:
        self._learner.search(evaluate, task)

    @final
    def policy(self) -> Policy | None:
        return self._learner.policy()

    @final
    @classmethod
    def propose(cls, policy: Policy, task: Task, n: int, seed: int) -> np.ndarray:
        agent: Sb3Agent = remade(cls, policy, task.space)
        return agent._learner.propose(policy, task, n, seed)


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
    """Step in a part, where `n_steps` are divided into at most so many equal ones.

    A part has at least two, since advantages are seen against each other.
    """
    most = max(1, min(n_parts, n_steps // 2))
    return n_steps // next(parts for parts in range(most, 0, -1) if n_steps % parts == 0)


def ppo_arguments(
    hyperparameters: Mapping[str, Any], env: "VecEnv", n_steps: int
) -> dict[str, Any]:
    """Return the arguments that all variants of proximal policy optimisation share.

    Args:
      hyperparameters: The agent's.
      env: Episodes it learns from.
      n_steps: Steps of the longest episode.
    """
    n_steps *= -(-hyperparameters["rollout"] // env.num_envs)
    return {
        "learning_rate": hyperparameters["learning_rate"],
        "n_steps": n_steps,
        "batch_size": even_parts(n_steps * env.num_envs, hyperparameters["minibatches"]),
        "n_epochs": hyperparameters["epochs"],
        "gamma": hyperparameters["gamma"],
        "gae_lambda": hyperparameters["gae_lambda"],
        "clip_range": hyperparameters["clip"],
        "ent_coef": hyperparameters["entropy"],
    }


def hidden_layers(hyperparameters: Mapping[str, Any]) -> list[int]:
    """Return sizes of the hidden layers."""
    return [hyperparameters["width"]] * hyperparameters["layers"]
