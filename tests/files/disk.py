"""A disk that may lose its power: it records what a writer does, and makes what a cut may leave.

A `Disk` watches a folder. Before and after each call of the system that writes, syncs or renames,
it compares the folder with what it was, so it also sees what libraries write. After a cut at some
event, a state holds whatever was synced before, and any part of the rest: pages of 4 KB each old
or new, any of the sizes that a file had meanwhile, names of a folder that was not synced each
there or not (or, as a journalling file system does, all up to some point).
"""

import ctypes
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

PAGE = 4096
CALLS = (
    "open", "write", "pwrite", "ftruncate", "truncate", "fsync", "fdatasync", "replace", "rename",
    "link", "unlink", "remove", "rmdir", "mkdir",
)  # fmt: skip
SYNCS = ("fsync", "fdatasync")


@dataclass
class Event:
    """One thing that happened; `kind` says which of the other members it has."""

    kind: str
    """`names` of a folder, `page` or `size` of a file, `sync` of either, or a `mark`."""
    place: int = -1
    """Number of the file or folder."""
    names: dict[str, int | None] = field(default_factory=dict)
    """Names that lead to other files from now on, or to none."""
    page: int = 0
    size: int = 0
    content: bytes = b""
    mark: Any = None


class Disk:
    """Recorder of a folder."""

    def __init__(self, top: Path, without: str = "") -> None:
        """Begin with an empty folder, whose own name is safe.

        Args:
          top: The folder.
          without: Place in ArchGym's code, as in `places`, whose syncs do nothing.
        """
        self.top = top
        self.places: set[str] = set()
        self.left_out: list[int] = []
        self._without = without
        self.events: list[Event] = []
        self._turn = threading.RLock()
        self._numbers: dict[int, int] = {}
        self._names: dict[int, dict[str, int]] = {}
        self._contents: dict[int, bytes] = {}
        self._is_off = False
        self._n_places = 0
        self._observe()

    def mark(self, mark: Any) -> None:
        """Note that the writer has promised something to its caller."""
        with self._turn:
            self._observe()
            self.events.append(Event("mark", mark=mark))

    def sync(self, path: str | Path) -> None:
        """Note that a file or folder was synced."""
        with self._turn:
            self._observe()
            number = self._numbers.get(Path(path).stat().st_ino)
            if number is not None:
                self.events.append(Event("sync", number))

    def observe(self) -> None:
        """Note what has changed."""
        with self._turn:
            self._observe()

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Watch all calls of this process, and those of SQLite."""
        before = {name: getattr(os, name) for name in CALLS}
        for name, call in before.items():
            setattr(os, name, self._watched(name, call))
        try:
            with _watched_sqlite(self):
                yield
        finally:
            for name, call in before.items():
                setattr(os, name, call)
            self._observe()

    def _watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def watched(*arguments: Any, **options: Any) -> Any:
            with self._turn:
                self._observe()
                result = call(*arguments, **options)
                self._observe()
                if name in SYNCS and not self._is_off:
                    number = self._numbers.get(os.fstat(arguments[0]).st_ino)
                    place = _caller()
                    self.places |= {place} - {""}
                    if place and place == self._without:
                        self.left_out.append(len(self.events))
                    elif number is not None:
                        self.events.append(Event("sync", number))
                return result

        return watched

    def _observe(self) -> None:
        if self._is_off:
            return
        self._is_off = True
        try:
            seen: dict[int, dict[str, int]] = {}
            contents: dict[int, bytes] = {}
            inodes: dict[int, int] = {}
            self._look(self.top, seen, contents, inodes)
        finally:
            self._is_off = False
        for number, names in seen.items():
            before = self._names.get(number, {})
            changed: dict[str, int | None] = {n: p for n, p in names.items() if before.get(n) != p}
            gone = [name for name in before if name not in names]
            moved = {before[name] for name in gone} & set(changed.values())
            # What a rename changes is one event; other names change one by one.
            together = {n: p for n, p in changed.items() if p in moved}
            together |= {name: None for name in gone if before[name] in moved}
            rest = {**changed, **dict.fromkeys(gone)}
            events = [together] if together else []
            events += [{n: p} for n, p in rest.items() if n not in together]
            self.events += [Event("names", number, names=each) for each in events]
        for number, content in contents.items():
            before_bytes = self._contents.get(number, b"")
            if content == before_bytes:
                continue
            if len(content) != len(before_bytes):
                self.events.append(Event("size", number, size=len(content)))
            for page in range(-(-len(content) // PAGE)):
                new = content[page * PAGE : (page + 1) * PAGE]
                if new != before_bytes[page * PAGE : (page + 1) * PAGE]:
                    self.events.append(Event("page", number, page=page, content=new))
        self._names, self._contents, self._numbers = seen, contents, inodes

    def _look(
        self,
        folder: Path,
        seen: dict[int, dict[str, int]],
        contents: dict[int, bytes],
        inodes: dict[int, int],
    ) -> int:
        number = self._number(folder.stat().st_ino, inodes)
        names: dict[str, int] = {}
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda each: each.name):
                try:
                    if entry.is_dir(follow_symlinks=False):
                        names[entry.name] = self._look(Path(entry.path), seen, contents, inodes)
                    else:
                        content = Path(entry.path).read_bytes()
                        names[entry.name] = self._number(entry.inode(), inodes)
                        contents[names[entry.name]] = content
                except FileNotFoundError:
                    continue
        seen[number] = names
        return number

    def _number(self, inode: int, inodes: dict[int, int]) -> int:
        known = self._numbers.get(inode)
        if known is None:
            known = inodes.get(inode)
        if known is None:
            known = self._n_places
            self._n_places += 1
        inodes[inode] = known
        return known

    # ---- what a cut leaves

    def marks(self, end: int) -> list[Any]:
        """Return what was promised before an event."""
        return [event.mark for event in self.events[:end] if event.kind == "mark"]

    def write_state(self, end: int, rng: np.random.Generator, to: Path) -> None:
        """Write what a cut before event `end` may leave."""
        events = self.events[:end]
        synced = {event.place: n for n, event in enumerate(events) if event.kind == "sync"}
        # chosen: nothing, half or all of what was not synced, each in a quarter of the states.
        share = float(rng.choice([0.0, 0.5, rng.random(), 1.0]))
        is_ordered = bool(rng.random() < 0.5)
        names: dict[int, dict[str, int]] = {}
        pages: dict[int, dict[int, bytes]] = {}
        sizes: dict[int, int] = {}
        lost: set[int] = set()
        for n, event in enumerate(events):
            is_safe = n < synced.get(event.place, -1)
            is_kept = is_safe or rng.random() < share
            if event.kind == "names":
                # A journal of the file system keeps all names up to some point.
                is_kept &= is_safe or not (is_ordered and event.place in lost)
                if not is_kept:
                    lost.add(event.place)
                    continue
                for name, place in event.names.items():
                    if place is None:
                        names.setdefault(event.place, {}).pop(name, None)
                    else:
                        names.setdefault(event.place, {})[name] = place
            elif event.kind == "size" and is_kept:
                sizes[event.place] = event.size
            elif event.kind == "page" and is_kept:
                pages.setdefault(event.place, {})[event.page] = event.content
        folders = {event.place for event in self.events if event.kind == "names"}
        self._write(0, to, names, pages, sizes, folders)

    def _write(
        self,
        number: int,
        to: Path,
        names: dict[int, dict[str, int]],
        pages: dict[int, dict[int, bytes]],
        sizes: dict[int, int],
        folders: set[int],
    ) -> None:
        to.mkdir()
        for name, place in names.get(number, {}).items():
            if place in folders or place in self._names:
                self._write(place, to / name, names, pages, sizes, folders)
                continue
            content = bytearray(sizes.get(place, 0))
            for page, part in pages.get(place, {}).items():
                # A page beyond the size that was kept is not there.
                kept = part[: max(0, len(content) - page * PAGE)]
                content[page * PAGE : page * PAGE + len(kept)] = kept
            (to / name).write_bytes(content)


def _caller() -> str:
    """Return the place in ArchGym's code that syncs now, "" for others."""
    frame: Any = sys._getframe(2)
    while frame is not None and frame.f_code.co_qualname == "synchronise":
        frame = frame.f_back
    path = Path(frame.f_code.co_filename)
    if "archgym" not in path.parts:
        return ""
    return f"{path.parent.name}/{path.name}:{frame.f_lineno} {frame.f_code.co_qualname}"


# ---- SQLite, whose writes do not pass through Python


class _Methods(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_int),
        *((name, ctypes.c_void_p) for name in ("close", "read", "write", "truncate", "sync")),
        *((f"other_{n}", ctypes.c_void_p) for n in range(13)),
    ]


class _File(ctypes.Structure):
    _fields_ = [("methods", ctypes.POINTER(_Methods))]


class _System(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_int),
        ("size", ctypes.c_int),
        ("longest", ctypes.c_int),
        *((name, ctypes.c_void_p) for name in ("next", "name", "data", "open", "delete")),
        *((f"other_{n}", ctypes.c_void_p) for n in range(12)),
    ]


_OPEN = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(_File), ctypes.c_int,
    ctypes.c_void_p,
)  # fmt: skip
_DELETE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
_WRITE = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
)
_TRUNCATE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64)
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
_JOURNALS = 0x800 | 0x4000 | 0x80000
_CREATE = 0x4


def sqlite_library() -> Any:
    """Return the library that Python's `sqlite3` uses, or None where it is linked in."""
    import sqlite3

    for name in ("libsqlite3.so.0", "libsqlite3.dylib"):
        try:
            library = ctypes.CDLL(name)
            library.sqlite3_vfs_find.restype = ctypes.POINTER(_System)
            library.sqlite3_libversion.restype = ctypes.c_char_p
        except (OSError, AttributeError):
            continue
        if library.sqlite3_libversion().decode() == sqlite3.sqlite_version:
            return library
    return None


@contextmanager
def _watched_sqlite(disk: Disk) -> Iterator[None]:
    """Make SQLite report each write, sync, truncation and removal of a file."""
    library = sqlite_library()
    if library is None:
        yield
        return
    system = library.sqlite3_vfs_find(None).contents
    tables: dict[int, Any] = {}
    paths: dict[int, str] = {}
    unsynced: set[int] = set()
    real_open, real_delete = _OPEN(system.open), _DELETE(system.delete)
    kept: list[Any] = []

    def hooked(methods: Any) -> Any:
        address = ctypes.addressof(methods.contents)
        if address in tables:
            return tables[address]
        table = _Methods.from_buffer_copy(methods.contents)
        real_write, real_sync = _WRITE(table.write), _SYNC(table.sync)
        real_truncate = _TRUNCATE(table.truncate)

        def write(file: int, content: int, n: int, offset: int) -> int:
            code = int(real_write(file, content, n, offset))
            disk.observe()
            return code

        def truncate(file: int, size: int) -> int:
            code = int(real_truncate(file, size))
            disk.observe()
            return code

        def sync(file: int, flags: int) -> int:
            code = int(real_sync(file, flags))
            disk.sync(paths[file])
            # It syncs the folder with the first sync of a new journal.
            if file in unsynced:
                unsynced.discard(file)
                disk.sync(Path(paths[file]).parent)
            return code

        hooks = _WRITE(write), _TRUNCATE(truncate), _SYNC(sync)
        kept.extend((hooks, real_write, real_sync, real_truncate))
        table.write, table.truncate, table.sync = (
            ctypes.cast(hook, ctypes.c_void_p).value for hook in hooks
        )
        tables[address] = table
        return table

    # Names are pointers: SQLite keeps them, and looks for options behind their end.
    def opened(self: int, name: int | None, file: Any, flags: int, out: int) -> int:
        code = int(real_open(self, name, file, flags, out))
        if not code and name and file.contents.methods:
            address = ctypes.addressof(file.contents)
            paths[address] = os.fsdecode(ctypes.string_at(name))
            if flags & _JOURNALS and flags & _CREATE:
                unsynced.add(address)
            file.contents.methods = ctypes.pointer(hooked(file.contents.methods))
        disk.observe()
        return code

    def delete(self: int, name: int, syncs: int) -> int:
        code = int(real_delete(self, name, syncs))
        disk.observe()
        if syncs and not code:
            disk.sync(Path(os.fsdecode(ctypes.string_at(name))).parent)
        return code

    hooks = _OPEN(opened), _DELETE(delete)
    before = system.open, system.delete
    system.open, system.delete = (ctypes.cast(hook, ctypes.c_void_p).value for hook in hooks)
    try:
        yield
    finally:
        system.open, system.delete = before
