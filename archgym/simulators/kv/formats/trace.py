"""Traces of requests as readers return them, and the reader of requests with arrival times."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.errors import FileFormatError
from archgym.simulators.kit.requests import Row, read_rows

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


def read_requests(path: Path, found: Iterable[Row] | None = None) -> RequestTrace:
    """Return the requests of a file of Mooncake's, of aiperf's, or of a table.

    Times of tables and of aiperf count from their first request. Nothing is shared in them.

    Args:
      path: The file.
      found: Its requests, where another reader has read it.

    Raises:
      FileFormatError: A line is not as it must be.
    """
    rows, times, n_ids = list[Row](), list[int](), 0
    for row in read_rows(path) if found is None else found:
        # Azure's clock has steps of 100 ns, and doubles of its dates are 16 ns apart. Starts of
        # aiperf are whole, and differ by ns.
        times.append(int(row.arrival_ns if row.is_by_end else (row.arrival_ns + 50.0) // 1e6))
        rows.append(row)
        n_ids += len(row.ids)
        if len(rows) > MAX_REQUESTS or n_ids > MAX_PIECES:
            what = f"a trace must have at most {MAX_REQUESTS:,} requests with {MAX_PIECES:,} ids"
            raise FileFormatError(path, row.line, what, "Cut it into several files")
        if times[-1] < times[len(rows) - 2] and not row.is_by_end:
            what = f"requests must be in the order of arrival; {times[-1]} follows {times[-2]} ms"
            raise FileFormatError(path, row.line, what, "Sort the trace by time")
        wanted = -(-row.prompt // row.piece)
        # Without ids nothing is known of a prompt but its length.
        most = (row.prompt + row.output) // row.piece if row.has_outputs else wanted
        if row.ids and not wanted <= len(row.ids) <= max(wanted, most):
            what = f"{row.prompt} tokens must have {wanted} ids of {row.piece} tokens"
            raise FileFormatError(path, row.line, f"{what}; got {len(row.ids)}")
    if not rows:
        raise FileFormatError(path, None, "a trace must have a request; this has none")
    order = np.argsort(times, kind="stable")
    rows, time = [rows[at] for at in order], np.array(times)[order]
    time -= 0 if rows[0].is_json and not rows[0].is_by_end else time[0]
    time //= 10**6 if rows[0].is_by_end else 1
    if time[-1] > MAX_TIME_MS:
        what = f"requests must come within {MAX_TIME_MS:,} ms; one comes at {time[-1]:,}"
        raise FileFormatError(path, rows[-1].line, what)
    ids = np.fromiter(chain.from_iterable(row.ids for row in rows), np.int64, n_ids)
    prompt, output, n = np.array([(r.prompt, r.output, len(r.ids)) for r in rows]).T.copy()
    known = np.where(n > 0, n * rows[0].piece if rows[0].has_outputs else prompt, 0)
    start = np.concatenate([[0], np.cumsum(n)])
    return RequestTrace(time, prompt, output, ids, start, rows[0].piece, known)
