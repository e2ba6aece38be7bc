"""Results files of other simulators: rows, cells, and errors by metric."""

import csv
import gzip
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.errors import FileFormatError

__all__ = ["Comparison", "cell", "number_cell", "read_rows", "read_text", "whole_cell"]

# chosen: a hundred times the longest recorded trace; a gzip bomb stops here.
_MAX_BYTES: Final = 256 * 2**20


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


def read_text(path: Path) -> str:
    """Return the text of a file that may be compressed, of bounded size."""
    if not path.is_file():
        raise FileFormatError(path, None, "the file must exist", "Copy the whole folder")
    try:
        with gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb") as handle:
            data = handle.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise FileFormatError(path, None, f"the file must have at most {_MAX_BYTES} bytes")
        return data.decode("utf-8")
    except (gzip.BadGzipFile, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise FileFormatError(
            path, None, f"the file must be whole text: {error}", "Copy the file again"
        ) from None
