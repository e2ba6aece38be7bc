"""Traces in text as Ramulator takes them: `LD ADDRESS`, or `BUBBLES LOAD [WRITE-BACK]`.

A trace of loads and stores is a line `LD ADDRESS` or `ST ADDRESS` each; one for its processor
model says before each load how many instructions touch no memory, and may add an address that is
written. Numbers are decimal, or hexadecimal after 0x. Ramulator takes hexadecimal ones only in the
first form and reads 0 in the second, in which decimal ones are written therefore. Neither form has
sizes, which are said to be of a line, 64 bytes, nor code; the first has no instructions, so each
access is said to be one.

Source: Ramulator 2.0, `src/frontend/impl/memory_trace/loadstore_trace.cpp` and
`src/frontend/impl/processor/simpleO3/trace.cpp`.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from archgym.errors import FileFormatError, InvalidArgumentError
from archgym.traces.memory_trace import ADDRESS_BITS, AccessKind, MemoryTrace
from archgym.traces.streams import pieces, require_content, text_lines

# chosen: some ten million lines.
_MAX_BYTES = 2**28
_PART_RECORDS = 2**18
_SIZE_BYTES = 64
# chosen: nine digits, which fit Ramulator's `int`.
_MAX_BUBBLES = 999_999_999
_NUMBER = rb"(0[xX][0-9a-fA-F]{1,16}|\d{1,20})"
_ACCESS = re.compile(rb"\s*(LD|ST|R|W)\s+" + _NUMBER + rb"\s*")
_BUBBLES = re.compile(rb"\s*(\d{1,9})\s+" + _NUMBER + rb"(?:\s+" + _NUMBER + rb")?\s*")


def read_loads_and_stores(path: str | Path, max_records: int) -> Iterator[MemoryTrace]:
    """Yield the accesses of lines `LD ADDRESS` and `ST ADDRESS`, piece after piece.

    Raises:
      FileFormatError: A line is not a request, or there are too many; with its number.
      StorageError: The file cannot be read.
    """
    rows = _Rows(path, max_records)
    for number, line in _content(path, max_records):
        found = _ACCESS.fullmatch(line)
        if found is None:
            raise _refusal(path, number, line, "LD ADDRESS or ST ADDRESS")
        kind = AccessKind.LOAD if found[1] in (b"LD", b"R") else AccessKind.STORE
        yield from rows.add(number, 1, kind, found[2])
    yield from rows.end()


def read_bubbles(path: str | Path, max_records: int) -> Iterator[MemoryTrace]:
    """Yield the accesses of lines `BUBBLES LOAD [WRITE-BACK]`; as for `read_loads_and_stores`."""
    rows = _Rows(path, max_records)
    for number, line in _content(path, max_records):
        found = _BUBBLES.fullmatch(line)
        if found is None:
            raise _refusal(path, number, line, "BUBBLES LOAD or BUBBLES LOAD WRITE-BACK")
        yield from rows.add(number, int(found[1]) + 1, AccessKind.LOAD, found[2])
        if found[3] is not None:
            yield from rows.add(number, 0, AccessKind.STORE, found[3])
    yield from rows.end()


def write_loads_and_stores(parts: Iterable[MemoryTrace], handle: IO[bytes]) -> None:
    """Write a line an access, two for a read-modify-write; fetches and the like are left out."""
    for part in parts:
        lines = []
        for kind, address in zip(part.kind.tolist(), part.address.tolist(), strict=True):
            if kind in (AccessKind.LOAD, AccessKind.MODIFY):
                lines.append(b"LD 0x%x\n" % address)
            if kind in (AccessKind.STORE, AccessKind.MODIFY):
                lines.append(b"ST 0x%x\n" % address)
        handle.write(b"".join(lines))


def write_bubbles(parts: Iterable[MemoryTrace], handle: IO[bytes]) -> None:
    """Write a line a load, with the instructions before it.

    A read-modify-write writes to where it loads from. A store that follows no load without one
    becomes a load of its line that is written, as a cache would fetch it.

    Raises:
      InvalidArgumentError: Too many instructions lie between two accesses.
    """
    bubbles = 0
    for part in parts:
        lines = []
        rows = zip(
            part.instructions.tolist(), part.kind.tolist(), part.address.tolist(), strict=True
        )
        for instructions, kind, address in rows:
            bubbles += instructions
            if kind == AccessKind.LOAD:
                lines.append(b"%d %d\n" % (_checked(bubbles), address))
            elif kind in (AccessKind.STORE, AccessKind.MODIFY):
                lines.append(b"%d %d %d\n" % (_checked(bubbles), address, address))
            else:
                continue
            bubbles = 0
        handle.write(b"".join(lines))


def _checked(instructions: int) -> int:
    """Return the number of instructions before an access; refuse more than the form allows."""
    if instructions - 1 > _MAX_BUBBLES:
        raise InvalidArgumentError(
            f"Between two accesses at most {_MAX_BUBBLES:,} instructions may lie in this form; "
            f"there are {instructions - 1:,}. Cut the trace before them with `--limit`."
        )
    return max(0, instructions - 1)


def _content(path: str | Path, max_records: int) -> Iterator[tuple[int, bytes]]:
    """Yield lines that hold something and are not comments."""
    # First, since counting takes a second where reading takes minutes.
    n_lines = sum(piece.count(b"\n") for piece in pieces(path, _MAX_BYTES))
    if n_lines > max_records:
        problem = f"a trace must have at most {max_records} lines; this one has {n_lines}"
        raise FileFormatError(path, None, problem, "Cut the file")
    n_taken = 0
    for number, line in text_lines(path, _MAX_BYTES):
        if line.strip() and not line.lstrip().startswith(b"#"):
            n_taken += 1
            yield number, line
        else:
            require_content(path, number, n_taken, "an access")
    if not n_taken:
        raise FileFormatError(path, None, "a trace must hold at least one access; this has none")


def _refusal(path: str | Path, number: int, line: bytes, what: str) -> FileFormatError:
    shown = line[:60].decode("ascii", "backslashreplace")
    return FileFormatError(path, number, f"a line must be {what}; got {shown!r}")


class _Rows:
    """Collector of records into parts."""

    def __init__(self, path: str | Path, max_records: int) -> None:
        self._path = path
        self._left = max_records
        self._columns: tuple[list[int], list[int], list[int]] = ([], [], [])

    def add(self, number: int, instructions: int, kind: int, text: bytes) -> Iterator[MemoryTrace]:
        address = int(text, 16) if text[:2] in (b"0x", b"0X") else int(text)
        if address >> ADDRESS_BITS:
            problem = f"an address must have at most {ADDRESS_BITS} bits; got {address:#x}"
            raise FileFormatError(self._path, number, problem)
        self._left -= 1
        if self._left < 0:
            raise FileFormatError(self._path, number, "there are too many records", "Cut the file")
        for column, value in zip(self._columns, (instructions, kind, address), strict=True):
            column.append(value)
        if len(self._columns[0]) >= _PART_RECORDS:
            yield self._part()

    def end(self) -> Iterator[MemoryTrace]:
        if self._columns[0]:
            yield self._part()

    def _part(self) -> MemoryTrace:
        instructions, kind, address = self._columns
        self._columns = ([], [], [])
        return MemoryTrace(
            np.array(instructions, np.uint32),
            np.array(kind, np.uint8),
            np.full(len(kind), _SIZE_BYTES, np.uint16),
            np.array(address, np.uint64),
        )
