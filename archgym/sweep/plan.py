"""Plans of sweeps: which agents are to search which tasks, with which seeds, for how long."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, final

from archgym.document import Document, Node, read_document
from archgym.errors import ArchGymError, FileFormatError, unknown_name
from archgym.storage import write_atomic
from archgym.sweep.assembly import assembled_document
from archgym.sweep.family import FAMILY_KEYS, Draws, Grid, read_family
from archgym.sweep.tuned import TunedEntry, read_tuned, shipped_tuned, tuned_hyperparameters

if TYPE_CHECKING:
    from archgym.agent import Agent
    from archgym.simulator import Simulator
    from archgym.task import Task

__all__ = [
    "PLAN_NAME",
    "AgentPlan",
    "Run",
    "SweepPlan",
    "TaskPlan",
    "read_plan",
    "read_recorded_plan",
    "write_recorded_plan",
]

PLAN_NAME = "sweep.json"
"""The plan in a sweep's folder, with everything that the plan's file leaves open decided."""

T = TypeVar("T")

# chosen: far beyond any sweep; what is larger was written by mistake.
_MAX_RUNS = 1_000_000
_MAX_BUDGET = 10**9
_MAX_SEED = 2**63 - 1
_MAX_REWARD = 1e9
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_PLAN_KEYS = ("tasks", "agents", "seeds", "budget", "max_asks")
_TASK_KEYS = (
    "simulator",
    "space",
    "workload",
    "objective",
    "fidelity",
    "options",
    "stand_in",
    "best_known",
)
_RECORDED_TASK_KEYS = (*_TASK_KEYS, "id", "digest")
_RECORDED_AGENT_KEYS = ("agent", "hyperparameters", "on_tasks", "group")
_AGENT_KEYS = ("agent", "hyperparameters", "tuned", "on_tasks", *FAMILY_KEYS)


@final
@dataclass(frozen=True)
class TaskPlan:
    """A task of a sweep; None where its plan leaves a choice to the simulator."""

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
    id: str = ""
    """The task's name for people, once it was made."""
    digest: str = ""
    """The task's hash, once it was made."""

    def make(self) -> "Task":
        """The task.

        Raises:
          UnknownNameError: A name does not exist.
          InvalidArgumentError: A choice does not fit.
        """
        from archgym.task import Task

        return Task.make(
            self.simulator,
            self.workloads,
            self.objective,
            self.space,
            self.fidelity,
            stand_in=self.stand_in,
            **self.options,
        )

    def to_json(self) -> dict[str, Any]:
        """The task as a plan has it."""
        data = {
            "simulator": self.simulator,
            "space": self.space,
            "workload": None if self.workloads is None else dict(self.workloads),
            "objective": self.objective,
            "fidelity": self.fidelity,
            "options": dict(self.options) or None,
            "stand_in": self.stand_in,
            "best_known": self.best_known,
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
    tuned: bool | str = False
    """Whether it starts from the hyperparameters that ship for each task; or a file of others."""
    family: Draws | Grid | None = None
    """The settings that it stands for, until they are decided."""
    group: str = ""
    """Label of the family that it was made from."""

    def on(self, task: str) -> dict[str, Any]:
        """Hyperparameters on the task with this label."""
        return {**self.hyperparameters, **self.on_tasks.get(task, {})}

    def to_json(self) -> dict[str, Any]:
        """The agent as a plan has it."""
        data: dict[str, Any] = {"agent": self.agent}
        if self.hyperparameters:
            data["hyperparameters"] = dict(self.hyperparameters)
        if self.on_tasks:
            data["on_tasks"] = {name: dict(values) for name, values in self.on_tasks.items()}
        if self.group:
            data["group"] = self.group
        return data


@final
@dataclass(frozen=True)
class Run:
    """One study of a sweep."""

    task: TaskPlan
    label: str
    """The agent's label."""
    agent: str
    hyperparameters: Mapping[str, Any]
    seed: int
    budget: int
    max_asks: int | None

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
    """Asks of each study, repeats included; 20 for each evaluation where None."""

    def runs(
        self, only: Sequence[str] | None = None, seeds: Sequence[int] | None = None
    ) -> tuple[Run, ...]:
        """The studies, seed by seed, so that a part of a sweep is a fair comparison too.

        Args:
          only: Labels of agents; all where None.
          seeds: Which of the plan's; all where None.

        Raises:
          UnknownNameError: The plan has no such agent or seed.
        """
        labels = [agent.label for agent in self.agents]
        for label in only or ():
            if label not in labels:
                raise unknown_name("agent of the sweep", label, labels)
        wanted, known = set(seeds or ()), set(self.seeds)
        for seed in seeds or ():
            if seed not in known:
                raise unknown_name("seed of the sweep", str(seed), map(str, self.seeds))
        return tuple(
            Run(
                task,
                agent.label,
                agent.agent,
                agent.on(task.label),
                seed,
                self.budget,
                self.max_asks,
            )
            for seed in self.seeds
            if not wanted or seed in wanted
            for task in self.tasks
            for agent in self.agents
            if not only or agent.label in only
        )

    def to_json(self) -> dict[str, Any]:
        """The plan as data that `read_plan` reads."""
        data: dict[str, Any] = {
            "tasks": {task.label: task.to_json() for task in self.tasks},
            "agents": {agent.label: agent.to_json() for agent in self.agents},
            "seeds": list(self.seeds),
            "budget": self.budget,
        }
        if self.max_asks is not None:
            data["max_asks"] = self.max_asks
        return data

    def decided(self) -> "SweepPlan":
        """The plan with every task made and everything left open decided.

        Raises:
          UnknownNameError: A name does not exist.
          InvalidArgumentError: A choice does not fit.
        """
        tasks = tuple(_decided_task(task, task.make()) for task in self.tasks)
        return replace(self, tasks=tasks)

    def difference(self, recorded: "SweepPlan") -> str | None:
        """What of a recorded plan this one changes, in words; None where it only adds to it."""
        for name in ("budget", "max_asks"):
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


def read_plan(path: str | Path, settings: Sequence[str] = ()) -> SweepPlan:
    """Reads a plan and checks all of it: tasks are made, hyperparameters tried.

    Args:
      path: A YAML file.
      settings: What counts more than the file, such as ``budget=100``.

    Raises:
      FileFormatError: It cannot be run as it stands; the error names the line.
      InvalidArgumentError: A setting is none.
      StorageError: It cannot be read.
    """
    document = assembled_document(path, settings)
    return _decided(_plan(document, _TASK_KEYS, _AGENT_KEYS), document)


def read_recorded_plan(folder: str | Path) -> SweepPlan:
    """The plan of a sweep's folder, read without any simulator or agent.

    Raises:
      FileFormatError: The folder has none, or it is damaged.
      StorageError: It cannot be read.
    """
    path = Path(folder) / PLAN_NAME
    if not path.is_file():
        raise FileFormatError(
            folder,
            None,
            f"a sweep must have a file {PLAN_NAME}, and there is none",
            "Check the path, or start one with `archgym sweep run`",
        )
    return _plan(read_document(path), _RECORDED_TASK_KEYS, _RECORDED_AGENT_KEYS)


def write_recorded_plan(folder: Path, plan: SweepPlan) -> None:
    """Writes the plan into a sweep's folder, whole or not at all.

    Raises:
      StorageError: It cannot be written.
    """
    text = json.dumps(plan.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(folder / PLAN_NAME, text + "\n")


# ---- from the document


def _plan(document: Document, task_keys: Sequence[str], agent_keys: Sequence[str]) -> SweepPlan:
    root = document.root
    parts = root.members("a plan", _PLAN_KEYS)
    for name in ("tasks", "agents", "seeds", "budget"):
        if name not in parts:
            raise root.refusal(f"a plan must have `{name}`; it has none")
    plan = SweepPlan(
        tuple(_task(label, node, task_keys) for label, node in _labelled(parts["tasks"], "tasks")),
        tuple(
            _agent(label, node, agent_keys) for label, node in _labelled(parts["agents"], "agents")
        ),
        _seeds(parts["seeds"]),
        parts["budget"].whole("`budget`", 1, _MAX_BUDGET),
        parts["max_asks"].whole("`max_asks`", 1, 20 * _MAX_BUDGET) if "max_asks" in parts else None,
    )
    _check_size(plan, root)
    labels = {task.label for task in plan.tasks}
    for agent in plan.agents:
        for label in agent.on_tasks:
            if label not in labels:
                error = unknown_name("task of the plan", label, labels)
                raise document.refusal(error, "agents", agent.label, "on_tasks", label)
    return plan


def _check_size(plan: SweepPlan, root: Node) -> None:
    n_runs = len(plan.tasks) * len(plan.agents) * len(plan.seeds)
    if n_runs > _MAX_RUNS:
        raise root.refusal(f"a plan must have at most {_MAX_RUNS} runs; it has {n_runs}")


def _labelled(node: Node, what: str) -> Iterable[tuple[str, Node]]:
    members = node.members(f"`{what}`")
    if not members:
        raise node.refusal(f"`{what}` must have one member or more; it has none")
    seen: dict[str, str] = {}
    for label, member in members.items():
        if not _LABEL.fullmatch(label):
            raise member.refusal(
                "a label must be letters, digits, dashes and underscores, at most 64, and "
                f"begin with a letter or digit; got {label!r}"
            )
        # Labels name folders, and some file systems do not tell cases apart.
        twin = seen.setdefault(label.lower(), label)
        if twin != label:
            raise member.refusal(f"labels must differ beyond case; got {twin!r} and {label!r}")
    return members.items()


def _task(label: str, node: Node, keys: Sequence[str]) -> TaskPlan:
    parts = node.members("a task", keys)
    if "simulator" not in parts:
        raise node.refusal("a task must have a `simulator`; it has none")
    texts = {
        name: parts[name].text(f"`{name}`")
        for name in ("simulator", "space", "objective", "fidelity", "stand_in", "id", "digest")
        if name in parts
    }
    options = _options(parts["options"]) if "options" in parts else {}
    best_known = (
        parts["best_known"].number("`best_known`", -_MAX_REWARD, _MAX_REWARD)
        if "best_known" in parts
        else None
    )
    workloads = _workloads(parts["workload"]) if "workload" in parts else None
    return TaskPlan(label, workloads=workloads, options=options, best_known=best_known, **texts)


def _options(node: Node) -> dict[str, str]:
    members = node.members("`options`")
    return {name: member.text(f"option `{name}`") for name, member in members.items()}


def _workloads(node: Node) -> dict[str, float]:
    if isinstance(node.value, Mapping):
        weights = {n: m.number("a weight", 0, 1e9) for n, m in node.value.items()}
    elif isinstance(node.value, tuple):
        weights = {}
        for item in node.value:
            name = item.text("a workload")
            if name in weights:
                raise item.refusal(f"each workload must come once; {name!r} came twice")
            weights[name] = 1.0
    else:
        weights = {node.text("`workload`"): 1.0}
    for name, weight in weights.items():
        if not weight:
            raise node.refusal(f"a weight must be above 0; {name!r} has 0")
    return weights


def _agent(label: str, node: Node, keys: Sequence[str]) -> AgentPlan:
    parts = node.members("an agent", keys)
    name = parts["agent"].text("`agent`") if "agent" in parts else label
    chosen = _values(parts["hyperparameters"]) if "hyperparameters" in parts else {}
    tuned: bool | str = False
    if "tuned" in parts:
        given = parts["tuned"]
        is_file = isinstance(given.value, str)
        if not is_file and not isinstance(given.value, bool):
            raise given.refusal(f"`tuned` must be true, false or a file; got {given.kind}")
        tuned = str(given.path.parent / given.text("`tuned`")) if is_file else given.flag("`tuned`")
    on_tasks = {}
    if "on_tasks" in parts:
        members = parts["on_tasks"].members("`on_tasks`")
        on_tasks = {task: _values(member) for task, member in members.items()}
    group = parts["group"].text("`group`") if "group" in parts else ""
    return AgentPlan(label, name, chosen, on_tasks, tuned, read_family(parts), group)


def _values(node: Node) -> dict[str, Any]:
    members = node.members("hyperparameters")
    return {name: member.plain() for name, member in members.items()}


def _seeds(node: Node) -> tuple[int, ...]:
    if isinstance(node.value, int) and not isinstance(node.value, bool):
        return tuple(range(node.whole("`seeds`", 1, _MAX_RUNS)))
    if not isinstance(node.value, tuple) or not node.value:
        raise node.refusal(
            f"`seeds` must be a list of whole numbers or how many there are; got {node.kind}"
        )
    # A dict keeps their order, and finds one among a hundred thousand at once.
    seeds: dict[int, None] = {}
    for item in node.value:
        seed = item.whole("a seed", 0, _MAX_SEED)
        if seed in seeds:
            raise item.refusal(f"seeds must differ; {seed} came twice")
        seeds[seed] = None
    return tuple(seeds)


# ---- decisions that need simulators and agents


def _decided(plan: SweepPlan, document: Document) -> SweepPlan:
    tasks, made = [], {}
    for task in plan.tasks:
        made[task.label] = _made(task, document)
        tasks.append(_decided_task(task, made[task.label]))
    agents: dict[str, AgentPlan] = {}
    for given in plan.agents:
        for agent in _decided_agents(given, made, document):
            twin = agents.setdefault(agent.label.lower(), agent)
            if twin is not agent:
                raise document.at("agents", given.label).refusal(
                    f"labels must differ beyond case; got {twin.label!r} and {agent.label!r}"
                )
    decided = replace(plan, tasks=tuple(tasks), agents=tuple(agents.values()))
    _check_size(decided, document.root)
    return decided


def _made(task: TaskPlan, document: Document) -> "Task":
    """The task, each choice tried by itself before, so that an error finds its line."""
    place = ("tasks", task.label)

    def tried(name: str, work: Callable[[], T]) -> T:
        try:
            return work()
        except ArchGymError as error:
            raise document.refusal(error, *place, name) from None

    simulator = _simulator(task, document, tried)
    stand_in = None
    if task.stand_in is not None:
        stand_in = _beside(document.at(*place, "stand_in"), task.stand_in)
    workloads = task.workloads
    if workloads is not None:
        shipped = simulator.workload_names()
        workloads = {
            name
            if name in shipped
            else _beside(document.at(*place, "workload", name), name): weight
            for name, weight in workloads.items()
        }
        names = list(workloads)
        tried("workload", lambda: [simulator.workload(name) for name in names])
    return tried("objective", replace(task, workloads=workloads, stand_in=stand_in).make)


def _simulator(
    task: TaskPlan, document: Document, tried: Callable[[str, Callable[[], Any]], Any]
) -> "Simulator":
    """A task's simulator or what stands in for it, each choice tried by itself."""
    from archgym.discovery import simulator_class
    from archgym.simulator import make_simulator
    from archgym.standin import StandIn, check_agreement, open_stand_in

    if task.stand_in is not None:
        path = _beside(document.at("tasks", task.label, "stand_in"), task.stand_in)
        opened: StandIn = tried("stand_in", lambda: open_stand_in(path))
        tried(
            "stand_in",
            lambda: check_agreement(
                opened, task.simulator, task.space, task.fidelity, task.options
            ),
        )
        return opened
    kind: type[Simulator] = tried("simulator", lambda: simulator_class(task.simulator))
    tried("space", lambda: _require("space", [task.space], kind.space_names))
    tried("fidelity", lambda: _require("fidelity", [task.fidelity], kind.fidelity_names))
    simulator: Simulator = tried(
        "options", lambda: make_simulator(kind, task.space, task.fidelity, task.options)
    )
    return simulator


def _require(kind: str, names: Iterable[str | None], known: Sequence[str]) -> None:
    for name in names:
        if name is not None and name not in known:
            raise unknown_name(kind, name, known)


def _beside(node: Node, name: str) -> str:
    """The file of a workload or stand-in is looked for beside the file that names it first."""
    path = node.path.parent / name
    return str(path.absolute()) if path.is_file() else name


def _decided_task(plan: TaskPlan, task: "Task") -> TaskPlan:
    from archgym.standin import StandIn

    return replace(
        plan,
        space=task.space_name,
        workloads={w.source: w.weight for w in task.workloads},
        objective=task.objective.name,
        fidelity=task.simulator.fidelity,
        stand_in=str(task.simulator.path) if isinstance(task.simulator, StandIn) else None,
        id=task.id,
        digest=task.digest,
    )


def _decided_agents(
    plan: AgentPlan, tasks: Mapping[str, "Task"], document: Document
) -> list[AgentPlan]:
    """The agent, or those of its family."""
    from archgym.discovery import agent_class

    place = ("agents", plan.label)
    try:
        kind = agent_class(plan.agent)
    except ArchGymError as error:
        raise document.refusal(error, *place, "agent") from None
    on_tasks = dict(plan.on_tasks)
    if plan.tuned:
        try:
            entries = read_tuned(plan.tuned) if isinstance(plan.tuned, str) else shipped_tuned()
            on_tasks = {
                label: {**_tuned(task.id, plan, entries), **plan.on_tasks.get(label, {})}
                for label, task in tasks.items()
            }
        except ArchGymError as error:
            raise document.refusal(error, *place, "tuned") from None
    decided = replace(
        plan,
        hyperparameters=_typed(kind, plan.hyperparameters),
        on_tasks={label: _typed(kind, values) for label, values in on_tasks.items()},
        tuned=False,
    )
    if plan.family is None:
        _check_agent(plan, decided, kind, tasks, document)
        return [decided]
    return _members(plan, decided, kind, tasks, document)


def _members(
    plan: AgentPlan,
    decided: AgentPlan,
    kind: type["Agent"],
    tasks: Mapping[str, "Task"],
    document: Document,
) -> list[AgentPlan]:
    """The agents of a family, each tried on every task."""
    family, node = plan.family, document.at("agents", plan.label)

    def member(end: str, values: Mapping[str, Any]) -> AgentPlan:
        label = f"{plan.label}-{end}"
        if not _LABEL.fullmatch(label):
            raise node.refusal(f"labels must have at most 64 characters; {label!r} has more")
        values = _typed(kind, _lists(values))
        return replace(decided, label=label, hyperparameters=values, family=None, group=plan.label)

    if isinstance(family, Grid):
        settings = family.settings(decided.hyperparameters)
        members = [member(*each) for each in settings.items()]
        for each in members:
            _check_agent(plan, each, kind, tasks, document)
        return members
    assert family is not None
    # What all share has to fit by itself, or no draw would.
    _check_agent(plan, decided, kind, tasks, document)

    def accepts(values: Mapping[str, Any]) -> bool:
        tried = replace(decided, hyperparameters=values)
        return all(_refusal(tried, label, kind, task) is None for label, task in tasks.items())

    settings = family.settings(kind, decided.hyperparameters, accepts)
    drawn = len(settings) - family.include_defaults
    if drawn < family.count:
        raise document.at("agents", plan.label, "draws").refusal(
            f"`draws` must be at most the {drawn} settings beside the defaults that the ranges of "
            f"agent {plan.agent!r} hold; got {family.count}"
        )
    return [member(*each) for each in settings.items()]


def _check_agent(
    plan: AgentPlan,
    decided: AgentPlan,
    kind: type["Agent"],
    tasks: Mapping[str, "Task"],
    document: Document,
) -> None:
    for label, task in tasks.items():
        error = _refusal(decided, label, kind, task)
        if error is None:
            continue
        text = str(error)
        chosen = decided.on(label)
        where = next((n for n in chosen if f"`{n}`" in text or repr(n) in text), "")
        names: tuple[str, ...] = ("hyperparameters", where)
        if where in plan.on_tasks.get(label, {}):
            names = ("on_tasks", label, where)
        elif isinstance(plan.family, Grid) and where in plan.family.values:
            names = ("grid", where)
        raise document.refusal(error, "agents", plan.label, *names) from None


def _refusal(
    agent: AgentPlan, label: str, kind: type["Agent"], task: "Task"
) -> ArchGymError | None:
    """Why an agent cannot be made on a task; None where it can."""
    from archgym.agent import make_agent

    try:
        make_agent(kind, task.space, 0, _tuples(agent.on(label)))
    except ArchGymError as error:
        return error
    return None


def _tuned(task: str, plan: AgentPlan, entries: Sequence[TunedEntry]) -> dict[str, Any]:
    # What the plan says for all tasks counts more than what was tuned.
    found = tuned_hyperparameters(task, plan.agent, entries)
    return {n: v for n, v in found.items() if n not in plan.hyperparameters}


def _typed(kind: type["Agent"], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as the agent declares them: 1 for a real number means 1.0."""
    reals = {parameter.name for parameter in kind.hyperparameters if parameter.kind == "real"}
    return {
        name: float(value) if name in reals and type(value) is int else value
        for name, value in values.items()
    }


def _lists(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as a recorded plan gives them back."""
    return {n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}


def _change(then: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    for name in sorted({*then, *now}):
        # What only helps to judge the results may change, and where a task's numbers come from: its
        # digest says whether they are the same.
        if name not in ("best_known", "stand_in") and then.get(name) != now.get(name):
            return f"`{name}` ({then.get(name)!r} before, {now.get(name)!r} now)"
    return None
