"""The environment over several workloads, in which one policy learns to design for unseen ones."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike

from archgym.checks import check_choice, check_number, check_whole
from archgym.envs.episodes import design_info, evaluator
from archgym.envs.formulation import Observation, WholeDesign
from archgym.errors import ArchGymError, InvalidArgumentError
from archgym.evaluation.task import Task
from archgym.evaluation.trials import Trials
from archgym.spaces.choices import Choices

# chosen: a feature five standard deviations from the mean is as far as a policy need see.
_FEATURE_LIMIT = 5.0
# chosen: squares of such features, whose spread scales them, have room in float64.
_LARGEST_FEATURE = 1e100
# chosen: some 130 MB of results; training asks for the same designs again and again.
_MAX_KEPT = 2**17


@final
class Contexts:
    """Tasks that share a design space, with features of their workloads, and known results.

    Features are centred and divided by their standard deviations over the tasks. `others` gives
    further tasks the same scale, so that a policy sees their features as it saw those it learned
    from. Environments that share contexts share results: no design is simulated twice for a task.

    Example:
      >>> from archgym.testing import ProvingSimulator
      >>> tasks = [Task.make(ProvingSimulator("tiny"), name) for name in ("near", "far")]
      >>> contexts = Contexts(tasks, [[1.0], [3.0]])
      >>> contexts.features.tolist()
      [[-1.0], [1.0]]
      >>> contexts.others(tasks[:1], [[4.0]]).features.tolist()
      [[2.0]]
    """

    def __init__(self, tasks: Sequence[Task], features: ArrayLike) -> None:
        """Take tasks and features.

        Args:
          tasks: At least one; all with the same space and the same metrics.
          features: (n_tasks, n_features), characteristics of each task's workload, such as
            `trace_similarity.trace_features` returns.

        Raises:
          InvalidArgumentError: The tasks differ in space or metrics, or the features do not fit.
        """
        raw = _checked(tasks, features)
        spread = raw.std(axis=0)
        self._take(tasks, raw, raw.mean(axis=0), np.where(spread > 0.0, spread, 1.0))

    def _take(
        self, tasks: Sequence[Task], raw: np.ndarray, centre: np.ndarray, spread: np.ndarray
    ) -> None:
        self.tasks = tuple(tasks)
        self.centre, self.spread = centre, spread
        scaled = np.clip((raw - centre) / spread, -_FEATURE_LIMIT, _FEATURE_LIMIT)
        self.features: np.ndarray = scaled.astype(np.float32)
        """Scaled features, (n_tasks, n_features) float32 within ±5."""
        self.choices = Choices(self.tasks[0].space)
        self.observations = [Observation(task, self.choices, False) for task in self.tasks]
        self.starts = [self._start(observation) for observation in self.observations]
        self._evaluators = [evaluator(task) for task in self.tasks]
        self._known: dict[tuple[int, bytes], Trials] = {}

    def _start(self, observation: Observation) -> np.ndarray:
        """Return the numbers that show the default design, of which nothing is known."""
        nothing = np.full(len(self.tasks[0].metrics), np.nan)
        return _shown(observation, self.choices.default, nothing, True)

    def __len__(self) -> int:
        return len(self.tasks)

    def others(self, tasks: Sequence[Task], features: ArrayLike) -> "Contexts":
        """Return contexts of other tasks, whose features have the scale of these.

        Args:
          tasks: Tasks with the space and the metrics of these.
          features: (n_tasks, n_features), not scaled.

        Raises:
          InvalidArgumentError: The tasks or the features do not fit.
        """
        raw = _checked(tasks, features)
        _check_alike((self.tasks[0], *tasks))
        if raw.shape[1] != len(self.centre):
            raise InvalidArgumentError(
                f"`features` must have {len(self.centre)} column(s), as those that set the scale; "
                f"got {raw.shape[1]}."
            )
        found = object.__new__(Contexts)
        found._take(tasks, raw, self.centre, self.spread)
        return found

    def evaluate(self, number: int, indices: np.ndarray) -> Trials:
        """Return the result of one design on a task, simulated at most once.

        Args:
          number: The task's place.
          indices: (n_parameters,) of the design.
        """
        design = self.tasks[0].space.canonical(indices[None, :])
        key = number, design.tobytes()
        trials = self._known.get(key)
        if trials is None:
            trials = self._evaluators[number](design)
            if len(self._known) < _MAX_KEPT:
                self._known[key] = trials
        return trials


@final
class ContextualDesignEnv(gymnasium.Env[np.ndarray, Any]):
    """Environment whose episodes are each about one of several workloads, which the agent observes.

    A policy that is trained on many workloads proposes designs for one that it has never seen: the
    first proposal needs no evaluation, and later ones use what was measured.

    Design space:
      The one that all tasks share. An action is a whole design: `MultiDiscrete`, one number a
      choice, as in `DesignEnv`. `action_masks` tells which values occur in a feasible design.

    Observation:
      float32 numbers in this order, named by `observation_names`: the scaled features of the
      workload; the last design with its metrics and feasibility, as `DesignEnv` shows them; the
      same of the best design of the episode; the best reward so far, clipped to ±5; the share of
      the steps that is left. Before the first step, the default design stands for both, and the
      metrics and the best reward are 0. Metrics and rewards are relative to the default design of
      the same workload, so what a policy sees after its first step costs that evaluation as well.

    Reward:
      With ``reward="improvement"``, by how much a design is better than the best before it in the
      episode, 0 if it is not; the first design has its own reward. The sum over an episode is the
      reward of its best design. With ``reward="design"``, the reward of each design. A design's
      reward is that of its task, or `floor` if it is lower or the design is infeasible.

    Episode end:
      Terminates after `steps` designs. Never truncates.

    Workloads:
      `reset` draws a task, all with the same probability, from the generator that `seed` starts.
      ``reset(options={"task": n})`` takes task `n` instead.

    After each step `info` holds what `DesignEnv` reports of a design, and `task`, the place of the
    task in the contexts; its `reward` is the task's own. After `reset` it holds `task` only.

    Example:
      >>> from archgym.testing import ProvingSimulator
      >>> tasks = [Task.make(ProvingSimulator("tiny"), name) for name in ("near", "far")]
      >>> env = ContextualDesignEnv(Contexts(tasks, [[1.0], [3.0]]), steps=2)
      >>> observation, info = env.reset(options={"task": 1})
      >>> observation[:1].tolist(), info
      ([1.0], {'task': 1})
      >>> observation, reward, terminated, truncated, info = env.step(np.array([0, 0]))
      >>> reward, terminated
      (0.0, False)
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]  # read-only

    def __init__(
        self,
        contexts: Contexts,
        *,
        steps: int = 1,
        reward: str = "improvement",
        floor: float = -2.0,
    ) -> None:
        """Make the environment.

        Args:
          contexts: Tasks with the features of their workloads; environments may share them.
          steps: Designs of an episode.
          reward: "improvement" or "design".
          floor: Least reward of a design, so that one infeasible design does not outweigh others.

        Raises:
          InvalidArgumentError: An argument does not fit.
        """
        self.contexts = contexts
        self._steps = check_whole("steps", steps, 1)
        kind = check_choice("reward", reward, ("improvement", "design"))
        self._is_improvement = kind == "improvement"
        self._floor = check_number("floor", floor, -25.0, 20.0)
        self._formulation = WholeDesign(contexts.choices, "multidiscrete")
        self.action_space = self._formulation.action_space
        shown = contexts.observations[0]
        n = contexts.features.shape[1]
        box = shown.space
        ends = np.full(n, _FEATURE_LIMIT, np.float32), np.full(1, _FEATURE_LIMIT, np.float32)
        self.observation_space = spaces.Box(
            np.concatenate([-ends[0], box.low, box.low, -ends[1], np.zeros(1, np.float32)]),
            np.concatenate([ends[0], box.high, box.high, ends[1], np.ones(1, np.float32)]),
            dtype=np.float32,
        )
        self.observation_names: tuple[str, ...] = (
            *(f"feature {place}" for place in range(n)),
            *(f"last {name}" for name in shown.names),
            *(f"best {name}" for name in shown.names),
            "best reward",
            "steps left",
        )
        self._task = 0
        self._left = 0
        self._best = 0.0
        self._last_shown = self._best_shown = np.zeros(len(shown.names), np.float32)

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        options = options or {}
        if set(options) - {"task"}:
            raise InvalidArgumentError(
                f"`options` of reset may only have the key `task`; got {dict(options)!r}."
            )
        n = len(self.contexts)
        self._task = (
            check_whole("task", options["task"], 0, n - 1)
            if "task" in options
            else int(self.np_random.integers(n))
        )
        self._left, self._best = self._steps, 0.0
        self._last_shown = self._best_shown = self.contexts.starts[self._task]
        return self._observation(), {"task": self._task}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if not self._left:
            raise ArchGymError("An episode that is over must be reset before it is stepped.")
        choices = self.contexts.choices
        picks, _ = self._formulation.advance(
            choices.default[None, :], np.zeros(1, np.int64), np.asarray(action)[None]
        )
        indices = choices.compose(picks)[0]
        trials = self.contexts.evaluate(self._task, indices)
        own = max(float(trials.reward[0]), self._floor)
        self._last_shown = _shown(
            self.contexts.observations[self._task],
            picks[0],
            trials.values[0],
            bool(trials.feasible[0]),
        )
        is_first = self._left == self._steps
        gain = own if is_first else max(0.0, own - self._best)
        if is_first or own > self._best:
            self._best, self._best_shown = own, self._last_shown
        self._left -= 1
        info = design_info(self.contexts.tasks[self._task], trials, 0)
        info |= {"task": self._task, "indices": indices}
        reward = gain if self._is_improvement else own
        return self._observation(), reward, self._left == 0, False, info

    def action_masks(self) -> np.ndarray:
        """Return True for values that occur in a feasible design, (n_actions,) bool."""
        masks = self._formulation.masks(self.contexts.choices.default[None, :], np.zeros(1))
        return np.asarray(masks[0])

    def _observation(self) -> np.ndarray:
        rest = np.array([self._best, self._left / self._steps], np.float32)
        rest = np.clip(rest, -_FEATURE_LIMIT, _FEATURE_LIMIT)
        parts = self.contexts.features[self._task], self._last_shown, self._best_shown, rest
        return np.concatenate(parts)


def _checked(tasks: Sequence[Task], features: ArrayLike) -> np.ndarray:
    """Return features as (n_tasks, n_features) float64, where tasks and features fit."""
    if not len(tasks):
        raise InvalidArgumentError("`tasks` must hold at least one task; got none.")
    for task in tasks:
        if not isinstance(task, Task):
            raise InvalidArgumentError(f"`tasks` must hold tasks of `Task.make`; got {task!r}.")
    _check_alike(tasks)
    try:
        raw = np.asarray(features, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidArgumentError(
            "`features` must be an array of numbers with one row for each task."
        ) from None
    if raw.ndim != 2 or raw.shape[0] != len(tasks) or not raw.shape[1]:
        raise InvalidArgumentError(
            f"`features` must have one row for each of {len(tasks)} task(s) and at least one "
            f"column; got shape {raw.shape}."
        )
    if not (np.abs(raw) <= _LARGEST_FEATURE).all():
        raise InvalidArgumentError(
            f"`features` must be numbers within ±{_LARGEST_FEATURE:g}; got NaN or a larger number."
        )
    return raw


def _check_alike(tasks: Sequence[Task]) -> None:
    """Refuse tasks of different spaces or metrics."""
    first = tasks[0]
    for task in tasks[1:]:
        if task.space.to_json() != first.space.to_json():
            raise InvalidArgumentError(
                f"`tasks` must share one design space; {task.id} has another than {first.id}."
            )
        if task.metrics != first.metrics:
            raise InvalidArgumentError(
                f"`tasks` must have the same metrics; {task.id} has others than {first.id}."
            )


def _shown(
    observation: Observation, picks: np.ndarray, values: np.ndarray, feasible: bool
) -> np.ndarray:
    """Return the numbers that show a design, its metrics and whether it is feasible."""
    encoded = observation.encode(
        picks[None, :],
        np.ones((1, len(picks)), dtype=bool),
        np.zeros(1, dtype=np.int64),
        values[None, :],
        np.array([feasible]),
    )
    return np.asarray(encoded[0])
