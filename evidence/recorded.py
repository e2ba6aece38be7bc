"""Recorded results of other tools: text, JSON lines, and errors that name file and line.

Recorded files come from elsewhere, so they may be torn, hostile or of another form. All readers
stop at a bounded size and raise `FileFormatError` alone.
"""

import csv
import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, final

import numpy as np
import numpy.typing as npt

from archgym.errors import ArchGymError, FileFormatError, StorageError
from archgym.files.storage import storage_errors

# chosen: a hundred times the longest recorded file; a gzip bomb stops here.
_MAX_BYTES: Final = 2**28
_MAX_ECHO: Final = 100
_REMEDY: Final = "Copy the file again"
Number = TypeVar("Number", int, float)


@contextmanager
def reading(path: Path, line: int | None = None) -> Iterator[None]:
    """Turn whatever wrong content leads to into an error of one line.

    Args:
      path: File whose content is used.
      line: Line of the content; None where it has none.
    """
    try:
        with storage_errors(path, "read"):
            yield
    except (FileFormatError, StorageError):
        raise
    except ArchGymError as error:
        raise FileFormatError(path, line, str(error).removesuffix("."), _REMEDY) from None
    except json.JSONDecodeError as error:
        at = line or error.lineno
        raise FileFormatError(path, at, f"must be JSON; {error.msg}", _REMEDY) from None
    except KeyError as error:
        what = f"a row must have {error.args[0]!r}; it has not"
        raise FileFormatError(path, line, what, _REMEDY) from None
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        EOFError,
        zipfile.BadZipFile,
        RuntimeError,
        SyntaxError,
        csv.Error,
        OverflowError,
        ZeroDivisionError,
        MemoryError,
    ) as error:
        words = " ".join(str(error).split())[:_MAX_ECHO].rstrip(".") or type(error).__name__
        raise FileFormatError(
            path, line, f"a reference file must be as recorded; {words}", _REMEDY
        ) from None


def read_text(path: Path, most_bytes: int = _MAX_BYTES) -> str:
    """Return the text of a file, which may be compressed.

    Args:
      path: Name of the file; one that ends in .gz is unpacked.
      most_bytes: Size that is refused if exceeded [byte].

    Raises:
      FileFormatError: The file is absent, torn, not UTF-8 or too large.
    """
    if not path.is_file():
        raise FileFormatError(path, None, "the file must exist", "Copy the whole folder")
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as handle:
            data = handle.read(most_bytes + 1)
        if len(data) > most_bytes:
            raise FileFormatError(path, None, f"the file must have at most {most_bytes} bytes")
        return data.decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise FileFormatError(
            path, None, f"the file must be whole text: {error}", _REMEDY
        ) from None


def read_json(path: Path) -> Any:
    """Return what a JSON file, plain or compressed, holds.

    Raises:
      FileFormatError: It is not JSON.
    """
    text = read_text(path)
    with reading(path):
        return json.loads(text)


def json_lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield numbers and objects of the lines of a JSON-lines file, plain or compressed.

    Raises:
      FileFormatError: A line is not an object of JSON.
    """
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        with reading(path, number):
            row = json.loads(line)
        if not isinstance(row, dict):
            raise FileFormatError(path, number, "a row must be a JSON object", _REMEDY)
        yield number, row


@final
@dataclass(frozen=True)
class Record:
    """Row of a CSV file: its file, its line and its cells by heading."""

    path: Path
    line: int
    cells: Mapping[str, str]

    def text(self, name: str) -> str:
        """Return a cell.

        Raises:
          FileFormatError: The file has no such column.
        """
        value = self.cells.get(name)
        if value is None:
            what = f"a row must have every column; `{name}` is absent"
            raise FileFormatError(self.path, self.line, what, _REMEDY)
        return value

    def whole(self, name: str) -> int:
        """Return a whole number; raise `FileFormatError` if the cell is another text."""
        return self._parsed(name, int, "a whole number")

    def number(self, name: str) -> float:
        """Return a number; raise `FileFormatError` if the cell is another text."""
        return self._parsed(name, float, "a number")

    def _parsed(self, name: str, parse: Callable[[str], Number], what: str) -> Number:
        text = self.text(name)
        try:
            return parse(text)
        except ValueError:
            message = f"`{name}` must be {what}; got {text!r}"
            raise FileFormatError(self.path, self.line, message, _REMEDY) from None


def read_rows(path: Path, columns: Sequence[str] = ()) -> list[Record]:
    """Return the rows of a CSV file, plain or compressed.

    Args:
      path: The file.
      columns: Columns that it must have.

    Raises:
      FileFormatError: A column is absent, or a row has not as many cells as the heading.
    """
    text = read_text(path)
    limit = csv.field_size_limit(_MAX_BYTES)
    try:
        with reading(path):
            rows = []
            reader = csv.DictReader(io.StringIO(text))
            absent = [name for name in columns if name not in (reader.fieldnames or ())]
            if absent:
                what = f"must have the columns {', '.join(absent)}"
                raise FileFormatError(path, 1, what, _REMEDY)
            for cells in reader:
                if None in cells or None in cells.values():
                    what = "a row must have as many cells as the heading"
                    raise FileFormatError(path, reader.line_num, what, _REMEDY)
                rows.append(Record(path, reader.line_num, cells))
            return rows
    finally:
        csv.field_size_limit(limit)


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file as cells by heading; see `read_rows`."""
    return [dict(row.cells) for row in read_rows(path)]


def read_arrays(path: Path) -> dict[str, npt.NDArray[np.int64]]:
    """Return whole numbers of an `.npz` file, by name, as int64; call it within `reading`."""
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _MAX_BYTES:
            raise ValueError("it unpacks to too much")
        found = {}
        for entry in archive.infolist():
            stream = io.BytesIO(archive.read(entry))
            array = np.lib.format.read_array(stream, allow_pickle=False)
            if array.dtype.kind not in "iu":
                raise ValueError(f"{entry.filename} must hold whole numbers")
            found[entry.filename.removesuffix(".npy")] = array.astype(np.int64)
        return found
