"""Supervisor of one external program: a small process that no descendant of the program survives.

`external` runs this file with the options `-I -S`, so that it imports no package. The process is a
sub-reaper (`prctl(PR_SET_CHILD_SUBREAPER)`): a daemon that leaves its session and clears its
environment becomes its child, and is killed when the program ends, when SIGTERM comes, or when the
process that started the program dies.

Arguments: the process that started it, bytes of address space and of each file that is written (0
for no limit), then the command.
"""

import ctypes
import os
import resource
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

# Linux, `include/uapi/linux/prctl.h`.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
# chosen: longer than processes that were killed take to end; those in an uninterruptible wait stay.
_PATIENCE_S = 2.0
_CANNOT_RUN = 127


class _StopError(BaseException):
    """Exception that SIGTERM raises."""


def _main() -> "NoReturn":
    parent, *limits = map(int, sys.argv[1:4])
    command = sys.argv[4:]
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    signal.signal(signal.SIGTERM, _stop)
    prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1))
    prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGTERM))
    if os.getppid() != parent:
        sys.exit(1)
    status = 0
    try:
        child = os.fork()
        if child == 0:
            _become(command, limits)
        nothing = os.open(os.devnull, os.O_RDWR)
        for place in (1, 2):
            os.dup2(nothing, place)
        ended = -1
        while ended != child:
            ended, status = os.waitpid(-1, 0)
    except _StopError:
        status = signal.SIGKILL
    _kill_children()
    _end_like(status)


def _stop(number: int, frame: object) -> "NoReturn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _StopError


def _become(command: list[str], limits: list[int]) -> "NoReturn":
    """Run the program in this process."""
    try:
        for number in (signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        for kind, most in zip((resource.RLIMIT_AS, resource.RLIMIT_FSIZE), limits, strict=True):
            if most:
                resource.setrlimit(kind, (most, most))
        os.execvpe(command[0], command, _environment())
    except OSError as error:
        os.write(2, f"{command[0]} cannot be run: {error.strerror}\n".encode())
    finally:
        os._exit(_CANNOT_RUN)


def _environment() -> dict[bytes, bytes]:
    """Return the environment that this process was given, to which Python may have added."""
    entries = _content("/proc/self/environ").split(b"\0")
    pairs = (entry.split(b"=", 1) for entry in entries if b"=" in entry)
    return {pair[0]: pair[1] for pair in pairs}


def _content(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123  # pathlib takes longer to import than this
        return file.read()


def _kill_children() -> None:
    """Kill children until there are none; those of a killed one become this process's."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        for pid in _children():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.001)


def _children() -> list[int]:
    found = []
    own = os.getpid()
    for name in os.listdir("/proc"):  # noqa: PTH208  # pathlib takes longer to import than this
        if name.isdigit():
            try:
                parent = int(_content(f"/proc/{name}/stat").rsplit(b")", 1)[1].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            if parent == own:
                found.append(int(name))
    return found


def _end_like(status: int) -> "NoReturn":
    """End with the exit code or by the signal of the program."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))


if __name__ == "__main__":
    _main()
