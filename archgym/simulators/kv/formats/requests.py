"""Requests with arrival times: files of Mooncake, aiperf, Azure and BurstGPT; all readers."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

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


_READERS: Final[Mapping[str, Callable[[Path], Trace]]] = {
    "requests": read_requests,
    "sessions": read_sessions,
    "aiperf": read_aiperf,
    "events": read_events,
}
_KNOWN: Final = (
    "lines of JSON with `hash_ids` and `timestamp` (Mooncake); sessions in JSON with `requests` "
    "(kv-cache-tester); aiperf's profile export with `metrics`; batches in JSON with `events` "
    "(vLLM's KV events); tables of Azure or BurstGPT with lengths"
)


def read_trace(path: Path) -> Trace:
    """Return the trace of a file, whose form its first line shows.

    Raises:
      FileFormatError: It has no form that is known, or a line is not as it must be.
    """
    _, text = next(lines_of(path), (1, ""))
    if not text:
        raise FileFormatError(path, None, "a trace must have a request; the file is empty")
    form = _form_of(text)
    if form is None:
        raise FileFormatError(path, 1, f"a trace of requests must be one of: {_KNOWN}")
    return _READERS[form](path)


def _form_of(text: str) -> str | None:
    """Return the name of a trace's form by its first line; None if it is unknown."""
    if '"events"' in text or any(f'"{name}"' in text for name in EVENTS):
        return "events"
    if not text.startswith(("{", "[")):
        return "requests" if "," in text else None
    if ('"hash_ids"' in text and '"timestamp"' in text) or '"piece_tokens"' in text:
        return "requests"
    if '"request_start_ns"' in text:
        return "aiperf"
    return "sessions" if '"requests"' in text or text in ("{", "[") else None
