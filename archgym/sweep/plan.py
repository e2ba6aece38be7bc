"""Plans of sweeps: which agents are to search which tasks, with which seeds, for how long."""

import itertools
import math
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import msgspec
import numpy as np

from archgym.errors import check_known
from archgym.evaluation.restriction import unrestricted
from archgym.files.yaml_document import Node

if TYPE_CHECKING:
    from archgym.agent.agent import Agent
    from archgym.tasks.task import Task


# chosen: if this many draws in a row are refused or known, the ranges hold no more.
_MAX_TRIES = 1000


def draw_hyperparameters(
    kind: "type[Agent]",
    n: int,
    fixed: Mapping[str, Any],
    accepts: Callable[[Mapping[str, Any]], bool],
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return the defaults, then draws from the agent's published ranges, all different.

    Each hyperparameter is drawn evenly from its range's values; those that are refused together
    are drawn again. The draws depend on the agent and the seed alone, so that more of them begin
    with the same ones.

    Args:
      n: Number of settings with the defaults; fewer if the ranges hold no more.
      fixed: Hyperparameters that are the same in all.
      accepts: True if the agent can be made with these hyperparameters.
      seed: Random seed.
    """
    # With seed 0 it is the generator of the agent alone.
    rng = np.random.default_rng([zlib.crc32(kind.name.encode()), seed])
    found = [dict(fixed)]
    free = [parameter for parameter in kind.hyperparameters if parameter.name not in fixed]
    known = {_key({parameter.name: parameter.value(parameter.default_index) for parameter in free})}
    tries = 0
    while len(found) < n and tries < _MAX_TRIES and free:
        tries += 1
        drawn = {p.name: p.value(int(rng.integers(p.size))) for p in free}
        values = {n: v.item() if isinstance(v, np.generic) else v for n, v in drawn.items()}
        if _key(values) in known:
            continue
        known.add(_key(values))
        if accepts({**fixed, **values}):
            found.append({**fixed, **values})
            tries = 0
    return found


def _key(values: Mapping[str, Any]) -> str:
    return repr(sorted(values.items()))


FAMILY_KEYS = ("draws", "draw_seed", "include_defaults", "grid")
DEFAULTS = "defaults"
# chosen: far beyond any sweep; what is larger was written by mistake.
_MAX_MEMBERS = 10_000
_MAX_SEED = 2**63 - 1


@final
@dataclass(frozen=True)
class Draws:
    """Settings drawn at random from the ranges that the agent publishes."""

    count: int
    seed: int
    include_defaults: bool
    """True if the agent without drawn hyperparameters is one of the family."""

    def settings(
        self,
        kind: "type[Agent]",
        fixed: Mapping[str, Any],
        accepts: Callable[[Mapping[str, Any]], bool],
    ) -> dict[str, dict[str, Any]]:
        """Return hyperparameters by the end of a member's label; fewer in small ranges."""
        defaults, *drawn = draw_hyperparameters(kind, self.count + 1, fixed, accepts, self.seed)
        first = {DEFAULTS: defaults} if self.include_defaults else {}
        return {**first, **{_number(place): values for place, values in enumerate(drawn)}}


@final
@dataclass(frozen=True)
class Grid:
    """Every combination of some values; those of the last hyperparameter change first."""

    values: Mapping[str, tuple[Any, ...]]

    def settings(self, fixed: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Return hyperparameters by the end of a member's label."""
        combined = itertools.product(*self.values.values())
        return {
            _number(place): {**fixed, **dict(zip(self.values, chosen, strict=True))}
            for place, chosen in enumerate(combined)
        }


def read_family(parts: Mapping[str, Node]) -> Draws | Grid | None:
    """Return the family that an agent of a plan is; None if it is one agent.

    Raises:
      FileFormatError: What is given does not go together; the error names the line.
    """
    if "draws" not in parts:
        for name in ("draw_seed", "include_defaults"):
            if name in parts:
                raise parts[name].refusal(f"`{name}` needs `draws`, which is absent")
        return _grid(parts["grid"], parts) if "grid" in parts else None
    if "grid" in parts:
        raise parts["grid"].refusal("`grid` and `draws` must not come together", "Write two agents")
    return Draws(
        parts["draws"].whole("`draws`", 1, _MAX_MEMBERS),
        parts["draw_seed"].whole("`draw_seed`", 0, _MAX_SEED) if "draw_seed" in parts else 0,
        "include_defaults" not in parts or parts["include_defaults"].flag("`include_defaults`"),
    )


def _grid(node: Node, parts: Mapping[str, Node]) -> Grid:
    given = (
        parts["hyperparameters"].members("hyperparameters") if "hyperparameters" in parts else ()
    )
    members = node.members("`grid`")
    if not members:
        raise node.refusal("`grid` must have one hyperparameter or more; it has none")
    grid = {}
    for name, values in members.items():
        if name in given:
            raise values.refusal(f"`{name}` must stand in `grid` or `hyperparameters`, not in both")
        if not isinstance(values.value, tuple) or not values.value:
            raise values.refusal(f"`{name}` must be a list of values; got {values.kind}")
        seen = []
        for item in values.value:
            value = item.plain()
            if value in seen:
                raise item.refusal(f"values of `{name}` must differ; {item.kind} came twice")
            seen.append(value)
        grid[name] = tuple(seen)
    n = math.prod(map(len, grid.values()))
    if n > _MAX_MEMBERS:
        raise node.refusal(f"`grid` must have at most {_MAX_MEMBERS} combinations; it has {n}")
    return Grid(grid)


def _number(place: int) -> str:
    # No width that depends on how many there are: a plan that grows keeps its labels.
    return f"{place:02}"


LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""Allowed labels of tasks and agents of a plan; labels name folders."""


@final
@dataclass(frozen=True)
class TaskPlan:
    """A task of a sweep; None if its plan leaves a choice to the simulator."""

    label: str
    simulator: str
    space: str | None = None
    workloads: Mapping[str, float] | None = None
    """Weights by name or path."""
    objective: str | None = None
    fidelity: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    stand_in: str | None = None
    """A table or proxy that answers in the simulator's place."""
    best_known: float | None = None
    """A reward that the task allows, where the sweep's own best may fall short of it."""
    start: tuple[str | Mapping[str, Any], ...] = ()
    """Designs that each study evaluates first; see `Study.create`."""
    warm_start: tuple[str, ...] = ()
    """Folders of earlier studies that agents may learn from."""
    stop_at: str | None = None
    """Limits on metrics; the first design that meets them ends a study."""
    id: str = ""
    """The task's name for people, once it was made."""
    digest: str = ""
    """The task's hash, once it was made."""
    minimise: str | None = None
    """Metrics to minimise instead of an objective, separated by commas."""
    maximise: str | None = None
    """Metrics to maximise, separated by commas."""
    subject_to: str | None = None
    """Hard limits on metrics, separated by commas."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Values at which parameters are held."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Values that parameters may have: several, or texts such as 1..8."""

    def make(self, folder: Path | None = None, known: dict[str, Any] | None = None) -> "Task":
        """Return the task.

        Args:
          folder: Folder in which relative paths are looked up first.
          known: Parts of other tasks, as `Task.resolve` takes them.

        Raises:
          UnknownNameError: A name does not exist.
          InvalidArgumentError: A choice does not fit.
        """
        from archgym.tasks.choices import TaskChoices
        from archgym.tasks.task import Task

        return Task.resolve(
            TaskChoices(
                simulator=self.simulator,
                space=self.space,
                workload=self.workloads,
                objective=self.objective,
                minimise=self.minimise,
                maximise=self.maximise,
                subject_to=self.subject_to,
                fidelity=self.fidelity,
                stand_in=self.stand_in,
                options=self.options,
                fixed=self.fixed,
                values=self.values,
                folder=folder,
            ),
            known,
        )

    def decided(self, task: "Task") -> "TaskPlan":
        """Return the plan with everything that it leaves open as the task has it that was made."""
        from archgym.evaluation.stand_in import StandIn

        source = unrestricted(task.simulator)
        return replace(
            self,
            space=task.space_name,
            workloads={w.source: w.weight for w in task.workloads},
            objective=task.objective.name,
            # The name of the objective states metrics and limits.
            minimise=None,
            maximise=None,
            subject_to=None,
            # As the name of the space does what is held.
            fixed={},
            values={},
            fidelity=task.simulator.fidelity,
            stand_in=str(source.path) if isinstance(source, StandIn) else None,
            id=task.id,
            digest=task.digest,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the task as a plan has it."""
        data = {
            "simulator": self.simulator,
            "space": self.space,
            "workload": None if self.workloads is None else dict(self.workloads),
            "objective": self.objective,
            "minimise": self.minimise,
            "maximise": self.maximise,
            "subject_to": self.subject_to,
            "fidelity": self.fidelity,
            "options": dict(self.options) or None,
            "fixed": dict(self.fixed) or None,
            "values": dict(self.values) or None,
            "stand_in": self.stand_in,
            "best_known": self.best_known,
            "start": list(self.start) or None,
            "warm_start": list(self.warm_start) or None,
            "stop_at": self.stop_at,
            "id": self.id or None,
            "digest": self.digest or None,
        }
        return {name: value for name, value in data.items() if value is not None}


@final
@dataclass(frozen=True)
class AgentPlan:
    """An agent of a sweep."""

    label: str
    agent: str
    """The registered name."""
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    on_tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By a task's label, hyperparameters that count more there."""
    family: "Draws | Grid | None" = None
    """The settings that it stands for, until they are decided."""
    group: str = ""
    """Label of the family that it was made from."""

    def on(self, task: str) -> dict[str, Any]:
        """Return hyperparameters on the task with this label."""
        return {**self.hyperparameters, **self.on_tasks.get(task, {})}

    def to_json(self) -> dict[str, Any]:
        """Return the agent as a plan has it."""
        data: dict[str, Any] = {"agent": self.agent}
        if self.hyperparameters:
            data["hyperparameters"] = dict(self.hyperparameters)
        if self.on_tasks:
            data["on_tasks"] = {name: dict(values) for name, values in self.on_tasks.items()}
        if self.group:
            data["group"] = self.group
        return data


PROGRAM: Final = "program"
"""Agent of runs whose designs a program asks for, so that no agent is in their studies."""
# chosen: more seeds from 0 on are recorded as their number, which is read a thousand times faster.
_LISTED = 1000


@final
class Run(msgspec.Struct, frozen=True, gc=False):
    """One study of a sweep; a structure, since a million of them are made in a second."""

    task: TaskPlan
    label: str
    """The agent's label."""
    agent: str
    hyperparameters: Mapping[str, Any]
    seed: int
    budget: int
    max_asks: int | None
    patience: int | None = None
    cache: str | None = None

    @property
    def id(self) -> str:
        """Its folder below the sweep's, such as ``cloud-1/genetic/seed-0``."""
        return f"{self.task.label}/{self.label}/seed-{self.seed}"


@final
@dataclass(frozen=True)
class SweepPlan:
    """Every task is searched by every agent with every seed."""

    tasks: tuple[TaskPlan, ...]
    agents: tuple[AgentPlan, ...]
    seeds: tuple[int, ...]
    budget: int
    """Evaluations of each study."""
    max_asks: int | None = None
    """Asks of each study, repeats included; 20 for each evaluation if None."""
    patience: int | None = None
    """Evaluations without a better design at which a study ends."""
    cache: str | None = None
    """Folder of evaluations that the studies share."""

    def runs(
        self, only: Sequence[str] | None = None, seeds: Sequence[int] | None = None
    ) -> tuple[Run, ...]:
        """Return the studies, seed by seed, so that a part of a sweep is a fair comparison too.

        Args:
          only: Labels of agents or of families, whose members all run; None for all.
          seeds: Seeds of the plan to run; None for all.

        Raises:
          UnknownNameError: The plan has no such agent or seed.
        """
        names = {name for agent in self.agents for name in (agent.label, agent.group) if name}
        check_known("agent of the sweep", only or (), names)
        chosen = set(only or names)
        pairs = [
            (task, agent.label, agent.agent, agent.on(task.label))
            for task in self.tasks
            for agent in self.agents
            if agent.label in chosen or agent.group in chosen
        ]
        wanted, known = set(seeds or ()), set(map(str, self.seeds))
        check_known("seed of the sweep", map(str, seeds or ()), known)
        return tuple(
            Run(*pair, seed, self.budget, self.max_asks, self.patience, self.cache)
            for seed in self.seeds
            if not wanted or seed in wanted
            for pair in pairs
        )

    def to_json(self) -> dict[str, Any]:
        """Return the plan as data that `read_plan` reads."""
        data: dict[str, Any] = {
            "tasks": {task.label: task.to_json() for task in self.tasks},
            "agents": {agent.label: agent.to_json() for agent in self.agents},
            "seeds": self._seeds(),
            "budget": self.budget,
        }
        if self.max_asks is not None:
            data["max_asks"] = self.max_asks
        if self.patience is not None:
            data["patience"] = self.patience
        if self.cache is not None:
            data["cache"] = self.cache
        return data

    def _seeds(self) -> list[int] | int:
        n = len(self.seeds)
        is_count = n > _LISTED and self.seeds == tuple(range(n))
        return n if is_count else list(self.seeds)

    def decided(self) -> "SweepPlan":
        """Return the plan with every task made and everything left open decided.

        Raises:
          UnknownNameError: A name does not exist.
          InvalidArgumentError: A choice does not fit.
        """
        known: dict[str, Any] = {}
        made = tuple(task.decided(task.make(known=known)) for task in self.tasks)
        return replace(self, tasks=made)

    def difference(self, recorded: "SweepPlan") -> str | None:
        """Return the part of a recorded plan that this one changes, or None if it only adds."""
        for name in ("budget", "max_asks", "patience"):
            then, now = getattr(recorded, name), getattr(self, name)
            if then != now:
                return f"`{name}` was {then} and is {now}"
        mine_too = set(self.seeds)
        missing = [seed for seed in recorded.seeds if seed not in mine_too]
        if missing:
            return f"seed {missing[0]} is no longer in it"
        for kind, known, given in (
            ("task", recorded.tasks, self.tasks),
            ("agent", recorded.agents, self.agents),
        ):
            mine = {each.label: each.to_json() for each in given}
            for each in known:
                if each.label not in mine:
                    return f"{kind} {each.label!r} is no longer in it"
                change = _change(each.to_json(), mine[each.label])
                if change is not None:
                    return f"{kind} {each.label!r} has another {change}"
        return None


def _change(then: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    # What only helps to judge the results may change, and where a task's numbers come from: its
    # digest says whether they are the same.
    free = {"best_known", "stand_in"}
    if then.get("digest") and then.get("digest") == now.get("digest"):
        # A version with another default fidelity writes the same task's id in another way.
        free.add("id")
    for name in sorted({*then, *now} - free):
        if then.get(name) != now.get(name):
            return f"`{name}` ({then.get(name)!r} before, {now.get(name)!r} now)"
    return None
