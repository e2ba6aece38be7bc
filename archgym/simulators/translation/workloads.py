"""Workloads of the translation simulator: recorded programs, generated accesses, users' files.

Recorded programs are part of `archgym.traces`. Generated accesses cover 4 GiB and generated
programs 6 to 8 GiB, more than any built-in recording: their page tables do not fit the caches. A
long trace is not held in memory: it is read again, part after part, for each batch of designs.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Final, final

import numpy as np

from archgym.simulators.kit import FileFormatError, unknown_name
from archgym.traces import (
    AccessKind,
    MemoryTrace,
    generated_trace,
    iterate_memory_trace,
    read_memory_trace,
    read_trace_info,
    shipped_names,
    shipped_trace,
)
from archgym.traces.large import LARGE, large_parts

DEFAULT_WORKLOAD: Final = "kmer-count"
_GENERATED_NAMES: Final = ("random-4gb", "zipf-4gb", "pointer-chase-4gb")
# chosen: as long as the recorded programs, so that all workloads cost about the same.
_GENERATED_ACCESSES: Final = 300_000
# Fitted to the cycles of the CPU simulator on programs of the same kind
# (`experiments/translation_timing.py`): 3 for a graph search, 6 for a k-mer count, 9 for a hash
# join, 1 for a chain of pointers.
_MLP: Final = {
    "graph-search": 3.0,
    "hash-join": 8.0,
    "kmer-count": 6.0,
    "pointer-chase-4gb": 1.0,
    # chosen: as independent as the look-ups of a hash join.
    "moe-gather": 8.0,
    "random-access": 8.0,
    "random-4gb": 8.0,
    "zipf-4gb": 8.0,
}
_LARGE_MLP: Final = {
    "gups-8gb": 8.0,
    "kmer-8gb": 6.0,
    "xsbench-6gb": 3.0,
    "dlrm-8gb": 8.0,
    "bfs-8gb": 3.0,
}
# chosen: 4.2 million records, a few seconds for a design.
_LARGE_PARTS: Final = 16
# chosen: longer traces are read again for each batch of designs; these take 0.3 GB at most.
_MAX_HELD: Final = 2**22
# chosen: for other programs, between a chain of pointers and an array.
_USUAL_MLP: Final = 2.0
# chosen: shorter traces leave too little to count after warm-up.
_MIN_RECORDS: Final = 100


Parts = Callable[[], Iterable[MemoryTrace]]
"""Function that returns the consecutive parts of a trace, each time from the beginning."""


@final
@dataclass(frozen=True)
class TraceContent:
    """Trace of a workload and its SHA-256, which includes `mlp` for files.

    `mlp` is the number of parallel misses of the program, 1 for a chain of dependent ones. Only
    cores with overlapping walks use it.
    """

    name: str
    digest: str
    mlp: float
    source: MemoryTrace | Parts = field(repr=False, compare=False)

    @property
    def trace(self) -> MemoryTrace:
        """The trace, or the first part of one that is not held in memory."""
        return self.source if isinstance(self.source, MemoryTrace) else next(iter(self.source()))


def names() -> tuple[str, ...]:
    """Return the built-in workloads: recorded programs, then generated accesses."""
    return (*shipped_names(), *_GENERATED_NAMES, *LARGE)


def load(name: str | Path) -> TraceContent:
    """Return the built-in workload with this name, or the memory trace in the file at this path.

    Raises:
      UnknownNameError: The name is neither.
      FileFormatError: The file cannot be read, or is too short.
    """
    text = str(name)
    if isinstance(name, str) and text in names():
        return _shipped(text)
    if isinstance(name, Path) or text.endswith(".npz") or Path(text).exists():
        return _from_file(Path(name))
    raise unknown_name("workload", text, names())


@cache
def _shipped(name: str) -> TraceContent:
    if name in LARGE:
        source = partial(large_parts, name, _LARGE_PARTS)
        return TraceContent(name, _long_digest(source()), _LARGE_MLP[name], source)
    is_generated = name in _GENERATED_NAMES
    trace = generated_trace(name, _GENERATED_ACCESSES) if is_generated else shipped_trace(name)
    return TraceContent(name, _hash(trace).hexdigest(), _MLP.get(name, _USUAL_MLP), trace)


def _from_file(path: Path) -> TraceContent:
    info = read_trace_info(path)
    if info.records > _MAX_HELD:
        parts = partial(iterate_memory_trace, path)
        name = info.name or path.stem
        return TraceContent(name, _long_digest(parts()), _USUAL_MLP, parts)
    trace = read_memory_trace(path)
    trace = replace(trace, name=trace.name or path.stem)
    # A run needs an instruction and an access after its warm-up.
    later = slice(len(trace) // 2, None)
    has_accesses = (trace.kind[later] < AccessKind.INVALIDATE).any()
    if len(trace) < _MIN_RECORDS or not has_accesses or not trace.instructions[later].any():
        raise FileFormatError(
            path,
            None,
            f"a trace must have {_MIN_RECORDS} records or more, with accesses and instructions in "
            f"its second half; this one has {len(trace)} records and {trace.n_instructions} "
            "instructions",
            "Record more of the program with `archgym trace record`",
        )
    found = _hash(trace)
    # A copy of a built-in trace is another workload, since its `mlp` is the usual one.
    found.update(f"mlp {_USUAL_MLP:g}".encode())
    return TraceContent(trace.name, found.hexdigest(), _USUAL_MLP, trace)


def _long_digest(parts: Iterator[MemoryTrace]) -> str:
    """Return a digest of all records of a trace that is not held."""
    digest = hashlib.sha256(b"archgym-memory-trace-parts")
    for part in parts:
        digest.update(_hash(part).digest())
    return digest.hexdigest()


def _hash(trace: MemoryTrace) -> "hashlib._Hash":
    digest = hashlib.sha256(b"archgym-memory-trace")
    for column in (trace.instructions, trace.kind, trace.size_bytes, trace.address):
        digest.update(np.ascontiguousarray(column).astype(column.dtype.newbyteorder("<")).data)
    return digest


def characterise(content: TraceContent) -> Mapping[str, tuple[float | str, str]]:
    """Return statistics of a trace, mostly of its accesses to data: name to (value, unit)."""
    source = content.source
    touched, counts = np.zeros(0, np.uint64), np.zeros(0, np.int64)
    records = instructions = accesses = fetches = stores = changes = 0
    last = None
    for trace in [source] if isinstance(source, MemoryTrace) else source():
        is_data = np.isin(trace.kind, (AccessKind.LOAD, AccessKind.STORE, AccessKind.MODIFY))
        pages = trace.address[is_data] >> np.uint64(12)
        records += len(trace)
        instructions += trace.n_instructions
        accesses += len(pages)
        fetches += int((trace.kind == AccessKind.FETCH).sum())
        stores += int((trace.kind[is_data] != AccessKind.LOAD).sum())
        if len(pages):
            changes += int((np.diff(pages) != 0).sum())
            changes += int(last is not None and last != pages[0])
            last = pages[-1]
        here, of_here = np.unique(pages, return_counts=True)
        touched, place = np.unique(np.concatenate([touched, here]), return_inverse=True)
        counts = np.bincount(place, np.concatenate([counts, of_here]), len(touched))
    hottest = np.cumsum(np.sort(counts)[::-1])
    thousands = max(1, instructions) / 1000.0
    rate = "1/kinstruction"
    n_hot = int(np.searchsorted(hottest, accesses / 2.0)) + 1 if accesses else 0
    return {
        "records": (records, ""),
        "data accesses": (accesses, ""),
        "instructions": (instructions, ""),
        "fetches on another page": (fetches, ""),
        "stores": (100.0 * stores / accesses if accesses else 0.0, "%"),
        "footprint in pages of 4 KiB": (len(touched) * 2.0**12 / 2**20, "MiB"),
        "regions of 2 MiB": (len(np.unique(touched >> np.uint64(9))), ""),
        "data accesses a kiloinstruction": (accesses / thousands, rate),
        "changes of page": (changes / thousands, rate),
        "pages that take half of the accesses": (n_hot, ""),
    }
