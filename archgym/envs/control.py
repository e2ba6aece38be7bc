"""Gymnasium environments of control: an action after each epoch of a run."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, final

import gymnasium
import numpy as np
from gymnasium import spaces

from archgym.checks import check_choice
from archgym.control.tasks import (
    ControlTask,
    Episode,
    observation_size,
    reference,
    static,
    task_of,
)
from archgym.envs.design import check_render_mode
from archgym.errors import InvalidArgumentError

REWARDS: Final = ("saved", "relative")


@final
class Rewards:
    """Rewards of an epoch against the best static action of training on the same episode.

    With `saved` the static cost minus ours, in units of the static mean over the episode: their
    mean is about the share of the cost that was saved. With `relative` the logarithm of the static
    cost over ours, so that every phase counts alike. Costs are over work.
    """

    def __init__(self, kind: str) -> None:
        """Take one of `REWARDS`."""
        self._kind = check_choice("reward", kind, REWARDS)
        self._theirs = self._mean = np.zeros((0, 0))

    def start(self, task: ControlTask, name: str) -> None:
        """Run the episode under the static action, unless it is known."""
        known = static(task, name, reference(task))
        self._theirs = known.cost / np.maximum(known.work, 1e-9)
        self._mean = known.cost.sum(axis=0) / known.work.sum(axis=0)

    def of(self, episode: Episode) -> np.ndarray:
        """Return the reward of each agent for the last epoch."""
        part = episode.last
        assert part is not None
        ours = part.cost / np.maximum(part.work, 1e-9)
        theirs = self._theirs[min(episode.number, len(self._theirs)) - 1]
        if self._kind == "relative":
            ratio: np.ndarray = np.log((theirs + 1e-9) / (ours + 1e-9))
            return ratio
        saved: np.ndarray = (theirs - ours) / self._mean
        return saved


@final
class ControlEnv(gymnasium.Env[np.ndarray, np.int64]):
    """A policy of one agent that chooses the settings of the next epoch.

    Action:
      `Discrete`, a place in `task.actions`; every action is allowed at all times.

    Observation:
      float32 from 0 to 1: counters of the last two epochs, scaled by their declared ranges, then
      the last action, one number each. Zeros at the start of an episode.

    Reward:
      See `Rewards`; by default the saving against the best static action of training.

    Episode end:
      Terminates with the run. Never truncates.

    `reset(seed=…)` seeds the order of episodes; `options={"episode": "held-out-0"}` names one.
    After a step, the info holds `cost`, `work` and the counters by name; at the end also `score`
    and `static_score`, cost over work of the episode and under the static action.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]

    def __init__(
        self,
        task: str | ControlTask = "dram-locality",
        *,
        split: str = "train",
        reward: str = "saved",
        render_mode: str | None = None,
    ) -> None:
        """Make the environment.

        Args:
          task: Control task, or its name.
          split: Split of the task with the episodes.
          reward: One of `REWARDS`.
          render_mode: None; there is nothing to render.

        Raises:
          UnknownNameError: There is no such task or split.
          InvalidArgumentError: The task has several agents, or an argument does not fit.
        """
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.render_mode = None
        self.task = task_of(task)
        self._names = self.task.episodes(split)
        self._rewards = Rewards(reward)
        self._episode = Episode(self.task, self._names[0])
        if self._episode.run.n_agents > 1:
            raise InvalidArgumentError(
                f"Task {self.task.name!r} has {self._episode.run.n_agents} agents; use "
                "`archgym.envs.ParallelControlEnv`."
            )
        self._name = ""
        self._cost = self._work = 0.0
        self._counters = [counter.name for counter in self._episode.run.counters]
        size = observation_size(self.task, self._episode.run)
        self.observation_space = spaces.Box(0.0, 1.0, (size,), dtype=np.float32)
        self.action_space = spaces.Discrete(len(self.task.actions))

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode of the split, drawn at random, or the one that `options` name."""
        super().reset(seed=seed, options=dict(options or {}))
        name = (options or {}).get("episode")
        self._name = str(name or self._names[int(self.np_random.integers(len(self._names)))])
        self._episode = Episode(self.task, self._name)
        self._rewards.start(self.task, self._name)
        self._cost = self._work = 0.0
        return self._episode.observation[0], {"episode": self._name}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Run an epoch."""
        part = self._episode.step((int(action),))
        cost, work = float(part.cost[0]), float(part.work[0])
        self._cost += cost
        self._work += work
        reward = float(self._rewards.of(self._episode)[0])
        is_over = self._episode.is_over
        info: dict[str, Any] = dict(zip(self._counters, part.values[0].tolist(), strict=True))
        info["cost"], info["work"] = cost, work
        if is_over:
            info["score"] = self._cost / self._work
            info["static_score"] = static(self.task, self._name, reference(self.task)).score
        return self._episode.observation[0], reward, is_over, False, info

    def action_masks(self) -> np.ndarray:
        """Return True for every action, (n_actions,) bool."""
        return np.ones(len(self.task.actions), dtype=bool)
