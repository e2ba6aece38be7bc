"""Scratch files and folders beside what they become, and those that a killed process left."""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["scratch_file", "scratch_folder"]

_PREFIX = ".writing-"


@contextmanager
def scratch_file(folder: Path) -> Iterator[Path]:
    """A new empty file in a folder; it is gone at the end unless it was renamed.

    What a killed process left in the folder is removed first; what a living one writes there is
    not.
    """
    with _held(folder, _made_file) as path:
        yield path


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """A new folder in a folder; otherwise as `scratch_file`."""
    with _held(folder, _made_folder) as path:
        yield path


def _made_file(folder: Path) -> Path:
    handle, name = tempfile.mkstemp(dir=folder, prefix=_PREFIX)
    os.close(handle)
    return Path(name)


def _made_folder(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder, prefix=_PREFIX))


@contextmanager
def _held(folder: Path, make: Callable[[Path], Path]) -> Iterator[Path]:
    """A scratch place whose lock says that its writer lives."""
    _remove_abandoned(folder)
    path, descriptor = make(folder), -1
    try:
        descriptor = os.open(path, os.O_RDONLY)
        # Another process may take it for abandoned before it is locked; then it is made anew.
        while not _is_ours(path, descriptor):
            os.close(descriptor)
            descriptor = -1
            path = make(folder)
            descriptor = os.open(path, os.O_RDONLY)
        yield path
    finally:
        with suppress(OSError):
            _remove(path)
        if descriptor >= 0:
            os.close(descriptor)


def _is_ours(path: Path, descriptor: int) -> bool:
    # A file system without locks keeps what is left there: nobody can tell whether it is needed.
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    if stat.S_ISDIR(os.lstat(path).st_mode):
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()


def _remove_abandoned(folder: Path) -> None:
    """Removes scratch places whose writer was killed: those that nobody has locked."""
    names: list[str] = []
    with suppress(OSError), os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(_PREFIX)]
    for name in names:
        path = folder / name
        with suppress(OSError):
            # A pipe of this name would wait for its writer, and a link lead elsewhere.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path)
            finally:
                os.close(descriptor)
