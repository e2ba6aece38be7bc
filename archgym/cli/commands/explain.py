"""`archgym explain` and `bottlenecks`: what bounds a design, and which changes help."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.cli.console.signals import prompt_stops
from archgym.cli.console.terminal import number, say, table, write_json
from archgym.cli.options.design import (
    DesignArgument,
    named_design,
    study_best,
    task_of_design,
    warn_of_version,
)
from archgym.cli.options.task import (
    JsonOption,
    TaskOptions,
    make_simulator,
    make_task,
    task_choices,
)
from archgym.errors import InvalidArgumentError

if TYPE_CHECKING:
    import numpy as np

    from archgym.evaluation.objective import Objective
    from archgym.evaluation.task import Task

_DEFAULT = "default"
_MOST_PARAMETERS = 4


def explain(
    design: Annotated[
        str,
        typer.Argument(
            help="JSON file of a design, folder of a study (for its best design), or the word "
            "default.",
            metavar="DESIGN|STUDY|default",
        ),
    ],
    options: TaskOptions,
    simulator: Annotated[
        str,
        typer.Argument(
            help="Simulator or complete task of the design; omit it for a study or exported file.",
            metavar="TASK",
        ),
    ] = "",
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            help='Target to reach by single changes, such as "total_time_ns<=60000".',
        ),
    ] = None,
    error: Annotated[
        float | None,
        typer.Option(
            "--error",
            help="Assumed simulator error in percent (default: the simulator's stated accuracy, "
            "else 5).",
            min=0,
            max=100,
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Explain a design: what bounds it, which single change helps most, what is at risk.

    All designs that differ in one parameter are evaluated.
    """
    from archgym.cli.console.progress import StageBar
    from archgym.cli.views.explanation import write_explanation
    from archgym.report.design_explanation import explain_design

    if not design:
        raise InvalidArgumentError(
            "A design must be named: a JSON file, a study's folder, or the word default; got ''."
        )
    if design != _DEFAULT and Path(design).is_dir():
        task, indices, wanted = _best_of_study(Path(design), simulator, options, target)
    else:
        task, indices, wanted = _design(design, simulator, options, target)
    with prompt_stops(), StageBar() as bar:
        found = explain_design(task, indices, target=wanted, error_percent=error, progress=bar)
    write_json(found.to_json()) if json else write_explanation(found)


def _design(
    text: str, simulator: str, options: TaskOptions, target: str | None
) -> "tuple[Task, np.ndarray, Objective | None]":
    """Return the task, and the design of a file or the default design."""
    from archgym.cli.options.values import filled_design, read_design
    from archgym.report.design_explanation import read_target

    start = None if text == _DEFAULT else read_design(Path(text))
    simulator, digest = task_of_design(text, simulator, start)
    choice = task_choices(simulator, options)
    # Checked first: making a task evaluates its default design.
    wanted = None if target is None else read_target(target, make_simulator(choice).metrics)
    task = make_task(choice)
    warn_of_version(text, digest, task, options)
    if start is None:
        return task, task.space.default_indices, wanted
    return task, task.space.indices_of(filled_design(task.space, start, Path(text))), wanted


def _best_of_study(
    folder: Path, simulator: str, options: TaskOptions, target: str | None
) -> "tuple[Task, np.ndarray, Objective | None]":
    """Return the task of a study and its best design."""
    found = study_best(folder, simulator, options, target)
    return found.task, found.indices, found.target


def bottlenecks(
    design: DesignArgument,
    options: TaskOptions,
    simulator: Annotated[
        str,
        typer.Argument(help="Simulator or complete task of the design.", metavar="TASK"),
    ] = "",
    json: JsonOption = False,
) -> None:
    """List what bounds a design, by metric, with the first change that relieves it.

    The agent `bottleneck` makes these changes. A simulator without bottlenecks gives an empty list.
    """
    task, indices = named_design(design, simulator, options)
    with prompt_stops():
        found = [
            (weighted.workload.name, bottleneck)
            for weighted in task.workloads
            for bottleneck in task.simulator.bottlenecks(indices, weighted.workload)
        ]
    found.sort(key=lambda entry: (entry[0], entry[1].metric, -entry[1].share))
    if json:
        write_json(
            [
                {
                    "workload": workload,
                    "metric": b.metric,
                    "name": b.name,
                    "share": b.share,
                    "moves": list(b.moves),
                    "parameters": list(b.parameters),
                }
                for workload, b in found
            ]
        )
        return
    if not found:
        say(f"Simulator {task.simulator.name!r} names no bottlenecks of this design.")
        return
    cells = [
        [workload, b.metric, number(100.0 * b.share), b.name, _relief(b)] for workload, b in found
    ]
    columns = ("workload", "metric", "share_percent", "bottleneck", "relieved_by")
    table(columns, cells, right=("share_percent",))


def _relief(bottleneck: Any) -> str:
    """Return the first move, or the parameters that matter."""
    if bottleneck.moves:
        return ", ".join(f"{name}={value}" for name, value in bottleneck.moves[0].items())
    names = bottleneck.parameters
    more = f" and {len(names) - _MOST_PARAMETERS} more" if len(names) > _MOST_PARAMETERS else ""
    return ", ".join(names[:_MOST_PARAMETERS]) + more
