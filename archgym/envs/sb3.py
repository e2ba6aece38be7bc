"""The Stable-Baselines3 vector environment, which that library wants in a form of its own."""

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any, final

import gymnasium
import numpy as np

from archgym.checks import check_whole
from archgym.control.tasks import ControlTask
from archgym.envs.control import Session
from archgym.envs.episodes import Episodes
from archgym.envs.registration import check_keywords, control_ids, task_of
from archgym.errors import ArchGymError, InvalidArgumentError, MissingExtraError
from archgym.evaluation.trials import Evaluate
from archgym.tasks.task import Task

try:
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import VecEnv
except ImportError:
    raise MissingExtraError("stable_baselines3", "rl") from None

# chosen: a run of a core holds 6 MB.
_MAX_SESSIONS = 4096
VecEnvIndices = int | Iterable[int] | None
_Stepped = tuple[np.ndarray, np.ndarray, np.ndarray, dict[int, dict[str, Any]]]
"""Observations, rewards and ends of all rows, and infos of the rows that ended."""


@final
class Sb3VecEnv(VecEnv):
    """Many episodes of a task for Stable-Baselines3, stepped together, without objects each.

    Spaces, observations, rewards and ends are those of `DesignEnv`. At an episode's end its info
    holds `terminal_observation`, `episode` (as the library's Monitor writes it, so no monitor is
    needed), `design`, `indices`, `metrics` (by name, empty if the design was not built),
    `values` (in the order of ``task.metrics``, NaN where it was not built), `feasible` and
    `failed`. Designs of a step are evaluated as one batch. Works with sb3-contrib's MaskablePPO.

    A task of control has rows as `ControlEnv`, whose last info they have as well. In one with
    several agents, each is a row: one network then acts for all of a team.

    Life cycle: an algorithm of the library takes it as its `env` and calls `reset` once, then
    `step` for all episodes together. Episodes start again by themselves. `close` releases the log.

    Example:
      >>> from archgym.testing import ProvingSimulator
      >>> env = Sb3VecEnv(Task.make(ProvingSimulator("tiny"), "near"), n_envs=2)
      >>> observations = env.reset()
      >>> observations, rewards, dones, infos = env.step(np.array([[0, 1], [1, 0]]))
      >>> dones.tolist(), [info["feasible"] for info in infos]
      ([True, True], [True, True])
      >>> env.close()
    """

    def __init__(
        self,
        environment: Task | ControlTask | str = "archgym/Dram-v1",
        /,
        n_envs: int = 8,
        *,
        task: Task | ControlTask | str | None = None,
        formulation: str = "whole",
        actions: str = "multidiscrete",
        log: str | Path | None = None,
        evaluate: Evaluate | None = None,
        **choices: Any,
    ) -> None:
        """Make the environment.

        Args:
          environment: Task as for `DesignEnv`; so are `formulation`, `actions`, `log`, `evaluate`,
            `choices`. Or a task of control, or the id of its environment, with `choices` of
            `Session`.
          task: The same by name; a task of control next to its environment's id.
          n_envs: Number of episodes side by side.
          log: One log for all episodes, in the order of their rows.
          evaluate: Takes all designs of a step at once.

        Raises:
          InvalidArgumentError: An argument does not fit.
          UnknownNameError: A name does not exist.
        """
        control = control_ids()
        if isinstance(environment, str) and environment in control:
            choices["domain"] = control[environment].simulator
            environment = control[environment].default
        task = environment if task is None else task
        starts = tuple(f"{each.simulator}-" for each in control.values())
        if isinstance(task, ControlTask) or (isinstance(task, str) and task.startswith(starts)):
            if (formulation, actions, log, evaluate) != ("whole", "multidiscrete", None, None):
                raise InvalidArgumentError(
                    "`formulation`, `actions`, `log` and `evaluate` must be left out of a task of "
                    "control, which has no designs."
                )
            rows: _DesignRows | _ControlRows = _ControlRows(task, n_envs, choices)
        else:
            rows = _DesignRows(
                Episodes(task_of(task, **choices), n_envs, formulation, actions, log, evaluate)
            )
        self._rows, self.task = rows, rows.task
        self._actions: np.ndarray | None = None
        super().__init__(rows.n, rows.observation_space, rows.action_space)

    def reset(self) -> np.ndarray:
        found = self._rows.reset(self._seeds, self._options)
        self._reset_seeds()
        self._reset_options()
        return found

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        if self._actions is None:
            raise ArchGymError("`step_wait` must follow `step_async`, or use `step`.")
        actions, self._actions = self._actions, None
        seen, rewards, ended, last = self._rows.step(actions)
        infos = [
            {"TimeLimit.truncated": False, **last.get(row, {})} for row in range(self.num_envs)
        ]
        return seen, rewards.astype(np.float32), ended, infos

    def action_masks(self) -> np.ndarray:
        """Return the mask of actions with a feasible completion, (n_envs, n_actions) bool.

        Raises:
          InvalidArgumentError: The actions are a box.
        """
        return self._rows.masks()

    def close(self) -> None:
        """Close the log."""
        self._rows.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return the attribute, the same for every episode.

        Raises:
          AttributeError: Environments have no such attribute.
        """
        n = len(self._places(indices))
        if attr_name == "render_mode":
            return [None] * n
        if attr_name == "action_masks" and isinstance(self.action_space, gymnasium.spaces.Box):
            raise AttributeError("A box of actions has no `action_masks`.")
        if attr_name not in ("action_masks", "action_space", "observation_space", "task"):
            raise AttributeError(f"Environments have no attribute {attr_name!r}.")
        return [getattr(self, attr_name)] * n

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Refuse to set an attribute, since environments do not change.

        Raises:
          InvalidArgumentError: Always.
        """
        raise InvalidArgumentError(
            f"Environments do not change once made; `{attr_name}` was to be set. Make another one."
        )

    def env_method(
        self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        """Return the result of `action_masks` for each episode; other methods do not exist.

        Raises:
          AttributeError: Another method is asked for.
        """
        if method_name != "action_masks":
            raise AttributeError(f"Environments have no method {method_name!r}.")
        return list(self.action_masks()[self._places(indices)])

    def env_is_wrapped(
        self,
        wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]],
        indices: VecEnvIndices = None,
    ) -> list[bool]:
        """Return True for Monitor, whose records the infos hold; False for all others."""
        return [issubclass(wrapper_class, Monitor)] * len(self._places(indices))

    def _places(self, indices: VecEnvIndices) -> list[int]:
        return [int(row) for row in self._get_indices(indices)]


@final
class _DesignRows:
    """Episodes of designs side by side, which start again by themselves."""

    def __init__(self, episodes: Episodes) -> None:
        self._episodes = episodes
        self.task, self.n = episodes.task, episodes.n
        self.observation_space = episodes.observation.space
        self.action_space = episodes.formulation.action_space

    def reset(self, seeds: list[int | None], options: list[dict[str, Any]]) -> np.ndarray:
        self._episodes.check_options(next((o for o in options if o), None))
        self._episodes.start()
        return np.tile(self._episodes.first_observation, (self.n, 1))

    def step(self, actions: np.ndarray) -> _Stepped:
        step = self._episodes.step(actions)
        observations, infos = step.observations, {}
        if step.trials is not None:
            rows = np.flatnonzero(step.ended)
            last = observations[rows]
            space, names = self.task.space, [spec.name for spec in self.task.metrics]
            designs = list(space.designs(space.canonical(step.trials.indices)))
            for number, row in enumerate(rows):
                values = step.trials.values[number]
                is_built = bool(step.trials.feasible[number])
                infos[int(row)] = {
                    "terminal_observation": last[number],
                    "episode": _monitored(step.reward[row], int(step.length[row])),
                    "design": designs[number],
                    "indices": step.trials.indices[number],
                    "metrics": dict(zip(names, values.tolist(), strict=True)) if is_built else {},
                    "values": values,
                    "feasible": is_built,
                    "failed": bool(step.trials.failed[number]),
                }
            observations[rows] = self._episodes.first_observation
            self._episodes.start(step.ended)
        return observations, step.reward, step.ended, infos

    def masks(self) -> np.ndarray:
        return self._episodes.masks()

    def close(self) -> None:
        self._episodes.close()


@final
class _ControlRows:
    """Episodes of control side by side, a row for each agent, with what `_DesignRows` has."""

    def __init__(self, task: str | ControlTask, n_envs: int, choices: dict[str, Any]) -> None:
        n = check_whole("n_envs", n_envs, 1, _MAX_SESSIONS)
        check_keywords(choices, inspect.signature(Session).parameters)
        self._sessions = [Session(task, **choices) for _ in range(n)]
        first = self._sessions[0]
        self.task, self._n_agents = first.task, first.n_agents
        self.n = n * self._n_agents
        self.observation_space = first.space
        self.action_space: gymnasium.Space[Any] = gymnasium.spaces.Discrete(len(first.task.actions))
        self._rngs = [np.random.default_rng() for _ in self._sessions]
        self._returns = np.zeros(self.n)

    def reset(self, seeds: list[int | None], options: list[dict[str, Any]]) -> np.ndarray:
        self._returns[:] = 0.0
        for number, session in enumerate(self._sessions):
            row = number * self._n_agents
            if seeds[row] is not None:
                self._rngs[number] = np.random.default_rng(seeds[row])
            session.start(self._rngs[number], options[row])
        return np.concatenate([session.episode.observation for session in self._sessions])

    def step(self, actions: np.ndarray) -> _Stepped:
        rewards, seen, ended = np.zeros(self.n), [], np.zeros(self.n, dtype=bool)
        infos: dict[int, dict[str, Any]] = {}
        for number, session in enumerate(self._sessions):
            rows = slice(number * self._n_agents, (number + 1) * self._n_agents)
            rewards[rows], last = session.step(tuple(actions[rows].tolist()))
            self._returns[rows] += rewards[rows]
            if session.episode.is_over:
                ended[rows], length = True, session.episode.number
                for agent, info in enumerate(last):
                    row = rows.start + agent
                    infos[row] = {
                        "terminal_observation": session.episode.observation[agent],
                        "episode": _monitored(self._returns[row], length),
                        **info,
                    }
                self._returns[rows] = 0.0
                session.start(self._rngs[number])
            seen.append(session.episode.observation)
        return np.concatenate(seen), rewards, ended, infos

    def masks(self) -> np.ndarray:
        return np.ones((self.n, len(self.task.actions)), dtype=bool)

    def close(self) -> None:
        """Do nothing; there is no log."""


def _monitored(reward: float, length: int) -> dict[str, float]:
    """Return the record of an episode as the library's Monitor writes it."""
    return {"r": float(reward), "l": length, "t": 0.0}
