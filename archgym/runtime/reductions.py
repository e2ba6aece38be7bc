"""Reports of data that are cut, sampled, clipped or ignored, so that nothing is lost silently.

Library code calls `report_reduction` where it uses less than it was given. The report is a warning
of the logger `archgym.reductions`, which goes to stderr, once for each text in a process. Code that
wants the reports as notes of its results collects them:

    >>> with collected_reductions() as notes:
    ...     report_reduction("rows for intervals", 4000, 20_000, "they are a random sample")
    >>> notes
    ['rows for intervals: 4,000 of 20,000 are used; they are a random sample.']
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Final

_LOGGER: Final = logging.getLogger("archgym.reductions")
_SEEN: Final[set[str]] = set()
_LOCK: Final = Lock()
# chosen: more distinct reports than a process makes; beyond it, one may be repeated.
_MAX_SEEN: Final = 10_000
_ABOUT: ContextVar[str] = ContextVar("about", default="")
_NOTES: ContextVar[tuple[list[str], ...]] = ContextVar("notes", default=())


def report_reduction(subject: str, used: int, available: int, remedy: str) -> None:
    """Report that fewer of something are used than there are; nothing if all are.

    Args:
      subject: Things that are counted, such as "rows of the trace".
      used: Number that is used.
      available: Number that there is.
      remedy: Option or step that changes it, or the reason that nothing does; no full stop.
    """
    if used < available:
        report_loss(f"{subject}: {used:,} of {available:,} are used; {remedy}.")


def report_loss(text: str) -> None:
    """Report in a sentence what is cut, clipped or ignored, with its numbers."""
    text = _ABOUT.get() + text
    for notes in _NOTES.get():
        if text not in notes:
            notes.append(text)
    with _LOCK:
        if text in _SEEN:
            return
        if len(_SEEN) >= _MAX_SEEN:
            _SEEN.clear()
        _SEEN.add(text)
    _LOGGER.warning("%s", text)


@contextmanager
def reports_about(subject: str) -> Iterator[None]:
    """Begin the reports within the block with what they are about, such as a design."""
    token = _ABOUT.set(f"{_ABOUT.get()}{subject}: ")
    try:
        yield
    finally:
        _ABOUT.reset(token)


@contextmanager
def collected_reductions() -> Iterator[list[str]]:
    """Collect the reports within the block, each once, also those that were made before."""
    notes: list[str] = []
    token = _NOTES.set((*_NOTES.get(), notes))
    try:
        yield notes
    finally:
        _NOTES.reset(token)
