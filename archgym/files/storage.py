"""Atomic files, and errors of the operating system in one line."""

import errno
import fcntl
import hashlib
import os
import re
import shutil
import socket
import stat
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from archgym.errors import InvalidArgumentError, StorageError

SCRATCH_PREFIX = ".writing-"
"""Start of the names of scratch files and folders, which a killed process may leave."""
# chosen: longer than anything is written, whatever minutes two clocks differ by.
_OLD_S = 86_400.0


@contextmanager
def scratch_file(folder: Path) -> Iterator[Path]:
    """Create an empty file in a folder; it is deleted at the end unless it was renamed.

    What a killed process left in the folder is removed first; what a living one writes there is
    not.
    """
    with _held(folder, _made_file) as path:
        yield path


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """Create an empty folder in a folder; otherwise as `scratch_file`."""
    with _held(folder, _made_folder) as path:
        yield path


def _made_file(folder: Path) -> Path:
    handle, name = tempfile.mkstemp(dir=folder, prefix=_own_prefix())
    os.close(handle)
    return Path(name)


def _made_folder(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder, prefix=_own_prefix()))


def _own_prefix() -> str:
    """Return the start of this machine's names: its locks may not reach another machine."""
    return f"{SCRATCH_PREFIX}{zlib.crc32(socket.gethostname().encode()):08x}-"


def _may_be_elsewhere(path: Path) -> bool:
    """Return True for a young scratch file or folder of another machine."""
    is_tagged = re.match(rf"{re.escape(SCRATCH_PREFIX)}[0-9a-f]{{8}}-", path.name) is not None
    if not is_tagged or path.name.startswith(_own_prefix()):
        return False
    return time.time() - os.lstat(path).st_mtime < _OLD_S


@contextmanager
def _held(folder: Path, make: Callable[[Path], Path]) -> Iterator[Path]:
    """Return True for a scratch file or folder whose lock shows a living writer."""
    _remove_abandoned(folder)
    path, descriptor = make(folder), -1
    try:
        descriptor = _opened(path)
        # Another process may take it for abandoned before it is locked; then it is created again.
        while descriptor < 0 or not _is_ours(path, descriptor):
            # Forgotten first: one that fails to close is closed, and its number may be another's.
            stolen, descriptor = descriptor, -1
            if stolen >= 0:
                os.close(stolen)
            path = make(folder)
            descriptor = _opened(path)
        yield path
    finally:
        with suppress(OSError):
            _remove(path)
        if descriptor >= 0:
            os.close(descriptor)


def _opened(path: Path) -> int:
    """Return a descriptor of a scratch place; -1 if another process has removed it meanwhile."""
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return -1


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
    """Remove scratch places whose writer was killed: those that nobody has locked."""
    names: list[str] = []
    with suppress(OSError), os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(SCRATCH_PREFIX)]
    for name in names:
        path = folder / name
        with suppress(OSError):
            if _may_be_elsewhere(path):
                continue
            # A pipe of this name would wait for its writer, and a link lead elsewhere.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path)
            finally:
                os.close(descriptor)


SAME_COMMAND = "run the same command again"
"""Remedy for a full disk; a command that cannot be repeated replaces it in the message."""
TOO_MANY_FILES = (
    "too many files are open in this process. "
    "Raise the limit (ulimit -n 1024), or use fewer workers"
)
"""Cause and remedy where the limit of open files is reached."""
_REMEDIES = {
    errno.ENOSPC: f"the disk is full. Free some space and {SAME_COMMAND}",
    errno.EDQUOT: f"the disk quota is used up. Free some space and {SAME_COMMAND}",
    errno.EFBIG: "a file may not grow that large here. Raise the limit (ulimit -f)",
    errno.EROFS: "the file system is read-only. Choose a folder that can be written",
    errno.EMFILE: TOO_MANY_FILES,
    errno.ENFILE: TOO_MANY_FILES,
    errno.EACCES: "permission is denied. Choose a folder that can be written",
    errno.EPERM: "the operation is not permitted. Choose a folder that can be written",
    errno.ESTALE: "another machine has replaced it. Open it again",
    errno.ENOENT: "there is no such file or folder. Check the path",
    errno.ENOTDIR: "a part of the path is a file, not a folder. Check the path",
    errno.EISDIR: "it is a folder, not a file. Check the path",
    errno.EEXIST: "it exists and is not a folder. Check the path",
}


class storage_errors:  # noqa: N801 - reads as a function in a with statement
    """Context that turns any OSError inside into a one-line StorageError.

    A generator's context would keep the frames above alive from Python 3.12 on, and with them
    studies that were dropped.
    """

    def __init__(self, path: str | Path, action: str) -> None:
        """Take the texts of the message.

        Args:
          path: File or folder that is read or written.
          action: The verb for the message, such as "written".
        """
        self._path, self._action = path, action

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, OSError) or isinstance(error, StorageError):
            return
        cause = _REMEDIES.get(error.errno or 0, error.strerror or type(error).__name__)
        text = f"{self._path} cannot be {self._action}: {cause}."
        raise _refusal(text, error.errno) from error


def _refusal(text: str, number: int | None) -> StorageError:
    # Made here: an error in a variable of the frame that raises it is a reference cycle, which
    # keeps all frames above and their objects alive.
    refusal = StorageError(text)
    refusal.errno = number
    return refusal


def open_file(path: str | Path) -> BinaryIO:
    """Open a file for reading, if it is one.

    A named pipe would wait for its writer, and a device have no end or do something.

    Raises:
      StorageError: It is something else than a file, or cannot be read.
    """
    with storage_errors(path, "read"):
        _refuse_others(path, Path(path).stat().st_mode)
        # What was a file may have become a pipe meanwhile.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _refuse_others(path, os.fstat(descriptor).st_mode)
            return os.fdopen(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise


def open_member(path: str | Path) -> BinaryIO:
    """Open a file for reading that ArchGym wrote in a folder, which may be somebody else's.

    Raises:
      StorageError: It is a link to a file outside its folder, or `open_file` refuses it.
    """
    require_inside(path)
    return open_file(path)


def require_inside(path: str | Path, top: Path | None = None) -> None:
    """Refuse a path that a link leads out of a folder.

    Args:
      path: File or folder in it.
      top: The folder; None for that in which the path lies.

    Raises:
      StorageError: It does.
    """
    place = Path(path)
    if top is None and not place.is_symlink():
        return
    folder, target = os.path.realpath(top or place.parent), os.path.realpath(place)
    if os.path.commonpath([folder, target]) != folder:
        raise _refusal(
            f"{path} must be a plain file or folder; it is a link that leads out of its folder. "
            "Replace it by a copy of what it links to, if you trust it.",
            errno.ELOOP,
        )


def is_there(path: str | Path) -> bool:
    """Return True for a file; a shared file system asks its server, as the file is opened.

    It may answer `Path.is_file` from what it knew a minute ago.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return error.errno not in (errno.ENOENT, errno.ENOTDIR)
    is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
    os.close(descriptor)
    return not is_folder


def file_checksums(texts: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 by path of those texts that are paths of files that can be read."""
    found = {}
    for text in texts:
        with suppress(OSError, ValueError):
            if Path(text).is_file():
                with Path(text).open("rb") as handle:
                    found[text] = hashlib.file_digest(handle, "sha256").hexdigest()
    return found


def _refuse_others(path: str | Path, mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    kind = "a named pipe" if stat.S_ISFIFO(mode) else "a device or socket"
    raise _refusal(
        f"{path} cannot be read: it is {kind}, not a file. Name a file; write what comes from "
        "elsewhere into one first.",
        errno.EINVAL,
    )


def open_own(path: str | Path, flags: int) -> int:
    """Open a file for writing in a folder of ours and return its descriptor.

    It is made where it is absent. A folder that came from somebody else may hold links to files
    outside; these are refused, so that nothing outside the folder is ever written.

    Args:
      path: The file.
      flags: Access mode and further flags for `os.open`.

    Raises:
      StorageError: It is a link, has a second name or is not a file; or it cannot be opened.
    """
    # A pipe of this name would wait for its reader.
    flags |= os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with storage_errors(path, "opened"):
        try:
            descriptor = os.open(path, flags, 0o666)
        except OSError:
            require_own(path)
            raise
        try:
            _refuse_foreign(path, os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor


def require_own(path: str | Path) -> None:
    """Refuse a path that `open_own` would refuse; an absent file is accepted.

    Raises:
      StorageError: It is a link, has a second name or is not a file.
    """
    with storage_errors(path, "opened"), suppress(FileNotFoundError):
        _refuse_foreign(path, os.lstat(path))


def _refuse_foreign(path: str | Path, status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode) and status.st_nlink <= 1:
        return
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if stat.S_ISREG(status.st_mode):
        kind = f"one file with {status.st_nlink} names (hard links)"
    elif stat.S_ISLNK(status.st_mode):
        kind = "a symbolic link"
    else:
        kind = "a named pipe" if stat.S_ISFIFO(status.st_mode) else "a device or socket"
    raise _refusal(
        f"{path} must be a plain file, since ArchGym writes to it; it is {kind}. Replace it by a "
        "copy of the file, or remove it.",
        errno.EINVAL,
    )


def make_folder(path: str | Path) -> Path:
    """Make a folder and those above it, safe from a power cut, and return it.

    Raises:
      StorageError: It cannot be made, or a file stands in its place.
    """
    folder = Path(path)
    with storage_errors(folder, "made"):
        made = [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for each in made:
            # A folder that may be written and not be listed cannot be synced either.
            with suppress(PermissionError):
                synchronise(each.parent)
    return folder


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Open a new file next to `path` that replaces it when the block ends without an error.

    Until then, and if the block fails, `path` is as it was. A library that writes files by name
    can write here.

    Raises:
      StorageError: It cannot be written.
    """
    target = Path(path)
    with storage_errors(target, "written"), scratch_file(target.parent) as scratch:
        yield scratch
        synchronise(scratch)
        # A scratch file is its owner's alone; a result is for the group too.
        scratch.chmod(0o666 & ~_umask())
        scratch.replace(target)
        synchronise(target.parent)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Create a new folder next to `path` that replaces it when the block ends without an error.

    Until then, and if the block fails, there is nothing at `path`.

    Raises:
      InvalidArgumentError: Something is there already; it is left as it is.
      StorageError: It cannot be written.
    """
    target = Path(path)
    require_free(target)
    make_folder(target.absolute().parent)
    folder = target.absolute().parent
    with storage_errors(target, "written"), scratch_folder(folder) as scratch:
        yield scratch
        scratch.chmod(0o777 & ~_umask())
        require_free(target)
        move_whole(scratch, target)


def move_whole(made: Path, target: Path) -> None:
    """Give a finished file or folder its name; a power cut leaves it whole or not there at all."""
    for place in (*made.rglob("*"), made):
        synchronise(place)
    # An empty folder is replaced, and a full one never.
    made.rename(target)
    synchronise(target.parent)


def require_free(path: Path) -> None:
    """Refuse a path at which there is something, but for an empty folder.

    Raises:
      InvalidArgumentError: There is.
      StorageError: It cannot be read.
    """
    with storage_errors(path, "read"):
        if os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir())):
            raise InvalidArgumentError(
                f"{path} must not exist yet; it does. Choose another name, or remove it first."
            )


def require_writable(path: Path) -> None:
    """Refuse a file that cannot be written, before the work whose result it is to hold.

    Raises:
      StorageError: It cannot.
    """
    with storage_errors(path, "written"):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with scratch_file(path.parent):
            pass


def write_atomic(path: str | Path, data: bytes | str | Iterable[bytes]) -> None:
    """Write a whole file, so that a reader finds the old content or the new, never a part.

    Args:
      path: The file; its folder must exist.
      data: Its content; text is written as UTF-8.

    Raises:
      StorageError: It cannot be written; the old content stands.
    """
    if isinstance(data, str):
        data = data.encode()
    if isinstance(data, bytes):
        data = (data,)
    with atomic_file(path) as scratch, scratch.open("wb") as handle:
        handle.writelines(data)


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte, however often the system takes only a part."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def synchronise(path: Path) -> None:
    """Sync a file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    # The system tells the mask only by setting it, which would race with other threads.
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o022


def file_stem(text: str) -> str:
    """Return a readable file name for a text, such as a task's id.

    >>> file_stem("dram/archgym-2023/stream")
    'dram-archgym-2023-stream'
    """
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[:120]


MARK = "Written by ArchGym"
"""Text in pages and figures of ArchGym, by which a later run knows that it may replace them."""
# chosen: PNG, SVG and HTML have the mark near the start, PDF near the end.
_PART_BYTES = 64 * 2**10


def require_replaceable(
    option: str, path: Path, *, is_forced: bool = False, mark: str = MARK, force: str = ""
) -> None:
    """Refuse an existing file that ArchGym did not write, before the work that it is to hold.

    Args:
      option: Option that names the file, for the message.
      path: The file, which may be absent.
      is_forced: True if any file may be replaced.
      mark: Text that files of this kind by ArchGym contain.
      force: Option that makes `is_forced` true, for the message.

    Raises:
      InvalidArgumentError: The file exists and has no mark.
      StorageError: It cannot be read.
    """
    if is_forced or not os.path.lexists(path) or path.is_dir() or _has_mark(path, mark.encode()):
        return
    remedy = (
        f"Choose another name, or add {force} to replace it" if force else "Choose another name"
    )
    raise InvalidArgumentError(
        f"`{option}` must not replace a file that ArchGym did not write; {path} exists. {remedy}."
    )


def _has_mark(path: Path, mark: bytes) -> bool:
    with storage_errors(path, "read"), open_file(path) as handle:
        if mark in handle.read(_PART_BYTES):
            return True
        size = handle.seek(0, os.SEEK_END)
        handle.seek(max(0, size - _PART_BYTES))
        return mark in handle.read(_PART_BYTES)


def figure_metadata(path: Path) -> dict[str, str | None]:
    """Return Matplotlib's metadata of a figure: the mark, and no date, for reproducible bytes.

    Args:
      path: File of the figure; its extension is the format.
    """
    kind = path.suffix.removeprefix(".").lower()
    if kind == "svg":
        return {"Creator": MARK, "Date": None}
    if kind == "pdf":
        return {"Creator": MARK, "CreationDate": None}
    return {"Software": MARK} if kind == "png" else {}
