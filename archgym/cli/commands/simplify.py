"""`archgym simplify`: a design without changes that do not matter, and what the others brought."""

from pathlib import Path
from typing import Annotated

import typer

from archgym.cli.console.signals import prompt_stops
from archgym.cli.console.terminal import say, write_json
from archgym.cli.options.design import DesignArgument, named_design
from archgym.cli.options.task import JsonOption, TaskOptions


def simplify(
    design: DesignArgument,
    options: TaskOptions,
    simulator: Annotated[
        str,
        typer.Argument(
            help="Simulator or complete task of the design; omit it for a study or exported file.",
            metavar="TASK",
        ),
    ] = "",
    error: Annotated[
        float | None,
        typer.Option(
            "--error",
            help="Allowed loss of each metric of the objective, in percent of the original "
            "design's, for all returned parameters together (default: the simulator's stated "
            "accuracy, else 5).",
            min=0,
            max=100,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write the simplified design to this JSON file (a new one)."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Return each parameter that does not matter to its default, and rank the other changes.

    The simplified design is worse than the original by at most --error in each metric of the
    objective, and misses no further limit. The path shows what each remaining change brought.
    """
    from archgym.cli.views.simplification import write_simplification
    from archgym.report.export import export_design
    from archgym.report.simplification import simplify as simplify_design

    task, indices = named_design(design, simulator, options)
    with prompt_stops():
        found = simplify_design(task, indices, error_percent=error)
        if out is not None:
            export_design(task, found.simple, "json").write(out)
    if json:
        write_json(found.to_json())
        return
    write_simplification(found)
    if out is not None:
        say(f"Written: {out}")
