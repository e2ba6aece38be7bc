"""The Gymnasium vector environment: many episodes, evaluated as one batch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from archgym.envs.episodes import Episodes, reason_texts
from archgym.envs.registration import task_of
from archgym.errors import InvalidArgumentError
from archgym.evaluation.trials import Evaluate, Trials
from archgym.tasks.task import Task


@final
class DesignVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """Many `DesignEnv` side by side, whose designs go to the simulator as one batch.

    Spaces, observations, rewards and ends are those of `DesignEnv`. An episode that ends starts
    again in the same step (`AutoresetMode.SAME_STEP`): its row of the observations is the new
    episode's first, and the last one stands in ``info["final_obs"]``. ``info["final_info"]`` holds
    `indices` (num_envs, n_parameters), `metrics` (name to (num_envs,), NaN where a design was not
    built), `feasible`, `failed`, `reason` and `reward`, each with its mask `_name` as Gymnasium
    has it; designs are made from indices by ``env.task.space.designs``. In the sequential
    formulation `parameter` (num_envs,), after a reset and each step, is what each row chooses next.

    With `AutoresetMode.NEXT_STEP`, which wrappers such as `NormalizeObservation` need, an episode
    starts again in the step after its end. That step ignores the row's action and gives reward 0.
    What ``info["final_info"]`` holds above stands in `info` itself.

    Life cycle: as for `DesignEnv`, with arrays of actions. `reset` is needed once only, since
    episodes start again by themselves.

    Example:
      >>> from archgym.testing import ProvingSimulator
      >>> env = DesignVectorEnv(Task.make(ProvingSimulator("tiny"), "near"), num_envs=3)
      >>> observations, info = env.reset(seed=0)
      >>> actions = np.array([[0, 0], [0, 1], [1, 1]])
      >>> observations, rewards, terminated, truncated, info = env.step(actions)
      >>> terminated.tolist(), info["final_info"]["indices"].tolist() == actions.tolist()
      ([True, True, True], True)
      >>> env.close()
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]  # read-only
        "render_modes": [],
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        task: Task | str,
        num_envs: int = 1,
        *,
        formulation: str = "whole",
        actions: str = "multidiscrete",
        log: str | Path | None = None,
        evaluate: Evaluate | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        texts: bool = True,
        **choices: Any,
    ) -> None:
        """Make the environment.

        Args:
          task: As for `DesignEnv`; so are `formulation`, `actions`, `log`, `evaluate`, `choices`.
          num_envs: Number of episodes side by side.
          log: One log for all episodes, in the order of their rows.
          evaluate: Takes all designs of a step at once.
          autoreset_mode: Step in which an episode that has ended starts again: SAME_STEP (default)
            or NEXT_STEP, as a member of `AutoresetMode` or its value, such as "NextStep".
          texts: False for numbers in place of texts in `info`, as tensors need: `reason` indexes
            ``task.simulator.spec.reasons`` (-1 if failed), `parameter` one of the choices.

        Raises:
          InvalidArgumentError: An argument does not fit.
          UnknownNameError: A name does not exist.
        """
        # Gymnasium closes what is dropped: nothing to close before it is made.
        self.closed = True
        self.task = task_of(task, **choices)
        self._is_next_step = _checked_mode(autoreset_mode) is AutoresetMode.NEXT_STEP
        if self._is_next_step:
            modes = {**self.metadata, "autoreset_mode": AutoresetMode.NEXT_STEP}
            self.metadata = modes  # type: ignore[misc]  # Gymnasium reads it from instances
        self._episodes = Episodes(self.task, num_envs, formulation, actions, log, evaluate)
        self._over = np.zeros(num_envs, dtype=bool)
        self._texts = texts
        self.num_envs = num_envs
        self.single_action_space = self._episodes.formulation.action_space
        self.single_observation_space = self._episodes.observation.space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.closed = False

    @property
    def observation_names(self) -> tuple[str, ...]:
        """Name of each number of an episode's observation."""
        return self._episodes.observation.names

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start all episodes; `seed` changes nothing and there are no options."""
        self._episodes.check_options(options)
        if isinstance(seed, list):
            if len(seed) != self.num_envs:
                raise InvalidArgumentError(
                    f"`seed` must be one number or {self.num_envs}; got {len(seed)}."
                )
            seed = seed[0]
        super().reset(seed=seed)
        self._episodes.start()
        self._over[:] = False
        return np.tile(self._episodes.first_observation, (self.num_envs, 1)), self._before_the_end()

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        if self._is_next_step:
            return self._step_or_start(actions)
        step = self._episodes.step(actions)
        observations = step.observations
        info: dict[str, Any] = {}
        if step.trials is not None:
            rows = np.flatnonzero(step.ended)
            last = np.full(self.num_envs, None, dtype=object)
            ends = step.observations[rows]
            last[rows] = np.fromiter(ends, dtype=object, count=len(ends))
            info = {
                "final_obs": last,
                "_final_obs": step.ended.copy(),
                "final_info": self._final_info(step.trials, rows, step.ended),
                "_final_info": step.ended.copy(),
            }
            observations[rows] = self._episodes.first_observation
            self._episodes.start(step.ended)
        truncated = np.zeros(self.num_envs, dtype=bool)
        return observations, step.reward, step.ended, truncated, info | self._before_the_end()

    def _step_or_start(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Take a step in which the episodes that ended in the last one start again."""
        starting = self._over
        self._episodes.start(starting)
        step = self._episodes.step(actions, ~starting)
        observations = step.observations
        observations[starting] = self._episodes.first_observation
        info: dict[str, Any] = {}
        if step.trials is not None:
            info = self._final_info(step.trials, np.flatnonzero(step.ended), step.ended.copy())
        self._over = step.ended.copy()
        truncated = np.zeros(self.num_envs, dtype=bool)
        return observations, step.reward, step.ended, truncated, info | self._before_the_end()

    def action_masks(self) -> np.ndarray:
        """Return the mask of actions with a feasible completion, (num_envs, n_actions) bool.

        Raises:
          InvalidArgumentError: The actions are a box.
        """
        return self._episodes.masks()

    def close_extras(self, **kwargs: Any) -> None:
        """Close the log."""
        self._episodes.close()

    def _before_the_end(self) -> dict[str, Any]:
        found = self._episodes.next_parameters(self._texts)
        if found is None:
            return {}
        # An episode that is over chooses nothing next.
        return {"parameter": found, "_parameter": ~self._episodes.over}

    def _final_info(self, trials: Trials, rows: np.ndarray, ended: np.ndarray) -> dict[str, Any]:
        def spread(values: np.ndarray | list[str], kind: Any, empty: Any) -> np.ndarray:
            values = np.array(values, dtype=kind)
            if len(rows) == self.num_envs:
                return values
            full: np.ndarray = np.full((self.num_envs, *values.shape[1:]), empty, dtype=kind)
            full[rows] = values
            return full

        metrics = spread(trials.values, np.float64, np.nan)
        columns = {spec.name: metrics[:, place] for place, spec in enumerate(self.task.metrics)}
        info = {
            "indices": spread(trials.indices, np.int64, 0),
            "metrics": columns | {f"_{name}": ended for name in columns},
            "feasible": spread(trials.feasible, bool, False),
            "failed": spread(trials.failed, bool, False),
            "reason": spread(reason_texts(self.task, trials), object, "")
            if self._texts
            else spread(trials.reason, np.int64, 0),
            "reward": spread(trials.reward, np.float64, 0.0),
        }
        return info | {f"_{name}": ended for name in info}


def _checked_mode(mode: AutoresetMode | str) -> AutoresetMode:
    try:
        found = AutoresetMode(mode)
    except ValueError:
        found = AutoresetMode.DISABLED
    if found is AutoresetMode.DISABLED:
        raise InvalidArgumentError(
            f"`autoreset_mode` must be AutoresetMode.SAME_STEP or NEXT_STEP; got {mode!r}."
        )
    return found
