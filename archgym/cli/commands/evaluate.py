"""`archgym evaluate`: the metrics of one design."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.cli.console.signals import prompt_stops
from archgym.cli.console.terminal import heading, notice, prose, say, write_json
from archgym.cli.options.design import best_of, design_in_files, is_study, named_design
from archgym.cli.options.task import JsonOption, TaskOptions, make_task, task_choices
from archgym.cli.options.values import (
    assignments,
    complete_simulator,
    design_with,
    filled_design,
    is_inline,
    read_design,
)
from archgym.errors import InvalidArgumentError
from archgym.files.remote import local_copy

if TYPE_CHECKING:
    from archgym.spaces.design import Design
    from archgym.tasks.task import Evaluation, Task

_INFEASIBLE_CODE = 3


_SubjectArgument = Annotated[
    str,
    typer.Argument(
        help="Simulator, complete task, folder of a study (for its best design), or JSON file of a "
        "design that names its task.",
        autocompletion=complete_simulator,
        metavar="SIMULATOR|TASK|STUDY|DESIGN",
    ),
]


def evaluate(
    simulator: _SubjectArgument,
    options: TaskOptions,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            help="Value of a parameter, replacing that of the design; repeat for more.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    design: Annotated[
        Path | None,
        typer.Option(
            "--design",
            help="JSON of a design or a file of it, whose missing parameters take their default "
            "values, folder of a study, for its best design, or files of a tool that `archgym "
            "export` writes for.",
        ),
    ] = None,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Also show the metrics of the default design.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Evaluate one design.

    A study in place of the task gives its task and its best design, and an exported JSON file
    its own. The exit code is 3 if the design is infeasible.
    """
    given = assignments("--set", values or ())
    task, filled = _task_and_design(simulator, options, design)
    chosen = design_with(task.space, filled, given)
    with prompt_stops():
        evaluation = task.evaluate(task.space.indices_of(chosen)[None, :])
    if evaluation.failures:
        from archgym.errors import SimulatorError

        raise SimulatorError(evaluation.failures[0])
    reason = _reason(task, evaluation)
    if json:
        write_json(_as_json(task, chosen, evaluation, reason, baseline))
    elif reason is None:
        _write(task, chosen, evaluation, baseline)
    if reason is not None:
        if not json:
            notice(f"The design is infeasible: {reason}")
        raise typer.Exit(_INFEASIBLE_CODE)


def _task_and_design(
    simulator: str, options: TaskOptions, design: Path | None
) -> "tuple[Task, Design]":
    """Return the task, and the design of a file or study, or the default design."""
    if is_study(simulator):
        task, indices = best_of(Path(simulator), "", options)
        start = {} if design is None else _start_of(design)
        best = task.space.design_at(indices)
        return task, filled_design(task.space, {**best, **start}, design or Path(simulator))
    if simulator.endswith(".json") and local_copy(simulator).is_file():
        if design is not None:
            raise InvalidArgumentError(
                f"`--design` must be left out, since {simulator} is a design already."
            )
        task, indices = named_design(simulator, "", options)
        return task, task.space.design_at(indices)
    from archgym.tasks.tool_files import states_design

    choice = task_choices(simulator, options)
    # Read first: making a task evaluates its default design.
    is_tools = design is not None and states_design(local_copy(design))
    start = {} if design is None or is_tools else _start_of(design)
    task = make_task(choice)
    if design is None:
        return task, task.space.default
    if is_tools:
        return task, design_in_files(task, local_copy(design))
    return task, filled_design(task.space, start, design)


def _start_of(design: Path) -> dict[str, Any]:
    """Return the values of a JSON file, or of the best design of a study."""
    if is_inline(design) or not is_study(design):
        return read_design(design)
    from archgym.studies.snapshot import read_study

    best = read_study(design).best()
    if best is None:
        raise InvalidArgumentError(f"{design} has no feasible design. Name a file instead.")
    return dict(best.design)


def _reason(task: "Task", evaluation: "Evaluation") -> str | None:
    broken = [int(reason) for reason in evaluation.reason[0] if reason != 0]
    return task.simulator.spec.reasons[broken[0]] if broken else None


def _as_json(
    task: "Task", design: "Design", evaluation: "Evaluation", reason: str | None, baseline: bool
) -> dict[str, Any]:
    from archgym.measurements.calibrated import without_error

    data = {
        "task": task.id,
        "digest": task.digest,
        "design": dict(design),
        "feasible": reason is None,
        "reason": reason,
        "reward": float(evaluation.reward[0]),
        "limits": [str(limit) for limit in task.limits],
        "missed_limits": task.missed(evaluation.values[0]) if reason is None else None,
        "without_error": without_error(task.objective, task.metrics, evaluation.values),
        "units": {spec.name: spec.unit for spec in task.metrics},
        **_metrics(task, evaluation.values),
    }
    if baseline:
        data["baseline"] = {
            "design": dict(task.space.default),
            **_metrics(task, task.reference[None]),
        }
    return data


def _metrics(task: "Task", values: Any) -> dict[str, Any]:
    """Return metrics averaged over the workloads, and for each of them, from (1, w, n_metrics)."""
    from archgym.measurements.calibrated import SIMULATED, own_metric

    names = [spec.name for spec in task.metrics]
    means = dict(zip(names, task.average(values)[0].tolist(), strict=True))
    # The mean of several intervals' ends is no end of the mean's interval.
    for name in names if len(task.workloads) > 1 else ():
        if own_metric(name, names) != name and not name.startswith(SIMULATED):
            del means[name]
    return {
        "metrics": means,
        "metrics_by_workload": {
            w.workload.name: dict(zip(names, values[0, place].tolist(), strict=True))
            for place, w in enumerate(task.workloads)
        },
    }


def _write(task: "Task", design: "Design", evaluation: "Evaluation", baseline: bool) -> None:
    from archgym.cli.views.study import write_metrics
    from archgym.measurements.calibrated import without_error
    from archgym.report.commands import task_title

    names = [weighted.workload.name for weighted in task.workloads]
    heading(task_title(task.simulator.name, names, task.objective, task.metrics))
    say(task.id)
    # Without values of inactive parameters, which have no effect.
    canonical = task.space.canonical(task.space.indices_of(design)[None, :])[0]
    changed = task.space.changes(task.space.design_at(canonical))
    shown = ", ".join(f"{name}={value}" for name, value in changed.items())
    prose(f"Design: {shown or 'the default'}{' (others at default)' if changed else ''}", "  ")
    if baseline and not changed:
        say("It has no changes: both columns are those of the default design.")
    say()
    for place, weighted in enumerate(task.workloads):
        if len(task.workloads) > 1:
            heading(f"Workload {weighted.workload.name}, weight {task.weights[place]:.3g}")
        reference = task.reference[place] if baseline else None
        values = evaluation.values[0, place]
        write_metrics(task.metrics, values, reference, "value", task.objective)
    has_target = any(term.target is not None for term in task.objective.terms)
    is_relative = not has_target and not task.missed(task.reference)
    zero = " (0 for the default design)" if is_relative else ""
    say(f"Reward {evaluation.reward[0]:.4f} for {task.objective.name}{zero}")
    if task.limits:
        from archgym.cli.views.study import limits_text

        say(limits_text(task.missed(evaluation.values[0])))
    if names := without_error(task.objective, task.metrics, evaluation.values):
        say(f"The error of {' and '.join(names)} is not known: it counts as exact.")
