"""Results files of other simulators: rows, cells, and errors by metric."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt

from archgym.errors import FileFormatError


@final
@dataclass(frozen=True)
class Comparison:
    """Relative errors of one metric over the rows of one results file.

    Attributes:
      results: Name of the results file.
      metric: A group of its columns.
      errors: (n_rows,), 0 for equal rows; for texts 1 where they differ.
    """

    results: str
    metric: str
    errors: npt.NDArray[np.float64]


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a results file."""
    with path.open(encoding="utf-8", newline="") as lines:
        try:
            return list(csv.DictReader(lines))
        except (csv.Error, UnicodeDecodeError) as error:
            raise FileFormatError(path, None, f"a results file must be CSV text: {error}") from None


def cell(path: Path, number: int, row: Mapping[str, str], name: str) -> str:
    """Return the text of a cell."""
    value = row.get(name)
    if value is None:
        raise FileFormatError(
            path, number, f"a row must have every column; `{name}` is absent", "Copy the file again"
        )
    return value


def whole_cell(path: Path, number: int, row: Mapping[str, str], name: str) -> int:
    """Return a whole number of a cell."""
    text = cell(path, number, row, name)
    try:
        return int(text)
    except ValueError:
        raise FileFormatError(
            path, number, f"`{name}` must be a whole number; got {text!r}"
        ) from None


def number_cell(path: Path, number: int, row: Mapping[str, str], name: str) -> float:
    """Return a number of a cell."""
    text = cell(path, number, row, name)
    try:
        return float(text)
    except ValueError:
        raise FileFormatError(path, number, f"`{name}` must be a number; got {text!r}") from None
