"""Searches that pause whenever the agent asks for designs, so that a caller steps through them."""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np

from archgym.errors import StudyInterrupted
from archgym.evaluation.trials import Evaluate, Trials


@final
class PausedSearch:
    """The search of an agent in its own thread, which waits while the caller evaluates.

    `next_ask` returns what the agent asks for and `answer` gives it the results, in turn. The
    thread uses nothing but the search, so that this object may be dropped at any time.
    """

    def __init__(self, search: Callable[[Evaluate], None]) -> None:
        """Prepare a search, a function that calls its argument to have designs evaluated."""
        self._asks: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self.expected: list[np.ndarray] = []
        """Designs, (k, n_parameters) each, that the agent asks for after the last ask."""
        self._answers: queue.SimpleQueue[Trials | Exception] = queue.SimpleQueue()
        self._thread = threading.Thread(
            target=_search,
            args=(search, self._asks, self._answers),
            name="archgym-agent",
            daemon=True,
        )
        self._is_over = False

    def next_ask(self) -> np.ndarray | None:
        """Return the designs that the agent asks for; None at the end of its search.

        Raises:
          BaseException: The agent's own, or one that it was given as an answer.
        """
        if self._is_over:
            return None
        if self._thread.ident is None:
            self._thread.start()
        asked = self._asks.get()
        while isinstance(asked, _Expected):
            self.expected.append(asked.indices)
            asked = self._asks.get()
        if isinstance(asked, BaseException):
            self._is_over = True
            raise asked
        self._is_over = asked is None
        return asked

    def answer(self, answer: Trials | Exception) -> None:
        """Give the agent the results of its last ask, or raise an exception in it."""
        self._answers.put(answer)

    def stop(self) -> None:
        """Stop the agent's thread; one that does not stop is abandoned."""
        if self._thread.is_alive() and not self._is_over:
            self._is_over = True
            self.answer(StudyInterrupted("The study was closed while its agent waited."))


@final
@dataclass(frozen=True)
class _Expected:
    """Designs that the agent will ask for."""

    indices: np.ndarray


_Message = np.ndarray | _Expected | BaseException | None


@final
class _Waiting:
    """Function that hands each ask over and waits for its results."""

    def __init__(
        self,
        asks: "queue.SimpleQueue[_Message]",
        answers: "queue.SimpleQueue[Trials | Exception]",
    ) -> None:
        self._asks, self._answers = asks, answers
        # Some agents ask from several threads.
        self._turn = threading.Lock()

    def __call__(self, indices: np.ndarray) -> Trials:
        """Return the trials of designs."""
        with self._turn:
            self._asks.put(indices)
            answer = self._answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def expect(self, indices: np.ndarray) -> None:
        """Name designs that are asked for next."""
        self._asks.put(_Expected(indices))


def _search(
    search: Callable[[Evaluate], None],
    asks: "queue.SimpleQueue[_Message]",
    answers: "queue.SimpleQueue[Trials | Exception]",
) -> None:
    try:
        search(_Waiting(asks, answers))
    except BaseException as error:
        asks.put(error)
    else:
        asks.put(None)
