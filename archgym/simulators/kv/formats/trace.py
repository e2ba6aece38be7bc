"""Traces of requests as readers return them: requests with times, and sessions of agents."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit import FileFormatError
from archgym.traces.requests import MAX_TOKENS, Row, lines_of, parsed, read_rows, whole

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


PIECE: Final = 64
_MAX_ID: Final = 2**40
# chosen: recorded agents nest twice at most.
_MAX_DEPTH: Final = 32


class _Form(NamedTuple):
    """Names of a form of sessions, and the milliseconds of its unit of time."""

    sub: str
    service: str
    think: str
    tool: str
    system: str
    scale: int


_COMPACT: Final = _Form("sub", "api", "think", "tool", "system", 1)
_RECORDED: Final = _Form("requests", "api_time", "think_time", "tool_tokens", "system_tokens", 1000)


def read_sessions(path: Path) -> SessionTrace:
    """Return the sessions of a file: one in JSON, or one of the compact form a line.

    Raises:
      FileFormatError: It is not as it must be; the message names the line.
    """
    reader = _Reader(path)
    try:
        return _sessions(reader, list(lines_of(path)))
    except RecursionError:
        raise FileFormatError(path, reader.line, "the JSON is nested too deeply") from None


def _sessions(reader: "_Reader", lines: Sequence[tuple[int, str]]) -> SessionTrace:
    path = reader.path
    try:
        first = json.loads(lines[0][1]) if lines else {}
    except ValueError:
        first = None
    if not (isinstance(first, dict) and _is_compact(first)):
        try:
            whole_text = json.loads("\n".join(text for _, text in lines))
        except ValueError as error:
            what = f"a trace must be JSON; {' '.join(str(error).split())[:80]}"
            raise FileFormatError(path, getattr(error, "lineno", None), what) from None
        return SessionTrace((reader.agent(whole_text, _RECORDED),), PIECE)
    sessions = []
    for number, text in lines:
        reader.line = number
        sessions.append(reader.agent(parsed(path, number, text), _COMPACT))
    return SessionTrace(tuple(sessions), PIECE)


def _is_compact(value: Mapping[str, Any]) -> bool:
    requests = value.get("requests")
    items = requests if isinstance(requests, list) else []
    return any(isinstance(item, dict) and ("keep" in item or "sub" in item) for item in items)


class _Reader:
    """Reader of one file, which counts pieces, so that no file fills the memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.line = 1
        self._n_pieces = 0

    def _refuse(self, what: str, remedy: str = "") -> FileFormatError:
        return FileFormatError(self.path, self.line, what, remedy)

    def _items(self, value: Any, key: str, depth: int) -> list[Any]:
        if depth > _MAX_DEPTH:
            raise self._refuse(f"sub-agents must nest at most {_MAX_DEPTH} deep")
        found = value.get(key) if isinstance(value, dict) else None
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise self._refuse(f"a session must have `{key}`, a list of objects")
        return found

    def _whole(self, item: Mapping[str, Any], name: str, high: int) -> int:
        return whole(self.path, self.line, {name: 0, **item}, name, high)

    def agent(self, value: Any, form: _Form, depth: int = 0) -> Agent:
        """Return an agent of one of the forms."""
        items: list[Turn | Agent] = []
        before = np.zeros(0, dtype=np.int64)
        for item in self._items(value, form.sub if depth else "requests", depth):
            if "sub" in item or item.get("type") == "subagent":
                items.append(self.agent(item, form, depth + 1))
                continue
            prompt = whole(self.path, self.line, item, "in", low=1)
            parts = self._new(item, before) if form is _COMPACT else [self._recorded(item)]
            n = sum(len(part) for part in parts)
            if n != prompt // PIECE:
                what = f"a request of {prompt} tokens must have {prompt // PIECE} ids"
                raise self._refuse(f"{what}; got {n}")
            self._n_pieces += n
            if self._n_pieces > MAX_PIECES:
                what = f"a trace must have at most {MAX_PIECES:,} pieces of prompts"
                raise self._refuse(what, "Take fewer sessions")
            before = np.concatenate([np.array(part, dtype=np.int64) for part in parts])
            times = [self._time_ms(item, name, form.scale) for name in (form.service, form.think)]
            output = self._whole(item, "out", MAX_TOKENS)
            items.append(Turn(prompt, output, times[0], times[1], before))
        shared = [self._whole(value, name, MAX_PIECES) for name in (form.tool, form.system)]
        return Agent(tuple(items), (shared[0], shared[1]))

    def _new(self, item: Mapping[str, Any], before: Ints) -> list[Any]:
        """Return the ids that a request of the compact form keeps, and runs of new ones."""
        keep = self._whole(item, "keep", MAX_PIECES)
        if keep > len(before):
            what = f"`keep` must be at most {len(before)}, the ids of the request before"
            raise self._refuse(f"{what}; got {keep}")
        runs = item.get("new", [])
        if not isinstance(runs, list) or not all(_is_run(run) for run in runs):
            raise self._refuse("`new` must be a list of [start, count]")
        return [before[:keep], *(range(run[0], run[0] + run[1]) for run in runs)]

    def _recorded(self, item: Mapping[str, Any]) -> list[int]:
        ids = item.get("hash_ids", [])
        if not isinstance(ids, list) or not all(_is_id(each) for each in ids):
            raise self._refuse("`hash_ids` must be a list of whole numbers from 0")
        return ids

    def _time_ms(self, item: Mapping[str, Any], name: str, scale: int) -> int:
        value = item.get(name) or 0
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 <= value * scale <= MAX_TIME_MS:
            raise self._refuse(f"`{name}` must be a time of 0 or more; got {value!r:.40}")
        return round(scale * value)


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_ID


def _is_run(value: Any) -> bool:
    is_pair = isinstance(value, list) and len(value) == 2
    return is_pair and _is_id(value[0]) and _is_id(value[1]) and value[1] <= MAX_PIECES
