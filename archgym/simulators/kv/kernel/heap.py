"""Indexed binary heaps over small integers, whose order is a key of each entry."""

from typing import Any

from archgym.simulators.kit.kernels import helper
from archgym.simulators.kv.workloads.arrays import Ints, Shorts


@helper
def sift_up(heap: Shorts, place: Shorts, key: Ints, at: int) -> None:
    """Move the entry at a position towards the top, as far as its key is smaller."""
    entry = heap[at]
    while at > 0:
        above = (at - 1) >> 1
        if key[heap[above]] <= key[entry]:
            break
        heap[at] = heap[above]
        place[heap[at]] = at
        at = above
    heap[at] = entry
    place[entry] = at


@helper
def sift_down(heap: Shorts, place: Shorts, key: Ints, at: int, n: int) -> None:
    """Move the entry at a position away from the top, as far as its key is larger."""
    entry = heap[at]
    while True:
        below = 2 * at + 1
        if below >= n:
            break
        if below + 1 < n and key[heap[below + 1]] < key[heap[below]]:
            below += 1
        if key[heap[below]] >= key[entry]:
            break
        heap[at] = heap[below]
        place[heap[at]] = at
        at = below
    heap[at] = entry
    place[entry] = at


@helper
def push(heap: Shorts, place: Shorts, key: Ints, n: int, entry: Any) -> Any:
    """Add an entry, and return the new number of entries."""
    heap[n] = entry
    sift_up(heap, place, key, n)
    return n + 1


@helper
def remove(heap: Shorts, place: Shorts, key: Ints, n: int, entry: Any) -> Any:
    """Remove an entry from wherever it is, and return the new number of entries."""
    at = place[entry]
    place[entry] = -1
    n -= 1
    if at < n:
        moved = heap[n]
        heap[at] = moved
        place[moved] = at
        sift_up(heap, place, key, at)
        sift_down(heap, place, key, place[moved], n)
    return n
