"""`archgym validate`: comparison of a simulator with reference results."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from archgym.cli.console.terminal import notice, write_json
from archgym.cli.options.completion import complete_simulator
from archgym.cli.options.task import JsonOption
from archgym.cli.views.validation import write_validation
from archgym.errors import InvalidArgumentError, StorageError


def validate(
    simulator: Annotated[
        str,
        typer.Argument(
            help="Simulator that ships with reference results.",
            autocompletion=complete_simulator,
        ),
    ],
    reference: Annotated[
        Path | None,
        typer.Option("--reference", help="Folder with further reference results."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compare a simulator with reference results.

    The exit code is 1 if a result is worse than its recorded limit.
    """
    from archgym.cli.console.progress import announce_compilation

    module = _module(simulator)
    if reference is not None and not reference.is_dir():
        raise StorageError(
            f"{reference} cannot be read: the folder does not exist. Check the path."
        )
    announce_compilation()
    result = module.validate(reference, _say_progress)
    if json:
        rows = [dict(zip(result.columns, row, strict=True)) for row in result.rows]
        write_json({"simulator": simulator, "rows": rows, "problems": list(result.problems)})
    else:
        tables = getattr(result, "tables", ())
        write_validation(result.columns, result.rows, result.problems, tables)
    if result.problems:
        raise typer.Exit(1)


def _module(simulator: str) -> ModuleType:
    """Return the module of a simulator that has `validate`: its package `validation`."""
    from archgym.evaluation.simulator import simulator_class

    package = simulator_class(simulator).__module__.removesuffix(".simulator")
    for name in (f"{package}.validation", f"{package}.validate"):
        try:
            is_there = find_spec(name) is not None
        except ModuleNotFoundError:
            # The simulator is a single file, not a package.
            is_there = False
        if is_there and hasattr(module := import_module(name), "validate"):
            return module
    raise InvalidArgumentError(
        f"Simulator {simulator!r} has no reference results and cannot be validated."
    )


def _say_progress(text: str) -> None:
    notice(f"{text} …")
