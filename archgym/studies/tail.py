"""New records of a journal while a study runs, without reading the rest again."""

import io
import os
from pathlib import Path
from typing import final

from archgym.files.storage import open_member, storage_errors
from archgym.studies.journal import parse_records
from archgym.studies.records import JournalShape, Records

# chosen: bytes that one call reads, so that a large journal arrives in parts of about a second.
_PART_BYTES = 8 * 2**20


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
