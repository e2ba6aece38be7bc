"""Append-only files of JSON records, one checksummed line each.

The last member of a line, `crc`, is the CRC32 of the record before it, begun with a seed that binds
the lines to their folder:

    {"seq":0,"loss":1.9,"crc":"8a1f09c2"}
"""

import fcntl
import json
import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from archgym.errors import FileFormatError
from archgym.files.storage import (
    is_there,
    open_member,
    open_own,
    storage_errors,
    synchronise,
    write_all,
)
from archgym.runtime.reductions import report_loss

# chosen: a hundred times the largest record that there is.
_MAX_LINE_BYTES: Final = 2**22


def read_lines(path: Path, seed: int) -> list[dict[str, Any]]:
    """Return the records of a file in their order; none if it does not exist.

    A writer that was killed leaves a part of its last line. It is left out here with a warning, and
    the next `append_line` removes it.

    Args:
      path: The file.
      seed: Start value of the checksums.

    Raises:
      FileFormatError: A line is damaged, not JSON, or of another folder.
      StorageError: The file cannot be read.
    """
    found: list[dict[str, Any]] = []
    if not is_there(path):
        return found
    with storage_errors(path, "read"), open_member(path) as handle:
        size, whole = os.fstat(handle.fileno()).st_size, 0
        while line := handle.readline(_MAX_LINE_BYTES):
            whole += len(line)
            if (not line.endswith(b"\n") or b"\0" in line) and whole == size:
                report_loss(f"{path}: {len(line)} bytes of a torn last line are removed.")
                break
            found.append(_record(path, len(found) + 1, line, seed))
    return found


def append_line(path: Path, record: Mapping[str, Any], seed: int) -> None:
    """Append a record and sync it to disk; on failure the file is as it was.

    A torn last line of a writer that was killed is removed first. Writers wait for each other.

    Args:
      path: The file, which is made where it is absent.
      record: Members of the record, without `crc`.
      seed: Start value of the checksums.

    Raises:
      StorageError: The file cannot be written.
    """
    body = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
    line = b'%s,"crc":"%08x"}\n' % (body[:-1], zlib.crc32(body, seed))
    descriptor = open_own(path, os.O_RDWR | os.O_APPEND)
    try:
        with storage_errors(path, "written"):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size = _whole(descriptor)
            try:
                write_all(descriptor, line)
                os.fsync(descriptor)
                if not size:
                    synchronise(path.parent)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(descriptor, size)
                raise
    finally:
        os.close(descriptor)


def _whole(descriptor: int) -> int:
    """Cut what follows the last complete line, and return the size that is left."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, _MAX_LINE_BYTES, max(0, size - _MAX_LINE_BYTES))
    # A power cut leaves pages of zeros.
    torn = tail[tail.rstrip(b"\0").rfind(b"\n") + 1 :]
    if torn:
        os.ftruncate(descriptor, size - len(torn))
    return size - len(torn)


def _record(path: Path, number: int, line: bytes, seed: int) -> dict[str, Any]:
    head, _, crc = line.rpartition(b',"crc":"')
    body = head + b"}"
    if crc != b'%08x"}\n' % zlib.crc32(body, seed):
        raise FileFormatError(
            path, number, "the line does not match its checksum or belongs to another folder"
        )
    try:
        record = json.loads(body)
    except (ValueError, RecursionError):
        raise FileFormatError(path, number, "the line is not JSON") from None
    if not isinstance(record, dict):
        raise FileFormatError(path, number, "the line is not an object")
    return record
