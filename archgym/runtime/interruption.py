"""Ctrl-C and termination while a study runs: prompt, but never in the middle of an append.

An interruption raises an exception, which callers of the library may catch. Outside studies, the
command line has handlers of its own, which end the process: `archgym.cli.console.signals`.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self, final

from archgym.errors import StudyInterrupted

# chosen: a study must end within two seconds.
_REPEAT_S = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@final
class Interruption:
    """While open, SIGINT and SIGTERM raise StudyInterrupted in the main thread.

    The exception is raised again every second until it arrives, since a library may swallow it,
    such as one that is being imported. A signal during `shielded` waits for its end. In other
    threads than the main one, this object does nothing. Former handlers are restored at the end.
    """

    def __init__(self) -> None:
        self._caught: int | None = None
        self._shields = 0
        self._is_over = threading.Event()
        self._former: dict[int, Any] = {}

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
        self._shields -= 1

    @property
    def is_watching(self) -> bool:
        """True if signals come here."""
        return bool(self._former)

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
