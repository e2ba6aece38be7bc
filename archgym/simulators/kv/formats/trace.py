"""Traces of requests as readers return them, and readers of requests with arrival times."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.errors import FileFormatError
from archgym.simulators.kit.requests import PIECE_TOKENS, lines_of, parsed, read_rows, whole

Ints = npt.NDArray[np.int64]

MAX_PIECES: Final = 2**27
"""chosen: known pieces of all requests of a trace, which take 2.5 GB while a trie is made."""
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
        if time > MAX_TIME_MS:
            what = f"requests must come within {MAX_TIME_MS:,} ms; one comes at {time:,}"
            raise FileFormatError(self._path, line, what)
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


def read_requests(path: Path) -> RequestTrace:
    """Return the requests of a file of Mooncake's, or of a table, in which nothing is shared.

    Times of tables count from their first request.

    Raises:
      FileFormatError: A line is not as it must be.
    """
    columns: Columns | None = None
    origin = 0
    for row in read_rows(path):
        # Azure's clock has steps of 100 ns, and doubles of its dates are 16 ns apart.
        ms = int((row.arrival_ns + 50.0) // 1e6)
        if columns is None:
            columns = Columns(path, row.piece)
            origin = 0 if row.is_json else ms
        wanted = -(-row.prompt // row.piece)
        # Without ids nothing is known of a prompt but its length.
        if row.ids and len(row.ids) != wanted:
            what = f"{row.prompt} tokens must have {wanted} ids of {row.piece} tokens"
            raise FileFormatError(path, row.line, f"{what}; got {len(row.ids)}")
        columns.add(row.line, ms - origin, row.prompt, row.output, row.ids)
    return (columns or Columns(path, PIECE_TOKENS)).trace()


def read_aiperf(path: Path) -> RequestTrace:
    """Return the requests of aiperf's `profile_export.jsonl`, in which nothing is shared.

    Raises:
      FileFormatError: A line is not as it must be.
    """
    rows = []
    for number, text in lines_of(path):
        row = parsed(path, number, text)
        if not isinstance(row, dict):
            raise FileFormatError(path, number, "a line must be a JSON object")
        metrics, metadata = row.get("metrics"), row.get("metadata")
        if not isinstance(metrics, dict) or not isinstance(metadata, dict):
            raise FileFormatError(path, number, "a line must have `metrics` and `metadata`")
        found = {"request_start_ns": metadata.get("request_start_ns")}
        for name in ("input_sequence_length", "output_sequence_length"):
            value = metrics.get(name)
            found[name] = value.get("value") if isinstance(value, dict) else value
        start = whole(path, number, found, "request_start_ns", 2**62)
        prompt = whole(path, number, found, "input_sequence_length", low=1)
        rows.append((start, prompt, whole(path, number, found, "output_sequence_length"), number))
    rows.sort()
    columns = Columns(path, PIECE_TOKENS)
    for start, prompt, output, number in rows:
        columns.add(number, (start - rows[0][0]) // 10**6, prompt, output, [])
    return columns.trace()
