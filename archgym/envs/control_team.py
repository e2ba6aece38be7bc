"""The PettingZoo environment of control: a team of agents, one for each core."""

from collections.abc import Mapping
from typing import Any, ClassVar, final

import numpy as np
from gymnasium import spaces

from archgym.checks import check_choice
from archgym.control.cpu import alone_best, cores_task
from archgym.control.tasks import Episode, observation_size, reference, roll, static
from archgym.envs.control import Rewards
from archgym.errors import ArchGymError, InvalidArgumentError, MissingExtraError

try:
    from pettingzoo import ParallelEnv
except ImportError:
    raise MissingExtraError("pettingzoo", "marl") from None


@final
class ParallelControlEnv(ParallelEnv[str, np.ndarray, Any]):  # type: ignore[misc]  # untyped
    """Cores that share last level and DRAM; each agent chooses its core's prefetchers.

    Action, observation and reward of an agent are those of `ControlEnv` for its core, with epochs
    of equal time. `state` holds all cores. An episode terminates when every core has retired its
    instructions.

    Infos hold `cost` and `work` of the core; at the end also `cpi` of the core and, for the team,
    `score` and `static_score`. With `with_price` there is `coordination_percent`: how much less the
    team's cost is than if each core had the prefetchers that are best while it runs alone.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "name": "archgym/CpuControl-v0",
        "render_modes": [],
        "is_parallelizable": True,
    }
    render_mode = None

    def __init__(
        self,
        *,
        cores: int = 2,
        split: str = "train",
        rewards: str = "team",
        observes: str = "own",
        reward: str = "saved",
        with_price: bool = False,
    ) -> None:
        """Make the environment.

        Args:
          cores: Cores, 2 to 4.
          split: Split of the task with the episodes.
          rewards: "team" for the mean of all rewards, or "own".
          observes: "own" for an agent's own core, or "all" for every core, its own first.
          reward: As of `ControlEnv`.
          with_price: True for `coordination_percent`, which needs more runs.

        Raises:
          InvalidArgumentError, UnknownNameError: An argument does not fit.
        """
        check_choice("rewards", rewards, ("team", "own"))
        check_choice("observes", observes, ("own", "all"))
        self.task = cores_task(cores)
        self.possible_agents = [f"core_{core}" for core in range(cores)]
        self.agents: list[str] = []
        self._names = self.task.episodes(split)
        self._shares, self._sees_all, self._with_price = (
            rewards == "team", observes == "all", with_price,
        )  # fmt: skip
        self._rewards = Rewards(reward)
        self._rng = np.random.default_rng()
        self._name = ""
        self._episode: Episode | None = None
        self._totals = np.zeros((2, cores))
        size = observation_size(self.task, self.task.begin(self._names[0]))
        seen = spaces.Box(0.0, 1.0, (size * (cores if self._sees_all else 1),), dtype=np.float32)
        self.state_space = spaces.Box(0.0, 1.0, (size * cores,), dtype=np.float32)
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
        """Return what all cores show, for critics that see more than agents do."""
        assert self._episode is not None
        return self._episode.observation.ravel()

    def reset(
        self, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
        """Begin an episode of the split, drawn at random, or the one that `options` name."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        name = (options or {}).get("episode")
        self._name = str(name or self._names[int(self._rng.integers(len(self._names)))])
        self._episode = Episode(self.task, self._name)
        self._rewards.start(self.task, self._name)
        self._totals[:] = 0.0
        self.agents = self.possible_agents.copy()
        return self._observations(), {agent: {"episode": self._name} for agent in self.agents}

    def step(self, actions: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
        """Run an epoch; return observations, rewards, ends, truncations and infos.

        Raises:
          ArchGymError: The episode is over.
          InvalidArgumentError: An agent has no action.
        """
        if not self.agents or self._episode is None:
            raise ArchGymError("An episode that is over must be reset before it is stepped.")
        for agent in self.agents:
            if agent not in actions:
                raise InvalidArgumentError(f"`actions` must have one for agent {agent!r}.")
        part = self._episode.step(tuple(int(actions[agent]) for agent in self.agents))
        self._totals += (part.cost, part.work)
        found = np.where(part.work > 0, self._rewards.of(self._episode), 0.0)
        if self._shares:
            found = np.full(len(found), found.mean())
        agents, is_over = self.agents, self._episode.is_over
        infos = {
            agent: {"cost": float(cost), "work": float(work)}
            for agent, cost, work in zip(agents, part.cost, part.work, strict=True)
        }
        if is_over:
            self.agents = []
            for agent, cpi in zip(agents, self._totals[0] / self._totals[1], strict=True):
                infos[agent] |= {"cpi": float(cpi), **self._team()}
        return (
            self._observations(),
            dict(zip(agents, found.tolist(), strict=True)),
            dict.fromkeys(agents, is_over),
            dict.fromkeys(agents, False),
            infos,
        )

    def _team(self) -> dict[str, float]:
        """Return the measures of the team at an episode's end."""
        score = float((self._totals[0] / self._totals[1]).mean())
        fixed = static(self.task, self._name, reference(self.task)).score
        found = {"score": score, "static_score": fixed}
        if self._with_price:
            actions = alone_best(len(self.possible_agents), self._name)
            alone = roll(self.task, self._name, lambda episode: actions).score
            found["coordination_percent"] = 100.0 * (1.0 - score / alone)
        return found

    def _observations(self) -> dict[str, np.ndarray]:
        assert self._episode is not None
        shown = self._episode.observation
        return {
            agent: np.roll(shown, -core, axis=0).ravel() if self._sees_all else shown[core].copy()
            for core, agent in enumerate(self.possible_agents)
        }
