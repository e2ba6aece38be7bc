"""Filtering of a program's accesses to those that reach memory, past two levels of cache."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import numpy as np

from archgym.checks import check_whole
from archgym.errors import InvalidArgumentError
from archgym.traces.caches import LINE_BYTES, Cache, CacheSize
from archgym.traces.memory_trace import AccessKind, MemoryTrace
from archgym.traces.pages import PAGE_BITS, PageAllocator

__all__ = ["Requests", "memory_requests"]

_LINE_BITS = 6
# chosen: some hundred megabytes of a text file; more than a search should simulate each time.
MAX_REQUESTS = 4_000_000
# chosen: an access may touch a thousand lines, so that a piece of a trace is cut by them.
_PIECE_LINES = 2**20


@final
@dataclass(frozen=True, eq=False)
class Requests:
    """Lines of 64 bytes that are read and written, in program order.

    Attributes:
      address: (n,) int64, physical [bytes].
      is_write: (n,) bool; the rest are reads.
      instruction: (n,) int64, instructions that retired before each.
      accesses: Data accesses that were taken in, up to that which caused the last request.
      lines: Lines that they touched, an access across lines counted for each.
      pages: Pages of 4 KiB that they touched.
    """

    address: np.ndarray
    is_write: np.ndarray
    instruction: np.ndarray
    accesses: int
    lines: int
    pages: int

    def __len__(self) -> int:
        return len(self.address)


def memory_requests(
    parts: Iterable[MemoryTrace],
    *,
    first: CacheSize,
    last: CacheSize,
    capacity_bytes: int,
    seed: int = 0,
    skip: int = 0,
    max_requests: int = MAX_REQUESTS,
) -> Requests:
    """Return requests to memory that a trace causes.

    Instruction fetches are left out, since a trace holds only those that enter a page; so are
    invalidations.

    Args:
      first: The first level of data cache.
      capacity_bytes: Physical memory.
      seed: Of the physical pages' order.
      skip: Requests that are left out first, while the caches fill.
      max_requests: Requests after which no more are taken.

    Raises:
      InvalidArgumentError: The pages exceed the memory, no request is left, or none is wanted.
    """
    check_whole("max_requests", max_requests, 1, MAX_REQUESTS)
    caches, allocator = Cache(first, last), PageAllocator(capacity_bytes, seed)
    # The first is nothing, so that there is something to join where the trace is empty.
    none = np.zeros(0, np.int64)
    taken = [(none, none.astype(bool), none)]
    n_accesses, n_lines, n_pages, n_found, instructions = 0, 0, 0, 0, 0
    for part in (piece for whole in parts for piece in _pieces(whole)):
        when = instructions + np.cumsum(part.instructions, dtype=np.int64)
        instructions += part.n_instructions
        is_data = part.kind <= AccessKind.MODIFY
        is_data &= part.kind != AccessKind.FETCH
        line, source = _lines(part, np.flatnonzero(is_data))
        page = line >> np.uint64(PAGE_BITS - _LINE_BITS)
        known = allocator.pages
        frame = allocator.frames(page) << np.uint64(PAGE_BITS - _LINE_BITS)
        inner = line & np.uint64((1 << (PAGE_BITS - _LINE_BITS)) - 1)
        cause, out, is_write = caches.pass_through(
            (frame | inner).astype(np.int64), part.kind[source] != AccessKind.LOAD
        )
        # A cut of what has come so far, so that no more is held than is wanted.
        keep = slice(max(0, skip - n_found), max(0, skip + max_requests - n_found))
        n_found += len(out)
        taken.append((out[keep] * LINE_BYTES, is_write[keep], when[source[cause[keep]]]))
        if n_found >= skip + max_requests:
            end = int(cause[keep][-1]) + 1
            n_lines += end
            n_accesses += int(is_data[: int(source[end - 1]) + 1].sum())
            n_pages = len(np.union1d(known, page[:end]))
            break
        n_lines += len(line)
        n_accesses += int(is_data.sum())
        n_pages = len(allocator.pages)
    address, is_write, instruction = (np.concatenate(c) for c in zip(*taken, strict=True))
    if not len(address):
        raise InvalidArgumentError(
            f"The trace must cause more requests to memory than are skipped, {skip}; it causes "
            f"{n_found}. Skip fewer, or choose smaller caches."
        )
    return Requests(address, is_write, instruction, n_accesses, n_lines, n_pages)


def _pieces(part: MemoryTrace) -> Iterator[MemoryTrace]:
    """Yield the part in pieces whose accesses touch a million lines or little more."""
    lines = np.cumsum(part.size_bytes // np.uint16(LINE_BYTES) + np.uint16(2), dtype=np.int64)
    n_pieces = -(-int(lines[-1]) // _PIECE_LINES) if len(part) else 1
    ends = np.searchsorted(lines, _PIECE_LINES * np.arange(1, n_pieces), side="right")
    for start, end in pairwise([0, *ends.tolist(), len(part)]):
        yield part[start:end]


def _lines(part: MemoryTrace, data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of the virtual lines that accesses touch, and the record of each."""
    start = part.address[data]
    end = start + np.maximum(part.size_bytes[data], 1).astype(np.uint64) - np.uint64(1)
    first = start >> np.uint64(_LINE_BITS)
    n = ((end >> np.uint64(_LINE_BITS)) - first + np.uint64(1)).astype(np.int64)
    place = np.repeat(np.arange(len(data)), n)
    # Of each line the number within its access.
    within = np.arange(len(place)) - np.repeat(np.cumsum(n) - n, n)
    return first[place] + within.astype(np.uint64), data[place]
