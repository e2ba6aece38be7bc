"""`archgym explain`: what bounds a design, and which changes help."""

from typing import Annotated

import typer

from archgym.cli.console.signals import prompt_stops
from archgym.cli.console.terminal import write_json
from archgym.cli.options.design import (
    DesignArgument,
    TaskOfDesignArgument,
    design_and_target,
)
from archgym.cli.options.task import JsonOption, TaskOptions


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
    """Explain a design: what bounds it, which change helps most, what is at risk.

    All designs that differ in one parameter are evaluated.
    """
    from archgym.cli.console.progress import StageBar
    from archgym.cli.views.explanation import write_explanation
    from archgym.report.design_explanation import explain_design

    task, indices, wanted = design_and_target(design, simulator, options, target)
    with prompt_stops(), StageBar() as bar:
        found = explain_design(task, indices, target=wanted, error_percent=error, progress=bar)
    write_json(found.to_json()) if json else write_explanation(found)
