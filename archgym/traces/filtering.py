"""Filtering of a program's accesses to those that reach memory, past two levels of cache."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import numpy as np

from archgym.checks import check_whole
from archgym.errors import InvalidArgumentError
from archgym.traces.caches import LINE_BYTES, Cache, CacheSize
from archgym.traces.dataflow import FARTHEST, ProgramPart, nothing_known, waits_of
from archgym.traces.generators import scattered
from archgym.traces.memory_trace import AccessKind, MemoryTrace

_LINE_BITS = 6
# chosen: some hundred megabytes of a text file; more than a search should simulate each time.
MAX_REQUESTS = 4_000_000
# Size of a row of common DDR devices: requests within it tend to hit an open row.
_NEAR_BYTES = 8192
# chosen: shares of fewer requests say little.
_MIN_COMPARED = 1000
# chosen: shares that differ by more percentage points, or rates by a larger factor, are of
# another kind.
_MAX_DIFFERENCE = 10.0
_MAX_FACTOR = 1.5
# chosen: an access may touch a thousand lines, so that a piece of a trace is cut by them.
_PIECE_LINES = 2**20
PAGE_BITS = 12


@final
class PageAllocator:
    """Allocator of a free frame for each page of 4 KiB when it is first touched."""

    def __init__(self, capacity_bytes: int, seed: int) -> None:
        """Start with all of the memory free.

        Args:
          capacity_bytes: Memory there is; of what is not a power of two the largest that is in it.
          seed: Random seed of the frames' order.
        """
        self._n_frames = 1 << max(0, capacity_bytes.bit_length() - 1 - PAGE_BITS)
        rng = np.random.default_rng(np.random.SeedSequence(seed))
        self._start = rng.integers(self._n_frames, dtype=np.uint64)
        # Sorted, with the frames in the same order.
        self._pages = np.zeros(0, np.uint64)
        self._frames = np.zeros(0, np.uint64)

    @property
    def pages(self) -> np.ndarray:
        """Pages that have a frame, (n,) uint64, sorted; a later call leaves this array as it is."""
        return self._pages

    def frames(self, pages: np.ndarray) -> np.ndarray:
        """Return frames of pages, (n,) uint64; new pages get frames in the order they come.

        Raises:
          InvalidArgumentError: There are more pages than frames.
        """
        found, first = np.unique(pages, return_index=True)
        is_new = ~np.isin(found, self._pages, assume_unique=True)
        if is_new.any():
            new = found[is_new]
            order = np.argsort(np.argsort(first[is_new]))
            self._add(new, order)
        return self._frames[np.searchsorted(self._pages, pages)]

    def _add(self, new: np.ndarray, order: np.ndarray) -> None:
        n = len(self._pages) + len(new)
        if n > self._n_frames:
            raise InvalidArgumentError(
                f"The trace's pages must fit into the device's memory, {self._n_frames} frames of "
                f"4 KiB; it has {n} or more. Choose a larger device, or cut the trace."
            )
        turn = order.astype(np.uint64) + np.uint64(len(self._pages))
        frames = scattered((turn + self._start) % np.uint64(self._n_frames), self._n_frames)
        pages = np.concatenate([self._pages, new])
        place = np.argsort(pages)
        self._pages = pages[place]
        self._frames = np.concatenate([self._frames, frames])[place]


@final
@dataclass(frozen=True)
class RequestProfile:
    """Character of some requests, to compare a part of a trace with the rest."""

    n: int = 0
    writes: int = 0
    near: int = 0
    """Requests within a DRAM row's size of the one before."""
    instructions: int = 0
    """Instructions between these requests and those before them."""

    def __add__(self, other: "RequestProfile") -> "RequestProfile":
        return RequestProfile(
            self.n + other.n,
            self.writes + other.writes,
            self.near + other.near,
            self.instructions + other.instructions,
        )

    def differences(self, other: "RequestProfile") -> list[str]:
        """Return in words what clearly differs in another part; empty if either is short."""
        if min(self.n, other.n) < _MIN_COMPARED:
            return []
        found = []
        for name, attribute in (("writes", "writes"), ("requests near the one before", "near")):
            mine, theirs = (100 * getattr(each, attribute) / each.n for each in (self, other))
            if abs(mine - theirs) > _MAX_DIFFERENCE:
                found.append(f"{name} {mine:.0f} % against {theirs:.0f} %")
        mine, theirs = (1000 * each.n / max(1, each.instructions) for each in (self, other))
        if max(mine, theirs) > _MAX_FACTOR * min(mine, theirs):
            found.append(f"{mine:.3g} against {theirs:.3g} requests per 1,000 instructions")
        return found


@final
@dataclass(frozen=True, eq=False)
class Requests:
    """Lines of 64 bytes that are read and written, in program order.

    Attributes:
      address: (n,) int64, physical [bytes].
      is_write: (n,) bool; the rest are reads.
      instruction: (n,) int64, instructions that retired before each. Instructions between two
        windows do not count.
      accesses: Data accesses that were taken in, up to that which caused the last request.
      lines: Lines that they touched, an access across lines counted for each.
      pages: Pages of 4 KiB that they touched.
      kept: Character of these requests.
      left_out: Character of the other requests of the region, those skipped at first excepted.
      is_counted: False if more requests were left out than could be counted, since their pages
        exceed the memory.
      waits_for: (n,) int64, the earlier read whose answer each request waits for, -1 for none.
      n_lost_waits: Requests that would wait for one that was left out.
    """

    address: np.ndarray
    is_write: np.ndarray
    instruction: np.ndarray
    waits_for: np.ndarray
    accesses: int
    lines: int
    pages: int
    kept: RequestProfile = RequestProfile()
    left_out: RequestProfile = RequestProfile()
    is_counted: bool = True
    n_lost_waits: int = 0

    def __len__(self) -> int:
        return len(self.address)


def memory_requests(
    parts: Callable[[], Iterable[MemoryTrace | ProgramPart]],
    *,
    first: CacheSize,
    last: CacheSize,
    capacity_bytes: int,
    seed: int = 0,
    skip: int = 0,
    max_requests: int = MAX_REQUESTS,
    windows: int = 1,
    region: tuple[int, int | None] = (0, None),
) -> Requests:
    """Return requests to memory that a trace causes.

    Instruction fetches are left out, since a trace holds only those that enter a page; so are
    invalidations.

    Args:
      parts: Function that returns the parts of the trace, from its beginning; those of a program
        also say which requests wait for earlier answers.
      first: The first level of data cache.
      last: The last level of cache.
      capacity_bytes: Physical memory.
      seed: Random seed of the physical pages' order.
      skip: Requests that are left out first, while the caches fill.
      max_requests: Requests after which no more are taken.
      windows: Number of equal windows, evenly spread, that share `max_requests`; with 1, the
        requests at the beginning are taken.
      region: First instruction of interest, and the one after the last; earlier accesses fill the
        caches.

    Raises:
      InvalidArgumentError: The pages exceed the memory, no request is left, or none is wanted.

    Source:
      Evenly spread windows: Wunderlich et al., *SMARTS: Accelerating Microarchitecture Simulation
      via Rigorous Statistical Sampling*, ISCA 2003.
    """
    check_whole("max_requests", max_requests, 1, MAX_REQUESTS)
    check_whole("windows", windows, 1, max_requests)
    caches = (first, last)
    starts, length = np.array([skip]), max_requests
    if windows > 1:
        counted = _Filter(caches, capacity_bytes, seed, region, skip, starts, 0)
        total = counted.run(parts()).n_found - skip
        if total > max_requests:
            length = max_requests // windows
            period = total / windows
            starts = skip + ((np.arange(windows) + 0.5) * period - length / 2).astype(np.int64)
    done = _Filter(caches, capacity_bytes, seed, region, skip, starts, length).run(parts())
    address, is_write, instruction, number, waits = (
        np.concatenate(c) for c in zip(*done.taken, strict=True)
    )
    if not len(address):
        raise InvalidArgumentError(
            f"The trace must cause more requests to memory than are skipped, {skip}; it causes "
            f"{done.n_found}. Skip fewer, or choose smaller caches."
        )
    waits = np.where(number - waits <= FARTHEST, waits, -1)
    place = np.minimum(np.searchsorted(number, waits), len(number) - 1)
    is_known = number[place] == waits
    return Requests(
        address,
        is_write,
        instruction,
        np.where(is_known, place, -1),
        done.n_accesses,
        done.n_lines,
        done.n_pages,
        done.kept,
        done.left_out,
        done.is_counted,
        int(((waits >= 0) & ~is_known).sum()),
    )


@final
class _Filter:
    """One pass of a trace through the caches."""

    def __init__(
        self,
        caches: tuple[CacheSize, CacheSize],
        capacity_bytes: int,
        seed: int,
        region: tuple[int, int | None],
        skip: int,
        starts: np.ndarray,
        length: int,
    ) -> None:
        self._caches = Cache(*caches)
        self._allocator = PageAllocator(capacity_bytes, seed)
        self._begin, self._end = region[0], math.inf if region[1] is None else region[1]
        self._starts, self._length, self._skip = starts, length, skip
        none = np.zeros(0, np.int64)
        # The first is nothing, so that there is something to join where the trace is empty.
        self.taken = [(none, none.astype(bool), none, none, none)]
        self._n_caused = 0
        self._known = nothing_known()
        self.n_found = 0
        self.is_counted = True
        self.n_accesses = self.n_lines = self.n_pages = 0
        self.kept = self.left_out = RequestProfile()
        self._seen_accesses = self._seen_lines = 0
        self._before = (0, 0)
        self._dropped = 0

    def run(self, parts: Iterable[MemoryTrace | ProgramPart]) -> "_Filter":
        """Take the whole trace; return itself."""
        instructions = 0
        for part, program in (each for whole in parts for each in _cut(whole)):
            when = instructions + np.cumsum(part.instructions, dtype=np.int64)
            instructions += part.n_instructions
            is_done = self._length > 0 and self.n_found >= int(self._starts[-1]) + self._length
            try:
                self._take(part, when, program)
            except InvalidArgumentError:
                # Pages beyond the memory matter only up to the last request that is kept.
                if not is_done:
                    raise
                self.is_counted = False
                break
        return self

    def _take(self, part: MemoryTrace, when: np.ndarray, program: ProgramPart | None) -> None:
        is_data = part.kind <= AccessKind.MODIFY
        is_data &= part.kind != AccessKind.FETCH
        line, source = _lines(part, np.flatnonzero(is_data))
        page = line >> np.uint64(PAGE_BITS - _LINE_BITS)
        known = self._allocator.pages
        frame = self._allocator.frames(page) << np.uint64(PAGE_BITS - _LINE_BITS)
        inner = line & np.uint64((1 << (PAGE_BITS - _LINE_BITS)) - 1)
        cause, out, is_write = self._caches.pass_through(
            (frame | inner).astype(np.int64), part.kind[source] != AccessKind.LOAD
        )
        number = self._n_caused + np.arange(len(cause))
        self._n_caused += len(cause)
        waits = np.full(len(cause), -1)
        if program is not None:
            request = np.full(len(part), -1)
            request[source[cause[~is_write]]] = number[~is_write]
            waits[~is_write] = waits_of(program, request, self._known)[source[cause[~is_write]]]
        at = when[source[cause]]
        inside = (at >= self._begin) & (at < self._end)
        cause, out, is_write, at = cause[inside], out[inside], is_write[inside], at[inside]
        is_kept = self._select(out * LINE_BYTES, is_write, at, number[inside], waits[inside])
        if is_kept.any():
            # What was touched until the last kept request.
            end = int(cause[is_kept][-1]) + 1
            self.n_lines = self._seen_lines + end
            self.n_accesses = self._seen_accesses + int(is_data[: int(source[end - 1]) + 1].sum())
            self.n_pages = len(np.union1d(known, page[:end]))
        self._seen_lines += len(line)
        self._seen_accesses += int(is_data.sum())

    def _select(
        self,
        address: np.ndarray,
        is_write: np.ndarray,
        at: np.ndarray,
        number: np.ndarray,
        waits: np.ndarray,
    ) -> np.ndarray:
        """Keep the requests in the windows, and count all; return the mask of those kept."""
        ordinal = self.n_found + np.arange(len(address))
        self.n_found += len(address)
        window = np.searchsorted(self._starts, ordinal, side="right") - 1
        start = self._starts[np.maximum(window, 0)]
        is_kept: np.ndarray = (window >= 0) & (ordinal - start < self._length)
        if not len(address):
            return is_kept
        step = np.diff(address, prepend=self._before[0])
        waited = np.diff(at, prepend=self._before[1])
        self._before = int(address[-1]), int(at[-1])
        is_first = is_kept & (ordinal == start)
        # A window continues where the one before ended: what lies between takes no time.
        dropped = np.where(is_kept & ~is_first, 0, waited)
        moved = self._dropped + np.cumsum(dropped)
        self._dropped = int(moved[-1])
        shifted = at if len(self._starts) == 1 else at - moved
        columns = (address, is_write, shifted, number, waits)
        self.taken.append(tuple(column[is_kept] for column in columns))
        near = np.abs(step) < _NEAR_BYTES
        for mask, name in ((is_kept, "kept"), (~is_kept & (ordinal >= self._skip), "left_out")):
            profile = RequestProfile(
                int(mask.sum()),
                int(is_write[mask].sum()),
                int(near[mask].sum()),
                int(waited[mask].sum()),
            )
            setattr(self, name, getattr(self, name) + profile)
        return is_kept


def _cut(
    part: MemoryTrace | ProgramPart,
) -> Iterable[tuple[MemoryTrace, ProgramPart | None]]:
    """Return pieces of accesses, each with the program that makes them if it is known."""
    if isinstance(part, ProgramPart):
        return [(part.accesses, part)]
    return ((piece, None) for piece in _pieces(part))


def _pieces(part: MemoryTrace) -> Iterator[MemoryTrace]:
    """Yield the part in pieces whose accesses touch a million lines or little more."""
    lines = np.cumsum(part.size_bytes // np.uint16(LINE_BYTES) + np.uint16(2), dtype=np.int64)
    n_pieces = -(-int(lines[-1]) // _PIECE_LINES) if len(part) else 1
    ends = np.searchsorted(lines, _PIECE_LINES * np.arange(1, n_pieces), side="right")
    for start, end in pairwise([0, *ends.tolist(), len(part)]):
        yield part[start:end]


def _lines(part: MemoryTrace, data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the virtual lines that accesses touch, and the record of each."""
    start = part.address[data]
    end = start + np.maximum(part.size_bytes[data], 1).astype(np.uint64) - np.uint64(1)
    first = start >> np.uint64(_LINE_BITS)
    n = ((end >> np.uint64(_LINE_BITS)) - first + np.uint64(1)).astype(np.int64)
    place = np.repeat(np.arange(len(data)), n)
    # Of each line the number within its access.
    within = np.arange(len(place)) - np.repeat(np.cumsum(n) - n, n)
    return first[place] + within.astype(np.uint64), data[place]
