"""Options that select rows of a dataset with several spaces, fidelities or versions."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archgym.cli.options.values import assignments

if TYPE_CHECKING:
    from archgym.datasets import Dataset

SpaceOption = Annotated[
    str | None, typer.Option("--space", help="Space of the rows, if the dataset has several.")
]
FidelityOption = Annotated[
    str | None, typer.Option("--fidelity", help="Fidelity of the rows, if the dataset has several.")
]
OptionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-o",
        help="Simulator option of the rows, such as device=ddr4-2400 (device= for the default). "
        "Give every option that is not at its default.",
        metavar="NAME=VALUE",
    ),
]
VersionOption = Annotated[
    int | None,
    typer.Option(
        "--version", help="Simulator version of the rows, if the dataset has several.", min=0
    ),
]


def read_rows(
    path: Path,
    space: str | None = None,
    fidelity: str | None = None,
    option: Sequence[str] | None = None,
    version: int | None = None,
) -> "Dataset":
    """Return the rows of a dataset that the options of a command select.

    Raises:
      InvalidArgumentError: Rows of several kinds remain, or an option is not an assignment.
      UnknownNameError: No rows remain.
      FileFormatError: The path is not a dataset, or it is damaged.
      StorageError: The dataset cannot be read.
    """
    from archgym.datasets import read_dataset

    options = chosen_options(option)
    return read_dataset(path, space=space, fidelity=fidelity, options=options, version=version)


def chosen_options(given: Sequence[str] | None) -> dict[str, str] | None:
    """Return options by name, without those at their default; None if none is given.

    Raises:
      InvalidArgumentError: A text is not an assignment.
    """
    if not given:
        return None
    return {name: value for name, value in assignments("--option", given).items() if value}
