"""Tools that read studies: best, front, history, comparison, verification and export."""

import csv
import io
import json
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from archgym.errors import InvalidArgumentError
from archgym.files.storage import write_atomic
from archgym.mcp.evaluation import shown_metrics, status
from archgym.mcp.workspace import Count, Input, StudyName, Text, Workspace, plain_name
from archgym.report.export import export_design, export_formats
from archgym.report.study_summary import compare, front_json
from archgym.spaces.display import cell
from archgym.studies.front import metrics_objective, study_front
from archgym.studies.snapshot import StudyLog, verify_study

GUIDE = "archgym://guide"
"""Address of the guide to a search."""


class ListStudies(Input, frozen=True, kw_only=True):
    """List the studies in the working folder with their budgets."""


class Best(Input, frozen=True, kw_only=True):
    """Return the best design of a study with all metrics, by workload."""

    study: StudyName


class Front(Input, frozen=True, kw_only=True):
    """Return the Pareto front of a study, over its objective or over named metrics."""

    study: StudyName
    metrics: Annotated[
        list[Text] | None, msgspec.Meta(description="Two metrics or more (default: objective).")
    ] = None


class History(Input, frozen=True, kw_only=True):
    """Return evaluations of a study in their order, with designs and rewards."""

    study: StudyName
    first: Annotated[int, msgspec.Meta(ge=0, description="Evaluations to leave out.")] = 0
    count: Count = 50


class Compare(Input, frozen=True, kw_only=True):
    """Compare studies of one task after the same number of evaluations."""

    studies: Annotated[list[StudyName], msgspec.Meta(min_length=2, max_length=50)]


class Verify(Input, frozen=True, kw_only=True):
    """Evaluate a study again, and report evaluations that differ or exceed the budget.

    Nothing is charged, and no new result is returned.
    """

    study: StudyName


class Export(Input, frozen=True, kw_only=True):
    """Write the best design, the front or all evaluations to a new file in the working folder."""

    study: StudyName
    file: Annotated[Text, msgspec.Meta(description="New file that ends in .json or .csv.")]
    content: Literal["best", "front", "evaluations"] = "best"


class ExportDesign(Input, frozen=True, kw_only=True):
    """Write the best design of a study in the format of a tool, as `archgym export --as` does.

    Without a format, the formats of the study's simulator are listed.
    """

    study: StudyName
    format: Annotated[Text | None, msgspec.Meta(description="Format, such as champsim.")] = None
    file: Annotated[
        Text | None, msgspec.Meta(description="New file or folder in the working folder.")
    ] = None


def _list_studies(workspace: Workspace, given: ListStudies) -> dict[str, Any]:
    return {
        "studies": [
            {
                "study": name,
                "task": plain_name((header := workspace.header(name)).task["id"]),
                "kind": header.kind,
                "budget": header.budget,
            }
            for name in workspace.names()
        ],
        "rule_studies": workspace.rule_names(),
        "server_budget": workspace.budget,
    }


def _best(workspace: Workspace, given: Best) -> dict[str, Any]:
    log = workspace.log(given.study)
    best = log.best()
    return {
        "study": given.study,
        **status(log),
        "damage": log.damage_report(),
        "units": {spec.name: spec.unit for spec in log.metrics},
        "limits": [str(limit) for limit in log.limits],
        "best": None if best is None else {**best.to_json(), "missed_limits": log.missed(best)},
    }


def _front(workspace: Workspace, given: Front) -> dict[str, Any]:
    log = workspace.log(given.study)
    objective = None if given.metrics is None else metrics_objective(log, given.metrics)
    return {
        "study": given.study,
        **status(log),
        "units": {spec.name: spec.unit for spec in log.metrics},
        **front_json(log, study_front(log, objective=objective)),
    }


def _history(workspace: Workspace, given: History) -> dict[str, Any]:
    log = workspace.log(given.study)
    rows = np.flatnonzero(log.is_evaluation)[given.first : given.first + given.count]
    shown = shown_metrics(log, False)
    found = []
    for row in rows.tolist():
        outcome = log.outcome(row)
        found.append(
            {
                "evaluation": outcome.evaluation,
                "reward": outcome.reward,
                "feasible": bool(log.is_feasible[row]),
                "metrics": {name: outcome.metrics[name] for name in shown},
                "design": dict(outcome.design),
            }
        )
    return {"study": given.study, **status(log), "first": given.first, "history": found}


def _compare(workspace: Workspace, given: Compare) -> dict[str, Any]:
    if len(set(given.studies)) < len(given.studies):
        raise InvalidArgumentError("`studies` must name each study once; one came twice.")
    found = compare([workspace.log(name) for name in given.studies]).to_json()
    for study in found["studies"]:
        study["study"] = Path(study.pop("folder")).name
    if found["overall_best"] is not None:
        found["overall_best"] = Path(found["overall_best"]).name
    return found


def _verify(workspace: Workspace, given: Verify) -> dict[str, Any]:
    task = workspace.study(given.study).task
    log = workspace.log(given.study)
    found = verify_study(log, task)
    beyond = list(range((log.header.budget or log.evaluations) + 1, log.evaluations + 1))
    return {
        "study": given.study,
        "evaluations": log.evaluations,
        "is_intact": not found and not beyond and log.damage_report() is None,
        "damage": log.damage_report(),
        "differing": list(found[:50]),
        "n_differing": len(found),
        "beyond_budget": beyond[:50],
        "n_beyond_budget": len(beyond),
    }


def _export(workspace: Workspace, given: Export) -> dict[str, Any]:
    log = workspace.log(given.study)
    path = workspace.output(given.file)
    rows = _rows(log, given.content)
    if path.suffix == ".json":
        text = json.dumps({"task": log.task_id, "designs": rows}, indent=1) + "\n"
    elif path.suffix == ".csv":
        text = _csv(log, rows)
    else:
        raise InvalidArgumentError(f"`file` must end in .json or .csv; got {given.file!r}.")
    write_atomic(path, text)
    return {"file": str(path.relative_to(workspace.root)), "rows": len(rows), "bytes": len(text)}


def _export_design(workspace: Workspace, given: ExportDesign) -> dict[str, Any]:
    task = workspace.study(given.study).task
    formats = export_formats(task.simulator)
    if given.format is None:
        return {"study": given.study, "formats": formats}
    if given.file is None:
        raise InvalidArgumentError("`file` must name a new file or folder for the export.")
    path = workspace.output(given.file)
    best = workspace.log(given.study).best()
    if best is None:
        raise InvalidArgumentError("The study has no feasible design to export.")
    found = export_design(task, task.space.indices_of(best.design), given.format)
    written = found.write(path)
    return {
        "study": given.study,
        "format": found.form,
        "files": [str(each.relative_to(workspace.root)) for each in written],
        "missed_limits": list(found.missed_limits),
        "notes": found.notes,
    }


def _rows(log: StudyLog, content: str) -> list[dict[str, Any]]:
    if content == "best":
        best = log.best()
        if best is None:
            raise InvalidArgumentError("The study has no feasible design to export.")
        return [best.to_json()]
    if content == "front":
        return [log.outcome(int(row)).to_json() for row in study_front(log).rows]
    rows = np.flatnonzero(log.is_evaluation & log.is_feasible)
    return [log.outcome(int(row)).to_json() for row in rows]


def _csv(log: StudyLog, rows: list[dict[str, Any]]) -> str:
    """Return rows as CSV: number, reward, parameters, metrics with units in the heading."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(
        ["evaluation", "reward", *log.space.names, *(spec.label for spec in log.metrics)]
    )
    for row in rows:
        design = [cell(row["design"][name]) for name in log.space.names]
        metrics = [row["metrics"][spec.name] for spec in log.metrics]
        writer.writerow([row["evaluation"], row["reward"], *design, *metrics])
    return written.getvalue()


def guide() -> str:
    """Return the guide to a search, in Markdown."""
    return (files("archgym.mcp") / "SKILL.md").read_text(encoding="utf-8")


TOOLS = (
    (ListStudies, _list_studies, True),
    (Best, _best, True),
    (Front, _front, True),
    (History, _history, True),
    (Compare, _compare, True),
    (Verify, _verify, True),
    (Export, _export, False),
    (ExportDesign, _export_design, False),
)
"""Input, function and True for tools that change nothing."""
