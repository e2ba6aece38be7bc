"""Requests with arrival times: files of Mooncake, aiperf, Azure and BurstGPT; all readers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from archgym.errors import FileFormatError
from archgym.simulators.kit.requests import PIECE_TOKENS, lines_of, parsed, read_rows, whole
from archgym.simulators.kv.formats.events import EVENTS, read_events
from archgym.simulators.kv.formats.sessions import read_sessions
from archgym.simulators.kv.formats.trace import Columns, RequestTrace, Trace


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


READERS: Final[Mapping[str, Reader]] = {
    "mooncake": Reader("lines of JSON with `hash_ids` and `timestamp` (Mooncake)", read_requests),
    "sessions": Reader("sessions in JSON with `requests` (kv-cache-tester)", read_sessions),
    "aiperf": Reader("aiperf's profile export with `metrics`", read_aiperf),
    "events": Reader("batches in JSON with `events` (vLLM's KV events)", read_events),
    "table": Reader("tables of Azure or BurstGPT with lengths", read_requests),
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
