"""Sessions of coding agents: kv-cache-tester's JSON, and a compact form with one session a line."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from archgym.errors import FileFormatError
from archgym.simulators.kv.formats.trace import (
    MAX_PIECES,
    MAX_TIME_MS,
    Agent,
    Ints,
    SessionTrace,
    Turn,
    lines_of,
    whole,
)

PIECE: Final = 64
_MAX_ID: Final = 2**40
# chosen: recorded agents nest twice at most.
_MAX_DEPTH: Final = 32


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
        return SessionTrace((reader.recorded(whole_text, 0),), PIECE)
    sessions = []
    for number, text in lines:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            what = f"a session must be JSON; {' '.join(str(error).split())[:80]}"
            raise FileFormatError(path, number, what, "Copy the file again") from None
        reader.line = number
        sessions.append(reader.compact(value, 0))
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

    def _whole(self, item: Mapping[str, Any], name: str, high: int, default: int) -> int:
        return whole(self.path, self.line, {name: default, **item}, name, high)

    def _count(self, n: int) -> None:
        self._n_pieces += n
        if self._n_pieces > MAX_PIECES:
            raise self._refuse(
                f"a trace must have at most {MAX_PIECES:,} pieces of prompts", "Take fewer sessions"
            )

    def compact(self, value: Any, depth: int) -> Agent:
        """Return the agent of the compact form."""
        items: list[Turn | Agent] = []
        before = np.zeros(0, dtype=np.int64)
        for item in self._items(value, "sub" if depth else "requests", depth):
            if "sub" in item:
                items.append(self.compact(item, depth + 1))
                continue
            prompt = whole(self.path, self.line, item, "in", low=1)
            keep = self._whole(item, "keep", MAX_PIECES, 0)
            if keep > len(before):
                what = f"`keep` must be at most {len(before)}, the ids of the request before"
                raise self._refuse(f"{what}; got {keep}")
            runs = item.get("new", [])
            if not isinstance(runs, list) or not all(_is_run(run) for run in runs):
                raise self._refuse("`new` must be a list of [start, count]")
            n = keep + sum(run[1] for run in runs)
            if n != prompt // PIECE:
                what = f"a request of {prompt} tokens must have {prompt // PIECE} ids"
                raise self._refuse(f"{what}; got {n}")
            self._count(n)
            parts = [before[:keep], *(np.arange(run[0], run[0] + run[1]) for run in runs)]
            before = np.concatenate(parts).astype(np.int64)
            items.append(self._turn(item, prompt, "api", "think", before, 1))
        shared = tuple(self._whole(value, name, MAX_PIECES, 0) for name in ("tool", "system"))
        return Agent(tuple(items), (shared[0], shared[1]))

    def recorded(self, value: Any, depth: int) -> Agent:
        """Return the agent of kv-cache-tester's own form."""
        items: list[Turn | Agent] = []
        for item in self._items(value, "requests", depth):
            if item.get("type") == "subagent":
                items.append(self.recorded(item, depth + 1))
                continue
            prompt = whole(self.path, self.line, item, "in", low=1)
            ids = item.get("hash_ids", [])
            if not isinstance(ids, list) or not all(_is_id(each) for each in ids):
                raise self._refuse("`hash_ids` must be a list of whole numbers from 0")
            if len(ids) != prompt // PIECE:
                what = f"a request of {prompt} tokens must have {prompt // PIECE} ids"
                raise self._refuse(f"{what}; got {len(ids)}")
            self._count(len(ids))
            array = np.array(ids, dtype=np.int64)
            items.append(self._turn(item, prompt, "api_time", "think_time", array, 1000))
        names = ("tool_tokens", "system_tokens")
        shared = tuple(self._whole(value, name, MAX_PIECES, 0) for name in names)
        return Agent(tuple(items), (shared[0], shared[1]))

    def _turn(
        self, item: Mapping[str, Any], prompt: int, api: str, think: str, ids: Ints, scale: int
    ) -> Turn:
        times = []
        for name in (api, think):
            value = item.get(name) or 0
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not 0 <= value * scale <= MAX_TIME_MS:
                raise self._refuse(f"`{name}` must be a time of 0 or more; got {value!r:.40}")
            times.append(round(scale * value))
        output = self._whole(item, "out", 2**26, 0)
        return Turn(prompt, output, times[0], times[1], ids)


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_ID


def _is_run(value: Any) -> bool:
    is_pair = isinstance(value, list) and len(value) == 2
    return is_pair and _is_id(value[0]) and _is_id(value[1]) and value[1] <= MAX_PIECES
