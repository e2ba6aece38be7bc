"""Sets of ways: the TLBs, and every other structure that holds only tags; compiled.

Under LRU and FIFO the newest tag is first and the oldest last; under SRRIP and random replacement
tags keep their way.
"""

from typing import Any

import numpy as np

from archgym.simulators.kit.kernels import compiled, inlined, kept_apart
from archgym.simulators.translation.kernel.state import EMPTY, FIFO, LRU, MAX_RRPV, RANDOM, SRRIP


@inlined
def set_of(number: Any, sets: Any, mask: Any) -> Any:
    """Return the set of a page or line."""
    if mask >= 0:
        return number & mask
    return number % sets


@inlined
def find(tags: Any, base: Any, ways: Any, tag: Any) -> Any:
    """Return the way of a set that holds a tag, else -1."""
    for way in range(ways):
        if tags[base + way] == tag:
            return way
    return -1


@inlined
def push(tags: Any, base: Any, way: Any, tag: Any) -> None:
    """Put a tag first; tags before `way` move by one way."""
    for place in range(base + way, base, -1):
        tags[place] = tags[place - 1]
    tags[base] = tag


@inlined
def holds(tags: Any, marks: Any, base: Any, ways: Any, policy: Any, tag: Any) -> Any:
    """Return True if a set holds a tag; a hit makes it newer."""
    way = find(tags, base, ways, tag)
    if way < 0:
        return False
    if policy == LRU:
        push(tags, base, way, tag)
    elif policy == SRRIP:
        marks[base + way] = 0
    return True


@inlined
def oldest(marks: Any, base: Any, ways: Any) -> Any:
    """Return the lowest way with the highest RRPV, after all have aged until that is 3."""
    chosen = 0
    highest: Any = -1
    for way in range(ways):
        value = np.int64(marks[base + way])
        if value > highest:
            highest = value
            chosen = way
            if value == MAX_RRPV:
                break
    if highest < MAX_RRPV:
        for way in range(ways):
            marks[base + way] += MAX_RRPV - highest
    return chosen


@compiled
def fill(m: Any, tags: Any, marks: Any, base: Any, ways: Any, policy: Any, tag: Any) -> Any:
    """Insert a tag that the set does not hold; return the evicted tag, else -1."""
    kept_apart()
    if policy in (LRU, FIFO):
        evicted = tags[base + ways - 1]
        push(tags, base, ways - 1, tag)
        return evicted
    if policy == RANDOM:
        way = find(tags, base, ways, EMPTY)
        if way < 0:
            # xorshift64 (Marsaglia, 2003).
            value = m.random
            value ^= value << 13
            value ^= (value >> 7) & 0x01FFFFFFFFFFFFFF
            value ^= value << 17
            m.random = value
            way = ((value >> 16) & 0xFFFFFF) % ways
    else:
        way = oldest(marks, base, ways)
        marks[base + way] = MAX_RRPV - 1
    evicted = tags[base + way]
    tags[base + way] = tag
    return evicted


@compiled
def remove(tags: Any, marks: Any, base: Any, ways: Any, is_ordered: Any, tag: Any) -> Any:
    """Remove a tag from a set; return True if it was there."""
    kept_apart()
    way = find(tags, base, ways, tag)
    if way < 0:
        return False
    if is_ordered:
        for place in range(base + way, base + ways - 1):
            tags[place] = tags[place + 1]
            marks[place] = marks[place + 1]
        way = ways - 1
    tags[base + way] = EMPTY
    marks[base + way] = MAX_RRPV
    return True
