"""Sessions of coding agents: kv-cache-tester's JSON, and a compact form with one session a line."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from archgym.errors import FileFormatError
from archgym.simulators.kit.requests import MAX_TOKENS, lines_of, parsed, whole
from archgym.simulators.kv.formats.trace import (
    MAX_PIECES,
    MAX_TIME_MS,
    Agent,
    Ints,
    SessionTrace,
    Turn,
)

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
    lines = list(lines_of(path))
    reader = _Reader(path)
    try:
        first = json.loads(lines[0][1]) if lines else {}
    except ValueError:
        first = None
    if not (isinstance(first, dict) and _is_compact(first)):
        try:
            whole_text = json.loads("\n".join(text for _, text in lines))
        except (ValueError, RecursionError) as error:
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
