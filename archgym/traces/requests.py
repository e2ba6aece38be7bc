"""Request traces of other tools, line by line: times, lengths, and known beginnings of prompts."""

import csv
import gzip
import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, cast, final

from archgym.errors import FileFormatError
from archgym.files.storage import open_file, storage_errors

MAX_TOKENS: Final = 2**26
"""chosen: tokens of a request; the longest context that a model is sold with has a sixth of it."""
MAX_BYTES: Final = 2**30
"""chosen: bytes of an unpacked trace; a gzip bomb stops here."""
PIECE_TOKENS: Final = 512
"""Tokens that an entry of `hash_ids` stands for (Qin et al., *Mooncake*, FAST 2025)."""
_MAX_ARRIVAL_NS: Final = 2.0**41 * 1e6
"""chosen: 70 years, so that clocks that count from 1970 are within."""
_MAX_ID: Final = 2**62
_NS_PER_S: Final = 1e9
_NS_PER_MS: Final = 1e6
_EPOCH: Final = datetime(2020, 1, 1)
# Fractions of Azure's seconds have seven digits.
_DATE: Final = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(\.\d{1,9})?(?:Z|\+00:00)?")


@final
@dataclass(frozen=True)
class _Layout:
    """Names of the columns of a trace, and what its arrivals count [ns]."""

    arrival: str
    prompt: str
    output: str
    unit_ns: float = _NS_PER_S
    is_date: bool = False
    is_by_end: bool = False


_LAYOUTS: Final = (
    # Patel et al., *Splitwise*, ISCA 2024: the Azure LLM inference traces of 2023 and 2024.
    _Layout("TIMESTAMP", "ContextTokens", "GeneratedTokens", is_date=True),
    # Qin et al., *Mooncake*, FAST 2025: milliseconds.
    _Layout("timestamp", "input_length", "output_length", _NS_PER_MS),
    # Wang et al., *BurstGPT*, 2024.
    _Layout("Timestamp", "Request tokens", "Response tokens"),
    _Layout("arrival_s", "prompt_tokens", "output_tokens"),
    # aiperf's `profile_export.jsonl`, whose lines come as requests end.
    _Layout(
        "request_start_ns", "input_sequence_length", "output_sequence_length", 1, is_by_end=True
    ),
)
_FORMATS: Final = " or ".join(f"{x.arrival},{x.prompt},{x.output}" for x in _LAYOUTS)


class Row(NamedTuple):
    """Request of a trace.

    Attributes:
      line: Line of the file.
      arrival_ns: Time; dates count from 2020 [ns].
      prompt, output: Tokens, 1 or more.
      ids: Numbers of the prompt's pieces; empty where nothing is known.
      has_outputs: True if `ids` stand for whole pieces, then those of the output.
      piece: Tokens of a piece.
      is_json: True for a line of JSON.
      is_by_end: True where lines come as requests end, with times of a clock.
    """

    line: int
    arrival_ns: float
    prompt: int
    output: int
    ids: list[int]
    has_outputs: bool
    piece: int
    is_json: bool
    is_by_end: bool


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the requests of a table or of lines of JSON, in the order of the file.

    A first object with `piece_tokens` sets the tokens of a piece; with `has_outputs`, `hash_ids`
    continue with pieces of the output.

    Raises:
      FileFormatError: It holds something else; the error names the line.
      StorageError: It cannot be read.
    """
    layout: _Layout | None = None
    names, piece, has_outputs = list[str](), PIECE_TOKENS, False
    for line, text in lines_of(path):
        is_json = text.startswith(("{", "["))
        if is_json:
            record = parsed(path, line, text)
            if not isinstance(record, dict):
                raise FileFormatError(path, line, "a line must hold a JSON object; it does not")
            if layout is None and "piece_tokens" in record:
                piece = whole(path, line, record, "piece_tokens", low=1)
                has_outputs = record.get("has_outputs") is True
                continue
            metrics = record.get("metrics")
            if isinstance(metrics, dict) and isinstance(record.get("metadata"), dict):
                values = {
                    n: v.get("value") if isinstance(v, dict) else v for n, v in metrics.items()
                }
                record = {**record["metadata"], **values}
        else:
            try:
                cells = [cell.strip() for cell in next(csv.reader([text], strict=True))]
            except csv.Error as error:
                raise FileFormatError(path, line, f"a line must be CSV; {error}") from None
            names = names or cells
            if len(cells) != len(names):
                what = f"a line must have {len(names)} cells; it has {len(cells)}"
                raise FileFormatError(path, line, what)
            record = dict(zip(names, cells, strict=True))
        if layout is None:
            layout = _layout(path, line, record)
            if not is_json:
                continue
        prompt, output = (
            max(1, whole(path, line, {name: _number(record.get(name), not is_json)}, name, low=low))
            for name, low in ((layout.prompt, 1), (layout.output, 0))
        )
        arrival_ns = _arrival_ns(path, line, layout, record.get(layout.arrival), not is_json)
        ids, is_by_end = _ids(path, line, record), layout.is_by_end
        yield Row(line, arrival_ns, prompt, output, ids, has_outputs, piece, is_json, is_by_end)


def _layout(path: Path, line: int, names: Mapping[str, Any]) -> _Layout:
    for layout in _LAYOUTS:
        if {layout.arrival, layout.prompt, layout.output} <= set(names):
            return layout
    raise FileFormatError(path, line, f"a trace must have the columns {_FORMATS}; it has not")


def _ids(path: Path, line: int, record: Mapping[str, Any]) -> list[int]:
    ids = record.get("hash_ids", [])
    if not isinstance(ids, list) or any(
        type(each) is not int or not 0 <= each < _MAX_ID for each in ids
    ):
        what = f"`hash_ids` must be a list of whole numbers from 0; got {_echo(ids)}"
        raise FileFormatError(path, line, what)
    return ids


def _number(value: Any, is_text: bool) -> Any:
    """Return a cell as a number, whole if it can be, or as it is if it holds another thing."""
    try:
        number = float(value) if is_text else value
        is_whole = isinstance(number, float) and number == int(number)
    except (ValueError, TypeError, OverflowError):
        return value
    return int(number) if is_whole else number


def _arrival_ns(path: Path, line: int, layout: _Layout, value: Any, is_text: bool) -> float:
    if layout.is_date:
        match = _DATE.fullmatch(value) if isinstance(value, str) else None
        try:
            if match is not None:
                # Those of today are above 2**53 ns, so that doubles are tens of ns apart there,
                # below the 100 ns of the published traces' clock.
                seconds = (datetime.fromisoformat(match[1]) - _EPOCH).total_seconds()
                return seconds * _NS_PER_S + float(match[2] or 0) * _NS_PER_S
        except ValueError:
            pass
        what = "a date such as 2023-11-16 18:15:46.68"
    else:
        number = _number(value, is_text)
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        arrival = number if is_number and abs(number) < _MAX_ID else math.nan
        if 0 <= arrival * layout.unit_ns <= _MAX_ARRIVAL_NS:
            return arrival * layout.unit_ns
        what = "a time of 0 or more"
    raise FileFormatError(path, line, f"`{layout.arrival}` must be {what}; got {_echo(value)}")


def _echo(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


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
    n_bytes, number = 0, 1
    try:
        with (
            storage_errors(path, "read"),
            open_file(path) as file,
            cast(BinaryIO, gzip.open(file)) if path.suffix == ".gz" else file as handle,
        ):
            while line := handle.readline(MAX_BYTES - n_bytes + 1):
                n_bytes += len(line)
                if n_bytes > MAX_BYTES:
                    what = f"a trace must have at most {MAX_BYTES:,} bytes"
                    raise FileFormatError(path, number, what, "Cut it into several files")
                # Spreadsheets of Windows begin a file with a mark.
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                if text:
                    yield number, text
                number += 1
    except (EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError) as error:
        what = f"a trace must be whole text; {' '.join(str(error).split())}"
        raise FileFormatError(path, number, what, "Copy the file again") from None


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
    if type(value) is not int or not low <= value <= high:
        what = f"`{name}` must be a whole number from {low:,} to {high:,}; got {_echo(value)}"
        raise FileFormatError(path, line, what)
    return int(value)
