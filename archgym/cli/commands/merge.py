"""`archgym merge`: finished studies of one task merged into one."""

from pathlib import Path
from typing import Annotated

import typer

from archgym.cli.console.terminal import say, write_json
from archgym.cli.options.studies import StudiesArgument
from archgym.cli.options.task import JsonOption
from archgym.cli.options.values import named_path


def merge(
    studies: StudiesArgument,
    out: Annotated[
        Path,
        typer.Option(
            "--out", help="Folder of the study to create.", parser=named_path, metavar="PATH"
        ),
    ],
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Also accept interrupted studies.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Merge finished studies of one task into one study."""
    from archgym.studies.merge import merge as join

    log = join(studies, out, unfinished=unfinished)
    if json:
        write_json({"folder": str(out), "evaluations": log.evaluations, "asks": log.asks})
    else:
        say(f"{log.author}, {log.evaluations} evaluations: {out}")
