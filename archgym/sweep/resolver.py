"""Decides what a plan leaves open: its tasks are made, its agents tried; errors name the line."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar, final

from archgym.agent.agent import Agent, agent_class, make_agent
from archgym.errors import ArchGymError
from archgym.evaluation.limits import parse_limits
from archgym.files.json_types import tuples
from archgym.files.yaml_document import Document, Problems
from archgym.studies.prior import StoredPrior, start_designs
from archgym.sweep.plan import LABEL, AgentPlan, Draws, Grid, SweepPlan, TaskPlan
from archgym.tasks.choices import choosing
from archgym.tasks.task import Task

T = TypeVar("T")


def decided_plan(plan: SweepPlan, document: Document, problems: Problems) -> SweepPlan:
    """Return the plan with its tasks made, and every family as the agents that it stands for.

    What does not exist or fit is added to the problems, with the line that names it.
    """
    tasks: dict[str, Task] = {}
    known: dict[str, Any] = {}
    for task in plan.tasks:
        with problems.collected():
            tasks[task.label] = _made(task, document, known)
    warm = [task.label for task in plan.tasks if task.warm_start]
    agents: dict[str, AgentPlan] = {}
    for given in plan.agents:
        with problems.collected():
            for agent in _decided_agents(given, tasks, warm, document):
                twin = agents.setdefault(agent.label.lower(), agent)
                if twin is not agent:
                    raise document.at("agents", given.label).refusal(
                        f"labels must differ beyond case; got {twin.label!r} and {agent.label!r}"
                    )
    return replace(
        plan,
        tasks=tuple(t.decided(tasks[t.label]) for t in plan.tasks if t.label in tasks),
        agents=tuple(agents.values()),
    )


# ---- tasks


def _made(plan: TaskPlan, document: Document, known: dict[str, Any]) -> Task:
    """Return the task; an error names the line of the choice that failed."""
    entry = ("tasks", plan.label)
    try:
        if plan.stand_in is not None:
            path = document.at(*entry, "stand_in").path.parent / plan.stand_in
            plan = replace(plan, stand_in=str(path.absolute()) if path.is_file() else plan.stand_in)
        # A file that the plan includes names its own files.
        task = plan.make(folder=document.at(*entry, "workload").path.parent, known=known)
        for choice, check in (
            ("start", lambda: start_designs(task, plan.start)),
            ("warm_start", lambda: plan.warm_start and StoredPrior.of(task, plan.warm_start)),
            (
                "stop_at",
                lambda: plan.stop_at and parse_limits(plan.stop_at, task.metrics, task.space.names),
            ),
        ):
            with choosing(choice):
                check()
        return task
    except ArchGymError as error:
        choice = error.choice or "simulator"
        raise document.refusal(error, "tasks", plan.label, choice) from None


# ---- agents


def _decided_agents(
    plan: AgentPlan, tasks: Mapping[str, Task], warm: list[str], document: Document
) -> list[AgentPlan]:
    """Return the agent, or those of its family, each tried on every task.

    Args:
      plan: The agent as the plan's file has it.
      tasks: Tasks by label.
      warm: Labels of tasks with earlier studies, which the agent must be able to use.
      document: The plan's file.
    """
    place = ("agents", plan.label)
    try:
        trial = _Trial(plan, agent_class(plan.agent), tasks, document)
    except ArchGymError as error:
        raise document.refusal(error, *place, "agent") from None
    if warm and not trial.kind.uses_prior:
        raise document.at(*place).refusal(
            f"agents must learn from earlier studies for the `warm_start` of task {warm[0]!r}; "
            f"{plan.agent!r} does not",
            "Give their best designs as `start` instead",
        )
    agent = replace(
        plan,
        hyperparameters=trial.typed(plan.hyperparameters),
        on_tasks={label: trial.typed(values) for label, values in plan.on_tasks.items()},
    )
    if isinstance(plan.family, Draws):
        # What all share has to fit by itself, or no draw would.
        trial.check(agent)
        return trial.members(agent, _drawn(plan.family, agent, trial))
    agents = [agent]
    if plan.family is not None:
        agents = trial.members(agent, plan.family.settings(agent.hyperparameters))
    for each in agents:
        trial.check(each)
    return agents


def _drawn(family: Draws, agent: AgentPlan, trial: "_Trial") -> dict[str, dict[str, Any]]:
    settings = family.settings(
        trial.kind,
        agent.hyperparameters,
        lambda values: trial.accepts(replace(agent, hyperparameters=values)),
    )
    drawn = len(settings) - family.include_defaults
    if drawn < family.count:
        raise trial.document.at("agents", agent.label, "draws").refusal(
            f"`draws` must be at most {drawn}, the settings without the defaults in the ranges of "
            f"agent {agent.agent!r}; got {family.count}"
        )
    return settings


@final
@dataclass(frozen=True)
class _Trial:
    """An agent as the plan's file has it, and the tasks that what is made of it is tried on."""

    plan: AgentPlan
    kind: type[Agent]
    tasks: Mapping[str, Task]
    document: Document

    def check(self, agent: AgentPlan) -> None:
        """Refuse what cannot be made on a task.

        Raises:
          FileFormatError: Names the line that has what does not fit.
        """
        for label in self.tasks:
            error = self._refusal(agent, label)
            if error is None:
                continue
            text = str(error)
            chosen = agent.on(label)
            where = next((n for n in chosen if f"`{n}`" in text or repr(n) in text), "")
            names: tuple[str, ...] = ("hyperparameters", where)
            if where in self.plan.on_tasks.get(label, {}):
                names = ("on_tasks", label, where)
            elif isinstance(self.plan.family, Grid) and where in self.plan.family.values:
                names = ("grid", where)
            raise self.document.refusal(error, "agents", self.plan.label, *names) from None

    def accepts(self, agent: AgentPlan) -> bool:
        """Return True if it can be made on every task."""
        return all(self._refusal(agent, label) is None for label in self.tasks)

    def members(
        self, agent: AgentPlan, settings: Mapping[str, Mapping[str, Any]]
    ) -> list[AgentPlan]:
        """Return the agents of a family, by the ends of their labels.

        Raises:
          FileFormatError: A label is too long.
        """
        members = []
        for end, values in settings.items():
            label = f"{self.plan.label}-{end}"
            if not LABEL.fullmatch(label):
                raise self.document.at("agents", self.plan.label).refusal(
                    f"labels must have at most 64 characters; {label!r} has more"
                )
            # Lists, as a recorded plan gives values back.
            plain = {n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}
            members.append(
                replace(
                    agent,
                    label=label,
                    hyperparameters=self.typed(plain),
                    family=None,
                    group=self.plan.label,
                )
            )
        return members

    def typed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values as the agent declares them: 1 for a real number means 1.0."""
        reals = {p.name for p in self.kind.hyperparameters if p.kind == "real"}
        return {
            name: float(value) if name in reals and type(value) is int else value
            for name, value in values.items()
        }

    def _refusal(self, agent: AgentPlan, label: str) -> ArchGymError | None:
        """Return the reason why an agent cannot be made on a task, or None."""
        values = tuples(agent.on(label))
        try:
            make_agent(self.kind, self.tasks[label].space, 0, values)
        except ArchGymError as error:
            return error
        return None
