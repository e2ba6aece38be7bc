"""Tools for tasks of the benchmark."""

from typing import Annotated, Any, Literal

import msgspec

from archgym.bench.suite import bench_task, bench_tasks
from archgym.mcp.evaluation import created
from archgym.mcp.inputs import Input, StudyName, Text
from archgym.mcp.workspace import Workspace


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


TOOLS = (
    (ListBenchTasks, _list_tasks, True),
    (CreateBenchStudy, _create, False),
)
"""Input, function and True for tools that change nothing."""
