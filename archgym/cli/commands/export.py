"""`archgym export`: a design in the format of another tool."""

from pathlib import Path
from typing import Annotated

import typer

from archgym.cli.console.signals import prompt_stops
from archgym.cli.console.terminal import say, table, warn, write_json
from archgym.cli.options.design import DesignArgument, TaskOfDesignArgument, named_design
from archgym.cli.options.task import JsonOption, TaskOptions
from archgym.errors import InvalidArgumentError
from archgym.files.remote import shown


def export(
    design: DesignArgument,
    options: TaskOptions,
    simulator: TaskOfDesignArgument = "",
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
            help="New file, folder for several files, or a URL (default: write a single file to "
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
    from archgym.report.export import export_design, export_formats, unknown_format

    task, indices = named_design(design, simulator, options)
    formats = export_formats(task.simulator)
    if form is None:
        if json:
            write_json(formats)
            return
        table(("format", "files"), list(formats.items()))
        return
    if form not in formats:
        raise unknown_format(task.simulator, form, formats)
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
                "files": [shown(path) for path in paths],
                "texts": dict(found.files) if out is None else None,
                "notes": found.notes,
                "missed_limits": list(found.missed_limits),
            }
        )
    elif out is None:
        say(str(found.text).rstrip("\n"))
    else:
        place = shown(paths[0]) if len(paths) == 1 else f"{len(paths)} files in {shown(str(out))}"
        say(f"Written: {place}")
    for line in () if json else found.notes:
        warn(line)
    if task.limits and not json and (out is not None or found.missed_limits):
        (warn if found.missed_limits else say)(limits_text(found.missed_limits))
