"""Archives of arrays with a header: data only, whatever the origin of a file."""

import hashlib
import io
import json
import math
import tokenize
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from archgym.errors import FileFormatError
from archgym.files.storage import atomic_file, open_file, storage_errors

# chosen: thousands of times the largest known policy; more is not unpacked.
_MAX_BYTES = 2**30
_MAX_ARRAYS = 10_000
# chosen: a header takes kilobytes; parsed JSON takes about ten times its text.
_MAX_HEADER_BYTES = 2**26


def write_archive(
    path: str | Path, header_name: str, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write one `.npz` file, whole or not at all; equal contents are equal bytes.

    Args:
      path: The file.
      header_name: The entry that holds the header, ending in ``.json``.
      header: JSON.
      arrays: Numbers by name.

    Raises:
      StorageError: It cannot be written.
    """
    about = json.dumps(dict(header))
    with atomic_file(path) as scratch, zipfile.ZipFile(scratch, "w") as archive:
        archive.writestr(_entry(header_name), about)
        for name, array in arrays.items():
            with archive.open(_entry(f"{name}.npy"), "w", force_zip64=True) as handle:
                np.lib.format.write_array(handle, np.asarray(array), allow_pickle=False)


def read_archive(
    path: str | Path, header_name: str, what: str, remedy: str
) -> tuple[dict[str, Any], dict[str, np.ndarray], str]:
    """Read an archive of `write_archive`; no file can run code or exhaust the memory.

    Args:
      path: The file.
      header_name: The entry that holds the header.
      what: Expected content, such as "a policy".
      remedy: Remedy if it is not, without a full stop.

    Returns:
      The header, the arrays by name, all of finite numbers, and the SHA-256 of the file.

    Raises:
      FileFormatError: The file is damaged or something else.
      StorageError: It cannot be read.
    """
    path = Path(path)
    content = _content(path, what, remedy)
    with _refusals(path, what, remedy), zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = _checked_entries(archive, len(content))
        header = _header(archive, header_name)
        arrays = {}
        for entry in entries:
            if entry.filename == header_name:
                continue
            array = _array(archive.read(entry))
            if array.dtype.kind not in "fiub" or not np.isfinite(array).all():
                raise ValueError(f"array {entry.filename!r} has values that are not finite numbers")
            arrays[entry.filename.removesuffix(".npy")] = array
        return header, arrays, hashlib.sha256(content).hexdigest()


def read_header(path: str | Path, header_name: str, what: str, remedy: str) -> dict[str, Any]:
    """Return the header alone; errors as for `read_archive`."""
    path = Path(path)
    with storage_errors(path, "read"), open_file(path) as handle:
        size = handle.seek(0, io.SEEK_END)
        with _refusals(path, what, remedy), zipfile.ZipFile(handle) as archive:
            _checked_entries(archive, size)
            return _header(archive, header_name)


class _refusals:  # noqa: N801 - reads as a verb in a with statement
    """Context that turns errors of zipfile, NumPy and JSON about a bad file into one line."""

    def __init__(self, path: Path, what: str, remedy: str) -> None:
        self._path, self._what, self._remedy = path, what, remedy

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        # RuntimeError: zipfile found a password or an unknown compression.
        bad = zipfile.BadZipFile, ValueError, EOFError, KeyError, RecursionError, RuntimeError
        # TokenError: the header of an array is not an expression.
        if isinstance(
            error, (*bad, SyntaxError, TypeError, tokenize.TokenError)
        ) and not isinstance(error, FileFormatError):
            problem = f"{self._what} must be what ArchGym wrote; {_words(error)}"
            raise FileFormatError(self._path, None, problem, self._remedy) from None


def _content(path: Path, what: str, remedy: str) -> bytes:
    with storage_errors(path, "read"), open_file(path) as handle:
        size = handle.seek(0, io.SEEK_END)
        if size > 2 * _MAX_BYTES:
            problem = f"{what} must be what ArchGym wrote; it has {size} bytes"
            raise FileFormatError(path, None, problem, remedy)
        handle.seek(0)
        return handle.read()


def _entry(name: str) -> zipfile.ZipInfo:
    # Without the time of writing: equal contents are equal bytes.
    return zipfile.ZipInfo(name)


def _checked_entries(archive: zipfile.ZipFile, file_bytes: int) -> list[zipfile.ZipInfo]:
    entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("an entry is compressed")
    size = sum(entry.file_size for entry in entries)
    # Entries without compression can exceed their file only if they overlap.
    if len(entries) > _MAX_ARRAYS or size > min(_MAX_BYTES, file_bytes):
        raise ValueError(f"it holds {len(entries)} entries of {size} bytes")
    return entries


def _header(archive: zipfile.ZipFile, header_name: str) -> dict[str, Any]:
    if archive.getinfo(header_name).file_size > _MAX_HEADER_BYTES:
        raise ValueError(f"{header_name} is too large")
    header = json.loads(archive.read(header_name))
    if not isinstance(header, dict):
        raise ValueError(f"{header_name} holds no object")
    return header


def _array(content: bytes) -> np.ndarray:
    """Return the array in a `.npy` file, whose header may claim any size."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"an array has format {version}")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject:
        raise ValueError("an array holds pickled objects")
    if math.prod(shape) * dtype.itemsize != len(content) - stream.tell():
        raise ValueError(f"an array of shape {shape} is cut off")
    array = np.frombuffer(content, dtype, offset=stream.tell())
    return array.reshape(shape, order="F" if is_fortran else "C").copy()


def _words(error: BaseException) -> str:
    text = str(error).strip().split("\n")[0]
    return text[:200] if text else type(error).__name__
