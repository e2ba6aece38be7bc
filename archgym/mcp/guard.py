"""Guard of a server's process: refusal of files outside its working folder and of programs.

The tools check every path that they are given. The guard is a second line of defence behind them: a
hook of Python's audit events, which also sees what a library opens. It cannot be removed, so only
a process that serves installs it.
"""

import os
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from archgym.errors import StorageError

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Events whose first arguments are paths that are changed, with the number of these arguments.
_CHANGES = {
    "os.remove": 1,
    "os.rename": 2,
    "os.rmdir": 1,
    "os.mkdir": 1,
    "os.link": 2,
    "os.symlink": 2,
    "os.truncate": 1,
    "os.chmod": 1,
    "os.chown": 1,
    "shutil.rmtree": 1,
}
_PROGRAMS = frozenset(
    {
        "subprocess.Popen",
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "os.spawn",
        "os.fork",
        "os.forkpty",
        "pty.spawn",
    }
)
# Devices and kernel facts that the interpreter and its libraries read.
_SYSTEM = ("/dev", "/proc", "/sys", "/usr/share/zoneinfo", "/etc/localtime", "/etc/mime.types")


def install_guard(root: Path, *, allow_external: bool) -> None:
    """Refuse access outside a folder from now on, in this process.

    Compiled kernels are cached in ArchGym's own cache folder, which stays writable.

    Args:
      root: Working folder, which the process enters.
      allow_external: True to allow other programs.
    """
    from archgym.runtime.kernels import cache_folder

    cache = cache_folder(Path(__file__).resolve().parent.parent / "simulators" / "dram").parent
    writable = (str(root), str(cache), "/dev", tempfile.gettempdir() + "/archgym-kernels-")
    readable = (*writable, *_SYSTEM, *_installation())
    os.chdir(root)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            is_write = bool(flags & _WRITES) if isinstance(flags, int) else (mode or "r") != "r"
            _require(path, writable if is_write else readable, is_write)
        elif event in _CHANGES:
            for path in arguments[: _CHANGES[event]]:
                _require(path, writable, True)
        elif event in _PROGRAMS and not allow_external:
            raise StorageError(
                "This server runs no other programs. Start it with --allow-external."
            )

    sys.addaudithook(hook)


def _installation() -> tuple[str, ...]:
    """Return folders of the interpreter, its libraries and this package."""
    folders = {sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path}
    folders |= set(sysconfig.get_paths().values())
    folders.add(str(Path(__file__).resolve().parent.parent))
    return tuple(os.path.realpath(folder) for folder in folders if folder and folder != "/")


def _require(path: Any, allowed: tuple[str, ...], is_write: bool) -> None:
    if isinstance(path, int) or path is None:
        return
    text = os.path.realpath(os.fsdecode(path))
    if not any(text == top or text.startswith(top.rstrip("/") + "/") for top in allowed):
        action = "written" if is_write else "read"
        raise StorageError(f"{text} cannot be {action}: it lies outside the working folder.")
