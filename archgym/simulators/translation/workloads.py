"""Workloads of the translation simulator: recorded programs, generated accesses, users' files.

Recorded programs ship with `archgym.traces`. Generated accesses lie in 4 GiB, which no
recording that ships could touch: their page tables no longer fit the caches.
"""

import hashlib
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Final, final

import numpy as np

from archgym.errors import FileFormatError, unknown_name
from archgym.traces import (
    AccessKind,
    MemoryTrace,
    generated_trace,
    read_memory_trace,
    shipped_names,
    shipped_trace,
)

__all__ = ["DEFAULT_WORKLOAD", "TraceContent", "load", "names"]

DEFAULT_WORKLOAD: Final = "kmer-count"
_GENERATED_NAMES: Final = ("random-4gb", "zipf-4gb", "pointer-chase-4gb")
# chosen: as long as the recorded programs, so that all workloads cost about the same.
_GENERATED_ACCESSES: Final = 300_000
# chosen: by what the programs do. Updates and table look-ups of the next item do not wait for the
# last one; a search knows its next vertices from its queue; a chain knows nothing; the rest is
# between.
_MLP: Final = {
    "graph-search": 2.0,
    "hash-join": 4.0,
    "kmer-count": 4.0,
    "moe-gather": 4.0,
    "random-access": 4.0,
    "random-4gb": 4.0,
    "zipf-4gb": 4.0,
    "pointer-chase-4gb": 1.0,
}
# chosen: what a program not measured keeps under way, between a chain of pointers and an array.
_USUAL_MLP: Final = 2.0
# chosen: fewer leave nothing to count after warm-up.
_MIN_RECORDS: Final = 100


@final
@dataclass(frozen=True)
class TraceContent:
    """A workload's trace and the SHA-256 of what it is; of a file's, with `mlp`.

    `mlp` is how many misses the program keeps under way, 1 where each address follows from the
    one before; only cores whose walks overlap ask for it.
    """

    name: str
    digest: str
    mlp: float
    trace: MemoryTrace = field(repr=False, compare=False)


def names() -> tuple[str, ...]:
    """Return workloads that ship: recorded programs, then generated accesses."""
    return (*shipped_names(), *_GENERATED_NAMES)


def load(name: str | Path) -> TraceContent:
    """Return the shipped workload with this name, or the memory trace in the file at this path.

    Raises:
      UnknownNameError: Neither.
      FileFormatError: The file cannot be read, or holds too little to be run.
    """
    text = str(name)
    if isinstance(name, str) and text in names():
        return _shipped(text)
    if isinstance(name, Path) or text.endswith(".npz") or Path(text).exists():
        return _from_file(Path(name))
    raise unknown_name("workload", text, names())


@cache
def _shipped(name: str) -> TraceContent:
    is_generated = name in _GENERATED_NAMES
    trace = generated_trace(name, _GENERATED_ACCESSES) if is_generated else shipped_trace(name)
    return TraceContent(name, _hash(trace).hexdigest(), _MLP.get(name, _USUAL_MLP), trace)


def _from_file(path: Path) -> TraceContent:
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
    # A copy of a trace that ships is another workload, since its overlap is the usual one.
    found.update(f"mlp {_USUAL_MLP:g}".encode())
    return TraceContent(trace.name, found.hexdigest(), _USUAL_MLP, trace)


def _hash(trace: MemoryTrace) -> "hashlib._Hash":
    digest = hashlib.sha256(b"archgym-memory-trace")
    for column in (trace.instructions, trace.kind, trace.size_bytes, trace.address):
        digest.update(np.ascontiguousarray(column).astype(column.dtype.newbyteorder("<")).data)
    return digest
