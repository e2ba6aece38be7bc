"""`archgym validate`: a simulator against the numbers it must reproduce."""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from archgym.cli.console.terminal import number, say, table, write_json
from archgym.cli.options.completion import complete_simulator
from archgym.cli.options.task import JsonOption
from archgym.errors import InvalidArgumentError, StorageError

__all__ = ["validate"]

_MET = "met"
_NOTES = "note"
_KIND = "kind"


def validate(
    simulator: Annotated[
        str,
        typer.Argument(
            help="A simulator that ships with reference results.",
            autocompletion=complete_simulator,
        ),
    ],
    reference: Annotated[
        Path | None,
        typer.Option("--reference", help="A folder with further reference results."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compare a simulator with reference results.

    The exit code is 1 where it has got worse than it was.
    """
    from archgym.cli.console.progress import announce_compilation

    module = _module(simulator)
    if reference is not None and not reference.is_dir():
        raise StorageError(f"{reference} cannot be read: there is no such folder. Check the path.")
    announce_compilation()
    result = module.validate(reference, _say_progress)
    if json:
        rows = [dict(zip(result.columns, row, strict=True)) for row in result.rows]
        write_json({"simulator": simulator, "rows": rows, "problems": list(result.problems)})
    else:
        _write_table(result.columns, result.rows)
        _say_how_many_are_met(result.columns, result.rows)
        say("It is as good as it was." if not result.problems else "It has got worse:")
        for problem in result.problems:
            say(f"  {problem}")
    if result.problems:
        raise typer.Exit(1)


def _write_table(columns: Sequence[str], rows: Sequence[Sequence[str | int | float]]) -> None:
    """The table; notes, which may be long, stand numbered below it, each once."""
    cells = [[c if isinstance(c, str) else number(float(c)) for c in row] for row in rows]
    notes: dict[str, int] = {}
    if _NOTES in columns:
        place = columns.index(_NOTES)
        for row in cells:
            if row[place]:
                row[place] = str(notes.setdefault(row[place], len(notes) + 1))
    numeric = [
        column
        for place, column in enumerate(columns)
        if any(not isinstance(row[place], str) for row in rows)
    ]
    table(columns, cells, right=numeric)
    for text, at in notes.items():
        say(f"{_NOTES} {at}: {text}")
    if notes:
        say()


def _say_how_many_are_met(
    columns: Sequence[str], rows: Sequence[Sequence[str | int | float]]
) -> None:
    """Say it where each row is met or not; what follows tells only of what got worse."""
    found = [row[columns.index(_MET)] for row in rows] if _MET in columns else []
    found = [cell for cell in found if cell != ""]
    if found and all(isinstance(cell, str) for cell in found):
        say(f"{found.count('yes')} of {len(found)} rows are met.")
    if found and _KIND in columns:
        kinds = [str(row[columns.index(_KIND)]) for row in rows]
        for kind in sorted(set(kinds)):
            met = [cell for cell, of in zip(found, kinds, strict=True) if of == kind]
            say(f"  {kind}: {met.count('yes')} of {len(met)} rows are met.")


def _module(simulator: str) -> ModuleType:
    """Return the module of a simulator that has `validate`: its package `validation`."""
    from archgym.evaluation.simulator import simulator_class

    package = simulator_class(simulator).__module__.removesuffix(".simulator")
    for name in (f"{package}.validation", f"{package}.validate"):
        try:
            is_there = find_spec(name) is not None
        except ModuleNotFoundError:
            # Its package is a single file.
            is_there = False
        if is_there and hasattr(module := import_module(name), "validate"):
            return module
    raise InvalidArgumentError(
        f"Simulator {simulator!r} must ship reference results to be validated; it does not."
    )


def _say_progress(text: str) -> None:
    typer.echo(f"{text} …", err=True)
