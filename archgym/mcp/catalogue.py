"""Tools that list and describe simulators, workloads, agents and tasks of the benchmark."""

from typing import Annotated, Any, Literal

import msgspec

from archgym.agent.agent import agent_class, agent_names
from archgym.bench.suite import bench_task, bench_tasks
from archgym.errors import ArchGymError
from archgym.evaluation.simulator import option_names, simulator_class, simulator_names
from archgym.evaluation.task_choices import TaskChoices, resolve_simulator
from archgym.mcp.evaluation import created
from archgym.mcp.inputs import Input, StudyName, Text
from archgym.mcp.workspace import Workspace, require_label

# chosen: counting feasible designs of a larger space takes seconds.
_COUNT_AT_ONCE = 100_000


class ListSimulators(Input, frozen=True, kw_only=True):
    """List simulators with their spaces, workloads, objectives, fidelities and options."""


class DescribeSimulator(Input, frozen=True, kw_only=True):
    """Describe a design space: parameters with units and ranges, constraints, metrics.

    Constraints name the reason that an infeasible design is given.
    """

    simulator: Text
    space: Text | None = None
    fidelity: Text | None = None
    options: dict[str, str] = msgspec.field(default_factory=dict)


class DescribeWorkload(Input, frozen=True, kw_only=True):
    """Describe a workload by measured characteristics with units."""

    simulator: Text
    workload: Annotated[
        Text | None, msgspec.Meta(description="Name, or a file in the working folder.")
    ] = None
    options: dict[str, str] = msgspec.field(default_factory=dict)


class ListAgents(Input, frozen=True, kw_only=True):
    """List search agents with their hyperparameters, for `propose` and `search`."""


def _list_simulators(workspace: Workspace, given: ListSimulators) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    for name in simulator_names():
        try:
            kind = simulator_class(name)
            made, _ = resolve_simulator(TaskChoices(simulator=name))
        except ArchGymError as error:
            found.append({"name": name, "problem": " ".join(str(error).split())})
            continue
        found.append(
            {
                "name": name,
                "version": kind.version,
                "doc": _first_line(kind),
                "spaces": list(kind.space_names),
                "fidelities": list(kind.fidelity_names),
                "workloads": list(made.workload_names()),
                "objectives": {n: o.doc for n, o in made.objectives.items()},
                "options": list(option_names(kind)),
            }
        )
    return {"simulators": found}


def _describe_simulator(workspace: Workspace, given: DescribeSimulator) -> dict[str, Any]:
    choices = workspace.choices(
        TaskChoices(
            simulator=given.simulator,
            space=given.space,
            fidelity=given.fidelity,
            options=given.options,
        )
    )
    simulator, _ = resolve_simulator(choices)
    space = simulator.space
    counted = space.count() if space.size <= _COUNT_AT_ONCE else None
    return {
        "simulator": simulator.name,
        "version": simulator.version,
        "fidelity": simulator.fidelity,
        "options": dict(simulator.options),
        "size": space.size if space.size < 2**53 else f"{space.size:.3e}",
        "feasible_designs": None if counted is None else counted.value,
        "space": space.to_json(),
        "metrics": [spec.to_json() for spec in simulator.metrics],
        "objectives": {name: o.doc for name, o in simulator.objectives.items()},
        "default_objective": simulator.default_objective,
        "workloads": list(simulator.workload_names()),
        "default_workload": simulator.default_workload,
        "reasons": list(simulator.reasons[1:]),
    }


def _describe_workload(workspace: Workspace, given: DescribeWorkload) -> dict[str, Any]:
    choices = workspace.choices(
        TaskChoices(simulator=given.simulator, workload=given.workload, options=given.options)
    )
    simulator, _ = resolve_simulator(choices)
    name = given.workload or simulator.default_workload
    if name not in simulator.workload_names():
        name = str(workspace.path(name))
    workload = simulator.workload(name)
    require_label(workload)
    facts = simulator.describe_workload(workload)
    return {
        "simulator": simulator.name,
        "workload": workload.name,
        "digest": workload.digest,
        "characteristics": {
            fact: {"value": value, "unit": unit} for fact, (value, unit) in facts.items()
        },
    }


def _list_agents(workspace: Workspace, given: ListAgents) -> dict[str, Any]:
    found = []
    for name in agent_names():
        try:
            kind = agent_class(name)
        except ArchGymError:
            # Its library is not installed.
            continue
        found.append(
            {
                "name": name,
                "doc": _first_line(kind),
                "kind": kind.kind,
                "replayable": kind.replayable,
                "hyperparameters": {p.name: p.value(p.default_index) for p in kind.hyperparameters},
            }
        )
    return {"agents": found}


def _first_line(kind: type[Any]) -> str:
    return (kind.__doc__ or "").strip().split("\n")[0]


TOOLS = (
    (ListSimulators, _list_simulators, True),
    (DescribeSimulator, _describe_simulator, True),
    (DescribeWorkload, _describe_workload, True),
    (ListAgents, _list_agents, True),
)
"""Input, function and True for tools that change nothing."""


class ListBenchTasks(Input, frozen=True, kw_only=True):
    """List tasks of the benchmark with their budgets, splits and reasons."""

    suite: Literal["core", "full", "few", "transfer", "fidelity", "front"] = "core"
    split: Literal["development", "verdict"] | None = None


class CreateBenchStudy(Input, frozen=True, kw_only=True):
    """Create a study of a task of the benchmark, with the largest budget it is judged at.

    Its optimum is not part of any answer.
    """

    study: StudyName
    task: Annotated[Text, msgspec.Meta(description="Name of a task of list_bench_tasks.")]
    budget: Annotated[int, msgspec.Meta(ge=1, le=1000, description="A smaller budget.")] | None = (
        None
    )


def _list_tasks(workspace: Workspace, given: ListBenchTasks) -> dict[str, Any]:
    return {
        "tasks": [
            {
                "task": each.label,
                "simulator": each.plan.simulator,
                "space": each.plan.space,
                "objective": each.sought,
                "limits": each.plan.subject_to,
                "split": each.split,
                "budgets": list(each.budgets),
                "why": each.why,
            }
            for each in bench_tasks(given.suite, given.split)
        ]
    }


def _create(workspace: Workspace, given: CreateBenchStudy) -> dict[str, Any]:
    chosen = bench_task(given.task)
    largest = max(chosen.budgets)
    budget = largest if given.budget is None else min(given.budget, largest)
    return created(given.study, workspace.create(given.study, chosen.plan.make(), budget))


BENCH_TOOLS = (
    (ListBenchTasks, _list_tasks, True),
    (CreateBenchStudy, _create, False),
)
"""Tools of the benchmark, in the same form."""
