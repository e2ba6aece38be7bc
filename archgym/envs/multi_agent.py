"""The PettingZoo environment: several agents make a design together."""

from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar, final

import numpy as np
from gymnasium import spaces

from archgym.envs.design import check_render_mode
from archgym.envs.episodes import Episodes, design_info, info_text
from archgym.envs.formulation import require_whole
from archgym.envs.registration import control_ids, environment_id, task_of
from archgym.errors import (
    ArchGymError,
    BudgetExhausted,
    InvalidArgumentError,
    MissingExtraError,
    check_known,
    unknown_name,
)
from archgym.evaluation.trials import Evaluate
from archgym.tasks.task import Task


def agents_of(task: Task, groups: str | Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Return the parameters of each agent, by its name.

    Args:
      task: Task with the parameters.
      groups: "parameter": an agent for each parameter that has more than one value, named as it;
        "subsystem": one for each of `spec.groups`; or names of agents with their parameters.

    Raises:
      InvalidArgumentError: The groups leave out a parameter or name one twice, or name what is no
        parameter, or one of them is empty; the simulator declares no sub-systems; or nothing can
        be chosen.
    """
    space = task.space
    if isinstance(groups, Mapping):
        return _partition(groups, space.names, "`groups`")
    if groups == "parameter":
        agents: dict[str, tuple[str, ...]] = {
            p.name: (p.name,) for p in space.parameters if p.size > 1
        }
        if not agents:
            raise InvalidArgumentError(
                f"A parameter of space {space.name!r} must have more than one value for an agent "
                "to choose; none has."
            )
        return agents
    if groups == "subsystem":
        simulator = task.simulator
        if not simulator.spec.groups:
            raise InvalidArgumentError(
                f'Simulator {simulator.name!r} must declare sub-systems for groups="subsystem"; '
                "it declares none. Give a mapping from agents to their parameters, or use "
                'groups="parameter".'
            )
        return _partition(simulator.spec.groups, space.names, f"`groups` of {simulator.name!r}")
    raise InvalidArgumentError(
        '`groups` must be "parameter", "subsystem", or a mapping from agents to their parameters; '
        f"got {groups!r}."
    )


def _partition(
    groups: Mapping[str, Sequence[str]], names: tuple[str, ...], what: str
) -> dict[str, tuple[str, ...]]:
    """Return the groups, checked: each parameter in one of them and nothing else."""
    if not groups:
        raise InvalidArgumentError(f"{what} must have a group or more; got none.")
    owner: dict[str, str] = {}
    for agent, members in groups.items():
        if not isinstance(agent, str) or not agent:
            raise InvalidArgumentError(f"{what} must have texts as names; got {agent!r}.")
        # A set has no order, in which an action has its parts, and an iterator but one use.
        if isinstance(members, str) or not isinstance(members, Sequence) or not members:
            raise InvalidArgumentError(
                f"{what} must give a list of parameters for {agent!r}; got {members!r}."
            )
        for name in members:
            if name not in names:
                raise InvalidArgumentError(
                    f"{what} must name parameters of the space; got {name!r} in {agent!r}. There "
                    f"is {', '.join(repr(n) for n in names)}."
                )
            if name in owner:
                raise InvalidArgumentError(
                    f"{what} must have each parameter once; {name!r} is in {owner[name]!r} and in "
                    f"{agent!r}."
                )
            owner[name] = agent
    missing = [name for name in names if name not in owner]
    if missing:
        raise InvalidArgumentError(
            f"{what} must have each parameter of the space; "
            f"{', '.join(repr(name) for name in missing)} is in none."
        )
    return {agent: tuple(members) for agent, members in groups.items()}


try:
    from pettingzoo import ParallelEnv
except ImportError:
    raise MissingExtraError("pettingzoo", "marl") from None


T = TypeVar("T")

_OBSERVES = ("all", "own")


@final
class ParallelDesignEnv(ParallelEnv[str, np.ndarray, Any]):  # type: ignore[misc]  # untyped
    """Several agents, each with parameters of its own, make a design of a task together.

    Design space:
      The task's, divided among `possible_agents` so that each parameter is one agent's: with
      ``groups="parameter"`` an agent for each parameter that has more than one value, with
      ``groups="subsystem"`` one for each sub-system that the simulator declares, or as a mapping
      says. `parameters` tells which. An agent's action is one number for each of its choices:
      `MultiDiscrete`, or `Discrete` where it has only one. A permutation is chosen pick by pick and
      a factorisation prime by prime. `action_mask` tells which values occur in a feasible design;
      as agents act at the same time, the design that they make together can still be infeasible.

    Observation:
      float32 numbers within fixed bounds, as `DesignEnv` has them for whole designs. With
      ``observes="all"`` every agent sees all of them; with ``observes="own"`` its own choices, the
      metrics, and whether the design is feasible. `observation_names` names them. `state` is the
      whole observation in either case, for critics that see more than agents do.

    Reward:
      The task's objective, larger is better, -25 where the design is infeasible or the simulator
      broke; the default design gets 0 from relative goals. Every agent gets the whole of it.

    Episode end:
      Terminates for all agents after one step: an episode is one design. Truncates only where
      `truncate_at_end` is set and the budget of `evaluate` is used up.

    Workloads:
      The task's, one or more; metrics and rewards are averaged over them by weight.

    Source:
      One agent a parameter with a shared reward follows Krishnan et al., *Multi-Agent Reinforcement
      Learning for Microprocessor Design Space Exploration*, 2022; groups, encodings and reward are
      ours.

    After a step every agent's info holds what `DesignEnv`'s holds: `design`, `indices`, `metrics`,
    `units`, `feasible`, `failed`, `reason` and `reward`; after a reset, its `action_mask`. `reset`
    takes `seed` and `options` as PettingZoo has it; they change nothing, since nothing is random.

    Life cycle: `reset` fills `agents`, and `step` takes one action for each of them. It evaluates
    the design and empties `agents`, so the next call is `reset`. `close` releases the log.

    Example:
      >>> from archgym.testing import ProvingSimulator
      >>> env = ParallelDesignEnv(Task.make(ProvingSimulator("tiny"), "near"))
      >>> observations, infos = env.reset()
      >>> env.agents
      ['mode', 'count']
      >>> observations, rewards, over, truncated, infos = env.step({"mode": 0, "count": 1})
      >>> sorted(over.values()), rewards["mode"] == rewards["count"], env.agents
      ([True, True], True, [])
      >>> env.close()
    """

    def __init__(
        self,
        task: Task | str = "archgym/Dram-v1",
        groups: str | Mapping[str, Sequence[str]] = "parameter",
        *,
        observes: str = "all",
        log: str | Path | None = None,
        evaluate: Evaluate | None = None,
        truncate_at_end: bool = False,
        render_mode: str | None = None,
        **choices: Any,
    ) -> None:
        """Make the environment.

        Args:
          task: A task, the id of an environment, or the name of a simulator.
          groups: "parameter", "subsystem", or the names of agents with their parameters.
          observes: "all" or "own": what an agent sees of the design.
          log: Folder that every evaluation is journaled to, as a study; new, or a log of this task.
          evaluate: Evaluates designs instead of the task's simulator. What it raises, such as
            BudgetExhausted, passes through `step`.
          truncate_at_end: Instead of letting BudgetExhausted pass, truncate: that step and all
            later ones give reward 0, the observation from before, and ``{"is_over": True}`` as
            info. For environments in other processes, where raising looks like a crash.
          render_mode: "ansi" for `render` to return text.
          **choices: Arguments of `Task.make` for a name: workload, objective, space, and so on.

        Raises:
          InvalidArgumentError: An argument does not fit, or groups do not divide the space.
          UnknownNameError: A name does not exist.
        """
        if observes not in _OBSERVES:
            raise unknown_name("kind of `observes`", observes, _OBSERVES)
        check_render_mode(render_mode, ["ansi"])
        self.task = task = task_of(task, **choices)
        self.render_mode = render_mode
        self.metadata = {
            "name": environment_id(task.simulator.name, task.simulator.version),
            "render_modes": ["ansi"],
            "is_parallelizable": True,
        }
        self.parameters = agents_of(task, groups)
        """Names of each agent's parameters."""
        self.possible_agents: list[str] = list(self.parameters)
        self.agents: list[str] = []
        self.is_over = False
        """True if the budget is used up; only `truncate_at_end` sets it."""
        self._truncates = truncate_at_end
        self._episodes = Episodes(task, 1, "whole", "multidiscrete", log, evaluate)
        space_choices, observation = self._episodes.choices, self._episodes.observation
        self.state_space: spaces.Box = observation.space
        """Space of `state`."""
        self._state = self._episodes.first_observation
        self._choices: dict[str, np.ndarray] = {}
        self._columns: dict[str, np.ndarray] = {}
        self.action_spaces: dict[str, spaces.Space[Any]] = {}
        self.observation_spaces: dict[str, spaces.Space[Any]] = {}
        for agent, names in self.parameters.items():
            places = [task.space.names.index(name) for name in names]
            own = np.concatenate(
                [np.flatnonzero(space_choices.places == place) for place in places]
            )
            sizes = space_choices.sizes[own]
            seen = observation.columns(own if observes == "own" else np.arange(space_choices.n))
            self._choices[agent] = own
            self._columns[agent] = seen
            self.action_spaces[agent] = (
                spaces.Discrete(int(sizes[0])) if len(own) == 1 else spaces.MultiDiscrete(sizes)
            )
            self.observation_spaces[agent] = spaces.Box(
                observation.space.low[seen], observation.space.high[seen], dtype=np.float32
            )
        self._masks: dict[str, Any] | None = None
        self._last: dict[str, Any] = {}

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """Return an agent's, the same object each time."""
        return _of(agent, self.observation_spaces)

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """Return an agent's, the same object each time."""
        return _of(agent, self.action_spaces)

    def observation_names(self, agent: str) -> tuple[str, ...]:
        """Return the name of each number of an agent's observation."""
        names = self._episodes.observation.names
        return tuple(names[column] for column in _of(agent, self._columns))

    def state(self) -> np.ndarray:
        """Return the full observation, (d,) float32, of which agents may see parts."""
        return self._state.copy()

    def reset(
        self, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
        """Start an episode from the default design."""
        self._episodes.start()
        self.agents = self.possible_agents.copy()
        self._state = self._episodes.first_observation
        self._last = {}
        infos = {agent: {"action_mask": self.action_mask(agent)} for agent in self.agents}
        return self._observations(), infos

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[
        dict[str, np.ndarray],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        """Evaluate the design that all agents' actions make up.

        Raises:
          ArchGymError: The episode is over.
          InvalidArgumentError: An agent's action is missing or does not lie in its space.
          BudgetExhausted: From `evaluate`, unless `truncate_at_end` is set.
        """
        if not self.agents:
            raise ArchGymError("An episode that is over must be reset before it is stepped.")
        picks = self._joined(actions)
        reward, info = 0.0, {"is_over": True}
        if not self.is_over:
            try:
                step = self._episodes.step(picks[None, :])
            except BudgetExhausted:
                if not self._truncates:
                    raise
                self.is_over = True
            else:
                assert step.trials is not None
                reward, info = float(step.reward[0]), design_info(self.task, step.trials, 0)
                self._state = step.observations[0]
                self._last = info
        agents, self.agents = self.agents, []
        return (
            self._observations(),
            dict.fromkeys(agents, reward),
            dict.fromkeys(agents, not self.is_over),
            dict.fromkeys(agents, self.is_over),
            {agent: dict(info) for agent in agents},
        )

    def action_mask(self, agent: str) -> Any:
        """Return the mask of choices that occur in a feasible design, as `sample` takes it.

        Returns:
          (n,) int8 of 0 and 1 for a `Discrete` space; a tuple of such for a `MultiDiscrete` one.
        """
        if self._masks is None:
            marginal = [mask.astype(np.int8) for mask in self._episodes.choices.marginal_masks()]
            self._masks = {}
            for name, own in self._choices.items():
                masks = tuple(marginal[choice] for choice in own)
                is_one = isinstance(self.action_spaces[name], spaces.Discrete)
                self._masks[name] = masks[0] if is_one else masks
        return _of(agent, self._masks)

    def render(self) -> str | None:
        """Return the last design and its metrics as text; None without a render mode."""
        if self.render_mode is None:
            return None
        return info_text(self._last)

    def close(self) -> None:
        """Close the log."""
        self._episodes.close()

    def _observations(self) -> dict[str, np.ndarray]:
        return {agent: self._state[self._columns[agent]] for agent in self.possible_agents}

    def _joined(self, actions: Mapping[str, Any]) -> np.ndarray:
        """Return all choices, (n_choices,), of which those of no agent have one value only."""
        if not isinstance(actions, Mapping):
            raise InvalidArgumentError(
                f"`actions` must map agents to their actions; got {actions!r}."
            )
        for agent in self.agents:
            if agent not in actions:
                raise InvalidArgumentError(
                    f"`actions` must have one for each of {', '.join(self.agents)}; {agent!r} has "
                    "none."
                )
        for agent in actions:
            if agent not in self._choices:
                raise InvalidArgumentError(
                    f"`actions` must be those of {', '.join(self.agents)}; got one of {agent!r}."
                )
        choices = self._episodes.choices
        picks = np.zeros(choices.n, dtype=np.int64)
        for agent, own in self._choices.items():
            action = np.asarray(actions[agent])
            shape = self.action_spaces[agent].shape
            if action.shape != shape:
                raise InvalidArgumentError(
                    f"The action of {agent!r} must have shape {shape}; got {action.shape}."
                )
            if action.dtype.kind not in "iu":
                raise InvalidArgumentError(
                    f"The action of {agent!r} must be whole numbers; got dtype {action.dtype!s}."
                )
            names = tuple(choices.names[choice] for choice in own)
            require_whole(action.reshape(1, -1), choices.sizes[own], names)
            picks[own] = action
        return picks


def _of(agent: str, parts: Mapping[str, T]) -> T:
    if agent not in parts:
        raise unknown_name("agent", agent, parts)
    return parts[agent]


def parallel(task: Task | str = "archgym/Dram-v1", *arguments: Any, **choices: Any) -> Any:
    """Return the PettingZoo environment of a task, by the name that PettingZoo's packages use.

    Args:
      task: As of `ParallelDesignEnv`; or `archgym/CpuControl-v0` for `cores` under control, or
        `archgym/DramControl-v0` for `channels`, 2 by default.
      *arguments: Further arguments of the environment; so are `choices`.
    """
    if isinstance(task, str) and (control := control_ids().get(task)):
        from archgym.envs.control_team import ParallelControlEnv

        if control.team is None:
            raise InvalidArgumentError(
                f"`task` must have several agents; {task!r} has one. Use `gymnasium.make`."
            )
        name, agents = control.team
        known = {agents, *signature(ParallelControlEnv).parameters} - {"task"}
        check_known("argument", choices, known)
        return ParallelControlEnv(f"{name}-{choices.pop(agents, 2)}", *arguments, **choices)
    return ParallelDesignEnv(task, *arguments, **choices)
