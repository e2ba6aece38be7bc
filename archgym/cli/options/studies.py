"""Arguments that name studies."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["StudiesArgument"]

StudiesArgument = Annotated[list[Path], typer.Argument(help="Folders of the studies.")]
