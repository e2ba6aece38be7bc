"""Traces prepared for the kernel: everything that no design changes, computed once."""

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.errors import InvalidArgumentError
from archgym.simulators.translation.layout import Memory, hashed
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
"""chosen: share of a trace's records that only warm up TLBs and caches."""

# Kinds of steps in the kernel.
DATA, FETCH, INVALIDATE, FLUSH = range(4)

_LINE_BITS: Final = 6
_PAGE_BITS: Final = 12
_STEP_OF_KIND: Final = np.array([DATA, DATA, FETCH, DATA, INVALIDATE, FLUSH], dtype=np.uint8)


@final
@dataclass(frozen=True, eq=False)
class Steps:
    """Trace without data accesses to the same line as the previous access.

    An access that ends in another line is two steps. Of consecutive accesses to one line, TLBs and
    caches see the first; the others hit in any design, since the entry is the newest.

    Attributes:
      record: (n_steps,) int64, the step's record in the trace.
      kind: (n_steps,) uint8, kind of the step.
      page: (n_steps,) int64, virtual number of the 4 KiB page, spread.
      line: (n_steps,) uint8, line within the page.
      instruction: (n_steps,) int64, instructions that retired before the step's record.
      crossing: (n_crossings,) int64, records that end in another page.
      not_data: (n,) int64, records that are not data accesses.
      fetch: (n_fetches,) int64, records that are fetches.
      n_records, n_instructions: Totals of the trace.
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
    """Trace in one layout of memory, for the kernel."""

    steps: Steps
    memory: Memory

    @cached_property
    def native(self) -> View:
        """Pages and page tables without virtualisation."""
        steps = self.steps
        return native_view(steps.page, steps.line, steps.kind >= INVALIDATE, self.memory)

    @cached_property
    def virtualised(self) -> View:
        """Pages and page tables of a guest on a host with the same layout of memory."""
        steps = self.steps
        return virtualised_view(steps.page, steps.line, steps.kind >= INVALIDATE, self.memory)

    def view(self, virtualised: bool) -> View:
        """Return one of the two views, which is made on first use."""
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
        """Memory of the arrays made so far [bytes]."""
        arrays = [v for v in vars(self.steps).values() if isinstance(v, np.ndarray)]
        made = [self.__dict__[name] for name in ("native", "virtualised") if name in self.__dict__]
        return sum(int(a.nbytes) for a in arrays) + sum(int(view.n_bytes) for view in made)


def prepare(trace: MemoryTrace, memory: Memory) -> Prepared:
    """Lay out the pages of a trace in memory and number the objects of the kernel.

    Raises:
      InvalidArgumentError: The trace is empty, or its pages do not fit into the memory.
    """
    steps = _steps(trace, memory)
    if not (steps.kind < INVALIDATE).any():
        raise InvalidArgumentError(
            "`trace` must hold at least one access; got none. Record it for longer."
        )
    made = Prepared(steps, memory)
    assert made.native is not None  # so that an error is raised here
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
    """Return the steps that are not data accesses to the line of the last data access."""
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
# The layouts used last, up to `_MAX_BYTES`, and at least the last one.
_HELD: OrderedDict[_Key, Prepared] = OrderedDict()
_MAKING: dict[_Key, Lock] = {}
_LOCK: Final = Lock()


def latest_prepared(trace: MemoryTrace, digest: str, max_records: int, memory: Memory) -> Prepared:
    """Return a trace laid out in memory, which is made once while it is in use.

    Args:
      trace: The whole trace.
      digest: Digest of the trace.
      max_records: Number of its first records to take; 0 for all.
      memory: The memory.

    Raises:
      InvalidArgumentError: The trace is empty, does not fit into the memory, or has no instructions
        after warm-up.
    """
    key = (digest, max_records, memory)
    with _LOCK:
        making = _MAKING.setdefault(key, Lock())
    # Held by the thread that makes a layout, so that others wait for it.
    with making:
        with _LOCK:
            if key in _HELD:
                _HELD.move_to_end(key)
                return _HELD[key]
        made = prepare(trace[:max_records] if max_records else trace, memory)
        if not made.counted(made.start(WARMUP_SHARE))[0]:
            raise InvalidArgumentError(
                f"`workload` must run instructions and change its line of memory after the first "
                f"{WARMUP_SHARE:.0%} of the records that are run; got {trace.name!r}, of which "
                "nothing is left to count. Record more of the program: `archgym trace record`."
            )
        with _LOCK:
            _HELD[key] = made
            while len(_HELD) > 1 and sum(held.n_bytes for held in _HELD.values()) > _MAX_BYTES:
                _HELD.popitem(last=False)
    return made
