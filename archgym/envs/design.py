"""The Gymnasium environment: an agent makes designs and sees what they measure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, final

import gymnasium
import numpy as np

from archgym.envs.episodes import Episodes, design_info, info_text
from archgym.envs.registration import task_of
from archgym.errors import InvalidArgumentError
from archgym.evaluation.trials import Evaluate
from archgym.tasks.task import Task


@final
class DesignEnv(gymnasium.Env[np.ndarray, Any]):
    """Environment in which an agent makes designs of a task, whole or one parameter a step.

    Design space:
      The task's. With ``formulation="whole"`` an action is a whole design: `MultiDiscrete`, one
      number a parameter, or with ``actions="box"`` a `Box` of numbers from -1 to 1, in which every
      value of a parameter has an equal part of the interval. With ``formulation="sequential"`` an
      action is the value of the next parameter: `Discrete` with as many values as the largest
      parameter has (beyond the parameter's own they repeat), or a `Box` of one number. Parameters
      that are inactive under the values before them are left out. A permutation is made pick by
      pick and a factorisation prime by prime. `action_masks` tells which values have a feasible
      completion and which have none.

    Observation:
      float32 numbers in this order, named by `observation_names`: the design so far, ordered
      parameters from -1 to 1 and others one-hot; each metric as the logarithm of its ratio to the
      default design's, within ±5; whether the design is feasible; in the sequential formulation,
      one-hot, which choice comes next. Nothing is scaled by what has been seen before. An episode
      of whole designs starts at the default design, a sequential one with nothing chosen.

    Reward:
      The task's objective where the design is complete, larger is better, -25 where it is
      infeasible or the simulator broke; 0 before. The default design gets 0 from relative goals.

    Episode end:
      Terminates when the design is complete: after one step, or one for each parameter that
      means something. Never truncates.

    Workloads:
      The task's, one or more; metrics and rewards are averaged over them by weight.

    Source:
      The setting follows Krishnan et al., *ArchGym: An Open-Source Gymnasium for Machine Learning
      Assisted Architecture Design*, ISCA 2023; encodings and reward are ours.

    After the last step `info` holds `design` (canonical form), `indices` (as chosen), `metrics` and
    their `units` by name (no metrics where the design was not built), `feasible`, `failed`,
    `reason` ("" where it was built) and `reward`; before, `parameter`, the next one. `reset` takes
    a `seed`, which changes nothing since nothing is random, and no options.

    Life cycle: the constructor resolves the task and opens the log. Then `reset` and `step`
    alternate as in every Gymnasium environment, and `close` releases the log.

    Example:
      >>> from archgym.testing import ProvingSimulator
      >>> env = DesignEnv(Task.make(ProvingSimulator("tiny"), "near"), formulation="sequential")
      >>> observation, info = env.reset(seed=0)
      >>> info["parameter"]
      'mode'
      >>> for action in (0, 2):
      ...     observation, reward, terminated, truncated, info = env.step(action)
      >>> terminated, info["design"], info["feasible"]
      (True, Design(mode='a', count=2), True)
      >>> env.close()
    """

    # Gymnasium's checker wants a frame rate, though text has none.
    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]  # read-only
        "render_modes": ["ansi"],
        "render_fps": 1,
    }

    def __init__(
        self,
        task: Task | str,
        *,
        formulation: str = "whole",
        actions: str = "multidiscrete",
        log: str | Path | None = None,
        evaluate: Evaluate | None = None,
        render_mode: str | None = None,
        **choices: Any,
    ) -> None:
        """Make the environment.

        Args:
          task: A task, the id of an environment, or the name of a simulator.
          formulation: "whole" or "sequential".
          actions: "multidiscrete" or "box".
          log: Folder that every evaluation is journaled to, as a study; new, or a log of this task.
          evaluate: Evaluates designs instead of the task's simulator. What it raises, such as
            BudgetExhausted, passes through `step`.
          render_mode: "ansi" for `render` to return text.
          **choices: Arguments of `Task.make` for a name: workload, objective, space, and so on.

        Raises:
          InvalidArgumentError: An argument does not fit.
          UnknownNameError: A name does not exist.
        """
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.task = task_of(task, **choices)
        self.render_mode = render_mode
        self._episodes = Episodes(self.task, 1, formulation, actions, log, evaluate)
        self.action_space = self._episodes.formulation.action_space
        self.observation_space = self._episodes.observation.space
        self._last: dict[str, Any] = {}

    @property
    def observation_names(self) -> tuple[str, ...]:
        """Name of each number of an observation."""
        return self._episodes.observation.names

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        self._episodes.check_options(options)
        super().reset(seed=seed)
        self._episodes.start()
        self._last = {}
        return self._episodes.first_observation.copy(), self._before_the_end()

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        step = self._episodes.step(np.asarray(action)[None])
        if step.trials is None:
            info = self._before_the_end()
        else:
            info = design_info(self.task, step.trials, 0)
            self._last = info
        return step.observations[0], float(step.reward[0]), bool(step.ended[0]), False, info

    def action_masks(self) -> np.ndarray:
        """Return the mask of actions with a feasible completion, (n_actions,) bool.

        For whole designs the masks of all parameters one after the other, each judged alone; in the
        sequential formulation the next parameter's, given those chosen, False beyond its values.

        Raises:
          InvalidArgumentError: The actions are a box.
        """
        return np.asarray(self._episodes.masks()[0])

    def render(self) -> str | None:  # type: ignore[override]  # never a list of frames
        """Return the last design and its metrics as text; None without a render mode."""
        if self.render_mode is None:
            return None
        return info_text(self._last)

    def close(self) -> None:
        """Close the log."""
        self._episodes.close()

    def _before_the_end(self) -> dict[str, Any]:
        names = self._episodes.next_parameters()
        return {} if names is None else {"parameter": names[0]}


def check_render_mode(render_mode: str | None, known: list[str]) -> None:
    """Refuse a render mode that is not known.

    Raises:
      InvalidArgumentError: Says which there are.
    """
    if render_mode is not None and render_mode not in known:
        # A TypeError as well, by which stable_baselines3's `make_vec_env` sees that its own
        # "rgb_array" is not for this environment.
        raise _UnknownRenderModeError(
            f"`render_mode` must be {' or '.join(['None', *known])}; got {render_mode!r}."
        )


class _UnknownRenderModeError(InvalidArgumentError, TypeError):
    pass
