"""Environments of control: an action after each epoch of a run."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, final

import gymnasium
import numpy as np
from gymnasium import spaces

from archgym.checks import check_choice
from archgym.control.tasks import (
    ControlTask,
    Episode,
    costly,
    observation_size,
    reference,
    static,
    task_of,
    unit,
)
from archgym.envs.design import check_render_mode
from archgym.errors import ArchGymError, InvalidArgumentError, unknown_name

REWARDS: Final = ("saved", "relative")


@final
class Session:
    """Episodes of a task one after the other, with rewards and infos; the base of environments.

    A reward compares an epoch with the same epoch under the best static action of training. With
    `saved` it is the static cost minus ours, in units of the static mean over the episode, or of
    training where that is 0: their mean is about the share of the cost that was saved. With
    `relative` it is the logarithm of the static cost over ours, so that every phase counts alike.
    Costs are over work.

    Life cycle: `start` begins each episode, then `step` runs its epochs.

    Attributes:
      task: The task.
      name: Name of the episode.
      n_agents: Agents of an episode.
      space: Space of an agent's observation.
    """

    def __init__(
        self,
        task: str | ControlTask,
        split: str = "train",
        reward: str = "saved",
        team: bool = True,
        domain: str = "",
    ) -> None:
        """Take the arguments of `ControlEnv`; in a `team` each agent gets the mean reward.

        Raises:
          UnknownNameError: There is no such task or split.
          InvalidArgumentError: An argument does not fit.
        """
        if isinstance(task, str) and not task.startswith(domain):
            raise InvalidArgumentError(
                f"`task` must begin with {domain!r} in this environment; got {task!r}. Use "
                "`archgym.envs.ControlEnv` for all tasks."
            )
        self.task = task_of(task)
        self.name = ""
        self._reward = check_choice("reward", reward, REWARDS)
        self._team = team
        self._names = self.task.episodes(split)
        costly(self.task)
        run = self.task.begin(self._names[0])
        self.n_agents = run.n_agents
        self.space = spaces.Box(0.0, 1.0, (observation_size(self.task, run),), dtype=np.float32)
        self._episode: Episode | None = None
        self._theirs = self._mean = self.totals = np.zeros((0, 0))

    @property
    def episode(self) -> Episode:
        """The episode, as policies of `archgym.control` take it."""
        if self._episode is None:
            raise ArchGymError("An environment must be reset before it is used.")
        return self._episode

    def start(self, rng: np.random.Generator, options: Mapping[str, Any] | None = None) -> None:
        """Begin an episode of the split, drawn at random, or the one that `options` name."""
        for option in options or {}:
            # PettingZoo's checker gives one named `options`.
            if option not in ("episode", "options"):
                raise unknown_name("option of reset", option, ["episode"])
        name = (options or {}).get("episode")
        self.name = self.task.check_episode(
            str(name or self._names[int(rng.integers(len(self._names)))])
        )
        self._episode = Episode(self.task, self.name)
        known = static(self.task, self.name, reference(self.task))
        self._theirs = known.cost / np.maximum(known.work, 1e-9)
        self._mean = unit(self.task, known.cost.sum(axis=0) / known.work.sum(axis=0))
        self.totals = np.zeros((2, self.n_agents))

    def step(self, actions: tuple[Any, ...]) -> tuple[np.ndarray, list[dict[str, float]]]:
        """Run an epoch; return rewards (n_agents,) and an info for each agent."""
        if (episode := self.episode).is_over:
            raise ArchGymError("An episode that is over must be reset before it is stepped.")
        for action in actions:
            if action not in range(len(self.task.actions)):
                raise InvalidArgumentError(
                    f"An action must be a whole number from 0 to {len(self.task.actions) - 1}; got "
                    f"{action!r}."
                )
        part = episode.step(tuple(int(action) for action in actions))
        self.totals += (part.cost, part.work)
        ours = part.cost / np.maximum(part.work, 1e-9)
        theirs = self._theirs[min(self.episode.number, len(self._theirs)) - 1]
        if self._reward == "relative":
            found = np.log((theirs + 1e-9) / (ours + 1e-9))
        else:
            found = (theirs - ours) / self._mean
        found[part.work == 0.0] = 0.0
        if self._team:
            found[:] = found.mean()
        infos = [
            {"cost": cost, "work": work}
            for cost, work in zip(part.cost.tolist(), part.work.tolist(), strict=True)
        ]
        if self.episode.is_over:
            score = float((self.totals[0] / self.totals[1]).mean())
            fixed = static(self.task, self.name, reference(self.task)).score
            for info in infos:
                info |= {"score": score, "static_score": fixed}
        return found, infos


@final
class ControlEnv(gymnasium.Env[np.ndarray, np.int64]):
    """A policy of one agent that chooses the settings of the next epoch.

    Action:
      `Discrete`, a place in `task.actions`; every action is allowed at all times.

    Observation:
      float32 from 0 to 1: counters of the last two epochs, scaled by their declared ranges, then
      the last action, one number each. Zeros at the start of an episode.

    Reward:
      See `Session`; by default the saving against the best static action of training.

    Episode end:
      Terminates with the run. Never truncates.

    `reset(seed=…)` seeds the order of episodes; `options={"episode": "held-out-0"}` names one.
    After a step, the info holds `cost`, `work` and the counters by name; at the end also `score`
    and `static_score`, cost over work of the episode and under the static action. `episode` is what
    policies of `archgym.control` act on.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]

    def __init__(
        self,
        task: str | ControlTask = "dram-locality",
        *,
        split: str = "train",
        reward: str = "saved",
        render_mode: str | None = None,
        domain: str = "",
    ) -> None:
        """Make the environment.

        Args:
          task: Control task, or its name.
          split: Split of the task with the episodes.
          reward: One of `REWARDS`.
          render_mode: None; there is nothing to render.
          domain: Start of the names of its tasks, such as `dram`.

        Raises:
          UnknownNameError: There is no such task or split.
          InvalidArgumentError: The task has several agents, or an argument does not fit.
        """
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.render_mode = None
        self._session = Session(task, split, reward, domain=domain)
        self.task = self._session.task
        if len(self.task.agents) > 1:
            raise InvalidArgumentError(
                f"Task {self.task.name!r} has {len(self.task.agents)} agents; use "
                "`archgym.envs.ParallelControlEnv`."
            )
        self.observation_space = self._session.space
        self.action_space = spaces.Discrete(len(self.task.actions))

    @property
    def episode(self) -> Episode:
        """The episode, as policies of `archgym.control` take it."""
        return self._session.episode

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode of the split, drawn at random, or the one that `options` name."""
        super().reset(seed=seed, options=dict(options or {}))
        self._session.start(self.np_random, options)
        return self.episode.observation[0], {"episode": self._session.name}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Run an epoch."""
        given = np.asarray(action)
        rewards, infos = self._session.step((given.item() if given.size == 1 else given.tolist(),))
        last = self.episode.last
        assert last is not None
        names = (counter.name for counter in self.episode.run.counters)
        info = dict(zip(names, last.values[0].tolist(), strict=True)) | infos[0]
        return self.episode.observation[0], float(rewards[0]), self.episode.is_over, False, info

    def action_masks(self) -> np.ndarray:
        """Return True for every action, (n_actions,) bool."""
        return np.ones(len(self.task.actions), dtype=bool)
