"""ChampSim's instruction traces: `.champsimtrace`, plain or compressed with xz or gzip.

A record of 64 bytes holds the instruction's address, is_branch, branch_taken, two destination and
four source registers, two addresses that are written and four that are read; zero means none.
"""

import gzip
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, cast

import numpy as np
import numpy.typing as npt

from archgym.errors import FileFormatError, StorageError
from archgym.files.storage import write_atomic

RECORD: Final = np.dtype(
    [
        ("ip", "<u8"),
        ("is_branch", "u1"),
        ("taken", "u1"),
        ("destinations", "u1", (2,)),
        ("sources", "u1", (4,)),
        ("writes", "<u8", (2,)),
        ("reads", "<u8", (4,)),
    ]
)
"""A record as it lies in a file."""

MIN_RECORDS: Final = 1000
"""chosen: fewer measure the start of a program only; the CPU simulator refuses them."""

MAX_RECORDS: Final = 20_000_000
"""chosen: 1.3 GB of memory; a compressed file may announce a thousand times its size."""

ENDINGS: Final = (".champsimtrace", ".champsimtrace.xz", ".champsimtrace.gz", ".trace.xz")
_PIECE: Final = 1 << 22
# chosen: a twentieth of the time of xz's default, for a seventh more bytes.
_PRESET: Final = 1
_ADVICE: Final = "Record it again with `archgym trace record --instructions`"


def looks_like_trace(name: str) -> bool:
    """Return True if a name is one of a ChampSim trace."""
    return name.endswith(ENDINGS)


def read_records(path: str | Path, limit: int | None = None) -> npt.NDArray[np.void]:
    """Return the records of a trace in a file, (n,) of `RECORD`; as `iterate_records`."""
    return np.concatenate(list(iterate_records(path, limit)))


def iterate_records(path: str | Path, limit: int | None = None) -> Iterator[npt.NDArray[np.void]]:
    """Yield the records of a trace in a file, some 65,000 of `RECORD` at a time.

    Args:
      path: The file.
      limit: Records to read; None for all.

    Raises:
      FileFormatError: The file is torn, or a record cannot be one; the message names it.
      StorageError: The file cannot be read.
    """
    path = Path(path)
    most = MAX_RECORDS if limit is None else min(limit, MAX_RECORDS)
    n = 0
    last: npt.NDArray[np.void] | None = None
    for records in _pieces(path):
        if n + len(records) > most:
            if limit is None or limit > MAX_RECORDS:
                raise FileFormatError(
                    path,
                    None,
                    f"record {MAX_RECORDS + 1:,}: a trace may have {MAX_RECORDS:,} records",
                    "Record a shorter region",
                )
            records = records[: most - n]
        _check(path, n, records, last)
        yield records
        n += len(records)
        if n == most and limit is not None:
            break
        last = records[-1:]
    if n == 0:
        raise FileFormatError(path, None, "must hold records of 64 bytes; it is empty", _ADVICE)


def write_records(path: str | Path, records: npt.NDArray[np.void]) -> None:
    """Write records as ChampSim reads them, compressed as the name's ending says.

    Raises:
      StorageError: The file cannot be written.
    """
    path = Path(path)
    data = np.ascontiguousarray(records, dtype=RECORD).tobytes()
    if path.suffix == ".xz":
        data = lzma.compress(data, preset=_PRESET)
    elif path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    write_atomic(path, data)


def _open(path: Path) -> IO[Any]:
    if path.suffix == ".xz":
        return lzma.open(path)
    if path.suffix == ".gz":
        return cast(IO[Any], gzip.open(path))
    return path.open("rb")


def _pieces(path: Path) -> Iterator[npt.NDArray[np.void]]:
    """Yield the records of a file, some 65,000 at a time."""
    n = 0
    rest = b""
    try:
        with _open(path) as stream:
            while piece := stream.read(_PIECE):
                data = rest + piece
                whole = len(data) // RECORD.itemsize * RECORD.itemsize
                rest = data[whole:]
                if whole:
                    yield np.frombuffer(data[:whole], dtype=RECORD)
                    n += whole // RECORD.itemsize
    except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
        raise FileFormatError(
            path, None, f"record {n + 1:,}: the compressed data end or break ({error})", _ADVICE
        ) from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror or error}.") from None
    if rest:
        raise FileFormatError(
            path,
            None,
            f"record {n + 1:,}: must have 64 bytes; it has {len(rest)}",
            _ADVICE,
        )


def _check(
    path: Path, before: int, records: npt.NDArray[np.void], last: npt.NDArray[np.void] | None
) -> None:
    """Refuse records that no instruction gives, the first of them by number."""
    flags = (records["is_branch"] > 1) | (records["taken"] > 1)
    ips = records["ip"]
    problems = [
        (ips == 0, "has instruction address 0"),
        (flags, "has is_branch or branch_taken other than 0 and 1"),
    ]
    previous = records[:-1] if last is None else np.concatenate([last, records[:-1]])
    following = ips[1:] if last is None else ips
    # A branch to itself would fill the trace with one instruction.
    stuck = (previous["taken"] == 1) & (previous["is_branch"] == 1) & (previous["ip"] == following)
    first = before if last is None else before - 1
    for bad, what in problems:
        if bad.any():
            at = before + int(np.argmax(bad))
            raise FileFormatError(path, None, f"record {at + 1:,}: {what}", _ADVICE)
    if stuck.any():
        at = first + int(np.argmax(stuck))
        raise FileFormatError(path, None, f"record {at + 1:,}: branches to itself", _ADVICE)
