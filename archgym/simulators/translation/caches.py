"""Data caches: lines of 64 bytes, and TLB blocks in the L2 cache; compiled.

The tag of a line is its number, 0 or more; the tag of a TLB block is below -1. A mark is the RRPV
of a line, plus 4 if the line was hit since its insertion.
"""

from typing import Any

import numpy as np

from archgym.runtime.kernels import compiled, inlined, kept_apart
from archgym.simulators.translation.dram import access_memory
from archgym.simulators.translation.state import (
    CACHE_LRU,
    CACHE_TLB_SRRIP,
    CLASS_DATA,
    CLASS_FETCH,
    EMPTY,
    MAX_RRPV,
    NEXT_LINE,
    STREAMER,
)
from archgym.simulators.translation.tlbs import find, oldest, push, remove, set_of

_USED = 4
_STREAM_PAGES = 64


@inlined
def hits_first(m: Any, c: Any, tags: Any, base: Any, line: Any, kind: Any) -> Any:
    """Look up a line in the L1 cache with the set at `base`, and fill it; return True on a hit.

    After a miss, `read_below` must follow.
    """
    c.l1_cache_reads[kind] += 1
    if tags[base] == line:
        return True
    ways = m.l1_cache_ways
    way = find(tags, base, ways, line)
    if way >= 0:
        push(tags, base, way, line)
        return True
    c.l1_cache_misses[kind] += 1
    push(tags, base, ways - 1, line)
    return False


@inlined
def cost(m: Any, level: Any) -> Any:
    """Return the cycles of the last read, which the level 0 to 3 served."""
    if level == 3 and m.has_rows:
        return m.level_cycles[2] + m.memory_latency
    return m.level_cycles[level]


@compiled
def pull(m: Any, c: Any, tags: Any, marks: Any, line: Any, kind: Any) -> Any:
    """Read an entry of a table through the L1 data cache; return the cycles."""
    kept_apart()
    base = set_of(line, m.l1_cache_sets, m.l1_cache_mask) * m.l1_cache_ways + m.l1_cache_base
    if hits_first(m, c, tags, base, line, kind):
        return m.level_cycles[0]
    level = read_below(m, c, tags, marks, line, kind)
    if level == 3:
        m.touched_memory = 1
    return m.level_cycles[0] if m.free_tables else cost(m, level)


@compiled
def read_below(m: Any, c: Any, tags: Any, marks: Any, line: Any, kind: Any) -> Any:
    """Read a line that the L1 cache does not hold; return the level that does, 1 to 3."""
    kept_apart()
    ways = m.l2_cache_ways
    base = set_of(line, m.l2_cache_sets, m.l2_cache_mask) * ways + m.l2_cache_base
    way = find(tags, base, ways, line)
    if way >= 0:
        hit(m, tags, marks, base, way, False)
        return 1
    c.l2_cache_misses[kind] += 1
    is_data = kind in (CLASS_DATA, CLASS_FETCH)
    if is_data:
        m.window_cache_misses += 1
    level = _read_l3(m, c, tags, marks, line, kind)
    insert(m, c, tags, marks, base, line, MAX_RRPV - 1)
    if m.prefetcher > 0 and is_data:
        latency = m.memory_latency
        if m.prefetcher == NEXT_LINE:
            _prefetch(m, c, tags, marks, line, line + 1)
        elif m.prefetcher == STREAMER:
            _follow(m, c, tags, marks, line)
        m.memory_latency = latency
    return level


@compiled
def _read_l3(m: Any, c: Any, tags: Any, marks: Any, line: Any, kind: Any) -> Any:
    kept_apart()
    ways = m.l3_cache_ways
    base = set_of(line, m.l3_cache_sets, m.l3_cache_mask) * ways + m.l3_cache_base
    way = find(tags, base, ways, line)
    if way >= 0:
        marks[base + way] = 0
        return 2
    if kind >= 0:
        c.l3_cache_misses[kind] += 1
    way = oldest(marks, base, ways)
    marks[base + way] = MAX_RRPV - 1
    tags[base + way] = line
    if m.has_rows:
        m.memory_latency = access_memory(m, c, tags, line, m.clock + m.level_cycles[2])
    return 3


@compiled
def _follow(m: Any, c: Any, tags: Any, marks: Any, line: Any) -> None:
    """Prefetch two lines ahead of a page whose last misses were a line apart."""
    kept_apart()
    page = line >> 6
    entry = m.streams_base + 2 * (page & (_STREAM_PAGES - 1))
    step = 0
    if tags[entry] == page:
        step = line - tags[entry + 1]
    tags[entry] = page
    tags[entry + 1] = line
    if step in (1, -1):
        _prefetch(m, c, tags, marks, line, line + step)
        _prefetch(m, c, tags, marks, line, line + 2 * step)


@compiled
def _prefetch(m: Any, c: Any, tags: Any, marks: Any, cause: Any, line: Any) -> None:
    """Fetch a line into the L2 cache unless it is there or in another page than its cause."""
    kept_apart()
    if line >> 6 != cause >> 6:
        return
    ways = m.l2_cache_ways
    base = set_of(line, m.l2_cache_sets, m.l2_cache_mask) * ways + m.l2_cache_base
    if find(tags, base, ways, line) < 0:
        c.l2_cache_prefetches += 1
        _read_l3(m, c, tags, marks, line, -1)
        insert(m, c, tags, marks, base, line, MAX_RRPV - 1)


@inlined
def hit(m: Any, tags: Any, marks: Any, base: Any, way: Any, is_block: Any) -> None:
    """Make a line or block of the L2 cache newer."""
    if m.cache_policy == CACHE_LRU:
        tag = tags[base + way]
        for place in range(base + way, base, -1):
            tags[place] = tags[place - 1]
            marks[place] = marks[place - 1]
        tags[base] = tag
        marks[base] = _USED | MAX_RRPV
        return
    value: Any = np.int64(marks[base + way]) & MAX_RRPV
    if is_block or m.cache_policy != CACHE_TLB_SRRIP or m.under_pressure == 0:
        value = 0  # from at most 3, less 3 for a block under pressure
    elif value > 0:
        value -= 1
    marks[base + way] = value | _USED


@compiled
def insert(m: Any, c: Any, tags: Any, marks: Any, base: Any, tag: Any, rrpv: Any) -> None:
    """Insert a line or block into a set of the L2 cache that does not hold it."""
    kept_apart()
    ways = m.l2_cache_ways
    way = -1
    if tag < EMPTY and m.max_block_ways > 0:
        way = _block_to_replace(tags, marks, base, ways, m.max_block_ways)
    if m.cache_policy == CACHE_LRU:
        if way < 0:
            way = ways - 1
        _leave(m, c, tags[base + way], marks[base + way])
        for place in range(base + way, base, -1):
            tags[place] = tags[place - 1]
            marks[place] = marks[place - 1]
        tags[base] = tag
        marks[base] = MAX_RRPV
        return
    if way < 0:
        way = _victim(m, tags, marks, base, ways)
    _leave(m, c, tags[base + way], marks[base + way])
    tags[base + way] = tag
    marks[base + way] = rrpv


@compiled
def _victim(m: Any, tags: Any, marks: Any, base: Any, ways: Any) -> Any:
    """Return the way that SRRIP evicts: the lowest with the highest RRPV, all ageing to 3."""
    way = 0
    highest: Any = -1
    for other in range(ways):
        value = np.int64(marks[base + other]) & MAX_RRPV
        if value > highest:
            highest = value
            way = other
            if value == MAX_RRPV:
                break
    if highest < MAX_RRPV:
        for other in range(ways):
            marks[base + other] += MAX_RRPV - highest
    if tags[base + way] < EMPTY and m.cache_policy == CACHE_TLB_SRRIP and m.under_pressure:
        # A TLB block is skipped once, in favour of the next candidate that is a line.
        for other in range(way + 1, ways):
            if tags[base + other] >= EMPTY and (marks[base + other] & MAX_RRPV) == MAX_RRPV:
                return other
    return way


@inlined
def _block_to_replace(tags: Any, marks: Any, base: Any, ways: Any, most: Any) -> Any:
    """Return the oldest block of a set with the maximum number of blocks, else -1."""
    count = 0
    way = -1
    highest: Any = -1
    for other in range(ways):
        if tags[base + other] < EMPTY:
            count += 1
            value = np.int64(marks[base + other]) & MAX_RRPV
            if value >= highest:
                highest = value
                way = other
    return way if count >= most else -1


@inlined
def _leave(m: Any, c: Any, tag: Any, mark: Any) -> None:
    """Count an eviction from the L2 cache."""
    if tag < EMPTY:
        c.block_evictions += 1
        lose_block(m, tag)
    elif tag > EMPTY:
        c.l2_cache_evictions += 1
        if mark & _USED == 0:
            c.l2_cache_unused_evictions += 1


@inlined
def lose_block(m: Any, tag: Any) -> None:
    """Subtract a block from the reach."""
    m.blocks -= 1
    m.reach_kib -= block_kib(m, tag)


@inlined
def block_kib(m: Any, tag: Any) -> Any:
    """Return the reach of a TLB block with tag -2 - code [KiB], 0 for a nested one."""
    code = -2 - tag
    if code >= 2 * m.n_pages:
        return 0
    return (2048 if code & 1 else 4) << m.block_shift


@compiled
def drop(m: Any, tags: Any, marks: Any, base: Any, tag: Any) -> Any:
    """Remove a line or block from a set of the L2 cache; return True if it was there."""
    kept_apart()
    return remove(tags, marks, base, m.l2_cache_ways, m.cache_policy == CACHE_LRU, tag)
