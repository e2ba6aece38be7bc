"""A process that waits for this one's end and then kills the programs that it left running."""

import os
import secrets
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import final

# Reads "+ GROUP" and "- GROUP" until its input ends, which happens whatever ends this process.
_SCRIPT = """
left=" "
while read -r sign group; do
  case $sign in
    +) left="$left$group " ;;
    -) left="${left%% $group *} ${left#* $group }" ;;
  esac
done
# Supervisors learn of our end from the kernel and kill daemons in the meantime.
[ "$left" != " " ] && sleep 1
for group in $left; do kill -9 "-$group"; done
[ -n "$1" ] && [ "$left" != " " ] && for place in /proc/[0-9]*; do
  grep -aqsF "$1" "$place/environ" && kill -9 "${place#/proc/}"
done
"""
_VARIABLE = "ARCHGYM_PROGRAM"
_SECRET = secrets.token_hex(8)
_ROUNDS = 20  # chosen: each round finds what those killed in the last one had just started


def mark(run: str) -> dict[str, str]:
    """Return the environment variable by which the processes of one run are found again.

    Args:
      run: Name of the run, unique within this process.
    """
    return {_VARIABLE: f"{_prefix()}{run}."}


def _prefix() -> str:
    return f"{os.getpid()}.{_SECRET}."


def kill_marked(run: str) -> int:
    """Kill processes that a run left behind, also those that left its process group.

    A process that clears its environment when it starts another program is not found.

    Args:
      run: Name that was given to `mark`.

    Returns:
      Number of processes that were killed.
    """
    wanted = f"{_VARIABLE}={_prefix()}{run}.".encode()
    killed: set[int] = set()
    for _ in range(_ROUNDS):
        found = {pid for pid in _own_processes() if wanted in _environment(pid)}
        if not found:
            break
        for pid in found:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        killed |= found
        time.sleep(0.001)
    return len(killed)


def _own_processes() -> list[int]:
    with suppress(OSError):
        return [
            int(entry.name)
            for entry in os.scandir("/proc")
            if entry.name.isdigit() and _uid(entry) == os.getuid()
        ]
    return []


def _uid(entry: "os.DirEntry[str]") -> int:
    try:
        return entry.stat().st_uid
    except OSError:
        return -1


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


@final
class Watchdog:
    """Watchdog that kills process groups if this process ends without ending them.

    With them it kills the processes that `mark` marked, which may have left their group.

    It is a shell that `ready` starts. Where none can be started, nobody watches.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = 0
        self._shell: subprocess.Popen[bytes] | None = None

    def ready(self) -> None:
        """Start the shell; called before a program starts, which could else outlive this process.

        A shell takes some milliseconds, in which a signal could end this process.
        """
        with self._lock:
            # A process that was forked from its owner needs one of its own.
            if self._owner != os.getpid():
                self._owner = os.getpid()
                self._shell = _start()

    def watch(self, group: int) -> None:
        """Register a process group, which is killed when this process ends."""
        self.ready()
        self._say(f"+ {group}\n")

    def forget(self, group: int) -> None:
        """Forget a group that has ended; its number may be reused soon."""
        self._say(f"- {group}\n")

    def _say(self, line: str) -> None:
        if self._shell is not None and self._shell.stdin is not None:
            # So short a line is written at once and whole, whatever other threads write.
            with suppress(OSError):
                os.write(self._shell.stdin.fileno(), line.encode())


def _start() -> "subprocess.Popen[bytes] | None":
    with suppress(OSError):
        return subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT, "watchdog", f"{_VARIABLE}={_prefix()}"],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    return None
