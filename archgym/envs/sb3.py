"""The Stable-Baselines3 vector environment, which that library wants in a form of its own."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, final

import gymnasium
import numpy as np

from archgym.envs.episodes import Episodes
from archgym.envs.registration import task_of
from archgym.errors import InvalidArgumentError, MissingExtraError
from archgym.evaluation.task import Task
from archgym.evaluation.trials import Evaluate

try:
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import VecEnv
except ImportError:
    raise MissingExtraError("stable_baselines3", "rl") from None

VecEnvIndices = int | Iterable[int] | None


@final
class Sb3VecEnv(VecEnv):
    """Many episodes of a task for Stable-Baselines3, evaluated as one batch, without objects each.

    Spaces, observations, rewards and ends are those of `DesignEnv`. At an episode's end its info
    holds `terminal_observation`, `episode` (as the library's Monitor writes it, so no monitor is
    needed), `design`, `indices`, `metrics` (by name, empty if the design was not built),
    `values` (in the order of ``task.metrics``, NaN where it was not built), `feasible` and
    `failed`. Works with sb3-contrib's MaskablePPO.

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
        task: Task | str = "archgym/Dram-v0",
        n_envs: int = 8,
        *,
        formulation: str = "whole",
        actions: str = "multidiscrete",
        log: str | Path | None = None,
        evaluate: Evaluate | None = None,
        **choices: Any,
    ) -> None:
        """Make the environment.

        Args:
          task: As for `DesignEnv`; so are `formulation`, `actions`, `log`, `evaluate`, `choices`.
          n_envs: Number of episodes side by side.
          log: One log for all episodes, in the order of their rows.
          evaluate: Takes all designs of a step at once.

        Raises:
          InvalidArgumentError: An argument does not fit.
          UnknownNameError: A name does not exist.
        """
        self.task = task_of(task, **choices)
        self._episodes = Episodes(self.task, n_envs, formulation, actions, log, evaluate)
        self._actions: np.ndarray | None = None
        super().__init__(
            n_envs, self._episodes.observation.space, self._episodes.formulation.action_space
        )

    def reset(self) -> np.ndarray:
        self._episodes.check_options(next((o for o in self._options if o), None))
        self._episodes.start()
        self._reset_seeds()
        self._reset_options()
        return np.tile(self._episodes.first_observation, (self.num_envs, 1))

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        assert self._actions is not None
        actions, self._actions = self._actions, None
        step = self._episodes.step(actions)
        observations = step.observations
        infos: list[dict[str, Any]] = [{"TimeLimit.truncated": False} for _ in range(self.num_envs)]
        if step.trials is not None:
            rows = np.flatnonzero(step.ended)
            last = observations[rows]
            space, names = self.task.space, [spec.name for spec in self.task.metrics]
            designs = list(space.designs(space.canonical(step.trials.indices)))
            for number, row in enumerate(rows):
                reward, length = float(step.reward[row]), int(step.length[row])
                infos[row] |= {
                    "terminal_observation": last[number],
                    "episode": {"r": reward, "l": length, "t": 0.0},
                    "design": designs[number],
                    "indices": step.trials.indices[number],
                    "metrics": dict(zip(names, step.trials.values[number].tolist(), strict=True))
                    if step.trials.feasible[number]
                    else {},
                    "values": step.trials.values[number],
                    "feasible": bool(step.trials.feasible[number]),
                    "failed": bool(step.trials.failed[number]),
                }
            observations[rows] = self._episodes.first_observation
            self._episodes.start(step.ended)
        return observations, step.reward.astype(np.float32), step.ended, infos

    def action_masks(self) -> np.ndarray:
        """Return the mask of actions with a feasible completion, (n_envs, n_actions) bool.

        Raises:
          InvalidArgumentError: The actions are a box.
        """
        return self._episodes.masks()

    def close(self) -> None:
        """Close the log."""
        self._episodes.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return the attribute, the same for every episode.

        Raises:
          AttributeError: Environments have no such attribute.
        """
        n = len(self._rows(indices))
        if attr_name == "render_mode":
            return [None] * n
        if attr_name == "action_masks" and isinstance(self.action_space, gymnasium.spaces.Box):
            raise AttributeError("A box of actions has no `action_masks`.")
        if attr_name not in ("action_masks", "action_space", "observation_space", "task"):
            raise AttributeError(f"Environments have no attribute {attr_name!r}.")
        return [getattr(self, attr_name)] * n

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Refuse, since environments do not change.

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
        return list(self.action_masks()[self._rows(indices)])

    def env_is_wrapped(
        self,
        wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]],
        indices: VecEnvIndices = None,
    ) -> list[bool]:
        """True for Monitor, whose records the infos hold; False for all others."""
        return [issubclass(wrapper_class, Monitor)] * len(self._rows(indices))

    def _rows(self, indices: VecEnvIndices) -> list[int]:
        return [int(row) for row in self._get_indices(indices)]
