"""The append-only record of a study: one checksummed line for each design that was asked.

A line is compact JSON whose last member, `crc`, is the CRC32 of every byte before it, begun with
the study's key (`JournalShape.key`), so that another study's lines do not pass for its own:

    {"seq":0,"design":[3,1],"values":[[81.5,null]],"reason":[0],"reward":0.25,"crc":"8a1f09c2"}
    {"seq":1,"design":[3,1],"same":0,"crc":"11dd8e40"}

`design` holds the indices as they were asked, `values` one list of metrics for each workload with
null if the design was not built, `reason` why it is infeasible for each workload (0: feasible), and
`error` the message of a simulator that broke. The second kind repeats the design of record `same`.
"""

import io
import json
import math
import operator
import os
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, final

import numpy as np

from archgym.errors import FileFormatError, StorageError, StudyLockedError
from archgym.files.json_types import refuse_constant
from archgym.files.lease import Lease
from archgym.files.storage import (
    is_there,
    open_member,
    open_own,
    storage_errors,
    synchronise,
    write_all,
    write_atomic,
)
from archgym.studies.records import JournalShape, Records

# chosen: twenty lines of a program's output fit; a journal stays readable.
MAX_ERROR_LENGTH = 8000
# chosen: the fastest of 64 to 4096; small blocks of parsed lines stay in the processor's cache.
_BLOCK = 256
_MAX_SEQ = 2**53
_CRC_MEMBER = b',"crc":"'
_TAIL = len(_CRC_MEMBER) + len('01234567"}\n')
_EVALUATED = ("seq", "design", "values", "reason", "reward")
_FAILED = (*_EVALUATED, "error")
_REPEATED = ("seq", "design", "same")
_FOREIGN = "does not match its checksum or belongs to another study"
# chosen: a power cut then loses a second's records; one fsync an append costs some disks 50 ms.
_SYNC_INTERVAL_S = 1.0
# chosen: bytes that one call reads, so that a large journal arrives in parts of about a second.
_PART_BYTES = 8 * 2**20


_decode = json.JSONDecoder(parse_constant=refuse_constant).raw_decode


@final
@dataclass(frozen=True)
class Damage:
    """A stretch of a journal that is not a record."""

    line: int
    offset: int
    length: int
    problem: str

    def __str__(self) -> str:
        return f"line {self.line} {self.problem}"


@final
@dataclass(frozen=True)
class Journal:
    """Content of a journal file."""

    records: Records
    """The good ones, in seq order."""
    places: np.ndarray
    """(n, 2) int64, offset and length of each good record's line without its end [bytes]."""
    damage: tuple[Damage, ...]
    is_tidy: bool
    """True if the file is exactly its records in seq order."""


# ---- reading


def _shortened(error: str) -> str:
    """Return an error's text, of which a long one says how much is left out."""
    if len(error) <= MAX_ERROR_LENGTH:
        return error
    return f"{error[:MAX_ERROR_LENGTH]} … ({len(error) - MAX_ERROR_LENGTH:,} more letters)"


def encode(records: Records, key: int = 0) -> bytes:
    """Return lines of these records, each with its checksum, which begins with the study's key."""
    if np.isinf(records.values).any():
        raise ValueError("the values of a record must be finite")
    lines = []
    has_nan = np.asarray(np.isnan(records.values).any(axis=(1, 2)))
    columns = zip(
        records.seq.tolist(),
        records.indices.tolist(),
        records.values.tolist(),
        has_nan.tolist(),
        records.reason.tolist(),
        records.reward.tolist(),
        records.same.tolist(),
        strict=True,
    )
    for seq, design, values, is_partial, reason, reward, same in columns:
        if same >= 0:
            text = f'{{"seq":{seq},"design":{design},"same":{same}'
        else:
            if not math.isfinite(reward):
                raise ValueError(f"the reward of record {seq} must be finite; got {reward!r}")
            shown = repr(values)
            if is_partial:
                shown = shown.replace("nan", "null")
            # Python writes lists of numbers as JSON does, but for the spaces.
            text = f'{{"seq":{seq},"design":{design},"values":{shown},"reason":{reason}'
            text = f'{text},"reward":{reward!r}'
        body = text.replace(" ", "").encode()
        if same < 0 and seq in records.errors:
            body += b',"error":' + json.dumps(_shortened(records.errors[seq])).encode()
        lines.append(b'%s,"crc":"%08x"}\n' % (body, zlib.crc32(body, key)))
    return b"".join(lines)


def load_journal(path: str | Path, shape: JournalShape) -> Journal:
    """Read and verify a journal, and change nothing.

    Every line is verified: its checksum, its JSON, its members and their types and ranges. What
    fails is in `damage`; the memory that a damaged file costs is bounded by its good lines.

    Raises:
      FileFormatError: There is no such file.
      StorageError: It cannot be read.
    """
    path = Path(path)
    if not is_there(path):
        raise FileFormatError(
            path, None, "a study must have its journal, and this file is absent", _RESTORE
        )
    reader = _Reader(shape)
    with storage_errors(path, "read"), open_member(path) as handle:
        reader.read(handle)
    return reader.journal()


def parse_records(handle: BinaryIO, shape: JournalShape) -> tuple[Records, int]:
    """Return the records in some lines of a journal, and the number of damaged lines."""
    reader = _Reader(shape)
    reader.read(handle)
    journal = reader.journal()
    return journal.records, len(journal.damage)


_RESTORE = "Restore it from a copy, or start the study again in a new folder"


@final
class _Reader:
    """One pass over a journal's lines."""

    def __init__(self, shape: JournalShape) -> None:
        self._shape = shape
        self._damage: list[Damage] = []
        self._blocks: list[Records] = []
        self._pending: list[tuple[int, dict[str, Any]]] = []
        self._places: list[tuple[int, int]] = []
        self._seen: dict[int, bytes] = {}
        self._is_tidy = True

    def read(self, handle: BinaryIO) -> None:
        """Process every line of the file."""
        offset = 0
        for place, (line, length) in enumerate(_lines(handle, self._shape.line_limit)):
            seq = self._take(line, place + 1, offset, length)
            offset += length
            self._is_tidy &= seq == place
            if len(self._pending) >= _BLOCK:
                self._flush()
        self._flush()

    def journal(self) -> Journal:
        """Return the journal that was read."""
        records = Records.concatenated([Records.empty(self._shape), *self._blocks])
        places = np.array(self._places, dtype=np.int64).reshape(-1, 2)
        if not self._is_tidy:
            order = np.argsort(records.seq, kind="stable")
            records, places = records.rows(order), places[order]
        return Journal(records, places, tuple(self._damage), self._is_tidy)

    def _take(self, line: bytes | None, number: int, offset: int, length: int) -> int:
        """Return the line's seq, or -1 where it is not a new record."""
        problem: str | None
        record: dict[str, Any]
        if line is None:
            problem, record = f"has more than {self._shape.line_limit} bytes", {}
        else:
            if not line.endswith(b"\n"):
                # A last record that is whole but for its line's end counts; `is_tidy` is false.
                self._is_tidy = False
                line += b"\n"
                problem, record = _parse(line, self._shape)
                problem = problem and "is torn: it has no end"
            else:
                problem, record = _parse(line, self._shape)
        if problem is None and line is not None:
            seq: int = record["seq"]
            crc = line[-11:-3]
            earlier = self._seen.get(seq)
            if earlier is None:
                self._seen[seq] = crc
                self._pending.append((seq, record))
                self._places.append((offset, len(line) - 1))
                return seq
            self._is_tidy = False
            if earlier == crc:
                return -1
            problem = f"is another record with seq {seq}"
        assert problem is not None
        self._is_tidy = False
        self._damage.append(Damage(number, offset, length, problem))
        return -1

    def _flush(self) -> None:
        if not self._pending:
            return
        block = Records.empty(self._shape, len(self._pending))
        errors = {}
        block.seq[:] = [seq for seq, _ in self._pending]
        block.indices[:] = [record["design"] for _, record in self._pending]
        evaluated = [row for row, (_, record) in enumerate(self._pending) if "values" in record]
        chosen = [self._pending[row][1] for row in evaluated]
        if chosen:
            # None becomes NaN.
            block.values[evaluated] = np.array([r["values"] for r in chosen], dtype=np.float64)
            block.reason[evaluated] = [r["reason"] for r in chosen]
            block.reward[evaluated] = [r["reward"] for r in chosen]
        for row, (seq, record) in enumerate(self._pending):
            if "same" in record:
                block.same[row] = record["same"]
            elif "error" in record:
                errors[seq] = record["error"]
        self._blocks.append(
            Records(
                block.seq,
                block.indices,
                block.values,
                block.reason,
                block.reward,
                block.same,
                errors,
            )
        )
        self._pending = []


def _lines(handle: BinaryIO, limit: int) -> Iterator[tuple[bytes | None, int]]:
    """Yield lines and their lengths; None for a line that is longer than `limit`."""
    while line := handle.readline(limit):
        length = len(line)
        if length < limit or line.endswith(b"\n"):
            yield line, length
            continue
        while not line.endswith(b"\n") and (line := handle.readline(limit)):
            length += len(line)
        yield None, length


def _parse(line: bytes, shape: JournalShape) -> tuple[str | None, dict[str, Any]]:
    """Return the record in a line, or what is wrong with it."""
    body = line[:-_TAIL]
    if line[-_TAIL:] != b',"crc":"%08x"}\n' % zlib.crc32(body, shape.key):
        return ("is empty" if line == b"\n" else _FOREIGN), {}
    try:
        text = body.decode("ascii") + "}"
        record, end = _decode(text)
    except (ValueError, RecursionError):
        return "is not JSON", {}
    if end != len(text):
        return "is not JSON", {}
    problem = _problem(record, shape) if isinstance(record, dict) else "is not an object"
    return problem, record


def _problem(record: dict[str, Any], shape: JournalShape) -> str | None:
    """Return the problem with a record's members, or None."""
    members = tuple(record)
    if members not in (_EVALUATED, _REPEATED, _FAILED):
        return f"has the members {', '.join(map(repr, members))[:80]}"
    seq, design = record["seq"], record["design"]
    if type(seq) is not int or not 0 <= seq < _MAX_SEQ:
        return "has no sound seq"
    if (
        not _is_integers(design, len(shape.sizes))
        or min(design) < 0
        or not all(map(operator.lt, design, shape.sizes))
    ):
        return "has a design outside the space"
    if members == _REPEATED:
        same = record["same"]
        sound = type(same) is int and 0 <= same < seq
        return None if sound else "repeats no earlier record"
    reason = record["reason"]
    if not _is_integers(reason, shape.n_workloads) or not all(
        -1 <= r < shape.n_reasons for r in reason
    ):
        return "has no sound reason"
    if type(record["reward"]) is not float or not math.isfinite(record["reward"]):
        return "has no sound reward"
    if type(record.get("error", "")) is not str:
        return "has no sound error"
    values = record["values"]
    if (
        type(values) is not list
        or len(values) != shape.n_workloads
        or not all(_is_numbers(row, shape.n_metrics) for row in values)
    ):
        return "has no sound values"
    return None


def _is_integers(row: Any, n: int) -> bool:
    return type(row) is list and len(row) == n and set(map(type, row)) == {int}


def _is_numbers(row: Any, n: int) -> bool:
    if type(row) is not list or len(row) != n:
        return False
    kinds = set(map(type, row))
    if type(None) in kinds:
        row = [v for v in row if v is not None]
        kinds.discard(type(None))
    # The sum is finite, but for sums of the largest numbers, just where every term is.
    return kinds <= {float} and (math.isfinite(sum(row)) or all(map(math.isfinite, row)))


# ---- repair


def set_aside(path: Path, damage: Sequence[Damage], bad_path: Path) -> None:
    """Copy the damaged stretches of a journal to the end of another file, one a line.

    Raises:
      StorageError: It cannot be written.
    """
    if not damage:
        return
    descriptor = open_own(bad_path, os.O_WRONLY | os.O_APPEND)
    with (
        storage_errors(bad_path, "written"),
        os.fdopen(descriptor, "ab") as bad,
        open_member(path) as source,
    ):
        for stretch in damage:
            source.seek(stretch.offset)
            left, piece = stretch.length, b""
            while left and (piece := source.read(min(left, 2**20))):
                bad.write(piece)
                left -= len(piece)
            if not piece.endswith(b"\n"):
                bad.write(b"\n")
        bad.flush()
        os.fsync(bad.fileno())
        synchronise(bad_path.parent)


def rewrite(path: Path, journal: Journal) -> None:
    """Rewrite the file atomically with its valid records in seq order.

    Raises:
      StorageError: It cannot be written; the file is as it was.
    """
    with storage_errors(path, "read"), open_member(path) as source:
        write_atomic(path, _copied(source, journal.places))


def renew(path: Path) -> None:
    """Replace the file by a copy, so that a process that still has it open cannot change it.

    Raises:
      StorageError: It cannot be written; the file is as it was.
    """
    with storage_errors(path, "read"), open_member(path) as source:
        write_atomic(path, iter(lambda: source.read(2**20), b""))


def _copied(source: BinaryIO, places: np.ndarray) -> Iterator[bytes]:
    for offset, length in places.tolist():
        source.seek(offset)
        yield source.read(length) + b"\n"


# ---- writing


@final
class JournalWriter:
    """Append to a journal and to the file of wall times while the lease holds.

    A batch is one write, which survives kill -9; the disk is synchronised at most once a second
    and at the end, so a power cut can cost the last second. Wall times are gathered and written
    with that: `timing.jsonl` says which records came together and how long they took [s].
    """

    def __init__(self, path: Path, timing_path: Path, lease: Lease) -> None:
        """Open the files, which are made where they are absent.

        Raises:
          StorageError: They cannot be written.
        """
        self._path, self._timing_path, self._lease = path, timing_path, lease
        self._descriptor = self._open(path)
        self._timing: list[str] = []
        self._synchronised_at = time.monotonic()

    def append(self, lines: bytes, first_seq: int, n: int, wall_s: float) -> None:
        """Add whole lines; on failure the file is as it was.

        Args:
          lines: Result of `encode`.
          first_seq: The first of them.
          n: Number of lines.
          wall_s: Wall time of their evaluation [s].

        Raises:
          StudyLockedError: The lease is lost.
          StorageError: The disk is full, or the like.
        """
        self._lease.check()
        with storage_errors(self._path, "written"):
            opened = os.fstat(self._descriptor)
            if not os.path.samestat(opened, self._path.stat()):
                raise StudyLockedError(
                    f"{self._path} must stay in its place while it is written; another writer, or "
                    "somebody, has replaced it. Open the study again."
                )
            size = opened.st_size
            try:
                write_all(self._descriptor, lines)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(self._descriptor, size)
                raise
        self._timing.append(f'{{"seq":{first_seq},"n":{n},"wall_s":{wall_s:.6f}}}\n')
        if time.monotonic() - self._synchronised_at > _SYNC_INTERVAL_S:
            self.synchronise()

    def synchronise(self) -> None:
        """Sync all written lines to disk."""
        self._synchronised_at = time.monotonic()
        with storage_errors(self._path, "written"):
            os.fsync(self._descriptor)
        if self._timing and not self._lease.is_lost:
            # Where locks do not reach, another writer may have copied the journal just before.
            self._lease.check()
        if self._timing:
            lines, self._timing = self._timing, []
            # Wall times only inform; where they cannot be written, neither can the journal soon.
            with suppress(StorageError):
                descriptor = self._open(self._timing_path)
                with storage_errors(self._timing_path, "written"):
                    try:
                        write_all(descriptor, "".join(lines).encode())
                    finally:
                        os.close(descriptor)

    def rewrite(self, shape: JournalShape) -> None:
        """Sort the records by seq, atomically."""
        self._lease.check()
        rewrite(self._path, load_journal(self._path, shape))
        descriptor, self._descriptor = self._descriptor, self._open(self._path)
        os.close(descriptor)

    def close(self) -> None:
        """Synchronise and close the file; do nothing the second time."""
        if self._descriptor < 0:
            return
        try:
            self.synchronise()
        finally:
            descriptor, self._descriptor = self._descriptor, -1
            # A shared file system may say only now that it could not write.
            with storage_errors(self._path, "written"):
                os.close(descriptor)

    @staticmethod
    def _open(path: Path) -> int:
        return open_own(path, os.O_WRONLY | os.O_APPEND)


@final
class JournalTail:
    """Reader that continues where its last call ended.

    A loop reads the records that have come since the last call:

        tail = JournalTail(folder / "journal.jsonl", header.shape(header.space()))
        while True:
            records, is_new = tail.poll()
    """

    def __init__(self, path: Path, shape: JournalShape) -> None:
        """Start at the beginning of a journal.

        Args:
          path: File of the journal, which may be absent so far.
          shape: Numbers of parameters, workloads and metrics, and the key of the checksums.
        """
        self._path = path
        self._shape = shape
        self._offset = 0
        self._inode = -1
        self.n_damaged = 0
        self.has_more = False
        """True if the last call left whole lines unread."""

    def poll(self) -> tuple[Records, bool]:
        """Return the records since the last call, and True if the journal was replaced.

        The last line of a running study may be incomplete; it is read by a later call. After a
        repair, which replaces the file, all records come again.

        Raises:
          StorageError: The journal cannot be read.
        """
        if not self._path.exists():
            return Records.empty(self._shape), False
        with storage_errors(self._path, "read"), open_member(self._path) as handle:
            state = os.fstat(handle.fileno())
            is_new = state.st_ino != self._inode or state.st_size < self._offset
            if is_new:
                self._offset, self._inode, self.n_damaged = 0, state.st_ino, 0
            handle.seek(self._offset)
            content = handle.read(_PART_BYTES)
        whole = content.rfind(b"\n") + 1
        if not whole and len(content) == _PART_BYTES:
            # A line that long is not a record.
            whole = len(content)
        self._offset += whole
        self.has_more = len(content) == _PART_BYTES
        records, n_damaged = parse_records(io.BytesIO(content[:whole]), self._shape)
        self.n_damaged += n_damaged
        return records, is_new
