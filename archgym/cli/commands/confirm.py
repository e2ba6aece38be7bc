"""`archgym confirm`: designs in the tool of others, whose numbers are compared with ours."""

from pathlib import Path
from typing import Annotated

import typer

from archgym.cli.console.signals import prompt_stops
from archgym.cli.console.terminal import notice, say, table, write_json
from archgym.cli.options.design import (
    DesignArgument,
    TaskOfDesignArgument,
    is_study,
    named_design,
)
from archgym.cli.options.task import JsonOption, TaskOptions
from archgym.files.remote import require_local


def confirm(
    design: DesignArgument,
    options: TaskOptions,
    simulator: TaskOfDesignArgument = "",
    form: Annotated[
        str,
        typer.Option(
            "--with",
            help="Tool that runs the designs: a format of `archgym export`.",
            metavar="TOOL",
        ),
    ] = "",
    at: Annotated[
        Path | None,
        typer.Option(
            "--at",
            help="Place of the tool: its program or folder (default: PATH).",
            metavar="PATH",
        ),
    ] = None,
    best: Annotated[
        int, typer.Option("--best", help="Number of a study's best designs to run.", min=1)
    ] = 5,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            help="Output of a run that was made elsewhere, of the best design: the exported "
            "folder after it, or the file of what the tool printed.",
            metavar="PATH",
        ),
    ] = None,
    seconds: Annotated[
        float,
        typer.Option("--seconds", help="Longest time of a run of the tool [s].", min=1.0),
    ] = 600.0,
    json: JsonOption = False,
) -> None:
    """Run designs in the tool that you trust, and compare its numbers with those of ArchGym.

    A study keeps the results, and its report shows them. The exit code is 1 if a number differs, or
    a design cannot be run.
    """
    from archgym.report.confirmation import Confirmation, keep, verdicts
    from archgym.report.confirmation import confirm as confirmed
    from archgym.report.design_explanation import best_designs

    task, indices = named_design(design, simulator, options)
    designs = [indices]
    folder = None
    if is_study(design):
        folder = require_local(design, "A confirmation")
        designs = best_designs(task, folder, 1 if output is not None else best)
    found: list[Confirmation] = []
    with prompt_stops():
        for each in confirmed(task, designs, form, at=at, output=output, time_limit_s=seconds):
            found.append(each)
            if folder is not None:
                keep(folder, each)
            if not json:
                notice(f"run {len(found)} on {each.workload}: {each.result}")
    if json:
        write_json([{**each.to_json(), "is_equal": each.is_equal} for each in found])
    else:
        has_several = len(task.workloads) > 1
        table(
            ("run", "number", "stated", "tool", "difference", "unit"),
            [
                (
                    f"{place} {each.workload}" if has_several else str(place),
                    number.metric,
                    *(f"{v:.9g}" for v in (number.stated, number.tool)),
                    f"{number.difference:.3g}",
                    number.unit,
                )
                for place, each in enumerate(found, 1)
                for number in each.numbers
            ],
            right=("stated", "tool", "difference"),
        )
        for line in verdicts(found):
            say(f"{line}.")
    if not all(each.is_equal for each in found):
        raise typer.Exit(1)
