"""Traces that ship and files of users, and statistics of both."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path
from typing import Final, final

import numpy as np

from archgym.simulators.kit import FileFormatError, open_file, storage_errors, unknown_name
from archgym.simulators.kv.formats.events import EVENTS, read_events
from archgym.simulators.kv.formats.trace import Trace, read_requests, read_sessions
from archgym.simulators.kv.workloads.stream import (
    Stream,
    StreamBlocks,
    StreamSettings,
    stream_of,
)
from archgym.traces.requests import lines_of

SHIPPED: Final = ("coding", "coding-long", "chat", "tools")
"""Names of the traces that ship; the first is the default."""
DEFAULT_WORKLOAD: Final = SHIPPED[0]
_KNOWN: Final = (
    "lines of JSON with `hash_ids` and `timestamp` (Mooncake); sessions in JSON with `requests` "
    "(kv-cache-tester); aiperf's profile export with `metrics`; batches in JSON with `events` "
    "(vLLM's KV events); tables of Azure or BurstGPT with lengths"
)
# chosen: a search looks at one or two streams with a handful of block sizes.
_MAX_HELD: Final = 6


@final
@dataclass(frozen=True)
class TraceContent:
    """A trace of requests and the SHA-256 of its file."""

    name: str
    digest: str
    trace: Trace = field(repr=False, compare=False)


def load(name: str | Path) -> TraceContent:
    """Return the trace with this name, or the one in the file at this path.

    Raises:
      UnknownNameError: The name is neither.
      FileFormatError: The file is not a trace of requests.
    """
    text = str(name)
    if isinstance(name, str) and text in SHIPPED:
        return _shipped(text)
    if Path(text).is_file() or isinstance(name, Path):
        return _from_file(Path(text), Path(text).name.partition(".")[0])
    raise unknown_name("workload", text, SHIPPED)


@cache
def _shipped(name: str) -> TraceContent:
    file = resources.files("archgym.simulators.kv").joinpath(f"data/traces/{name}.jsonl.gz")
    with resources.as_file(file) as path:
        return _from_file(path, name)


def _from_file(path: Path, name: str) -> TraceContent:
    digest = hashlib.sha256()
    with storage_errors(path, "read"), open_file(path) as handle:
        while part := handle.read(2**20):
            digest.update(part)
    return TraceContent(name, digest.hexdigest(), _read(digest.hexdigest(), path))


@lru_cache(maxsize=_MAX_HELD)
def _read(digest: str, path: Path) -> Trace:
    """Return the trace of a file, which the next calls find again as long as its bytes are."""
    return read_trace(path)


def read_trace(path: Path) -> Trace:
    """Return the trace of a file, whose form its first line shows.

    Raises:
      FileFormatError: It has no form that is known, or a line is not as it must be.
    """
    _, text = next(lines_of(path), (1, ""))
    if not text:
        raise FileFormatError(path, None, "a trace must have a request; the file is empty")
    if any(f'"{name}"' in text for name in ("events", *EVENTS)):
        return read_requests(path, read_events(path))
    if not text.startswith(("{", "[")):
        is_requests = "," in text
    else:
        is_requests = '"timestamp"' in text and '"hash_ids"' in text
        is_requests |= '"piece_tokens"' in text or '"request_start_ns"' in text
    if is_requests:
        return read_requests(path)
    if '"requests"' in text or text in ("{", "["):
        return read_sessions(path)
    raise FileFormatError(path, 1, f"a trace of requests must be one of: {_KNOWN}")


@lru_cache(maxsize=_MAX_HELD)
def stream(content: TraceContent, settings: StreamSettings) -> Stream:
    """Return the stream of a trace, which the next calls find again."""
    return stream_of(content.trace, settings)


@lru_cache(maxsize=_MAX_HELD)
def stream_blocks(content: TraceContent, settings: StreamSettings, block: int) -> StreamBlocks:
    """Return the blocks of a stream, which the next calls find again.

    Raises:
      InvalidArgumentError: The size of blocks does not fit the pieces of the trace.
    """
    return stream(content, settings).blocks(block)


def characterise(
    content: TraceContent, settings: StreamSettings
) -> Mapping[str, tuple[float, str]]:
    """Return statistics of a stream: name to (value, unit)."""
    found = stream(content, settings)
    arrivals = found.arrivals
    seconds = float(arrivals.time[-1] - arrivals.time[0]) / 1000.0
    return {
        "requests": (float(len(found)), ""),
        "agents": (float(found.agent.max()) + 1.0, ""),
        "sessions": (float(found.session.max()) + 1.0, ""),
        "prompt tokens": (float(arrivals.prompt.sum()), ""),
        "output tokens": (float(arrivals.output.sum()), ""),
        "median prompt": (float(np.median(arrivals.prompt)), "tokens"),
        "median output": (float(np.median(arrivals.output)), "tokens"),
        "nominal time": (seconds, "s"),
    }
