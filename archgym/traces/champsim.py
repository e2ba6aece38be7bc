"""Traces of ChampSim: 64 bytes an instruction, with up to two stores and four loads.

Reading, what a memory trace does not hold is lost: registers, branches, instruction pointers but
for the pages they enter; sizes, which ChampSim does not have, are said to be 8 bytes. Writing,
instruction pointers are made up within the pages that are known, the instructions between accesses
become such without any, and sizes are lost. An access to address 0, which ChampSim takes for none,
is written as one to address 1 of the same line.

Source: ChampSim, `inc/trace_instruction.h`, `struct input_instr`.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from archgym.errors import FileFormatError, InvalidArgumentError
from archgym.traces.memory_trace import ADDRESS_BITS, AccessKind, MemoryTrace
from archgym.traces.streams import pieces

INSTRUCTION = np.dtype(
    [
        ("ip", "<u8"),
        ("is_branch", "u1"),
        ("branch_taken", "u1"),
        ("destination_registers", "u1", (2,)),
        ("source_registers", "u1", (4,)),
        ("destination_memory", "<u8", (2,)),
        ("source_memory", "<u8", (4,)),
    ]
)
# chosen: 268 million instructions, more than ChampSim simulates in an hour.
_MAX_BYTES = 2**34
_SIZE_BYTES = 8
_PAGE_BITS = np.uint64(12)
# chosen: a gigabyte before packing.
_MAX_WRITTEN = 2**24
_TOO_MANY = (
    f"A trace of ChampSim must have at most {_MAX_WRITTEN:,} instructions here; this one has more. "
    "Cut it with `--limit`."
)
_STORES, _LOADS = 2, 4
_CODE_ADDRESS = 0x400000
_REMEDY = "Check that the file is a trace of ChampSim, not of another tracer"


def read_champsim(path: str | Path, max_records: int) -> Iterator[MemoryTrace]:
    """Yield the accesses of a file, plain, gzip or xz, piece after piece.

    Raises:
      FileFormatError: It is not such a trace, or gives more records.
      StorageError: It cannot be read.
    """
    rest, n_instructions, n_records = b"", 0, 0
    pending, page = 0, np.uint64(2**64 - 1)
    for piece in pieces(path, _MAX_BYTES):
        content = rest + piece
        whole = len(content) - len(content) % INSTRUCTION.itemsize
        rest = content[whole:]
        found = np.frombuffer(content[:whole], INSTRUCTION)
        _check(path, found, n_instructions)
        n_instructions += len(found)
        part, pending, page = _records(found, pending, page)
        n_records += len(part)
        if n_records > max_records:
            raise FileFormatError(
                path, None, f"it must give at most {max_records} records; it gives more", "Cut it"
            )
        if len(part):
            yield part
    if rest or not n_instructions:
        problem = (
            f"a trace of ChampSim must be whole records of {INSTRUCTION.itemsize} bytes, at least "
            f"one; {len(rest)} bytes are left over after {n_instructions} records"
        )
        raise FileFormatError(path, None, problem, _REMEDY)


def write_champsim(parts: Iterable[MemoryTrace], handle: IO[bytes]) -> None:
    """Write records as instructions.

    Raises:
      InvalidArgumentError: There are more than 16,777,216 instructions.
    """
    written, code = 0, _CODE_ADDRESS
    for whole in parts:
        for start in range(0, len(whole), 2**16):
            part = whole[start : start + 2**16]
            instructions, code = _instructions(part, code)
            written += len(instructions)
            if written > _MAX_WRITTEN:
                raise InvalidArgumentError(_TOO_MANY)
            handle.write(instructions.tobytes())


def _check(path: str | Path, found: np.ndarray, before: int) -> None:
    for name, wrong in (
        ("an instruction pointer of 0", found["ip"] == 0),
        ("a flag of a branch above 1", (found["is_branch"] | found["branch_taken"]) > 1),
        (
            f"an address beyond {ADDRESS_BITS} bits",
            (found["source_memory"] >> np.uint64(ADDRESS_BITS)).any(axis=1)
            | (found["destination_memory"] >> np.uint64(ADDRESS_BITS)).any(axis=1),
        ),
    ):
        if wrong.any():
            number = before + int(np.argmax(wrong))
            raise FileFormatError(path, None, f"record {number} has {name}", _REMEDY)


def _records(
    found: np.ndarray, pending: int, page: np.uint64
) -> tuple[MemoryTrace, int, np.uint64]:
    """Record of instructions, the instructions after the last one, and the page of code."""
    n = len(found)
    pages = found["ip"] >> _PAGE_BITS
    enters = pages != np.concatenate([[page], pages[:-1]])
    sources, targets = found["source_memory"], found["destination_memory"]
    # A store to where the instruction loads from is a read-modify-write.
    is_both = (sources[:, :, None] == targets[:, None, :]) & (sources[:, :, None] != 0)
    kinds = np.empty((n, 7), np.uint8)
    kinds[:, 0] = AccessKind.FETCH
    kinds[:, 1:5] = np.where(is_both.any(axis=2), AccessKind.MODIFY, AccessKind.LOAD)
    kinds[:, 5:] = AccessKind.STORE
    addresses = np.column_stack([found["ip"] & np.uint64(2**ADDRESS_BITS - 1), sources, targets])
    is_there = addresses != 0
    is_there[:, 0] = enters
    is_there[:, 5:] &= ~is_both.any(axis=1)
    row, column = np.nonzero(is_there)
    retired = np.diff(row + 1, prepend=-pending)
    part = MemoryTrace(
        instructions=retired.astype(np.uint32),
        kind=kinds[row, column],
        size_bytes=np.full(len(row), _SIZE_BYTES, np.uint16),
        address=addresses[row, column],
    )
    left = n - (int(row[-1]) + 1) if len(row) else pending + n
    return part, left, pages[-1] if n else page


def _instructions(part: MemoryTrace, code: int) -> tuple[np.ndarray, int]:
    """Return instructions of records, and the page of code after them."""
    reads = (part.kind == AccessKind.LOAD) | (part.kind == AccessKind.MODIFY)
    writes = (part.kind == AccessKind.STORE) | (part.kind == AccessKind.MODIFY)
    count = part.instructions.astype(np.int64)
    # The first record of a piece has no instruction before it to share.
    count[:1] = np.maximum(count[:1], 1)
    group = np.flatnonzero(count)[np.cumsum(count > 0) - 1]
    read_rank, write_rank = _rank(reads, group), _rank(writes, group)
    # What an instruction has no room for goes to one that is added.
    count += ((read_rank > 0) & (read_rank % _LOADS == 0) & reads) | (
        (write_rank > 0) & (write_rank % _STORES == 0) & writes
    )
    if int(count.sum()) > _MAX_WRITTEN:
        raise InvalidArgumentError(_TOO_MANY)
    place = np.cumsum(count) - 1
    made = np.zeros(int(count.sum()), INSTRUCTION)
    fetches = np.flatnonzero(part.kind == AccessKind.FETCH)
    bases = np.concatenate([[code], part.address[fetches] >> _PAGE_BITS << _PAGE_BITS])
    bases = np.maximum(bases.astype(np.uint64), np.uint64(1 << 12))
    # A page holds from the fetched instruction on.
    first = np.concatenate([[0], place[fetches], [len(made)]])
    made["ip"] = np.repeat(bases, np.diff(first))
    made["ip"] += (np.arange(len(made), dtype=np.uint64) % np.uint64(1024)) * np.uint64(4)
    address = np.maximum(part.address, np.uint64(1))
    made["source_memory"][place[reads], read_rank[reads] % _LOADS] = address[reads]
    made["destination_memory"][place[writes], write_rank[writes] % _STORES] = address[writes]
    return made, int(bases[-1])


def _rank(chosen: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the number of chosen records that come before each in its group."""
    before: np.ndarray = np.cumsum(chosen) - chosen
    return np.asarray(before - before[group])
