"""Comparison of the kernel's misses with independent tools on the same traces."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, final

import numpy as np

from archgym.errors import FileFormatError
from archgym.simulators.translation.kernel.counters import COUNTERS
from archgym.simulators.translation.kernel.prepared import Prepared, prepare
from archgym.simulators.translation.kernel.run import run
from archgym.simulators.translation.layout import MAX_CAPACITY_GIB, Memory
from archgym.simulators.translation.machine import Hardware
from archgym.traces import AccessKind, MemoryTrace
from evidence.recorded import read_rows
from evidence.translation.planes import read_trace

RESULTS: Final = ("pycachesim_*.csv", "srrip.csv", "libcachesim_fa.csv", "cachegrind.csv")
"""Patterns of the results files that are compared; any may be absent."""

# The specification's tolerance: cachegrind's window begins up to eleven accesses before the traces.
_CACHEGRIND_OFF: Final = 6
_CACHES: Final = "cachegrind-caches"
_PAGE: Final = 4096
_LINE: Final = 64
_HUGE_PAGE: Final = 2 * 2**20
_MAX_DIGITS: Final = 16
# Units of 64 bytes become pages of 4 KiB, which need a large memory.
_SCALED_MEMORY: Final = Memory(capacity_gib=MAX_CAPACITY_GIB, huge_share=0.0)
_HUGE_MEMORY: Final = Memory(huge_share=1.0)
_REMEDY: Final = "Copy the folder of reference results again"


@final
@dataclass(frozen=True)
class Case:
    """Row of a results file with the counts of another tool.

    Attributes:
      results: `pycachesim`, `srrip`, `libcachesim` or `cachegrind`; `cachegrind-caches` compares
        the data caches instead of TLBs with as many entries.
      trace: Name of the trace.
      unit_bytes: Bytes of a page, or of a line.
      hardware: Design whose L1 and L2 TLBs, or caches, are the two levels.
      expected: L1 misses, and L2 misses if there are two levels.
      length: Changes of the page after which the trace ends; None for all.
      allowed: Tolerance of a count.
    """

    results: str
    trace: str
    unit_bytes: int
    hardware: Hardware
    expected: tuple[int, ...]
    length: int | None = None
    allowed: int = 0


@final
@dataclass(frozen=True)
class ExactRow:
    """Agreement with the rows of one results file on one trace.

    `worst` is the largest difference of a count; a row is met if no difference exceeds `allowed`.
    """

    results: str
    trace: str
    n_rows: int
    n_met: int
    worst: int
    allowed: int


def exact_rows(folder: Path, progress: Callable[[str], None] | None = None) -> tuple[ExactRow, ...]:
    """Compare every row of the results in a folder, which also has `traces/*.npz`.

    Raises:
      FileFormatError: A results file or trace is malformed.
    """
    grouped: dict[str, list[Case]] = defaultdict(list)
    for case in cases(folder):
        grouped[case.trace].append(case)
    rows: list[ExactRow] = []
    for trace, of_trace in sorted(grouped.items()):
        if progress is not None:
            progress(f"{trace}: {len(of_trace)} rows of other tools")
        rows += _compare(trace, of_trace, read_trace(folder / "traces" / f"{trace}.npz"))
    return tuple(sorted(rows, key=lambda row: (row.results, row.trace)))


def cases(folder: Path) -> Iterator[Case]:
    """Yield the rows of the results files whose policies the kernel has."""
    for path in sorted(folder.glob("pycachesim_*.csv")):
        for line, row in _read(path):
            yield _pycachesim(path, line, row)
    path = folder / "srrip.csv"
    for line, row in _read(path) if path.exists() else ():
        yield _srrip(path, line, row)
    path = folder / "libcachesim_fa.csv"
    for line, row in _read(path) if path.exists() else ():
        # No TLB has the policies Clock and S3-FIFO.
        if row.get("policy") in ("LRU", "FIFO"):
            yield _libcachesim(path, line, row)
    path = folder / "cachegrind.csv"
    for line, row in _read(path) if path.exists() else ():
        yield from _cachegrind(path, line, row)


def misses(case: Case, prepared: Prepared) -> tuple[int, ...]:
    """Return the counts of the kernel for a case, as in `Case.expected`."""
    are_caches = case.results == _CACHES
    counts = run(prepared, case.hardware, 0.0, only_tlbs=not are_caches)[0]
    names = ("l1_misses", "l2_misses")
    if are_caches:
        names = ("l1_cache_data_misses", "l2_cache_data_misses")
    return tuple(int(counts[COUNTERS.index(name)]) for name in names[: len(case.expected)])


def scaled(trace: MemoryTrace, unit_bytes: int, length: int | None = None) -> MemoryTrace:
    """Return the data accesses of a trace, with each unit scaled to a page of 4 KiB.

    Args:
      trace: The trace.
      unit_bytes: Bytes of a unit, a power of two.
      length: Changes of the unit after which the trace ends; None for all.
    """
    data = np.flatnonzero(trace.kind != AccessKind.FETCH)
    bits = np.uint64(unit_bytes.bit_length() - 1)
    size = np.maximum(trace.size_bytes[data], 1).astype(np.uint64)
    first = trace.address[data] >> bits
    last = (trace.address[data] + size - np.uint64(1)) >> bits
    if length is not None:
        changes = np.flatnonzero(np.diff(first, prepend=np.uint64(2**63)))
        data = data[: changes[length]] if length < len(changes) else data
        first, last = first[: len(data)], last[: len(data)]
    return MemoryTrace(
        instructions=trace.instructions[data],
        kind=trace.kind[data],
        # One byte of the first unit, or as many as reach into the last.
        size_bytes=((last - first) * np.uint64(_PAGE) + np.uint64(1)).astype(np.uint16),
        address=first * np.uint64(_PAGE),
        name=trace.name,
    )


def prepared_for(case: Case, trace: MemoryTrace) -> Prepared:
    """Return the trace of a case, prepared for the kernel."""
    if case.unit_bytes == _HUGE_PAGE or case.results == _CACHES:
        return prepare(_only_data(trace), _HUGE_MEMORY)
    return prepare(scaled(trace, case.unit_bytes, case.length), _SCALED_MEMORY)


def _only_data(trace: MemoryTrace) -> MemoryTrace:
    data = np.flatnonzero(trace.kind != AccessKind.FETCH)
    columns = ("instructions", "kind", "size_bytes", "address")
    return replace(trace, **{name: getattr(trace, name)[data] for name in columns})


def _compare(name: str, of_trace: list[Case], trace: MemoryTrace) -> Iterator[ExactRow]:
    """Yield a row per results file for all its cases on a trace."""
    differences: dict[str, list[int]] = defaultdict(list)
    allowed = {case.results: case.allowed for case in of_trace}
    alike = defaultdict(list)
    for case in of_trace:
        alike[case.unit_bytes, case.length, case.results == _CACHES].append(case)
    for same in alike.values():
        ready = prepared_for(same[0], trace)
        for case in same:
            counted = zip(misses(case, ready), case.expected, strict=True)
            differences[case.results].append(max(abs(ours - theirs) for ours, theirs in counted))
    for results, off in differences.items():
        n_met = sum(difference <= allowed[results] for difference in off)
        yield ExactRow(results, name, len(off), n_met, max(off), allowed[results])


def _read(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield the line numbers and rows of a results file."""
    for row in read_rows(path):
        yield row.line, row.cells


def _number(path: Path, line: int, row: Mapping[str, str], column: str) -> int:
    text = row.get(column)
    if text is None or not (text.isascii() and text.isdigit() and len(text) < _MAX_DIGITS):
        raise FileFormatError(
            path, line, f"{column} must be a whole number, 0 or more; got {text!r}", _REMEDY
        )
    return int(text)


def _trace(path: Path, line: int, row: Mapping[str, str]) -> str:
    name = row.get("trace") or ""
    if not (name.isascii() and name.isalnum()):
        raise FileFormatError(
            path, line, f"trace must be a name of letters and digits; got {name!r}", _REMEDY
        )
    return name


def _pycachesim(path: Path, line: int, row: Mapping[str, str]) -> Case:
    number = partial(_number, path, line, row)
    unit = number("page_bytes")
    entries, ways = number("l1_entries"), number("l1_ways")
    hardware = Hardware(
        l2_entries=number("l2_entries"),
        l2_ways=number("l2_ways"),
        l1_policy=str(row.get("l1_policy")).lower(),
        tlb_policy=str(row.get("l2_policy")).lower(),
    )
    expected = (number("l1_misses"), number("l2_misses"))
    trace = _trace(path, line, row)
    return Case("pycachesim", trace, unit, _with_l1(hardware, unit, entries, ways), expected)


def _srrip(path: Path, line: int, row: Mapping[str, str]) -> Case:
    number = partial(_number, path, line, row)
    hardware = Hardware(l1_entries=number("entries"), l1_ways=number("ways"), tlb_policy="srrip")
    trace = _trace(path, line, row)
    return Case("srrip", trace, number("unit_bytes"), hardware, (number("misses"),))


def _libcachesim(path: Path, line: int, row: Mapping[str, str]) -> Case:
    number = partial(_number, path, line, row)
    entries = number("entries")
    hardware = Hardware(
        l1_entries=entries, l1_ways=entries, tlb_policy=str(row.get("policy")).lower()
    )
    trace, length = _trace(path, line, row), number("stream_len")
    return Case("libcachesim", trace, _PAGE, hardware, (number("misses"),), length)


def _cachegrind(path: Path, line: int, row: Mapping[str, str]) -> Iterator[Case]:
    number = partial(_number, path, line, row)
    unit = number("line_bytes")
    lines, ways = number("d1_lines"), number("d1_ways")
    last_lines, last_ways = number("ll_lines"), number("ll_ways")
    hardware = Hardware(l2_entries=last_lines, l2_ways=last_ways)
    expected = (number("D1_misses"), number("LLd_misses"))
    case = Case(
        results="cachegrind",
        trace=_trace(path, line, row),
        unit_bytes=unit,
        hardware=_with_l1(hardware, unit, lines, ways),
        expected=expected,
        allowed=_CACHEGRIND_OFF,
    )
    yield case
    if unit == _LINE:
        caches = Hardware(
            mechanism="perfect",
            l1_cache_kib=lines * _LINE // 1024,
            l1_cache_ways=ways,
            l2_cache_kib=last_lines * _LINE // 1024,
            l2_cache_ways=last_ways,
            l2_cache_policy="lru",
        )
        yield replace(case, results=_CACHES, hardware=caches)


def _with_l1(hardware: Hardware, unit: int, entries: int, ways: int) -> Hardware:
    """Return the design with an L1 TLB for pages of this size."""
    if unit == _HUGE_PAGE:
        return replace(hardware, l1_huge_entries=entries, l1_huge_ways=ways)
    return replace(hardware, l1_entries=entries, l1_ways=ways)
