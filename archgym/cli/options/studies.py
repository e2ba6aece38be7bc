"""Arguments that name studies."""

from pathlib import Path
from typing import Annotated

import typer

StudiesArgument = Annotated[list[Path], typer.Argument(help="Folders of the studies.")]
