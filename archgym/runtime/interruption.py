"""Ctrl-C and termination while a study runs: prompt, but never in the middle of an append.

An interruption raises an exception, which callers of the library may catch. Outside studies, the
command line has handlers of its own, which end the process: `archgym.cli.console.signals`.
"""

import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from types import FrameType
from typing import Any, Self, TypeVar, final

from archgym.errors import StudyInterrupted

T = TypeVar("T")
_Results = queue.SimpleQueue[tuple[T, None] | tuple[None, BaseException]]
# chosen: a study must end within two seconds.
_REPEAT_S = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@final
class Interruption:
    """While open, SIGINT and SIGTERM raise StudyInterrupted in the main thread.

    The exception is raised again every second until it arrives, since a library may swallow it,
    such as one that is being imported. A signal during `shielded` waits for its end. A kernel in
    the main thread would delay a signal until it returns, so `wait_for` runs it in another thread,
    which is abandoned after a signal. In other threads than the main one, this object does nothing.
    Former handlers are restored at the end.
    """

    def __init__(self) -> None:
        self._caught: int | None = None
        self._shields = 0
        self._is_over = threading.Event()
        self._former: dict[int, Any] = {}
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                # A process that was started with nohup or in a script's background ignores it.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._former[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        self.hold_back()
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former = {}
        if self._jobs is not None:
            self._jobs.put(None)
            self._jobs = None
        self._shields -= 1

    def hold_back(self) -> None:
        """Delay signals from now to the end."""
        self._shields += 1
        self._is_over.set()

    def check(self) -> None:
        """Raise StudyInterrupted if a signal came, even if an agent has swallowed it."""
        if self._caught is not None:
            raise StudyInterrupted(
                f"The study was stopped by {signal.Signals(self._caught).name}; all finished "
                "evaluations are in its journal.",
                self._caught,
            )

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Delay signals during work that must not be interrupted, then `check`."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
        self.check()

    def wait_for(self, work: Callable[[], T]) -> T:
        """Return the result of `work`; a signal ends the wait for it.

        Raises:
          StudyInterrupted: A signal came; `work` continues in a daemon thread.
        """
        if not self._former:
            return work()
        results: _Results[T] = queue.SimpleQueue()
        if self._jobs is None:
            self._jobs = queue.SimpleQueue()
            threading.Thread(
                target=_serve, args=(self._jobs,), name="archgym-evaluation", daemon=True
            ).start()
        self._jobs.put(lambda: _put(results, work))
        return _result(results)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._caught is None:
            threading.Thread(
                target=self._repeat, args=(number,), name="archgym-interruption", daemon=True
            ).start()
        self._caught = number
        if not self._shields:
            self.check()

    def _repeat(self, number: int) -> None:
        main = threading.main_thread().ident
        assert main is not None
        while not self._is_over.wait(_REPEAT_S):
            signal.pthread_kill(main, number)


def within(seconds: float, work: Callable[[], T]) -> T:
    """Return the result of `work`, for which a thread of its own waits no longer than a time.

    Raises:
      TimeoutError: The time [s] is over; `work` continues in a daemon thread.
    """
    results: _Results[T] = queue.SimpleQueue()
    run = copy_context().run
    threading.Thread(target=run, args=(_put, results, work), daemon=True).start()
    try:
        return _result(results, min(seconds, threading.TIMEOUT_MAX))
    except queue.Empty:
        raise TimeoutError from None


def _put(results: "_Results[T]", work: Callable[[], T]) -> None:
    try:
        results.put((work(), None))
    except BaseException as error:
        results.put((None, error))


def _result(results: "_Results[T]", seconds: float | None = None) -> T:
    result, error = results.get(timeout=seconds)
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # present where there is no error


def _serve(jobs: "queue.SimpleQueue[Callable[[], None] | None]") -> None:
    while (job := jobs.get()) is not None:
        job()
