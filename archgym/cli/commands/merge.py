"""`archgym merge`: finished studies of one task joined into one."""

from pathlib import Path
from typing import Annotated

import typer

from archgym.cli.console.terminal import say, write_json
from archgym.cli.options.task import JsonOption
from archgym.cli.options.values import named_path

__all__ = ["StudiesArgument", "merge"]

StudiesArgument = Annotated[list[Path], typer.Argument(help="Folders of studies.")]


def merge(
    studies: StudiesArgument,
    out: Annotated[
        Path, typer.Option("--out", help="A new folder.", parser=named_path, metavar="PATH")
    ],
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Take interrupted studies as they are.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Join finished studies of one task into one."""
    from archgym.studies.merge import merge as join

    log = join(studies, out, unfinished=unfinished)
    if json:
        write_json({"folder": str(out), "evaluations": log.evaluations, "asks": log.asks})
    else:
        say(f"{log.author}, {log.evaluations} evaluations: {out}")
