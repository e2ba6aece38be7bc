"""Handlers of SIGINT and SIGTERM while no study runs: one line and an exit code within 2 s."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from archgym.errors import StudyInterrupted
from archgym.files.remote import command_line

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# chosen: time for the main thread to unwind; the process must end within 2 s.
_GRACE_S = 1.0
_STUDIES = ("search", "resume")

# A second signal, such as `timeout` sends to the group, may interrupt `end` in its own thread.
_ending = threading.RLock()
_cleanups: list[Callable[[], None]] = []
_is_study_ahead = False
_is_interruptible = False


class Stopped(BaseException):
    """Request of a signal to stop; not a KeyboardInterrupt, for which Click writes a line."""

    def __init__(self, number: int) -> None:
        """Keep the signal's number."""
        super().__init__(number)
        self.number = number


def install() -> None:
    """Install handlers that end the process, except while a study has its own handlers.

    Python runs a handler only between two instructions of the main thread, not while a kernel or a
    compiler runs there. In that case a thread that the system wakes ends the process.
    """
    global _is_study_ahead
    _is_study_ahead = any(argument in _STUDIES for argument in sys.argv[1:3])
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in _SIGNALS:
        # A process started with nohup or in the background of a script ignores the signal.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)
    threading.Thread(target=_watch, args=(read,), name="archgym-signals", daemon=True).start()


def study_begins() -> None:
    """Record that the study has begun, for the line that `end` writes."""
    global _is_study_ahead
    _is_study_ahead = False


@contextmanager
def prompt_stops() -> Iterator[None]:
    """End the process immediately on a signal, for work that has nothing to save.

    External programs that the work runs are killed.
    """
    from archgym.evaluation.external import RunningPrograms

    programs = RunningPrograms()
    _cleanups.append(programs.stop)
    try:
        with programs:
            yield
    finally:
        _cleanups.remove(programs.stop)


@contextmanager
def interruptible() -> Iterator[None]:
    """Report "Stopped." and exit with code 0 on SIGINT, for work that has no other end."""
    global _is_interruptible
    _is_interruptible = True
    try:
        with prompt_stops():
            yield
    finally:
        _is_interruptible = False


@contextmanager
def resumable(words: Sequence[str | Path]) -> Iterator[None]:
    """Add the command that resumes a sweep to the error of an interruption.

    Args:
      words: Words of the command.

    Raises:
      StudyInterrupted: A signal arrived.
    """
    try:
        yield
    except StudyInterrupted as interruption:
        name = signal.Signals(interruption.signal_number).name
        raise StudyInterrupted(
            f"Sweep stopped by {name}. Completed evaluations are saved. "
            f"Resume with: {command_line(*words)}",
            interruption.signal_number,
        ) from None


def end(number: int) -> NoReturn:
    """Write the line and end the process, whatever its other threads do."""
    while not _ending.acquire(blocking=False):
        time.sleep(_GRACE_S)  # Another thread is ending the process.
    when = " before the study began" if _is_study_ahead else ""
    is_usual = _is_interruptible and number == signal.SIGINT
    line = "Stopped." if is_usual else f"error: stopped by {signal.Signals(number).name}{when}."
    with suppress(OSError):
        os.write(2, f"{line}\n".encode())
    with suppress(OSError):
        # Messages of the main thread about killed programs are irrelevant.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    for cleanup in list(_cleanups):
        with suppress(Exception):
            cleanup()
    os._exit(0 if is_usual else 128 + number)


def leave(code: int) -> NoReturn:
    """End the process once all threads but daemons are done, without exit hooks of libraries.

    Those hooks take seconds, and longer if a library is still starting a thread.
    """
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _handle(number: int, frame: FrameType | None) -> None:
    if _cleanups:
        end(number)
    raise Stopped(number)


def _watch(read: int) -> None:
    while content := os.read(read, 1):
        number = content[0]
        if signal.getsignal(number) is not _handle:
            continue
        if not _cleanups:
            time.sleep(_GRACE_S)
            if signal.getsignal(number) is not _handle:
                continue
        end(number)
