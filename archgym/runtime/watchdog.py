"""A process that waits for this one's end and then kills the programs that it left running."""

import os
import subprocess
import threading
from contextlib import suppress
from typing import final

__all__ = ["Watchdog"]

# Reads "+ GROUP" and "- GROUP" until its input ends, which happens whatever ends this process.
_SCRIPT = """
left=" "
while read -r sign group; do
  case $sign in
    +) left="$left$group " ;;
    -) left="${left%% $group *} ${left#* $group }" ;;
  esac
done
for group in $left; do kill -9 "-$group"; done
"""


@final
class Watchdog:
    """Kills process groups when this process ends without having ended them, as by SIGKILL.

    It is a shell that starts with the first group. Where none can be started, nobody watches.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = 0
        self._shell: subprocess.Popen[bytes] | None = None

    def watch(self, group: int) -> None:
        """From now on the group does not outlive this process."""
        with self._lock:
            # A process that was forked from its owner needs one of its own.
            if self._owner != os.getpid():
                self._owner = os.getpid()
                self._shell = _start()
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
            ["/bin/sh", "-c", _SCRIPT],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    return None
