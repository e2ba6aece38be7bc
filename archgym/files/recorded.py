"""Recorded results of other tools: text, JSON lines, and errors that name file and line.

Recorded files come from elsewhere, so they may be torn, hostile or of another form. All readers
stop at a bounded size and raise `FileFormatError` alone.
"""

import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from archgym.errors import ArchGymError, FileFormatError, StorageError
from archgym.files.storage import storage_errors

# chosen: a hundred times the longest recorded file; a gzip bomb stops here.
_MAX_BYTES: Final = 2**28
_MAX_ECHO: Final = 100
_REMEDY: Final = "Copy the file again"


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
        RecursionError,
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
