"""`archgym evaluate`: the metrics of one design."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.cli.console.signals import prompt_stops
from archgym.cli.console.terminal import heading, say, table, warn, write_json
from archgym.cli.options.task import (
    FidelityOption,
    FromProxyOption,
    FromTableOption,
    JsonOption,
    ObjectiveOption,
    OptionOption,
    SimulatorArgument,
    SpaceOption,
    TaskChoice,
    TaskOption,
    WorkloadOption,
    make_task,
    named_space,
)
from archgym.cli.options.values import assignments, filled_design, read_design, with_values
from archgym.cli.views.metrics import metric_rows

if TYPE_CHECKING:
    from archgym.evaluation.task import Evaluation, Task
    from archgym.spaces.design import Design

__all__ = ["evaluate"]

_INFEASIBLE = 3


def evaluate(
    simulator: SimulatorArgument,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set", "-s", help="A value other than the design's; repeat it.", metavar="NAME=VALUE"
        ),
    ] = None,
    design: Annotated[
        Path | None,
        typer.Option(
            "--design", help="A design in JSON; what it leaves out is the default design's."
        ),
    ] = None,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Show the default design beside it.")
    ] = False,
    space: SpaceOption = None,
    task_space: TaskOption = None,
    workload: WorkloadOption = None,
    objective: ObjectiveOption = None,
    fidelity: FidelityOption = None,
    option: OptionOption = None,
    from_table: FromTableOption = None,
    from_proxy: FromProxyOption = None,
    json: JsonOption = False,
) -> None:
    """Evaluate one design.

    The exit code is 3 where the design cannot be built.
    """
    choice = TaskChoice(
        simulator,
        named_space(space, task_space),
        workload,
        objective,
        fidelity,
        option,
        from_table,
        from_proxy,
    )
    given = assignments("--set", values or ())
    start = None if design is None else read_design(design)
    task = make_task(choice)
    if design is None or start is None:
        filled = task.space.design_at(task.space.default_indices)
    else:
        filled = filled_design(task.space, start, design)
    chosen = with_values(task.space, filled, given)
    _warn_of_inactive(task, chosen, given)
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
            typer.echo(f"The design cannot be built: {reason}", err=True)
        raise typer.Exit(_INFEASIBLE)


def _warn_of_inactive(task: "Task", design: "Design", given: Mapping[str, object]) -> None:
    """Name what was set and means nothing beside the rest of the design."""
    flags = task.space.active(task.space.indices_of(design)[None, :])[0]
    active = dict(zip(task.space.names, flags.tolist(), strict=True))
    for name in given:
        if not active[name]:
            warn(f"`{name}` means nothing in this design, which is evaluated without it.")


def _reason(task: "Task", evaluation: "Evaluation") -> str | None:
    broken = [int(reason) for reason in evaluation.reason[0] if reason != 0]
    return task.simulator.reasons[broken[0]] if broken else None


def _as_json(
    task: "Task", design: "Design", evaluation: "Evaluation", reason: str | None, baseline: bool
) -> dict[str, Any]:
    data = {
        "task": task.id,
        "design": dict(design),
        "feasible": reason is None,
        "reason": reason,
        "reward": float(evaluation.reward[0]),
        "units": {spec.name: spec.unit for spec in task.metrics},
        **_metrics(task, evaluation.values),
    }
    if baseline:
        data["baseline"] = {
            "design": dict(task.space.design_at(task.space.default_indices)),
            **_metrics(task, task.reference[None]),
        }
    return data


def _metrics(task: "Task", values: Any) -> dict[str, Any]:
    """Return metrics averaged over the workloads, and for each of them, from (1, w, n_metrics)."""
    names = [spec.name for spec in task.metrics]
    return {
        "metrics": dict(zip(names, task.average(values)[0].tolist(), strict=True)),
        "metrics_by_workload": {
            w.workload.name: dict(zip(names, values[0, place].tolist(), strict=True))
            for place, w in enumerate(task.workloads)
        },
    }


def _write(task: "Task", design: "Design", evaluation: "Evaluation", baseline: bool) -> None:
    heading(task.id)
    default = task.space.design_at(task.space.default_indices)
    changed = [name for name in design if design[name] != default[name]]
    shown = ", ".join(f"{name}={design[name]}" for name in changed)
    say(f"Design: {shown or 'the default one'}{' (else the default)' if changed else ''}")
    say()
    for place, weighted in enumerate(task.workloads):
        if len(task.workloads) > 1:
            heading(f"Workload {weighted.workload.name}, weight {task.weights[place]:.3g}")
        reference = task.reference[place] if baseline else None
        columns, rows = metric_rows(task.metrics, evaluation.values[0, place], reference, "value")
        table(columns, rows, right=("value", "default", "ratio"))
    zero = "" if _is_absolute(task) else " (the default design's is 0)"
    say(f"Reward {evaluation.reward[0]:.4f} for {task.objective.name}{zero}")


def _is_absolute(task: "Task") -> bool:
    """Return True if the objective counts from a target and not from the default design."""
    return any(term.target is not None for term in task.objective.terms)
