"""Which rows of a dataset a command reads, where it holds several forms of a simulator."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archgym.cli.values import assignments

if TYPE_CHECKING:
    from archgym.datasets import Dataset

__all__ = ["FidelityOption", "OptionOption", "SpaceOption", "VersionOption", "read_rows"]

SpaceOption = Annotated[
    str | None, typer.Option("--space", help="Which space's rows, where there are several.")
]
FidelityOption = Annotated[
    str | None, typer.Option("--fidelity", help="Which fidelity's rows, where there are several.")
]
OptionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-o",
        help="Rows with this option of the simulator, such as device=ddr4-2400; "
        "device= for the default. Give all that are not at their default.",
        metavar="NAME=VALUE",
    ),
]
VersionOption = Annotated[
    int | None,
    typer.Option(
        "--version", help="Which version of the simulator, where rows are of several.", min=0
    ),
]


def read_rows(
    path: Path,
    space: str | None = None,
    fidelity: str | None = None,
    option: Sequence[str] | None = None,
    version: int | None = None,
) -> "Dataset":
    """The rows of a dataset that a command's options choose.

    Raises:
      InvalidArgumentError: Rows of several forms remain, or an option is no assignment.
      UnknownNameError: No rows remain.
      FileFormatError: It is no dataset, or is damaged.
      StorageError: It cannot be read.
    """
    from archgym.datasets import read_dataset

    options = None
    if option:
        given = assignments("--option", option)
        options = {name: value for name, value in given.items() if value}
    return read_dataset(path, space=space, fidelity=fidelity, options=options, version=version)
