"""`archgym explain` and `bottlenecks`: what bounds a design, and which changes help."""

from typing import Annotated, Any

import typer

from archgym.cli.console.signals import prompt_stops
from archgym.cli.console.terminal import number, say, table, write_json
from archgym.cli.options.design import (
    DesignArgument,
    TaskOfDesignArgument,
    design_and_target,
    named_design,
)
from archgym.cli.options.task import JsonOption, TaskOptions

_MOST_PARAMETERS = 4


def explain(
    design: DesignArgument,
    options: TaskOptions,
    simulator: TaskOfDesignArgument = "",
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

    task, indices, wanted = design_and_target(design, simulator, options, target)
    with prompt_stops(), StageBar() as bar:
        found = explain_design(task, indices, target=wanted, error_percent=error, progress=bar)
    write_json(found.to_json()) if json else write_explanation(found)


def bottlenecks(
    design: DesignArgument,
    options: TaskOptions,
    simulator: TaskOfDesignArgument = "",
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
