"""The PettingZoo environment of control: a team of agents, one for each core or channel."""

from collections.abc import Mapping
from typing import Any, ClassVar, final

import numpy as np
from gymnasium import spaces

from archgym.checks import check_choice
from archgym.control.tasks import ControlTask, roll
from archgym.envs.control import Session
from archgym.errors import InvalidArgumentError, MissingExtraError

try:
    from pettingzoo import ParallelEnv
except ImportError:
    raise MissingExtraError("pettingzoo", "marl") from None


@final
class ParallelControlEnv(ParallelEnv[str, np.ndarray, Any]):  # type: ignore[misc]  # untyped
    """Agents that run side by side: each core's prefetchers, or each memory channel's controller.

    Action, observation and reward of an agent are those of `ControlEnv` for its core or channel.
    `state` holds all of them. An episode terminates when every one has done its work.

    Infos hold `cost` and `work` of the agent; at the end also its `own_score`, cost over work, and
    for the team `score` and `static_score`. With `with_price` there is `coordination_percent`: how
    much less the team's cost is than if each had the settings that are best while it runs alone.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "name": "archgym/Control-v0",
        "render_modes": [],
        "is_parallelizable": True,
    }
    render_mode = None

    def __init__(
        self,
        task: str | ControlTask = "cpu-cores-2",
        *,
        split: str = "train",
        rewards: str = "team",
        observes: str = "own",
        reward: str = "saved",
        with_price: bool = False,
    ) -> None:
        """Make the environment.

        Args:
          task: Control task, or its name.
          split: Split of the task with the episodes.
          rewards: "team" for the mean of all rewards, or "own".
          observes: "own" for an agent's own core, or "all" for everything, its own first.
          reward: As of `ControlEnv`.
          with_price: True for `coordination_percent`, which needs more runs.

        Raises:
          InvalidArgumentError, UnknownNameError: An argument does not fit.
        """
        check_choice("rewards", rewards, ("team", "own"))
        check_choice("observes", observes, ("own", "all"))
        self._session = Session(task, split, reward, team=rewards == "team")
        self.task = self._session.task
        if with_price and self.task.alone is None:
            raise InvalidArgumentError(
                f"`with_price` must be left out of task {self.task.name!r}, whose agents do not "
                "meet."
            )
        self.possible_agents = list(self.task.agents)
        self.agents: list[str] = []
        self._sees_all, self._with_price = observes == "all", with_price
        self._rng = np.random.default_rng()
        (size,) = self._session.space.shape
        self.state_space = spaces.Box(
            0.0, 1.0, (size * len(self.possible_agents),), dtype=np.float32
        )
        seen = self.state_space if self._sees_all else self._session.space
        self.observation_spaces = dict.fromkeys(self.possible_agents, seen)
        self.action_spaces: dict[str, spaces.Space[Any]] = {
            agent: spaces.Discrete(len(self.task.actions)) for agent in self.possible_agents
        }

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """Return an agent's, the same object each time."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """Return an agent's, the same object each time."""
        return self.action_spaces[agent]

    def state(self) -> np.ndarray:
        """Return what all agents see, for critics that see more than agents do."""
        return self._session.episode.observation.ravel()

    def reset(
        self, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
        """Begin an episode of the split, drawn at random, or the one that `options` name."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._session.start(self._rng, options)
        self.agents = self.possible_agents.copy()
        return self._observations(), {
            agent: {"episode": self._session.name} for agent in self.agents
        }

    def step(self, actions: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
        """Run an epoch; return observations, rewards, ends, truncations and infos.

        Raises:
          ArchGymError: The episode is over.
          InvalidArgumentError: An agent has no action.
        """
        for agent in self.agents:
            if agent not in actions:
                raise InvalidArgumentError(f"`actions` must have one for agent {agent!r}.")
        agents = self.possible_agents
        rewards, infos = self._session.step(tuple(actions[agent] for agent in self.agents))
        is_over = self._session.episode.is_over
        if is_over:
            self.agents = []
            price = self._price(infos[0]["score"]) if self._with_price else {}
            totals = self._session.totals
            for info, own in zip(infos, (totals[0] / totals[1]).tolist(), strict=True):
                info |= {"own_score": own, **price}
        return (
            self._observations(),
            dict(zip(agents, rewards.tolist(), strict=True)),
            dict.fromkeys(agents, is_over),
            dict.fromkeys(agents, False),
            dict(zip(agents, infos, strict=True)),
        )

    def _price(self, score: float) -> dict[str, float]:
        """Return how much less the team's cost is than that of agents that do not coordinate."""
        assert self.task.alone is not None
        actions = self.task.alone(self._session.name)
        alone = roll(self.task, self._session.name, lambda episode: actions).score
        return {"coordination_percent": 100.0 * (1.0 - score / alone)}

    def _observations(self) -> dict[str, np.ndarray]:
        shown = self._session.episode.observation
        return {
            agent: np.roll(shown, -core, axis=0).ravel() if self._sees_all else shown[core].copy()
            for core, agent in enumerate(self.possible_agents)
        }
