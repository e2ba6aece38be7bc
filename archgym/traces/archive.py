"""Archives of compressed arrays, the form of stored traces: read in pieces, within limits."""

import json
import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, final

import numpy as np

from archgym.errors import FileFormatError
from archgym.files.storage import open_file, storage_errors

# chosen: a gigabyte is about 300 million accesses; split a longer trace.
_MAX_FILE_BYTES = 2**30
# chosen: about ten thousand entries; `zipfile` reads the whole list first.
_MAX_LIST_BYTES = 2**20
# chosen: a header takes a kilobyte.
_MAX_HEADER_BYTES = 2**20
# A zip file without a comment ends with this record: APPNOTE.TXT 6.3.10, section 4.3.16.
_END = struct.Struct("<4s4H2LH")
_END_MAGIC = b"PK\x05\x06"
_LOCATOR_BYTES, _LOCATOR_MAGIC = 20, b"PK\x06\x07"
# Other methods can request any memory for their dictionary.
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_PIECE_BYTES = 2**20
_BAD = (
    zipfile.BadZipFile, zlib.error, struct.error, ValueError, EOFError, KeyError, IndexError,
    # RuntimeError: zipfile found a password or an unknown compression.
    RuntimeError, OverflowError, SyntaxError, TypeError, MemoryError, AttributeError,
    # TokenError: the header of an array is not an expression.
    tokenize.TokenError,
)  # fmt: skip


@contextmanager
def open_archive(path: str | Path, what: str, remedy: str) -> Iterator["Archive"]:
    """Open an archive; every problem becomes a one-line error.

    Args:
      what: Expected content, such as "a memory trace".
      remedy: Remedy if it is not, without a full stop.

    Raises:
      FileFormatError: The file is damaged or something else; also from the block's reads.
      StorageError: It cannot be read.
    """
    path = Path(path)
    try:
        with storage_errors(path, "read"), open_file(path) as handle:
            _check_list(handle)
            with zipfile.ZipFile(handle) as archive:
                yield Archive(archive)
    except FileFormatError:
        raise
    except _BAD as error:
        words = (str(error).strip().split("\n")[0] or type(error).__name__)[:200].rstrip(".")
        raise FileFormatError(path, None, f"the file must be {what}; {words}", remedy) from None


@final
class Archive:
    """Content of an open archive; every read is limited in size."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.names = tuple(archive.namelist())
        if len(set(self.names)) != len(self.names):
            raise ValueError("two entries have one name")
        for entry in archive.infolist():
            if entry.compress_type not in _COMPRESSIONS:
                raise ValueError(f"entry {entry.filename[:40]!r} is compressed in an unknown way")

    def header(self, name: str) -> dict[str, Any]:
        """Return the JSON object in an entry."""
        if name not in self.names:
            raise ValueError(f"it has no entry {name!r}")
        with self._archive.open(name) as stream:
            content = stream.read(_MAX_HEADER_BYTES + 1)
        if len(content) > _MAX_HEADER_BYTES:
            raise ValueError(f"{name} is too large")
        return json_object(content, name)

    def array(self, name: str, dtype: type, max_shape: tuple[int, ...]) -> np.ndarray:
        """Return the array in an entry `name`.npy.

        Args:
          name: The entry without its ending.
          max_shape: Largest length of each of its dimensions.
        """
        entry = f"{name}.npy"
        if entry not in self.names:
            raise ValueError(f"it has no array {name!r}")
        with self._archive.open(entry) as stream:
            shape = _array_shape(stream, name, dtype)
            if len(shape) != len(max_shape) or any(
                not 0 <= n <= most for n, most in zip(shape, max_shape, strict=True)
            ):
                raise ValueError(f"array {name!r} must have at most shape {max_shape}; got {shape}")
            wanted = math.prod(shape) * np.dtype(dtype).itemsize
            content = bytearray()
            # In pieces, so that a false size takes no memory.
            while len(content) <= wanted and (piece := stream.read(_PIECE_BYTES)):
                content += piece
        if len(content) != wanted:
            raise ValueError(f"array {name!r} of shape {shape} is cut off or has extra bytes")
        return np.frombuffer(content, dtype).reshape(shape)


def json_object(content: bytes, name: str) -> dict[str, Any]:
    """Return the JSON object in these bytes."""
    value = json.loads(content)
    if not isinstance(value, dict):
        raise ValueError(f"{name} holds no object")
    return value


def _check_list(handle: IO[bytes]) -> None:
    """Refuse a file with a long list of entries, which `zipfile` reads at once."""
    size = handle.seek(0, os.SEEK_END)
    if size > _MAX_FILE_BYTES:
        raise ValueError(f"it has {size} bytes, more than {_MAX_FILE_BYTES}")
    if size < _END.size:
        raise ValueError("it is not an archive or is cut off")
    start = max(0, size - _END.size - _LOCATOR_BYTES)
    handle.seek(start)
    tail = handle.read()
    magic, *_, list_bytes, _offset, _comment = _END.unpack(tail[-_END.size :])
    if magic != _END_MAGIC or tail.startswith(_LOCATOR_MAGIC):
        raise ValueError("it is not an archive or is cut off")
    if list_bytes > _MAX_LIST_BYTES:
        raise ValueError("it holds too many entries")
    handle.seek(0)


def _array_shape(stream: IO[bytes], name: str, dtype: type) -> tuple[int, ...]:
    """Return the shape in the header of a `.npy` file, and move to its data."""
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"array {name!r} has format {version}")
    shape, is_fortran, kind = np.lib.format.read_array_header_1_0(stream)
    if is_fortran or kind != np.dtype(dtype):
        raise ValueError(f"array {name!r} must be of type {np.dtype(dtype).str}; got {kind.str}")
    return shape
