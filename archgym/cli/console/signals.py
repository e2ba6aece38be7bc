"""SIGINT and SIGTERM while no study runs: one line and an exit code, within two seconds."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

__all__ = ["Stopped", "end", "install", "leave", "prompt_stops", "study_begins"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# chosen: what the main thread has to unwind in; a process must end within 2 s.
_GRACE_S = 1.0
_STUDIES = ("search", "resume")

_ending = threading.Lock()
_cleanups: list[Callable[[], None]] = []
_is_study_ahead = False


class Stopped(BaseException):
    """A signal asks the command to stop; no KeyboardInterrupt, which Click writes a line for."""

    def __init__(self, number: int) -> None:
        """Keep the signal's number."""
        super().__init__(number)
        self.number = number


def install() -> None:
    """From now on signals end the process, except while a study has its own handlers.

    Python calls a handler between two instructions of the main thread, so not while a kernel or a
    compiler runs there. A thread that the system wakes ends the process then.
    """
    global _is_study_ahead
    _is_study_ahead = any(argument in _STUDIES for argument in sys.argv[1:3])
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in _SIGNALS:
        # A process that was started with nohup or in a script's background ignores it.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)
    threading.Thread(target=_watch, args=(read,), name="archgym-signals", daemon=True).start()


def study_begins() -> None:
    """Say that there is a study, for the line that `end` writes."""
    global _is_study_ahead
    _is_study_ahead = False


@contextmanager
def prompt_stops() -> Iterator[None]:
    """While open, a signal ends the process at once: for work that has nothing to save.

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


def end(number: int) -> NoReturn:
    """Write the line and ends the process, whatever its other threads do."""
    while not _ending.acquire(blocking=False):
        time.sleep(_GRACE_S)  # Another thread is about to end it.
    when = " before the study began" if _is_study_ahead else ""
    with suppress(OSError):
        os.write(2, f"error: stopped by {signal.Signals(number).name}{when}.\n".encode())
    with suppress(OSError):
        # What the main thread has to say about its killed programs is of no interest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    for cleanup in list(_cleanups):
        with suppress(Exception):
            cleanup()
    os._exit(128 + number)


def leave(code: int) -> NoReturn:
    """End the process once all threads but daemons are done, without the libraries' own ends.

    Those take seconds, and longer where one is still starting something in a thread.
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
