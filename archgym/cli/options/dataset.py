"""Which rows of a dataset a command reads, where it holds several forms of a simulator."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archgym.cli.options.values import assignments

if TYPE_CHECKING:
    from archgym.datasets import Dataset

__all__ = [
    "FidelityOption",
    "OptionOption",
    "SpaceOption",
    "VersionOption",
    "chosen_options",
    "read_rows",
]

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
    """Return the rows of a dataset that a command's options choose.

    Raises:
      InvalidArgumentError: Rows of several forms remain, or an option is no assignment.
      UnknownNameError: No rows remain.
      FileFormatError: It is no dataset, or is damaged.
      StorageError: It cannot be read.
    """
    from archgym.datasets import read_dataset

    options = chosen_options(option)
    return read_dataset(path, space=space, fidelity=fidelity, options=options, version=version)


def chosen_options(given: Sequence[str] | None) -> dict[str, str] | None:
    """What `--option` gives by name, those without a value at their default; None without any.

    Raises:
      InvalidArgumentError: One is no assignment.
    """
    if not given:
        return None
    return {name: value for name, value in assignments("--option", given).items() if value}
