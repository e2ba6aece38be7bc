"""`archgym export`: a design in the format of another tool."""

from pathlib import Path
from typing import Annotated

import typer

from archgym.cli.console.signals import prompt_stops
from archgym.cli.console.terminal import say, table, warn, write_json
from archgym.cli.options.design import DesignArgument, named_design
from archgym.cli.options.task import JsonOption, TaskOptions
from archgym.errors import InvalidArgumentError

__all__ = ["export"]


def export(
    design: DesignArgument,
    options: TaskOptions,
    simulator: Annotated[
        str,
        typer.Argument(
            help="Simulator or complete task of the design; omit it for a study.", metavar="TASK"
        ),
    ] = "",
    form: Annotated[
        str | None,
        typer.Option(
            "--as",
            help="Format, such as json, markdown, timeloop, dramsys or champsim (default: list "
            "the formats of the simulator).",
            metavar="FORMAT",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="New file, or folder for several files (default: write a single file to "
            "standard output).",
            metavar="PATH",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Export a design in the format of another tool, as JSON or as a Markdown table.

    Without --as the formats of the simulator are listed.
    """
    from archgym.cli.views.study import limits_text
    from archgym.report.export import export_design, export_formats

    task, indices = named_design(design, simulator, options)
    formats = export_formats(task.simulator)
    if form is None:
        if json:
            write_json(formats)
            return
        table(("format", "files"), list(formats.items()))
        return
    with prompt_stops():
        found = export_design(task, indices, form)
    if out is None and found.text is None:
        raise InvalidArgumentError(
            f"`--out` must name a folder for the {len(found.files)} files of format {form!r}."
        )
    paths = [] if out is None else found.write(out)
    if json:
        write_json(
            {
                "format": form,
                "files": [str(path) for path in paths],
                "texts": dict(found.files) if out is None else None,
                "missed_limits": list(found.missed_limits),
            }
        )
    elif out is None:
        say(str(found.text).rstrip("\n"))
    else:
        shown = f"{len(paths)} files in {out}" if len(paths) > 1 else str(paths[0])
        say(f"Written: {shown}")
    if task.limits and not json and (out is not None or found.missed_limits):
        (warn if found.missed_limits else say)(limits_text(found.missed_limits))
