"""Files of memory traces: an archive of compressed chunks, written and read piece by piece.

The file is a `.npz` archive. `trace.json` says what was recorded; `chunk-000000.npy` and so on
hold 262,144 records each, as bytes: see `archgym.traces.coding`. No part of a trace needs more
memory than its own chunk, to write or to read.
"""

import io
import json
import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import IO, Any, final

import numpy as np

from archgym.errors import FileFormatError, InvalidArgumentError
from archgym.files.json_types import Whole, typed
from archgym.files.storage import atomic_file, open_file, storage_errors
from archgym.traces.memory_trace import ADDRESS_BITS, COLUMNS, AccessKind, MemoryTrace

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


_HEADER = "trace.json"
_FORMAT = "archgym-memory-trace"
_VERSION = 1
CHUNK_RECORDS = 2**18
# chosen: ten times the longest reference trace; half a gigabyte as columns.
MAX_RECORDS = 2**25
MAX_TEXT = 1000
"""chosen: letters of a name or command that are kept and shown."""
# A head, and at most 18 bytes a record.
_MAX_CHUNK_BYTES = 18 * CHUNK_RECORDS + 4
_WHAT = "a memory trace"
_REMEDY = "Copy the file again, record one with `archgym trace record`, or convert another form"
_PAGE_BITS = 12


@final
@dataclass(frozen=True)
class TraceInfo:
    """Metadata of a trace file.

    `skipped` are the data accesses before the first record; `exit_code` that of the program, None
    where it was stopped or is not known; `data_pages` the distinct pages of 4 KiB with data, and
    `chunks` the parts of the file.
    """

    name: str = ""
    command: str = ""
    date: str = ""
    tool: str = ""
    skipped: Whole = 0
    exit_code: int | None = None
    records: Whole = 0
    instructions: Whole = 0
    loads: Whole = 0
    stores: Whole = 0
    modifies: Whole = 0
    fetches: Whole = 0
    data_pages: Whole = 0
    chunks: Whole = 0

    @property
    def footprint_bytes(self) -> int:
        """Memory in the pages with data [bytes]."""
        return self.data_pages << _PAGE_BITS


@final
class TraceWriter:
    """Writer that takes records and writes a chunk whenever one is full."""

    def __init__(self, archive: zipfile.ZipFile, info: TraceInfo) -> None:
        self._archive = archive
        self._info = info
        self._held: list[MemoryTrace] = []
        self._n_held = 0
        self._n_chunks = 0
        self._pages = np.zeros(0, np.uint64)
        self._counts = np.zeros(max(AccessKind) + 1, np.int64)
        self._instructions = 0

    @property
    def info(self) -> TraceInfo:
        """Metadata of what has been written so far."""
        count = self._counts.tolist()
        return replace(
            self._info,
            records=sum(count),
            instructions=self._instructions,
            loads=count[AccessKind.LOAD],
            stores=count[AccessKind.STORE],
            modifies=count[AccessKind.MODIFY],
            fetches=count[AccessKind.FETCH],
            data_pages=len(self._pages),
            chunks=self._n_chunks,
        )

    def append(self, part: MemoryTrace) -> None:
        """Add records after those that are there."""
        self._counts += np.bincount(part.kind, minlength=len(self._counts))
        self._instructions += part.n_instructions
        is_data = part.kind != AccessKind.FETCH
        pages = np.unique(part.address[is_data] >> np.uint64(_PAGE_BITS))
        if not np.isin(pages, self._pages, assume_unique=True).all():
            self._pages = np.union1d(self._pages, pages)
        self._held.append(part)
        self._n_held += len(part)
        while self._n_held >= CHUNK_RECORDS:
            self._flush(CHUNK_RECORDS)

    def finish(self, **changes: Any) -> TraceInfo:
        """Write what is left and the header; `changes` are fields of `TraceInfo`."""
        if self._n_held:
            self._flush(self._n_held)
        self._info = replace(self._info, **changes)
        info = self.info
        header = {"format": _FORMAT, "version": _VERSION, "chunks": 0, **asdict(info)}
        self._write(_HEADER, (json.dumps(header, indent=1) + "\n").encode())
        return info

    def _flush(self, n: int) -> None:
        whole = joined(self._held, self._info)
        first, rest = whole[:n], whole[n:]
        self._held, self._n_held = [rest], len(rest)
        self._write(f"chunk-{self._n_chunks:06d}.npy", _encoded(first))
        self._n_chunks += 1

    def _write(self, name: str, content: bytes) -> None:
        # Without the time of writing, so that equal traces are equal bytes.
        entry = zipfile.ZipInfo(name)
        self._archive.writestr(entry, content, zipfile.ZIP_DEFLATED, 6)


@contextmanager
def trace_writer(path: str | Path, info: TraceInfo) -> Iterator[TraceWriter]:
    """Open a writer of a file that appears whole when the block ends without an error.

    The block calls `finish` as its last act.

    Raises:
      InvalidArgumentError: The file's name does not end in `.npz`.
      StorageError: The file cannot be written.
    """
    if Path(path).suffix != ".npz":
        raise InvalidArgumentError(
            f"The file of a memory trace must end in .npz; got {Path(path).name!r}."
        )
    with (
        atomic_file(path) as scratch,
        storage_errors(path, "written"),
        zipfile.ZipFile(scratch, "w") as archive,
    ):
        yield TraceWriter(archive, info)


def write_memory_trace(
    trace: MemoryTrace, path: str | Path, info: TraceInfo | None = None
) -> TraceInfo:
    """Write a trace to a `.npz` file, whole or not at all.

    Args:
      trace: Trace to write, with its name and command.
      info: Further metadata; counts are computed again.

    Raises:
      InvalidArgumentError: The file's name does not end in `.npz`.
      StorageError: The file cannot be written.
    """
    about = replace(info or TraceInfo(), name=trace.name, command=trace.command)
    with trace_writer(path, about) as writer:
        for start in range(0, len(trace), CHUNK_RECORDS):
            writer.append(trace[start : start + CHUNK_RECORDS])
        return writer.finish()


def read_memory_trace(path: str | Path, *, max_records: int = MAX_RECORDS) -> MemoryTrace:
    """Return the trace in a `.npz` file.

    Args:
      max_records: Most records to take in; each takes 15 bytes.

    Raises:
      FileFormatError: The file is damaged or something else, or holds more records.
      StorageError: It cannot be read.
    """
    with open_archive(path, _WHAT, _REMEDY) as archive:
        info = _info(archive, max_records)
        # Memory is taken as it is filled, so a number that is only claimed takes none.
        columns = {name: np.empty(info.records, kind) for name, kind in COLUMNS.items()}
        place = 0
        for part in _chunks(archive, info):
            for name, column in columns.items():
                column[place : place + len(part)] = getattr(part, name)
            place += len(part)
        return MemoryTrace(**columns, name=info.name, command=info.command)


def iterate_memory_trace(
    path: str | Path, *, max_records: int | None = None
) -> Iterator[MemoryTrace]:
    """Yield the trace in a `.npz` file, chunk after chunk; at least one, which may be empty.

    Args:
      path: The file.
      max_records: Most records that the file may hold; None for any number, as one chunk is in
        memory at a time.

    Raises:
      FileFormatError, StorageError: As for `read_memory_trace`; also after some chunks.
    """
    with open_archive(path, _WHAT, _REMEDY) as archive:
        info = _info(archive, 2**63 if max_records is None else max_records)
        yield from _chunks(archive, info)


def read_trace_info(path: str | Path) -> TraceInfo:
    """Return the metadata of a trace file without reading the records.

    Raises:
      FileFormatError, StorageError: As for `read_memory_trace`.
    """
    with open_archive(path, _WHAT, _REMEDY) as archive:
        return _info(archive, 2**63)


def joined(parts: list[MemoryTrace], info: TraceInfo | None) -> MemoryTrace:
    """Return one trace of several that follow each other, named as the first or as `info` says."""
    if len(parts) == 1 and info is None:
        return parts[0]
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS}
    named = parts[0] if info is None else info
    return MemoryTrace(**columns, name=named.name, command=named.command)


def _encoded(part: MemoryTrace) -> bytes:
    """Return a `.npy` file of a chunk."""
    from archgym.traces.coding import packed

    content = packed(part.instructions, part.kind, part.size_bytes, part.address)
    stream = io.BytesIO()
    np.lib.format.write_array(stream, content, version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def _chunks(archive: Archive, info: TraceInfo) -> Iterator[MemoryTrace]:
    from archgym.traces.coding import unpacked

    n_read = 0
    for number in range(info.chunks):
        content = archive.array(f"chunk-{number:06d}", np.uint8, (_MAX_CHUNK_BYTES,))
        columns = unpacked(content, CHUNK_RECORDS, int(max(AccessKind)), ADDRESS_BITS)
        part = MemoryTrace(*columns, info.name, info.command)
        n_read += len(part)
        if n_read > info.records:
            raise ValueError(f"it holds more records than the {info.records} that it claims")
        yield part
    if n_read != info.records:
        raise ValueError(f"it holds {n_read} of the {info.records} records that it claims")
    if not info.chunks:
        empty: dict[str, Any] = {name: np.zeros(0, kind) for name, kind in COLUMNS.items()}
        yield MemoryTrace(**empty, name=info.name, command=info.command)


def _info(archive: Archive, max_records: int) -> TraceInfo:
    """Return the checked header; ValueError if it is wrong or claims over `max_records`."""
    header = archive.header(_HEADER)
    if header.get("format") != _FORMAT or header.get("version") != _VERSION:
        raise ValueError(
            f"{_HEADER} must say format {_FORMAT!r}, version {_VERSION}; it says "
            f"{str(header.get('format'))[:40]!r}, {str(header.get('version'))[:20]}"
        )
    absent = [f.name for f in fields(TraceInfo) if f.name not in (*header, "exit_code")]
    if absent:
        raise ValueError(f"{_HEADER} must have `{absent[0]}`")
    found = typed(header, TraceInfo)
    if found.chunks > len(archive.names):
        raise ValueError("`chunks` must be the number of chunks")
    if found.records > max_records:
        raise ValueError(f"it holds {found.records} records, more than {max_records}")
    # Whatever a file says of itself is shown in terminals.
    shown: dict[str, Any] = {n: printable(v) for n, v in asdict(found).items() if type(v) is str}
    return replace(found, **shown)


def printable(text: str) -> str:
    """Return a text from a file, short and without what a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in text[:MAX_TEXT])
