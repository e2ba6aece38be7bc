"""Hosts that share a folder as over NFS, simulated in one process.

Each host is a thread with a folder of its own, its cache. At each call of the system another host
may continue, as a seed decides. What a host writes reaches the server when it syncs or closes the
file; it sees what others wrote when it opens a file; what it is told of a name or a size may be
old. Who appends, writes where it believes the end to be. Locks reach all hosts, or none but the
own one. A file that another host has replaced is stale. Clocks differ by minutes.
"""

import datetime
import errno
import fcntl
import io
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

REAL: dict[str, Any] = {
    name: getattr(os, name)
    for name in (
        "open", "close", "write", "read", "pread", "fsync", "ftruncate", "stat", "lstat", "replace",
        "rename", "unlink", "remove", "rmdir", "mkdir", "scandir", "listdir", "link",
    )
}  # fmt: skip
REAL_OPEN, REAL_FLOCK, REAL_SLEEP = io.open, fcntl.flock, time.sleep


class Server:
    """Files as the server has them, and whose turn it is."""

    def __init__(self, seed: int, *, locks_reach: bool, staleness: float = 0.3) -> None:
        """Begin with nothing.

        Args:
          seed: Decides the order of the hosts' calls, and which attributes are old.
          locks_reach: True if a lock of one host keeps the others out.
          staleness: Share of the looks at names and sizes that the cache answers.
        """
        self.names: dict[str, int] = {}
        self.contents: dict[int, bytearray] = {}
        self.folders: set[str] = set()
        self.locks_reach, self.staleness = locks_reach, staleness
        self.locks: dict[int, tuple[Host, int]] = {}
        self.rng = random.Random(seed)
        self.hosts: dict[int, Host] = {}
        self._n_files = 0
        self._turn = threading.Condition()
        self._running: list[int] = []
        self._now = -1

    def new_file(self) -> int:
        """Return the number of a new empty file."""
        self._n_files += 1
        self.contents[self._n_files] = bytearray()
        return self._n_files

    def run(self, jobs: "dict[Host, Callable[[], None]]") -> None:
        """Run a job on each host until all have ended."""
        threads = []
        for number, (host, job) in enumerate(jobs.items()):

            def work(
                host: Host = host, job: Callable[[], None] = job, number: int = number
            ) -> None:
                self.hosts[threading.get_ident()] = host
                self._wait(number)
                try:
                    job()
                finally:
                    with self._turn:
                        self._running.remove(number)
                        self._pick()

            threads.append(threading.Thread(target=work, daemon=True))
        self._running = list(range(len(threads)))
        self._now = self.rng.choice(self._running)
        with self._patched():
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(120)
                assert not thread.is_alive(), "a host hangs"

    def _wait(self, number: int) -> None:
        with self._turn:
            threading.current_thread().name = str(number)
            self._turn.wait_for(lambda: self._now == number)

    def _pick(self) -> None:
        if self._running:
            self._now = self.rng.choice(self._running)
        self._turn.notify_all()

    def pause(self) -> None:
        """Let another host continue, or the same one."""
        number = int(threading.current_thread().name)
        with self._turn:
            # A host often does several things in a row.
            if self.rng.random() < 0.3:
                self._pick()
            self._turn.wait_for(lambda: self._now == number)

    def host(self) -> "Host | None":
        """Return the host of this thread."""
        return self.hosts.get(threading.get_ident())

    @contextmanager
    def _patched(self) -> Iterator[None]:
        def sleep(seconds: float) -> None:
            host = self.host()
            if host is None:
                REAL_SLEEP(seconds)
            else:
                host.slept += seconds
                with self._turn:
                    self._pick()
                self.pause()

        def monotonic() -> float:
            host = self.host()
            return real_monotonic() + (0.0 if host is None else host.slept)

        class Skewed(datetime.datetime):
            @classmethod
            def now(cls, zone: Any = None) -> Any:
                host = server.host()
                skew = 0.0 if host is None else host.skew_s
                return datetime.datetime.now(zone) + datetime.timedelta(seconds=skew)

        def name() -> str:
            host = self.host()
            return str(real_name()) if host is None else host.name

        server, real_monotonic, real_name = self, time.monotonic, socket.gethostname
        patches = [mock.patch.object(os, name, self._call(name)) for name in REAL]
        patches += [
            mock.patch.object(io, "open", self._open_stream),
            mock.patch.object(fcntl, "flock", self._flock),
            mock.patch.object(time, "sleep", sleep),
            mock.patch.object(time, "monotonic", monotonic),
            mock.patch("archgym.files.lease.datetime", Skewed),
            mock.patch.object(socket, "gethostname", name),
        ]
        for patch in patches:
            patch.start()
        try:
            yield
        finally:
            for patch in patches:
                patch.stop()

    def _call(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            host = self.host()
            if host is None or host.is_inside:
                return REAL[name](*arguments, **options)
            self.pause()
            host.is_inside = True
            try:
                return getattr(host, name, lambda *a, **o: REAL[name](*a, **o))(
                    *arguments, **options
                )
            finally:
                host.is_inside = False

        return call

    def _open_stream(self, path: Any, *arguments: Any, **options: Any) -> Any:
        host = self.host()
        if host is not None and not host.is_inside and isinstance(path, str | os.PathLike):
            place = host.place(path)
            if place is not None:
                self.pause()
                host.is_inside = True
                try:
                    host.pull(place)
                finally:
                    host.is_inside = False
        return REAL_OPEN(path, *arguments, **options)

    def _flock(self, descriptor: int, operation: int) -> None:
        host = self.host()
        if host is None or host.is_inside or descriptor not in host.opened:
            REAL_FLOCK(descriptor, operation)
            return
        self.pause()
        host.is_inside = True
        try:
            host.lock(descriptor, operation)
        finally:
            host.is_inside = False

    def write_to(self, folder: Path) -> None:
        """Write what the server has into a plain folder."""
        folder.mkdir(parents=True)
        for name in sorted(self.folders):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name, number in self.names.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(bytes(self.contents[number]))


class Host:
    """One machine with its cache; its methods are the calls of the system on it."""

    def __init__(self, server: Server, name: str, folder: Path, skew_s: float = 0.0) -> None:
        """Mount the share at a new folder."""
        folder.mkdir(parents=True)
        self.server, self.name, self.folder, self.skew_s = server, name, folder, skew_s
        self.is_inside = False
        self.slept = 0.0
        self.opened: dict[int, tuple[str, int]] = {}
        # What the cache holds of a file of the server, and which one it is.
        self._base: dict[str, bytes] = {}
        self._number: dict[str, int] = {}

    def place(self, path: Any) -> str | None:
        """Return the name on the share, or None for another place."""
        text = os.path.normpath(os.fsdecode(path))
        top = str(self.folder)
        return text[len(top) + 1 :] if text.startswith(top + os.sep) else None

    # ---- the cache

    def _local(self, place: str) -> Path:
        return self.folder / place

    def _content(self, place: str) -> bytes | None:
        try:
            with REAL_OPEN(self._local(place), "rb") as handle:
                return bytes(handle.read())
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None

    def pull(self, place: str) -> None:
        """Ask the server for a name, and for its file unless changes of ours wait here."""
        server, path = self.server, self._local(place)
        if place in server.folders:
            Path(path).mkdir(parents=True, exist_ok=True)
            return
        number, local = server.names.get(place), self._content(place)
        if number is None:
            if local is not None and place in self._number:
                path.unlink()
                self._forget(place)
            elif path.is_dir() and place:
                names = REAL["listdir"](path)
                if not names:
                    REAL["rmdir"](path)
            return
        remote = bytes(server.contents[number])
        if self._number.get(place) != number:
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_name(f"{path.name}.pulled")
            fresh.write_bytes(remote)
            fresh.replace(path)
        elif local == self._base.get(place) and local != remote:
            with REAL_OPEN(path, "r+b") as handle:
                handle.write(remote)
                handle.truncate()
        elif local != self._base.get(place):
            return
        self._number[place], self._base[place] = number, remote

    def _forget(self, place: str) -> None:
        self._base.pop(place, None)
        self._number.pop(place, None)

    def _pull_folder(self, place: str) -> None:
        server = self.server
        if place and place not in server.folders:
            self.pull(place)
            return
        start = f"{place}/" if place else ""
        known = {n for n in (*server.names, *server.folders) if n.startswith(start)}
        for name in sorted(known):
            if "/" not in name[len(start) :]:
                self.pull(name)
        for name in REAL["listdir"](self._local(place)):
            if start + name not in known and start + name in self._number:
                self.pull(start + name)

    def flush(self, place: str, number: int, content: bytes) -> None:
        """Send what has changed in a file since it was read."""
        server = self.server
        base = self._base.get(place, b"") if self._number.get(place) == number else content
        if number not in server.names.values():
            if content != base or place not in server.names:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            return
        remote = server.contents[number]
        for start, piece in _changes(base, content):
            if len(remote) < start:
                remote.extend(bytes(start - len(remote)))
            remote[start : start + len(piece)] = piece
        if self._number.get(place) == number:
            self._base[place] = content

    def _fresh(self, place: str) -> None:
        if self.server.rng.random() >= self.server.staleness:
            self.pull(place)

    # ---- calls

    def open(self, path: Any, flags: int, mode: int = 0o777, **options: Any) -> int:
        place = self.place(path)
        if place is None or options.get("dir_fd") is not None:
            return int(REAL["open"](path, flags, mode, **options))
        self.pull(place)
        if flags & os.O_CREAT and place not in self.server.names:
            descriptor = int(REAL["open"](path, flags & ~os.O_EXCL, mode))
            self.server.names[place] = number = self.server.new_file()
            self._number[place], self._base[place] = number, b""
        else:
            # Two hosts may both believe that they made a file.
            descriptor = int(REAL["open"](path, flags & ~os.O_EXCL, mode))
        self.opened[descriptor] = place, self._number.get(place, -1)
        return descriptor

    def close(self, descriptor: int) -> None:
        place, number = self.opened.pop(descriptor, ("", -1))
        try:
            if number >= 0:
                self._flush_open(descriptor, place, number)
                held = self.server.locks.get(number)
                if held is not None and held == (self, descriptor):
                    del self.server.locks[number]
        finally:
            REAL["close"](descriptor)

    def _flush_open(self, descriptor: int, place: str, number: int) -> None:
        reader = REAL["open"](f"/proc/self/fd/{descriptor}", os.O_RDONLY)
        try:
            content = REAL["pread"](reader, 2**26, 0)
        finally:
            REAL["close"](reader)
        self.flush(place, number, content)

    def fsync(self, descriptor: int) -> None:
        place, number = self.opened.get(descriptor, ("", -1))
        if number >= 0:
            self._flush_open(descriptor, place, number)

    def ftruncate(self, descriptor: int, size: int) -> None:
        REAL["ftruncate"](descriptor, size)
        place, number = self.opened.get(descriptor, ("", -1))
        if number in self.server.contents:
            del self.server.contents[number][size:]
            if self._number.get(place) == number:
                self._base[place] = self._base[place][:size]

    def stat(self, path: Any, **options: Any) -> Any:
        place = None if isinstance(path, int) else self.place(path)
        if place is not None:
            self._fresh(place)
        return REAL["stat"](path, **options)

    def lstat(self, path: Any, **options: Any) -> Any:
        place = self.place(path)
        if place is not None:
            self._fresh(place)
        return REAL["lstat"](path, **options)

    def scandir(self, path: Any = ".") -> Any:
        self._look_into(path)
        return REAL["scandir"](path)

    def listdir(self, path: Any = ".") -> Any:
        self._look_into(path)
        return REAL["listdir"](path)

    def _look_into(self, path: Any) -> None:
        place = None if isinstance(path, int) else self.place(path)
        if place is not None and self.server.rng.random() >= self.server.staleness:
            self._pull_folder(place)

    def mkdir(self, path: Any, mode: int = 0o777, **options: Any) -> None:
        place = self.place(path)
        if place is not None:
            if place in self.server.folders:
                Path(path).mkdir(parents=True, exist_ok=True)
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
            self.server.folders.add(place)
            Path(path).mkdir(parents=True, exist_ok=True)
            return
        REAL["mkdir"](path, mode, **options)

    def replace(self, source: Any, target: Any, **options: Any) -> None:
        old, new = self.place(source), self.place(target)
        if old is None or new is None:
            REAL["replace"](source, target, **options)
            return
        number, content = self.server.names.get(old), self._content(old)
        if number is None or content is None or self._number.get(old) != number:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(source))
        self.flush(old, number, content)
        self.server.names[new] = self.server.names.pop(old)
        REAL["replace"](source, target)
        self._number[new], self._base[new] = number, content
        self._forget(old)

    rename = replace

    def unlink(self, path: Any, **options: Any) -> None:
        place = None if options.get("dir_fd") is not None else self.place(path)
        if place is not None:
            self.pull(place)
            self.server.names.pop(place, None)
            self._forget(place)
        REAL["unlink"](path, **options)

    remove = unlink

    def lock(self, descriptor: int, operation: int) -> None:
        """Take a lock as `flock` does, on the server or on this host alone."""
        place, number = self.opened[descriptor]
        if not self.server.locks_reach:
            REAL_FLOCK(descriptor, operation | fcntl.LOCK_NB)
            return
        held = self.server.locks.get(number)
        if operation & fcntl.LOCK_UN:
            if held == (self, descriptor):
                del self.server.locks[number]
            return
        if held is not None and held != (self, descriptor):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.server.locks[number] = self, descriptor
        # A lock is also when a client asks for what is new.
        self.pull(place)


def _changes(base: bytes, content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield places and pieces that differ."""
    n = max(len(base), len(content))
    start = None
    for place in range(n):
        differs = place < len(content) and (place >= len(base) or base[place] != content[place])
        if differs and start is None:
            start = place
        elif not differs and start is not None:
            yield start, content[start:place]
            start = None
    if start is not None:
        yield start, content[start:]
