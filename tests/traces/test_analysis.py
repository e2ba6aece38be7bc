"""Reuse distances, page heat and working sets against plain counts."""

import numpy as np

from archgym.traces import MemoryTrace
from archgym.traces.analysis import analyse, reuse_distances


def plain_distances(ids: list[int]) -> list[int]:
    stack: list[int] = []
    found = []
    for each in ids:
        found.append(stack.index(each) if each in stack else -1)
        if each in stack:
            stack.remove(each)
        stack.insert(0, each)
    return found


def pages(numbers: list[int], instructions: int = 1) -> MemoryTrace:
    n = len(numbers)
    return MemoryTrace(
        np.full(n, instructions, np.uint32),
        np.zeros(n, np.uint8),
        np.full(n, 8, np.uint16),
        np.array(numbers, np.uint64) * np.uint64(4096),
    )


def test_reuse_distances_are_those_of_a_stack() -> None:
    ids = np.random.default_rng(1).integers(0, 40, 2000)

    assert reuse_distances(ids, 40).tolist() == plain_distances(ids.tolist())


def test_misses_are_those_of_an_lru_buffer() -> None:
    # A loop over four pages: three entries never hit, four always but for the first time.
    found = analyse(pages([5, 6, 7, 8] * 25))

    assert found.missing(1) == found.missing(2) == 1.0
    assert found.missing(4) == 0.04
    assert (found.accesses, found.pages, found.instructions) == (100, 4, 100)


def test_heat_sums_the_most_used_pages_first() -> None:
    found = analyse(pages([1] * 70 + [2] * 20 + list(range(10, 18)) + [30, 30]))

    assert found.share_of_hottest(1 / 11) == 0.7
    assert found.hot_accesses[-1] == 1.0


def test_working_set_counts_pages_of_each_window() -> None:
    # A hundred windows of ten instructions.
    found = analyse(pages([1, 2] * 250 + [3, 4] * 249 + [5], instructions=1)[:999])

    assert found.window_instructions == 10
    assert found.window_pages[:3].tolist() == [2, 2, 2]
    assert found.new_pages.sum() == found.pages
    assert found.new_pages[0] == 2


def test_trace_without_data_is_analysed() -> None:
    found = analyse(pages([]))

    assert (found.accesses, found.pages, found.missing(64)) == (0, 0, 1.0)
