"""Exclusive write access to a study, held by one process at a time."""

import fcntl
import json
import os
import secrets
import socket
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import final

from archgym.errors import StudyLockedError
from archgym.files.storage import open_own, storage_errors, write_all

LOCK_NAME = "writer.lock"
_MAX_BYTES = 4096
# chosen: a winner writes its name within microseconds of taking the lock; half a second covers
# a loaded machine and is short for a person who is refused.
_PATIENCE_S = 0.5


@final
@dataclass(frozen=True)
class Writer:
    """Holder of a lease."""

    token: str
    host: str
    pid: int
    started: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.started}"


@final
class Lease:
    """Write access to one study folder, until released or until the process ends.

    The kernel's lock on `writer.lock` goes with the process, also at kill -9, so a lease is never
    stale. The token in the file is what `check` compares: where a lock does not reach from one
    machine to another, as on some shared file systems, the writer that came first sees that it was
    replaced, and stops. It may write between its last look and that moment. A writer that finds a
    `predecessor` must therefore copy the files that the other may still have open.
    """

    predecessor: Writer | None
    """Previous holder that did not release the lease: killed, or perhaps still writing."""
    is_lost = False
    """True once `check` has found another writer."""

    def __init__(self, folder: str | Path) -> None:
        """Take the lease.

        Raises:
          StudyLockedError: Another writer holds it.
          StorageError: The folder cannot be written.
        """
        self._folder = Path(folder)
        self._path = self._folder / LOCK_NAME
        self._descriptor = open_own(self._path, os.O_RDWR)
        try:
            with storage_errors(self._path, "locked"):
                self._lock()
                self._pid = os.getpid()
                self._token = secrets.token_hex(8)
                self.predecessor = _parse(os.pread(self._descriptor, _MAX_BYTES, 0))
                self._content = self._sign()
        except BaseException:
            os.close(self._descriptor)
            self._descriptor = -1
            raise
        _held.add(self)

    def check(self) -> None:
        """Make sure that this process still is the writer.

        Raises:
          StudyLockedError: It is not.
        """
        if self._descriptor < 0 or os.getpid() != self._pid:
            raise StudyLockedError(
                f"{self._folder} must be written by the process that opened it, while it is "
                "open; this one is not, or no longer. Open the study again."
            )
        try:
            # Opened again, since that is when a shared file system asks its server.
            same_file, content = _look(self._path, self._descriptor)
        except OSError:
            same_file, content = False, b""
        if not same_file or content != self._content:
            self.is_lost = True
            raise StudyLockedError(
                f"{self._folder} was taken over by {_parse(content) or 'another writer'} while "
                f"process {self._pid} wrote it. This process stops; let the other one finish."
            )

    def release(self) -> None:
        """Release the lease for the next writer; calling it again does nothing."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        _held.discard(self)
        if os.getpid() == self._pid:
            with suppress(OSError):
                if os.pread(descriptor, _MAX_BYTES, 0) == self._content:
                    os.ftruncate(descriptor, 0)
        os.close(descriptor)

    def _lock(self) -> None:
        # The file may hold the name of an earlier writer that was killed, for as long as the
        # present one needs to write its own; and `current_writer` locks it for an instant.
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                writer = _parse(os.pread(self._descriptor, _MAX_BYTES, 0))
                lives = writer is not None and _may_live(writer)
                if lives or time.monotonic() > deadline:
                    raise StudyLockedError(
                        f"{self._folder} is being written by "
                        f"{writer if lives else 'another process'}; a study has one writer. "
                        "Wait until it ends, or choose another folder."
                    ) from None
            time.sleep(0.01)

    def _sign(self) -> bytes:
        started = datetime.now(UTC).isoformat(timespec="seconds")
        writer = Writer(self._token, socket.gethostname(), self._pid, started)
        content = json.dumps(vars(writer)).encode() + b"\n"
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        write_all(self._descriptor, content)
        # Only then do other machines of a shared folder see it.
        os.fsync(self._descriptor)
        return content


def last_writer(folder: str | Path) -> Writer | None:
    """Return the last holder that did not release the lease: writing, killed or cut off."""
    with suppress(OSError):
        descriptor = os.open(Path(folder) / LOCK_NAME, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return _parse(os.pread(descriptor, _MAX_BYTES, 0))
        finally:
            os.close(descriptor)
    return None


def current_writer(folder: str | Path) -> Writer | None:
    """Return the current writer of a study without changing the folder.

    Returns:
      None if no lock shows a writer; a writer without a name (pid 0) where it cannot
      be told.
    """
    path = Path(folder) / LOCK_NAME
    try:
        # A pipe of this name would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        content = os.pread(descriptor, _MAX_BYTES, 0)
        return _parse(content) or Writer("", "an unknown host", 0, "an unknown time")
    finally:
        os.close(descriptor)
    return None


def _look(path: Path, descriptor: int) -> tuple[bool, bytes]:
    """Return True if a path still is the open file, and that file's content."""
    now = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        same_file = os.path.samestat(os.fstat(now), os.fstat(descriptor))
        return same_file, os.pread(now, _MAX_BYTES, 0)
    finally:
        os.close(now)


def _parse(content: bytes) -> Writer | None:
    try:
        data = json.loads(content)
        return Writer(str(data["token"]), str(data["host"]), int(data["pid"]), str(data["started"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _may_live(writer: Writer) -> bool:
    if writer.host != socket.gethostname():
        return True
    try:
        os.kill(writer.pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


_held: "weakref.WeakSet[Lease]" = weakref.WeakSet()


def _forget_in_child() -> None:
    """Close the leases that a forked child inherited, which would outlive their writer in it."""
    for lease in list(_held):
        with suppress(OSError):
            os.close(lease._descriptor)
        lease._descriptor = -1
    _held.clear()


os.register_at_fork(after_in_child=_forget_in_child)
