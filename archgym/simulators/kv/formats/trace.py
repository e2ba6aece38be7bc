"""Traces of requests as readers return them: requests with arrival times, or sessions of agents."""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from archgym.errors import FileFormatError
from archgym.files.storage import storage_errors

Ints = npt.NDArray[np.int64]

MAX_TOKENS: Final = 2**26
"""chosen: tokens of a request; the longest context that a model is sold with has a sixth of it."""
MAX_PIECES: Final = 2**27
"""chosen: known pieces of all requests of a trace, which take 2.5 GB while a trie is made."""
MAX_BYTES: Final = 2**30
"""chosen: bytes of an unpacked trace; a gzip bomb stops here."""
MAX_TIME_MS: Final = 2**40
"""chosen: 34 years; the queue of ends keeps a time and an order in one word."""
MAX_REQUESTS: Final = 2**22
"""chosen: as many as the same word leaves bits for."""


@final
@dataclass(frozen=True)
class RequestTrace:
    """Requests in the order of their arrival.

    Attributes:
      time: (n,), arrival [ms].
      prompt, output: (n,), tokens.
      ids: Numbers of the known pieces of all prompts.
      start: (n + 1,), first piece of each request.
      piece: Tokens of a piece.
      known: (n,), tokens from the prompt's start that ids stand for.
    """

    time: Ints
    prompt: Ints
    output: Ints
    ids: Ints
    start: Ints
    piece: int
    known: Ints


@final
@dataclass(frozen=True)
class Turn:
    """A request of an agent.

    Attributes:
      prompt, output: Tokens.
      service_ms: Recorded time of the request [ms].
      think_ms: Pause before it [ms].
      ids: Numbers of the pieces of its prompt, local to the session.
    """

    prompt: int
    output: int
    service_ms: int
    think_ms: int
    ids: Ints = field(repr=False)


@final
@dataclass(frozen=True)
class Agent:
    """An agent with its turns and sub-agents in their order.

    Attributes:
      items: Turns and agents.
      shared_tokens: Tokens of its tools and of its system prompt; agents with the same pair share
        their first pieces.
    """

    items: tuple["Turn | Agent", ...]
    shared_tokens: tuple[int, int]


@final
@dataclass(frozen=True)
class SessionTrace:
    """Sessions, each with its main agent."""

    sessions: tuple[Agent, ...]
    piece: int


Trace = RequestTrace | SessionTrace


class Columns:
    """Requests that a reader has met so far."""

    def __init__(self, path: Path, piece: int) -> None:
        self._path, self._piece = path, piece
        self._rows: list[tuple[int, int, int, int, int]] = []
        self._ids: list[int] = []

    def add(
        self, line: int, time: int, prompt: int, output: int, ids: list[int], n_whole: int = 0
    ) -> None:
        """Add a request.

        Args:
          line: Line of the file.
          time: Arrival [ms].
          prompt, output: Tokens.
          ids: Known pieces from the prompt's start.
          n_whole: Pieces that are known whole, where they go beyond the prompt.

        Raises:
          FileFormatError: It comes before the one before, or the trace is too long.
        """
        if self._rows and time < self._rows[-1][0]:
            what = f"requests must be in the order of arrival; {time} follows {self._rows[-1][0]}"
            raise FileFormatError(self._path, line, what, "Sort the trace by time")
        self._ids += ids
        known = max(prompt, n_whole * self._piece) if ids else 0
        self._rows.append((time, prompt, output, len(ids), known))
        if len(self._rows) > MAX_REQUESTS or len(self._ids) > MAX_PIECES:
            limits = f"{MAX_REQUESTS:,} requests with {MAX_PIECES:,} ids"
            what = f"a trace must have at most {limits}"
            raise FileFormatError(self._path, line, what, "Cut it into several files")

    def trace(self) -> RequestTrace:
        """Return the trace.

        Raises:
          FileFormatError: There is no request.
        """
        if not self._rows:
            raise FileFormatError(self._path, None, "a trace must have a request; this has none")
        time, prompt, output, lengths, known = np.array(self._rows, dtype=np.int64).T.copy()
        start = np.concatenate([[0], np.cumsum(lengths)])
        ids = np.array(self._ids, dtype=np.int64)
        return RequestTrace(time, prompt, output, ids, start, self._piece, known)


def parsed(path: Path, line: int, text: str) -> Any:
    """Return a line of JSON.

    Raises:
      FileFormatError: The line is no JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        what = f"a line must be JSON; {' '.join(str(error).split())[:80]}"
        raise FileFormatError(path, line, what, "Copy the file again") from None


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield numbers and texts of the lines of a file, which may be compressed, without empty ones.

    Raises:
      FileFormatError: It is torn, too large or not UTF-8.
      StorageError: It cannot be read.
    """
    n_bytes, number = 0, 0
    try:
        with (
            storage_errors(path, "read"),
            gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as handle,
        ):
            while line := handle.readline(MAX_BYTES - n_bytes + 1):
                n_bytes += len(line)
                number += 1
                if n_bytes > MAX_BYTES:
                    what = f"a trace must have at most {MAX_BYTES:,} bytes"
                    raise FileFormatError(path, number, what, "Cut it into several files")
                # Spreadsheets of Windows begin a file with a mark.
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                if text:
                    yield number, text
    except (EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError) as error:
        what = f"a trace must be whole text; {' '.join(str(error).split())}"
        raise FileFormatError(path, number + 1, what, "Copy the file again") from None


def whole(
    path: Path,
    line: int,
    values: Mapping[str, Any],
    name: str,
    high: int = MAX_TOKENS,
    low: int = 0,
) -> int:
    """Return a whole number of a line.

    Raises:
      FileFormatError: It is absent, no whole number or outside its limits.
    """
    value = values.get(name)
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or not low <= value <= high:  # type: ignore[operator]  # checked before
        shown = repr(value)[:40]
        what = f"`{name}` must be a whole number from {low:,} to {high:,}; got {shown}"
        raise FileFormatError(path, line, what)
    return int(value)  # type: ignore[arg-type]  # checked before
