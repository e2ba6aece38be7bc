"""The PettingZoo environment of control: a team of agents, one for each core."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, final

import numpy as np
from gymnasium import spaces

from archgym.control.cpu import alone_best, cores_task
from archgym.control.tasks import Episode, observation_size, reference, roll, static
from archgym.envs.control import Rewards
from archgym.errors import ArchGymError, InvalidArgumentError, MissingExtraError, unknown_name

try:
    from pettingzoo import ParallelEnv
except ImportError:
    raise MissingExtraError("pettingzoo", "marl") from None

_SHARES: Final = ("team", "own")
_OBSERVES: Final = ("own", "all")


@final
class ParallelControlEnv(ParallelEnv[str, np.ndarray, Any]):  # type: ignore[misc]  # untyped
    """Cores that share last level and DRAM; each agent chooses its core's prefetchers.

    Action, observation and reward of an agent are those of `ControlEnv` for its core, with epochs
    of equal time. With ``rewards="team"`` all agents get the mean of the rewards. With
    ``observes="all"`` each sees every core, its own first. `state` holds all cores.

    Episode end:
      Terminates for all agents when every core has retired its instructions.

    Infos hold `cost` and `work` of the core; at the end also `cpi` of the core and, for the team,
    `score` and `static_score`. With `with_price` there is `coordination_percent`: how much less the
    team's cost is than if each core had the prefetchers that are best while it runs alone.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "name": "archgym/CpuControl-v0",
        "render_modes": [],
        "is_parallelizable": True,
    }

    def __init__(
        self,
        *,
        cores: int = 2,
        split: str = "train",
        rewards: str = "team",
        observes: str = "own",
        reward: str = "saved",
        with_price: bool = False,
        render_mode: str | None = None,
    ) -> None:
        """Make the environment.

        Args:
          cores: Cores, 2 to 4.
          split: Split of the task with the episodes.
          rewards: "team" or "own".
          observes: "own" or "all".
          reward: As of `ControlEnv`.
          with_price: True for `coordination_percent`.
          render_mode: None; there is nothing to render.

        Raises:
          InvalidArgumentError: An argument does not fit.
          UnknownNameError: A name does not exist.
        """
        if rewards not in _SHARES:
            raise unknown_name("kind of `rewards`", rewards, _SHARES)
        if observes not in _OBSERVES:
            raise unknown_name("kind of `observes`", observes, _OBSERVES)
        if render_mode is not None:
            raise InvalidArgumentError(f"`render_mode` must be None; got {render_mode!r}.")
        self.render_mode = None
        self.task = cores_task(cores)
        self.possible_agents = [f"core_{core}" for core in range(cores)]
        self.agents: list[str] = []
        self._names = self.task.episodes(split)
        self._shares, self._sees_all = rewards == "team", observes == "all"
        self._with_price = with_price
        self._rewards = Rewards(reward)
        self._rng = np.random.default_rng()
        self._name = ""
        self._episode: Episode | None = None
        self._totals = np.zeros((2, cores))
        run = self.task.begin(self._names[0])
        size = observation_size(self.task, run)
        width = size * (cores if self._sees_all else 1)
        seen = spaces.Box(0.0, 1.0, (width,), dtype=np.float32)
        self.state_space = spaces.Box(0.0, 1.0, (size * cores,), dtype=np.float32)
        self.observation_spaces = dict.fromkeys(self.possible_agents, seen)
        chosen = {a: spaces.Discrete(len(self.task.actions)) for a in self.possible_agents}
        self.action_spaces: dict[str, spaces.Space[Any]] = {**chosen}

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

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[
        dict[str, np.ndarray],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        """Run an epoch.

        Raises:
          ArchGymError: The episode is over.
          InvalidArgumentError: An agent has no action.
        """
        if not self.agents or self._episode is None:
            raise ArchGymError("An episode that is over must be reset before it is stepped.")
        missing = [agent for agent in self.agents if agent not in actions]
        if missing:
            raise InvalidArgumentError(f"`actions` must have one for each agent; {missing[0]!r}.")
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
            for agent, info in zip(agents, self._ends(), strict=True):
                infos[agent] |= info
        return (
            self._observations(),
            dict(zip(agents, found.tolist(), strict=True)),
            dict.fromkeys(agents, is_over),
            dict.fromkeys(agents, False),
            infos,
        )

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def _ends(self) -> list[dict[str, float]]:
        each = self._totals[0] / self._totals[1]
        fixed = static(self.task, self._name, reference(self.task)).score
        team = {"score": float(each.mean()), "static_score": fixed}
        if self._with_price:
            actions = alone_best(len(each), self._name)
            alone = roll(self.task, self._name, lambda episode: actions).score
            team["coordination_percent"] = 100.0 * (1.0 - team["score"] / alone)
        return [{"cpi": float(value), **team} for value in each]

    def _observations(self) -> dict[str, np.ndarray]:
        assert self._episode is not None
        shown = self._episode.observation
        found = {}
        for core, agent in enumerate(self.possible_agents):
            rows = np.roll(shown, -core, axis=0).ravel() if self._sees_all else shown[core]
            found[agent] = rows.copy()
        return found
