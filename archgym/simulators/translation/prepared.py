"""Traces made ready for the kernel: what no design changes, worked out once."""

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.errors import InvalidArgumentError
from archgym.simulators.translation.layout import hashed
from archgym.simulators.translation.memory import Memory
from archgym.simulators.translation.view import View, native_view, virtualised_view
from archgym.traces import AccessKind, MemoryTrace

__all__ = [
    "DATA",
    "FETCH",
    "FLUSH",
    "INVALIDATE",
    "WARMUP_SHARE",
    "Prepared",
    "latest_prepared",
    "prepare",
]

WARMUP_SHARE: Final = 0.3
"""chosen: of a trace's records, those that only warm TLBs and caches up."""

# Kinds of steps, as the kernel takes them.
DATA: Final = 0
FETCH: Final = 1
INVALIDATE: Final = 2
FLUSH: Final = 3

_LINE_BITS: Final = 6
_PAGE_BITS: Final = 12
_STEP_OF_KIND: Final = np.array([DATA, DATA, FETCH, DATA, INVALIDATE, FLUSH], dtype=np.uint8)


@final
@dataclass(frozen=True, eq=False)
class Steps:
    """A trace without what changes nothing: data accesses to the line of the one before.

    An access that ends in another line is two steps. Of a run of accesses to one line, TLBs and
    caches see the first; the others hit whatever the design, since the entry is the newest.

    Attributes:
      record: (n_steps,) int64, the record of the trace that a step comes from.
      kind: (n_steps,) uint8.
      page: (n_steps,) int64, virtual number of the 4 KiB page, spread.
      line: (n_steps,) uint8, line within the page.
      instruction: (n_steps,) int64, instructions that retired before the step's record.
      crossing: (n_crossings,) int64, records that end in another page than they begin.
      not_data: (n,) int64, records that are no data accesses.
      fetch: (n_fetches,) int64, records that are fetches.
      n_records, n_instructions: Of the whole trace.
    """

    record: npt.NDArray[np.int64]
    kind: npt.NDArray[np.uint8]
    page: npt.NDArray[np.int64]
    line: npt.NDArray[np.uint8]
    instruction: npt.NDArray[np.int64]
    crossing: npt.NDArray[np.int64]
    not_data: npt.NDArray[np.int64]
    fetch: npt.NDArray[np.int64]
    n_records: int
    n_instructions: int


@final
@dataclass(frozen=True, eq=False)
class Prepared:
    """A trace as the kernel takes it, in one layout of memory."""

    steps: Steps
    memory: Memory

    @cached_property
    def native(self) -> View:
        """Pages and page tables without virtualisation."""
        steps = self.steps
        return native_view(steps.page, steps.line, steps.kind >= INVALIDATE, self.memory)

    @cached_property
    def virtualised(self) -> View:
        """Pages and page tables of a guest whose memory a host lays out the same way."""
        steps = self.steps
        return virtualised_view(steps.page, steps.line, steps.kind >= INVALIDATE, self.memory)

    def view(self, virtualised: bool) -> View:
        """Return one of the two; made when it is first asked for."""
        return self.virtualised if virtualised else self.native

    def start(self, warmup_share: float) -> int:
        """Return the first step after warm-up."""
        steps = self.steps
        record = int(warmup_share * steps.n_records)
        return int(np.searchsorted(steps.record, record, side="left"))

    def counted(self, start: int) -> tuple[int, int, int]:
        """Return instructions, data accesses and fetches from a step on."""
        steps = self.steps
        if start >= len(steps.record):
            return 0, 0, 0
        record = int(steps.record[start])
        others = len(steps.not_data) - int(np.searchsorted(steps.not_data, record))
        fetches = len(steps.fetch) - int(np.searchsorted(steps.fetch, record))
        crossings = len(steps.crossing) - int(np.searchsorted(steps.crossing, record))
        accesses = steps.n_records - record - others + crossings
        return steps.n_instructions - int(steps.instruction[start]), accesses, fetches

    @property
    def n_bytes(self) -> int:
        """Memory that it takes by now."""
        arrays = [v for v in vars(self.steps).values() if isinstance(v, np.ndarray)]
        made = [self.__dict__[name] for name in ("native", "virtualised") if name in self.__dict__]
        return sum(int(a.nbytes) for a in arrays) + sum(int(view.n_bytes) for view in made)


def prepare(trace: MemoryTrace, memory: Memory) -> Prepared:
    """Lay the pages of a trace into memory and numbers what the kernel meets.

    Raises:
      InvalidArgumentError: The trace is empty, or its pages do not fit into the memory.
    """
    steps = _steps(trace, memory)
    if not (steps.kind < INVALIDATE).any():
        raise InvalidArgumentError(
            "`trace` must hold at least one access; got none. Record it for longer."
        )
    made = Prepared(steps, memory)
    assert made.native is not None  # so that what does not fit is refused here
    return made


def _steps(trace: MemoryTrace, memory: Memory) -> Steps:
    kinds = _STEP_OF_KIND[trace.kind]
    is_data = kinds == DATA
    first = trace.address
    last = first + np.maximum(trace.size_bytes, 1).astype(np.uint64) - np.uint64(1)
    line, last_line = first >> np.uint64(_LINE_BITS), last >> np.uint64(_LINE_BITS)
    straddles = (line != last_line) & is_data
    crossing = np.flatnonzero(straddles & (first >> np.uint64(12) != last >> np.uint64(12)))
    record: npt.NDArray[np.int64] = np.arange(len(trace), dtype=np.int64)
    if straddles.any():
        record = np.repeat(record, 1 + straddles.astype(np.int64))
        second = np.flatnonzero(np.diff(record, prepend=-1) == 0)
        line = line[record]
        line[second] = last_line[record[second]]
        kinds = kinds[record]
    kept = _changes(kinds, line)
    record, kinds, line = record[kept], kinds[kept], line[kept].astype(np.int64)
    retired = np.cumsum(trace.instructions, dtype=np.int64)
    before = retired - trace.instructions
    is_fetch = trace.kind == AccessKind.FETCH
    return Steps(
        record=record,
        kind=kinds,
        page=_spread(line >> (_PAGE_BITS - _LINE_BITS), memory),
        line=(line & 63).astype(np.uint8),
        instruction=before[record],
        crossing=crossing,
        not_data=np.flatnonzero(~is_data),
        fetch=np.flatnonzero(is_fetch),
        n_records=len(trace),
        n_instructions=int(retired[-1]) if len(trace) else 0,
    )


def _changes(kinds: npt.NDArray[np.uint8], line: npt.NDArray[np.uint64]) -> np.ndarray:
    """Place of the steps that are not data accesses to the line of the last data access."""
    data = np.flatnonzero(kinds == DATA)
    same = np.zeros(len(kinds), dtype=bool)
    same[data[1:]] = line[data[1:]] == line[data[:-1]]
    for place in np.flatnonzero(kinds >= INVALIDATE):
        after = int(np.searchsorted(data, place))
        if after < len(data):
            same[data[after]] = False
    return np.flatnonzero(~same)


def _spread(page: npt.NDArray[np.int64], memory: Memory) -> npt.NDArray[np.int64]:
    if memory.page_spread == 1:
        return page
    spread = page * memory.page_spread
    if memory.spread_jitter:
        room = np.uint64(memory.page_spread)
        spread += (hashed(page, memory.seed) % room).astype(np.int64)
    return spread


# chosen: every layout of the spaces for a trace of three million accesses fits.
_MAX_BYTES: Final = 768 * 2**20

_Key = tuple[str, int, Memory]


@final
class _Latest:
    """The layouts used last, at most `max_bytes` of them, but always the last one."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[_Key, Prepared] = OrderedDict()
        self._lock = Lock()
        self._making: dict[_Key, Lock] = {}

    def get(self, key: _Key) -> Prepared | None:
        """Return the layout, if it is held."""
        with self._lock:
            found = self._held.get(key)
            if found is not None:
                self._held.move_to_end(key)
            return found

    def put(self, key: _Key, value: Prepared) -> None:
        """Hold a layout; the oldest ones go."""
        with self._lock:
            self._held[key] = value
            self._held.move_to_end(key)
            while len(self._held) > 1 and self._total() > self._max_bytes:
                self._held.popitem(last=False)

    def making(self, key: _Key) -> Lock:
        """Return held by the thread that makes a layout, so that others wait for it."""
        with self._lock:
            return self._making.setdefault(key, Lock())

    def _total(self) -> int:
        return sum(value.n_bytes for value in self._held.values())


_LATEST = _Latest(_MAX_BYTES)


def latest_prepared(trace: MemoryTrace, digest: str, max_records: int, memory: Memory) -> Prepared:
    """Return a trace laid out in memory, made only once while it is in use.

    Args:
      trace: The whole trace.
      digest: What it is known by.
      max_records: Only so many of its first records; 0 for all.
      memory: The layout.

    Raises:
      InvalidArgumentError: The trace is empty, or does not fit into the memory, or
        nothing of it is left to count after warm-up.
    """
    # Numba takes a while to import, which listing and describing should not wait for.
    from archgym.simulators.translation.prepared import prepare

    key = (digest, max_records, memory)
    found = _LATEST.get(key)
    if found is not None:
        return found
    with _LATEST.making(key):
        found = _LATEST.get(key)
        if found is None:
            found = prepare(trace[:max_records] if max_records else trace, memory)
            _require_instructions(found, trace.name)
            _LATEST.put(key, found)
    return found


def _require_instructions(ready: Prepared, name: str) -> None:
    from archgym.simulators.translation.prepared import WARMUP_SHARE

    if not ready.counted(ready.start(WARMUP_SHARE))[0]:
        raise InvalidArgumentError(
            f"`workload` must run instructions and change its line of memory after the first "
            f"{WARMUP_SHARE:.0%} of the records that are run; got {name!r}, of which nothing is "
            "left to count. Record more of the program with `archgym trace record`."
        )
