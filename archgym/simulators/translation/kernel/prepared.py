"""Traces prepared for the kernel: everything that no design changes, computed once."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit import InvalidArgumentError
from archgym.simulators.translation.kernel.view import (
    StepColumns,
    Touched,
    View,
    native_view,
    virtualised_view,
)
from archgym.simulators.translation.layout import Memory, hashed
from archgym.simulators.translation.workloads import Parts
from archgym.traces import AccessKind, MemoryTrace
from archgym.traces.file import CHUNK_RECORDS, joined

WARMUP_SHARE: Final = 0.3
"""chosen: share of a trace's records that only warm up TLBs and caches."""

# Kinds of steps in the kernel. An access to two lines that counts as one is two steps: one of the
# kinds that straddle, and `SECOND`.
DATA, STORE, FETCH, STRADDLING_DATA, STRADDLING_STORE, SECOND, INVALIDATE, FLUSH = range(8)

_LINE_BITS: Final = 6
_PAGE_BITS: Final = 12
_STEP_OF_KIND: Final = np.array([DATA, STORE, FETCH, DATA, INVALIDATE, FLUSH], dtype=np.uint8)


@final
@dataclass(frozen=True, eq=False)
class Steps:
    """Part of a trace without data accesses to the same line as the previous access.

    An access that ends in another line is two steps. Unless it counts as one, it is two accesses,
    and `crossing` has the records in which they are to two pages. Of consecutive accesses to one
    line, TLBs and caches see the first; the others hit in any design, since the entry is the
    newest. A step is a store if all of its accesses are.

    Attributes:
      record: (n_steps,) int64, the step's record in the trace.
      kind: (n_steps,) uint8, kind of the step.
      page: (n_steps,) int64, virtual number of the 4 KiB page, spread.
      line: (n_steps,) uint8, line within the page.
      instruction: (n_steps,) int64, instructions that retired before the step's record.
      crossing: (n_crossings,) int64, records that end in another page.
      not_data: (n,) int64, records that are not data accesses.
      fetch: (n_fetches,) int64, records that are fetches.
      start, stop: Records of the trace up to the beginning and the end of the part.
    """

    record: npt.NDArray[np.int64]
    kind: npt.NDArray[np.uint8]
    page: npt.NDArray[np.int64]
    line: npt.NDArray[np.uint8]
    instruction: npt.NDArray[np.int64]
    crossing: npt.NDArray[np.int64]
    not_data: npt.NDArray[np.int64]
    fetch: npt.NDArray[np.int64]
    start: int
    stop: int

    def accesses_from(self, record: int) -> tuple[int, int]:
        """Return data accesses and fetches of the part from a record on."""
        others = len(self.not_data) - int(np.searchsorted(self.not_data, record))
        fetches = len(self.fetch) - int(np.searchsorted(self.fetch, record))
        crossings = len(self.crossing) - int(np.searchsorted(self.crossing, record))
        return int(self.stop) - record - others + crossings, fetches

    @property
    def n_bytes(self) -> int:
        """Memory of the arrays [bytes]."""
        return sum(int(v.nbytes) for v in vars(self).values() if isinstance(v, np.ndarray))


@final
class Prepared:
    """Trace in one layout of memory, for the kernel.

    The steps are kept if the trace is in memory; else they are made again from the parts of the
    trace for each run, so that memory depends on the pages of the trace and not on its length.
    """

    def __init__(self, parts: Parts, memory: Memory, *, holds: bool, joins_lines: bool) -> None:
        """Read the trace once; see `prepare`."""
        self.memory: Final = memory
        self._joins_lines: Final = joins_lines
        self._parts = parts
        self._held: list[Steps] = []
        self._columns: dict[tuple[int, bool], StepColumns] = {}
        touched = Touched()
        self.n_records, self.n_instructions, has_access = 0, 0, False
        for steps, instructions in _all_steps(parts(), memory, joins_lines):
            is_special = steps.kind >= INVALIDATE
            touched.add(steps.page[~is_special] if is_special.any() else steps.page)
            has_access = has_access or not is_special.all()
            self.n_records, self.n_instructions = steps.stop, instructions
            if holds:
                self._held.append(steps)
        self._touched = touched
        if not has_access:
            raise InvalidArgumentError(
                "`trace` must hold at least one access; got none. Record it for longer."
            )

    @property
    def is_held(self) -> bool:
        """True if the steps are in memory."""
        return bool(self._held)

    @property
    def steps(self) -> Steps:
        """Steps of the first part."""
        return next(self.parts())

    def parts(self) -> Iterator[Steps]:
        """Yield the steps, part after part."""
        if self._held:
            yield from self._held
        else:
            made = _all_steps(self._parts(), self.memory, self._joins_lines)
            yield from (steps for steps, _ in made)

    @cached_property
    def native(self) -> View:
        """Pages and page tables without virtualisation."""
        return native_view(self._touched, self.memory)

    @cached_property
    def virtualised(self) -> View:
        """Pages and page tables of a guest on a host with the same layout of memory."""
        return virtualised_view(self._touched, self.memory)

    def view(self, virtualised: bool) -> View:
        """Return one of the two views, which is made on first use."""
        return self.virtualised if virtualised else self.native

    def columns(self, number: int, steps: Steps, virtualised: bool) -> StepColumns:
        """Return the columns of a part, by its number, on one of the two views."""
        key = (number, virtualised)
        found = self._columns.get(key)
        if found is None:
            view = self.view(virtualised)
            found = view.columns(steps.page, steps.line, steps.kind >= INVALIDATE)
            if self._held:
                self._columns[key] = found
        return found

    def start_record(self, warmup_share: float) -> int:
        """Return the first record after warm-up."""
        return int(warmup_share * self.n_records)

    def counted(self, warmup_share: float) -> tuple[int, int, int]:
        """Return instructions, data accesses and fetches after warm-up."""
        record = self.start_record(warmup_share)
        found: tuple[int, int, int] | None = None
        for steps in self.parts():
            if found is None:
                start = int(np.searchsorted(steps.record, record))
                if start == len(steps.record):
                    continue
                accesses, fetches = steps.accesses_from(int(steps.record[start]))
                found = self.n_instructions - int(steps.instruction[start]), accesses, fetches
            else:
                accesses, fetches = steps.accesses_from(steps.start)
                found = found[0], found[1] + accesses, found[2] + fetches
        return found or (0, 0, 0)

    @property
    def n_bytes(self) -> int:
        """Memory of the arrays made so far [bytes]."""
        made = [self.__dict__[name] for name in ("native", "virtualised") if name in self.__dict__]
        columns = sum(int(a.nbytes) for of_part in self._columns.values() for a in of_part)
        return columns + sum(int(v.n_bytes) for v in [*self._held, *made]) + self._touched.n_bytes


def prepare(trace: MemoryTrace | Parts, memory: Memory, *, joins_lines: bool = False) -> Prepared:
    """Lay out the pages of a trace in memory and number the objects of the kernel.

    Args:
      trace: A trace in memory, or a function that returns its parts, which may be longer.
      memory: The memory.
      joins_lines: Count an access to two lines as one, with at most one miss in each TLB and cache,
        as cachegrind does. Otherwise it is two accesses.

    Raises:
      InvalidArgumentError: The trace is empty, or its pages do not fit into the memory.
    """
    is_held = isinstance(trace, MemoryTrace)
    parts = (lambda: [trace]) if isinstance(trace, MemoryTrace) else trace
    made = Prepared(parts, memory, holds=is_held, joins_lines=joins_lines)
    assert made.native is not None  # so that an error is raised here
    return made


@dataclass
class _Carry:
    """State between two parts of a trace; `line` is the last data line, -1 for none."""

    records: int = 0
    instructions: int = 0
    line: int = -1


def _all_steps(
    parts: Iterable[MemoryTrace], memory: Memory, joins_lines: bool
) -> Iterator[tuple[Steps, int]]:
    """Yield the steps of parts of a trace, each with the instructions up to its end."""
    carry = _Carry()
    for whole in parts:
        for start in range(0, len(whole), CHUNK_RECORDS):
            part = whole[start : start + CHUNK_RECORDS]
            yield _steps(part, memory, carry, joins_lines), carry.instructions


def _steps(trace: MemoryTrace, memory: Memory, carry: _Carry, joins_lines: bool) -> Steps:
    kinds = _STEP_OF_KIND[trace.kind]
    is_data = kinds <= STORE
    first = trace.address
    last = first + np.maximum(trace.size_bytes, 1).astype(np.uint64) - np.uint64(1)
    line, last_line = first >> np.uint64(_LINE_BITS), last >> np.uint64(_LINE_BITS)
    straddles = (line != last_line) & is_data
    crossing = np.flatnonzero(straddles & (first >> np.uint64(12) != last >> np.uint64(12)))
    record: npt.NDArray[np.int64] = np.arange(len(trace), dtype=np.int64)
    second = np.zeros(0, dtype=np.int64)
    if straddles.any():
        record = np.repeat(record, 1 + straddles.astype(np.int64))
        second = np.flatnonzero(np.diff(record, prepend=-1) == 0)
        line = line[record]
        line[second] = last_line[record[second]]
        kinds = kinds[record]
    if joins_lines:
        crossing = crossing[:0]
    else:
        second = second[:0]
    kept = _changes(kinds, line.astype(np.int64), second, carry)
    record, kinds, line = record[kept], kinds[kept], line[kept].astype(np.int64)
    retired = carry.instructions + np.cumsum(trace.instructions, dtype=np.int64)
    before = retired - trace.instructions
    start = carry.records
    carry.records += len(trace)
    carry.instructions = int(retired[-1])
    return Steps(
        record=record + start,
        kind=kinds,
        page=_spread(line >> (_PAGE_BITS - _LINE_BITS), memory),
        line=(line & 63).astype(np.uint8),
        instruction=before[record],
        crossing=crossing + start,
        not_data=np.flatnonzero(~is_data) + start,
        fetch=np.flatnonzero(trace.kind == AccessKind.FETCH) + start,
        start=start,
        stop=carry.records,
    )


def _changes(
    kinds: npt.NDArray[np.uint8],
    line: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
    carry: _Carry,
) -> npt.NDArray[np.int64]:
    """Return the steps that are not data accesses to the line of the last data access.

    A store whose line is then loaded becomes a load in `kinds`. Both steps of an access to two
    lines that counts as one, with the second steps in `second`, are returned and get their kinds.
    """
    data = np.flatnonzero(kinds <= STORE)
    same = np.zeros(len(kinds), dtype=bool)
    same[data] = line[data] == np.concatenate(([carry.line], line[data]))[:-1]
    if len(data):
        carry.line = int(line[data[-1]])
    for place in np.flatnonzero(kinds >= INVALIDATE):
        after = int(np.searchsorted(data, place))
        if after < len(data):
            same[data[after]] = False
        else:
            carry.line = -1
    leads = ~same[data]
    group = np.cumsum(leads) - 1  # -1 for accesses to the line that an earlier part ended with
    loaded = group[~leads & (kinds[data] == DATA)]
    kinds[data[leads][loaded[loaded >= 0]]] = DATA
    if len(second):
        is_store = kinds[second - 1] == STORE
        kinds[second - 1] = np.where(is_store, STRADDLING_STORE, STRADDLING_DATA)
        kinds[second] = SECOND
        same[second - 1] = same[second] = False
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

_Key = tuple[str, int, Memory, bool]
# The layouts used last, up to `_MAX_BYTES`, and at least the last one.
_HELD: OrderedDict[_Key, Prepared] = OrderedDict()
_MAKING: dict[_Key, Lock] = {}
_LOCK: Final = Lock()


def latest_prepared(
    trace: MemoryTrace | Parts,
    digest: str,
    max_records: int,
    memory: Memory,
    name: str = "",
    *,
    joins_lines: bool = False,
) -> Prepared:
    """Return a trace laid out in memory, which is made once while it is in use.

    Args:
      trace: The whole trace, or a function that returns its parts.
      digest: Digest of the trace.
      max_records: Number of its first records to take; 0 for all.
      memory: The memory.
      name: Name of the trace, for errors.
      joins_lines: As in `prepare`.

    Raises:
      InvalidArgumentError: The trace is empty, does not fit into the memory, or has no instructions
        after warm-up.
    """
    key = (digest, max_records, memory, joins_lines)
    with _LOCK:
        making = _MAKING.setdefault(key, Lock())
    # Held by the thread that makes a layout, so that others wait for it.
    with making:
        with _LOCK:
            if key in _HELD:
                _HELD.move_to_end(key)
                return _HELD[key]
        used = _first(trace, max_records) if max_records else trace
        made = prepare(used, memory, joins_lines=joins_lines)
        if made.is_held and not made.counted(WARMUP_SHARE)[0]:
            raise InvalidArgumentError(
                f"`workload` must run instructions and change its line of memory after the first "
                f"{WARMUP_SHARE:.0%} of the records that are run; got {name!r}, of which "
                "nothing is left to count. Record more of the program: `archgym trace record`."
            )
        with _LOCK:
            _HELD[key] = made
            while len(_HELD) > 1 and sum(held.n_bytes for held in _HELD.values()) > _MAX_BYTES:
                _HELD.popitem(last=False)
    return made


def _first(trace: MemoryTrace | Parts, max_records: int) -> MemoryTrace:
    """Return the first records of a trace."""
    if isinstance(trace, MemoryTrace):
        return trace[:max_records]
    parts, left = [], max_records
    for part in trace():
        parts.append(part[:left])
        left -= len(parts[-1])
        if left <= 0:
            break
    return joined(parts, None)
