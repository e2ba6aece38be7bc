"""Requests with arrival times: files of Mooncake, aiperf, Azure and BurstGPT; all readers."""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, final

from archgym.errors import FileFormatError
from archgym.simulators.kv.formats.events import EVENTS, read_events
from archgym.simulators.kv.formats.sessions import read_sessions
from archgym.simulators.kv.formats.trace import (
    MAX_TIME_MS,
    Columns,
    RequestTrace,
    Trace,
    lines_of,
    parsed,
    whole,
)

MOONCAKE_PIECE: Final = 512
_AZURE: Final = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_BURST: Final = ("Timestamp", "Request tokens", "Response tokens")


def read_mooncake(path: Path) -> RequestTrace:
    """Return the requests of a file of Mooncake's, or of `archgym kv record`.

    The first line of `record` gives the tokens of a piece as `piece_tokens`.

    Raises:
      FileFormatError: A line is not as it must be.
    """
    piece = MOONCAKE_PIECE
    columns: Columns | None = None
    for number, text in lines_of(path):
        row = _object(path, number, text)
        if columns is None and "piece_tokens" in row:
            piece = whole(path, number, row, "piece_tokens", low=1)
            continue
        columns = columns or Columns(path, piece)
        prompt = whole(path, number, row, "input_length", low=1)
        ids: Any = row.get("hash_ids")
        valid = isinstance(ids, list) and all(
            type(each) is int and 0 <= each < 2**62 for each in ids
        )
        if not valid:
            raise FileFormatError(path, number, "`hash_ids` must be a list of whole numbers")
        wanted = -(-prompt // piece)
        # Without ids nothing is known of a prompt but its length.
        if ids and len(ids) != wanted:
            what = f"{prompt} tokens must have {wanted} ids of {piece} tokens"
            raise FileFormatError(path, number, f"{what}; got {len(ids)}")
        time = whole(path, number, row, "timestamp", MAX_TIME_MS)
        columns.add(number, time, prompt, whole(path, number, row, "output_length"), ids)
    return (columns or Columns(path, piece)).trace()


def read_table(path: Path) -> RequestTrace:
    """Return the requests of a table of Azure's or BurstGPT's, in which nothing is shared.

    Raises:
      FileFormatError: A line is not as it must be.
    """
    lines = lines_of(path)
    names = next(csv.reader([text for _, text in [next(lines, (1, ""))]]), [])
    columns = Columns(path, MOONCAKE_PIECE)
    heads = next((heads for heads in (_AZURE, _BURST) if set(heads) <= set(names)), None)
    if heads is None:
        what = f"a table must have the columns {', '.join(_AZURE)} or {', '.join(_BURST)}"
        raise FileFormatError(path, 1, what)
    at = [names.index(head) for head in heads]
    origin: int | None = None
    for number, text in lines:
        cells = next(csv.reader([text]))
        if len(cells) != len(names):
            what = f"a row must have {len(names)} cells; got {len(cells)}"
            raise FileFormatError(path, number, what)
        stamp = _milliseconds(path, number, cells[at[0]], heads is _AZURE)
        origin = stamp if origin is None else origin
        counts = {}
        for head, place in zip(heads[1:], at[1:], strict=True):
            digits = cells[place].strip()
            counts[head] = int(digits) if digits.isascii() and digits.isdigit() else digits
        prompt, output = (whole(path, number, counts, head) for head in heads[1:])
        columns.add(number, stamp - origin, max(1, prompt), output, [])
    return columns.trace()


def _milliseconds(path: Path, line: int, text: str, is_stamp: bool) -> int:
    try:
        if not is_stamp:
            return round(1000 * float(text))
        day, _, clock = text.strip().partition(" ")
        seconds, _, decimals = clock.partition(".")
        stamp = datetime.fromisoformat(f"{day} {seconds}")
        in_day = (stamp.day * 24 + stamp.hour) * 60 + stamp.minute
        return in_day * 60_000 + stamp.second * 1000 + int(f"{decimals}000"[:3])
    except (ValueError, OverflowError):
        what = f"`{'TIMESTAMP' if is_stamp else 'Timestamp'}` must be a time; got {text[:40]!r}"
        raise FileFormatError(path, line, what) from None


def _object(path: Path, line: int, text: str) -> Mapping[str, Any]:
    row = parsed(path, line, text)
    if not isinstance(row, dict):
        raise FileFormatError(path, line, "a line must be a JSON object")
    return row


@final
@dataclass(frozen=True)
class Reader:
    """Reader of one form of traces."""

    doc: str
    read: Callable[[Path], Trace]


def read_aiperf(path: Path) -> RequestTrace:
    """Return the requests of aiperf's `profile_export.jsonl`, in which nothing is shared.

    Raises:
      FileFormatError: A line is not as it must be.
    """
    rows = []
    for number, text in lines_of(path):
        row = _object(path, number, text)
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
    columns = Columns(path, MOONCAKE_PIECE)
    for start, prompt, output, number in rows:
        columns.add(number, (start - rows[0][0]) // 10**6, prompt, output, [])
    return columns.trace()


READERS: Final[Mapping[str, Reader]] = {
    "mooncake": Reader("lines of JSON with `hash_ids` and `timestamp` (Mooncake)", read_mooncake),
    "sessions": Reader("sessions in JSON with `requests` (kv-cache-tester)", read_sessions),
    "aiperf": Reader("aiperf's profile export with `metrics`", read_aiperf),
    "events": Reader("batches in JSON with `events` (vLLM's KV events)", read_events),
    "table": Reader("tables of Azure or BurstGPT with lengths", read_table),
}
"""Readers of traces by the name of their form."""


def form_of(path: Path) -> str | None:
    """Return the name of a trace's form, as its first line shows it; None if it is unknown.

    Raises:
      FileFormatError: It is torn or has no line.
    """
    _, text = next(lines_of(path), (1, ""))
    if not text:
        raise FileFormatError(path, None, "a trace must have a request; the file is empty")
    if '"events"' in text or any(f'"{name}"' in text for name in EVENTS):
        return "events"
    if not text.startswith(("{", "[")):
        return "table" if "," in text else None
    if ('"hash_ids"' in text and '"timestamp"' in text) or '"piece_tokens"' in text:
        return "mooncake"
    if '"request_start_ns"' in text:
        return "aiperf"
    return "sessions" if '"requests"' in text or text in ("{", "[") else None
