"""Filtering: caches and page allocation against plain models, and the requests they leave."""

import csv
import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.simulators.dram.workloads.shipped import request_trace
from archgym.traces import AccessKind, MemoryTrace
from archgym.traces.caches import Cache, CacheSize
from archgym.traces.filtering import PageAllocator, Requests, _lines, _pieces, memory_requests
from evidence.translation.planes import read_planes

# What the reference results allow.
ALLOWED = 6
SMALL = CacheSize(64 * 8, 2)
LARGER = CacheSize(64 * 32, 4)


class PlainCache:
    """A set-associative cache of dictionaries, for comparison."""

    def __init__(self, size: CacheSize) -> None:
        self.size = size
        self.sets: list[OrderedDict[int, bool]] = [OrderedDict() for _ in range(size.sets)]

    def touch(self, line: int, dirty: bool) -> bool:
        held = self.sets[line % self.size.sets]
        if line not in held:
            return False
        held[line] = held[line] or dirty
        held.move_to_end(line)
        return True

    def insert(self, line: int, dirty: bool) -> int | None:
        held = self.sets[line % self.size.sets]
        out = None
        if len(held) == self.size.ways:
            old, was_dirty = held.popitem(last=False)
            out = old if was_dirty else None
        held[line] = dirty
        return out


def plain_filter(lines: list[int], stores: list[bool]) -> list[tuple[int, int, bool]]:
    first, last = PlainCache(SMALL), PlainCache(LARGER)
    found = []
    for i, (line, store) in enumerate(zip(lines, stores, strict=True)):
        if first.touch(line, store):
            continue
        if not last.touch(line, False):
            found.append((i, line, False))
            if (out := last.insert(line, False)) is not None:
                found.append((i, out, True))
        victim = first.insert(line, store)
        if victim is None or last.touch(victim, True):
            continue
        if (out := last.insert(victim, True)) is not None:
            found.append((i, out, True))
    return found


def test_requests_are_those_of_a_plain_model() -> None:
    rng = np.random.default_rng(1)
    lines = np.where(rng.random(5000) < 0.5, rng.integers(0, 12, 5000), rng.integers(0, 99, 5000))
    stores = rng.random(5000) < 0.3

    cause, line, is_write = Cache(SMALL, LARGER).pass_through(lines, stores)

    found = list(zip(cause.tolist(), line.tolist(), is_write.tolist(), strict=True))
    assert found == plain_filter(lines.tolist(), stores.tolist())
    assert 500 < int(is_write.sum()) < len(found)


def test_content_stays_from_call_to_call() -> None:
    rng = np.random.default_rng(2)
    lines, stores = rng.integers(0, 99, 1000), rng.random(1000) < 0.5
    caches = Cache(SMALL, LARGER)

    whole = Cache(SMALL, LARGER).pass_through(lines, stores)[1]
    parts = [
        caches.pass_through(lines[i : i + 100], stores[i : i + 100])[1] for i in range(0, 1000, 100)
    ]

    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize(
    ("text", "size"), [("32K:8", (32768, 8)), ("2m:16", (2**21, 16)), ("64:1", (64, 1))]
)
def test_cache_is_read_from_text(text: str, size: tuple[int, int]) -> None:
    assert CacheSize.parse("--l1", text) == CacheSize(*size)


@pytest.mark.parametrize("text", ["32K", "32K:0", "0:1", "100:1", "32K:7", "9G:8", "-1:1", "a:b"])
def test_cache_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="`--l1` must"):
        CacheSize.parse("--l1", text)


def test_pages_get_distinct_frames_and_keep_them() -> None:
    allocator = PageAllocator(2**20, seed=3)
    pages = np.random.default_rng(1).permutation(256).astype(np.uint64) + np.uint64(10**6)

    first = allocator.frames(pages[:100])
    rest = allocator.frames(pages[100:])

    assert sorted([*first.tolist(), *rest.tolist()]) == list(range(256))
    assert np.array_equal(allocator.frames(pages[:100]), first)
    # In the order of their first touch, not of their numbers.
    assert np.array_equal(PageAllocator(2**20, seed=3).frames(pages), [*first, *rest])
    assert not np.array_equal(PageAllocator(2**20, seed=4).frames(pages), [*first, *rest])


def test_more_pages_than_the_memory_holds_are_refused() -> None:
    allocator = PageAllocator(2**20, seed=3)

    with pytest.raises(InvalidArgumentError, match="256 frames of 4 KiB; it has 257"):
        allocator.frames(np.arange(257, dtype=np.uint64))


def trace(
    kind: Sequence[int], address: list[int], size: list[int], instructions: list[int]
) -> MemoryTrace:
    return MemoryTrace(
        np.array(instructions, np.uint32),
        np.array(kind, np.uint8),
        np.array(size, np.uint16),
        np.array(address, np.uint64),
    )


def filtered(part: MemoryTrace, **options: Any) -> tuple[list[int], list[bool], list[int]]:
    found = memory_requests(
        lambda: [part], first=SMALL, last=LARGER, capacity_bytes=2**20, **options
    )
    offsets = (found.address % 4096).tolist()
    return offsets, found.is_write.tolist(), found.instruction.tolist()


def test_access_across_lines_is_two_requests_and_fetches_are_none() -> None:
    part = trace(
        [AccessKind.FETCH, AccessKind.LOAD, AccessKind.INVALIDATE, AccessKind.LOAD],
        [0x400000, 0x1000 + 60, 0x1000, 0x1000 + 128],
        [4, 8, 0, 0],
        [1, 2, 3, 4],
    )

    assert filtered(part) == ([0, 64, 128], [False] * 3, [3, 3, 10])


def test_store_is_fetched_and_written_back_when_it_is_replaced() -> None:
    # 4 lines of one set of the first level, then enough to push the first out of the last.
    lines = [0, 8, 16, 24, 32, 40, 48, 56]
    part = trace(
        [AccessKind.MODIFY] + [AccessKind.LOAD] * 7, [64 * n for n in lines], [8] * 8, [1] * 8
    )

    offsets, writes, _ = filtered(part)

    assert [offset for offset, write in zip(offsets, writes, strict=True) if write] == [0]
    assert sum(not write for write in writes) == 8


def test_requests_are_cut_at_either_end() -> None:
    part = trace([AccessKind.LOAD] * 20, [64 * n for n in range(20)], [8] * 20, [1] * 20)

    offsets, _, instructions = filtered(part, skip=5, max_requests=3)

    assert offsets == [320, 384, 448]
    assert instructions == [6, 7, 8]


def test_accesses_after_the_last_request_are_not_counted() -> None:
    lines = [0, 0, 64, 128, 64, 192]
    part = trace([AccessKind.LOAD] * 6, [64 * n for n in lines], [8] * 6, [1] * 6)

    found = memory_requests(
        lambda: [part], first=SMALL, last=LARGER, capacity_bytes=2**20, skip=1, max_requests=1
    )

    assert (found.accesses, found.lines, found.pages) == (3, 3, 2)


def test_empty_trace_causes_no_requests() -> None:
    with pytest.raises(InvalidArgumentError, match="it causes 0"):
        memory_requests(list, first=SMALL, last=LARGER, capacity_bytes=2**20)


def test_skipping_all_requests_is_refused() -> None:
    part = trace([AccessKind.LOAD] * 2, [0, 64], [8, 8], [1, 1])

    with pytest.raises(InvalidArgumentError, match="more requests to memory than are skipped, 5"):
        filtered(part, skip=5)


def test_times_are_those_of_the_instructions_at_the_ipc() -> None:
    part = trace([AccessKind.LOAD] * 3, [0, 64, 128], [8] * 3, [100, 30, 5])
    found = memory_requests(lambda: [part], first=SMALL, last=LARGER, capacity_bytes=2**20)

    made = request_trace(found, "three", ipc=0.5, clock_mhz=2000)

    assert made.ticks.tolist() == [0, 60, 70]
    assert (made.clock_mhz, made.period_ps) == (2000, 500)
    with pytest.raises(InvalidArgumentError, match=r"`ipc` must be a number from 0\.0001 to 64"):
        request_trace(found, "three", ipc=0.0, clock_mhz=2000)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "last"), [("moe", "2M:16"), ("moe", "8M:16"), ("xs", "2M:16")])
def test_misses_are_those_of_cachegrind(name: str, last: str) -> None:
    """Traces that hardly store, since cachegrind's caches write nothing back."""
    folder = Path(os.environ.get("ARCHGYM_REFERENCE", "absent")) / "translation"
    if not folder.is_dir():
        pytest.skip("ARCHGYM_REFERENCE holds no folder translation")
    size = CacheSize.parse("--llc", last)
    with (folder / "cachegrind.csv").open() as file:
        (row,) = (
            row
            for row in csv.DictReader(file)
            if (row["trace"], row["line_bytes"], row["d1_lines"]) == (name, "64", "512")
            and int(row["ll_lines"]) == size.size_bytes // 64
        )
    part = read_planes(folder / "traces" / f"{name}.npz")
    line, source = _lines(part, np.flatnonzero(part.kind != AccessKind.FETCH))
    # Of virtual addresses, as there.
    lines, stores = line.astype(np.int64), part.kind[source] != AccessKind.LOAD

    _, _, is_write = Cache(CacheSize.parse("--l1", "32K:8"), size).pass_through(lines, stores)

    # Its window starts 8 to 11 accesses earlier, and it counts an access across lines once.
    assert int((~is_write).sum()) == pytest.approx(int(row["LLd_misses"]), abs=ALLOWED)


def test_accesses_of_many_lines_take_bounded_memory_and_change_nothing() -> None:
    rng = np.random.default_rng(4)
    n = 3000
    wide = MemoryTrace(
        rng.integers(0, 9, n).astype(np.uint32),
        rng.choice(np.array([0, 1, 2, 3], np.uint8), n),
        rng.choice(np.array([0, 8, 65535], np.uint16), n),
        rng.integers(0, 2**20, n).astype(np.uint64),
    )

    pieces = list(_pieces(wide))

    assert 1 < len(pieces) < 5
    assert np.array_equal(np.concatenate([part.address for part in pieces]), wide.address)
    for part in pieces:
        line, source = _lines(part, np.flatnonzero(part.kind != AccessKind.FETCH))
        assert len(line) == len(source) <= 2**20 + 2**10


def test_piece_of_usual_accesses_is_not_cut() -> None:
    part = trace([0] * 1000, [64 * i for i in range(1000)], [8] * 1000, [1] * 1000)

    assert [len(piece) for piece in _pieces(part)] == [1000]
    assert [len(piece) for piece in _pieces(part[:0])] == [0]


# ---- windows, regions and what is left out


def stream(n: int) -> MemoryTrace:
    """Stores to new lines, then loads of lines far apart, one each 10 instructions."""
    half = n // 2
    lines = np.concatenate([np.arange(half), half + 977 * np.arange(half) % 8191])
    kind = [AccessKind.STORE] * half + [AccessKind.LOAD] * half
    return trace(kind, (64 * lines).tolist(), [8] * n, [10] * n)


def requests_of(part: MemoryTrace, **options: Any) -> Requests:
    return memory_requests(
        lambda: [part], first=SMALL, last=LARGER, capacity_bytes=2**22, **options
    )


def test_requests_that_are_left_out_are_counted() -> None:
    whole = requests_of(stream(8000))
    cut = requests_of(stream(8000), max_requests=2000)

    assert whole.left_out.n == 0
    assert (cut.kept.n, cut.left_out.n) == (2000, len(whole) - 2000)
    assert np.array_equal(cut.address, whole.address[:2000])
    assert cut.kept + cut.left_out == whole.kept


def test_part_of_another_kind_is_told_apart() -> None:
    cut = requests_of(stream(8000), max_requests=3000)

    (writes, near, *_) = cut.kept.differences(cut.left_out)

    assert writes.startswith("writes ")
    assert near.startswith("requests near the one before ")
    assert cut.kept.differences(cut.kept) == []


def test_windows_are_evenly_spread_and_take_no_time_between() -> None:
    whole = requests_of(stream(8000))
    spread = requests_of(stream(8000), max_requests=1000, windows=10)

    period = len(whole) / 10
    starts = [int((k + 0.5) * period - 50) for k in range(10)]
    expected = np.concatenate([np.arange(s, s + 100) for s in starts])
    assert np.array_equal(spread.address, whole.address[expected])
    steps = np.diff(whole.instruction)
    within = np.diff(spread.instruction)
    joins = np.arange(99, 999, 100)
    assert (within[joins] == 0).all()
    kept = np.delete(np.arange(999), joins)
    assert np.array_equal(within[kept], steps[expected[kept]])
    assert spread.left_out.n == len(whole) - 1000
    assert spread.kept.differences(whole.kept) == []


def test_windows_of_a_short_trace_are_the_whole_trace() -> None:
    assert len(requests_of(stream(800), max_requests=10**6, windows=10)) == len(
        requests_of(stream(800))
    )


def test_region_keeps_its_instructions_and_fills_the_caches_before() -> None:
    whole = requests_of(stream(8000))
    inside = (whole.instruction >= 20_000) & (whole.instruction < 60_000)

    region = requests_of(stream(8000), region=(20_000, 60_000))

    assert np.array_equal(region.address, whole.address[inside])
    assert np.array_equal(region.instruction, whole.instruction[inside])
    assert region.left_out.n == 0
