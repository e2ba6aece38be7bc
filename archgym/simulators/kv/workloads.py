"""Workloads of the KV simulator: traces that ship, files of users, and the analysis of both."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from archgym.errors import FileFormatError, unknown_name
from archgym.files.storage import open_file, storage_errors
from archgym.simulators.kit.requests import lines_of
from archgym.simulators.kv.formats.events import EVENTS, read_events
from archgym.simulators.kv.formats.stream import Stream, StreamBlocks, StreamSettings, stream_of
from archgym.simulators.kv.formats.trace import Trace, read_requests, read_sessions
from archgym.simulators.kv.kernel.layout import NEVER

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


POLICIES: Final = ("lru", "slru", "s3-fifo", "arc", "priority")
"""Policies of a curve by default."""
# chosen: from an eighth of the live contexts to four times as much.
_SHARES: Final = (0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)


@final
@dataclass(frozen=True)
class Analysis:
    """Statistics of a stream.

    Attributes:
      requests: Requests.
      block: Tokens of a block.
      reusable_percent: Blocks that can be hits of which an earlier request had the content.
      reuse_blocks: Quantiles (25, 50, 75, 90 %) of blocks that other requests use between two
        uses of a block.
      reuse_s: The same quantiles of the time between two uses [s].
      live_blocks: Blocks of the contexts of all live sessions.
      capacities: Blocks, by point of the curves.
      curves: Hits in percent of the blocks that can be hits, by policy; `optimum` is among them.
      capacity_percent, policy_percent: At a capacity of half the live contexts: blocks that the
        optimum misses though their content was there once, and blocks that LRU misses beyond those.
    """

    requests: int
    block: int
    reusable_percent: float
    reuse_blocks: tuple[float, ...]
    reuse_s: tuple[float, ...]
    live_blocks: int
    capacities: tuple[int, ...]
    curves: dict[str, tuple[float, ...]]
    capacity_percent: float
    policy_percent: float

    @property
    def diagnosis(self) -> str:
        """Cause of most misses: capacity, policy, or neither."""
        if not self.reusable_percent:
            return "neither: no prompt begins like an earlier one by a --block, or ids are unknown"
        if max(self.capacity_percent, self.policy_percent) < 1.0:
            return "neither: nearly all blocks that can be hits are"
        return "policy" if self.policy_percent > self.capacity_percent else "capacity"

    def to_json(self) -> dict[str, Any]:
        """Return the analysis as JSON types."""
        return {**asdict(self), "diagnosis": self.diagnosis}


def live_blocks(stream: Stream, block: int, live: int) -> int:
    """Return the blocks of the contexts of all live sessions, from their mean largest context."""
    largest = np.zeros(int(stream.session.max(initial=0)) + 1, dtype=np.int64)
    np.maximum.at(largest, stream.session, stream.arrivals.prompt + stream.arrivals.output)
    largest = largest[largest > 0]
    return max(1, int(min(live, len(largest)) * largest.mean() / block))


def analyse(made: StreamBlocks, live: int, policies: Sequence[str] = POLICIES) -> Analysis:
    """Return the analysis of a stream.

    Args:
      made: Requests as blocks.
      live: Sessions that are live at a time.
      policies: Policies of the curves.
    """
    from archgym.simulators.kv.kernel.run import optimum, run_pool

    stream = made.stream
    n_live = live_blocks(stream, made.block, live)
    least = int(made.blocks.need.max(initial=1))
    sizes = sorted({max(least, int(share * n_live)) for share in _SHARES})
    eligible = max(1, int(made.blocks.eligible.sum()))
    curves = {
        policy: tuple(
            100.0 * run_pool(made, "sequential", size, policy)["hit_blocks"] / eligible
            for size in sizes
        )
        for policy in policies
    }
    curves["optimum"] = tuple(100.0 * optimum(made, size, size) / eligible for size in sizes)
    endless = optimum(made, 2**40, 2**40, False)
    half = max(least, n_live // 2)
    at_half = optimum(made, half, half)
    of_lru = run_pool(made, "sequential", half, "lru")["hit_blocks"]
    distances, times = _reuse(made)
    return Analysis(
        requests=len(stream),
        block=made.block,
        reusable_percent=100.0 * endless / eligible,
        reuse_blocks=_quantiles(distances),
        reuse_s=_quantiles(times / 1000.0),
        live_blocks=n_live,
        capacities=tuple(sizes),
        curves=curves,
        capacity_percent=100.0 * (endless - at_half) / eligible,
        policy_percent=100.0 * (at_half - of_lru) / eligible,
    )


def _reuse(made: StreamBlocks) -> tuple[Any, Any]:
    """Return blocks that are used between two uses of a block, and the time between [ms]."""
    blocks, _ = made.with_next_uses(2**40)
    request = np.repeat(np.arange(len(made.stream)), np.diff(blocks.start))
    used = blocks.next_use != NEVER
    before, after = request[used], blocks.next_use[used]
    total = np.concatenate([[0], np.cumsum(blocks.need)])
    time = made.stream.arrivals.time
    return total[after] - total[before + 1], time[after] - time[before]


def _quantiles(values: Any) -> tuple[float, ...]:
    if not len(values):
        return (0.0,) * 4
    return tuple(float(each) for each in np.percentile(values, (25, 50, 75, 90)))


def memory_for(found: Analysis, policy: str, percent: float) -> int | None:
    """Return the blocks from which a policy has so many of the hits of an endless cache.

    Args:
      found: The analysis.
      policy: A policy of the curves, or `optimum`.
      percent: Hits in percent of those of an endless cache.

    Returns:
      Blocks, interpolated between two points of the curve; None if it does not get there.
    """
    wanted = percent / 100.0 * found.reusable_percent
    hits, sizes = found.curves[policy], found.capacities
    at = next((at for at, share in enumerate(hits) if share >= wanted), None)
    if at is None or at == 0:
        return None if at is None else sizes[0]
    share = (wanted - hits[at - 1]) / (hits[at] - hits[at - 1])
    return int(np.ceil(sizes[at - 1] + share * (sizes[at] - sizes[at - 1])))
