"""`SHA256SUMS`: what a dataset's files must be, as the program sha256sum reads and writes it."""

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from archgym.errors import FileFormatError
from archgym.storage import storage_errors, write_atomic

__all__ = [
    "MANIFEST_NAME",
    "file_digest",
    "inner_digest",
    "inner_file",
    "read_manifest",
    "write_manifest",
]

MANIFEST_NAME = "SHA256SUMS"

_LINE = re.compile(r"(?P<digest>[0-9a-f]{64}) [ *](?P<name>[^\\\0\n]+)")
# chosen: thousands of files; a dataset has ten.
_MAX_BYTES = 2**20
_BLOCK = 2**20
_REMEDY = "Restore it from a copy, or build the dataset again"


def write_manifest(folder: Path, names: Iterable[str]) -> None:
    """Writes the digests of a folder's files; check them with ``sha256sum -c SHA256SUMS``.

    Raises:
      StorageError: A file cannot be read, or the manifest not be written.
    """
    lines = [f"{file_digest(folder / name)}  {name}\n" for name in sorted(names)]
    write_atomic(folder / MANIFEST_NAME, "".join(lines))


def read_manifest(folder: Path) -> Mapping[str, str] | None:
    """Digests by file name, or None where there is no manifest; the files are not read.

    Raises:
      FileFormatError: A line is none of a manifest, or names a file outside the folder.
      StorageError: It cannot be read.
    """
    path = folder / MANIFEST_NAME
    if not os.path.lexists(path):
        return None
    with inner_file(folder, MANIFEST_NAME) as handle:
        content = handle.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise FileFormatError(path, None, f"it must have at most {_MAX_BYTES} bytes", _REMEDY)
    digests: dict[str, str] = {}
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
        match = _LINE.fullmatch(line)
        name = match["name"] if match else ""
        if match is None or not _is_inner(name) or name in digests:
            problem = (
                "each line must hold a SHA-256 in hexadecimal, two spaces, and the name of a file "
                f"in the folder, each once; got {line[:120]!r}"
            )
            raise FileFormatError(path, number, problem, _REMEDY)
        digests[name] = match["digest"]
    return digests


def _is_inner(name: str) -> bool:
    path = PurePosixPath(name)
    return str(path) == name and not path.is_absolute() and ".." not in path.parts


def inner_file(folder: Path, name: str) -> BinaryIO:
    """Opens a file of a dataset's folder for reading: a real file in real folders, no link.

    Raises:
      FileFormatError: It is something else, or a link leads to it.
      StorageError: It cannot be read.
    """
    path = folder
    with storage_errors(folder / name, "read"):
        for part in PurePosixPath(name).parts:
            path = path / part
            if path.is_symlink():
                raise FileFormatError(
                    path, None, "a dataset's files must lie in it; this is a link"
                )
        # A pipe would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileFormatError(path, None, "a dataset must consist of files; this is none")
        return os.fdopen(descriptor, "rb")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal.

    Raises:
      FileFormatError: It is no file, or a link.
      StorageError: It cannot be read.
    """
    return inner_digest(path.parent, path.name)


def inner_digest(folder: Path, name: str) -> str:
    """SHA-256 of a file of a dataset's folder; errors as for `inner_file`."""
    digest = hashlib.sha256()
    with inner_file(folder, name) as handle, storage_errors(folder / name, "read"):
        while block := handle.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
