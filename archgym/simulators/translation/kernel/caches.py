"""Data caches: lines of 64 bytes, and TLB blocks in the L2 cache; memory below them; compiled.

The tag of a line is its number, 0 or more; the tag of a TLB block is below -1. A mark is the RRPV
of a line, plus 4 if the line was hit since its insertion.

Memory with rows is DDR4-2400 in three channels, as in the public Victima artifact. A bank keeps its
row open until another row of it is read. A core with a clock waits for a bank that opened a row a
short time ago and for the channel's bus; without a clock only the state of rows counts. Refresh and
writes are not modelled. Misses in flight overlap, but the kernel handles one after the other: a
read often arrives before reads that were handled earlier. Banks and buses therefore remember
intervals in which they are busy, and a read takes the first gap after its arrival.
"""

from typing import Any, Final

import numpy as np

from archgym.simulators.kit.kernels import compiled, inlined, kept_apart
from archgym.simulators.translation.kernel import state as st
from archgym.simulators.translation.kernel.tlbs import find, oldest, push, remove, set_of

_USED = 4
_STREAM_PAGES = 64
_BANK_BITS: Final = 4
# JESD79-4: a row of 1 KiB in each of eight x8 devices, 128 lines of 64 bytes.
_ROW_LINE_BITS: Final = 7
# Cycles at 2.6 GHz. JESD79-4, speed bin DDR4-2400T: tCL = tRCD = tRP = 17 clocks of 0.833 ns.
_COMMAND: Final = 37
# JESD79-4: tRC = tRAS + tRP = 32 + 14.16 ns.
_ROW_CYCLE: Final = 120
# Eight transfers at 2,400 MT/s: 3.33 ns.
_BURST: Final = 9
_CLOSED: Final = -1


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
    is_data = kind in (st.CLASS_DATA, st.CLASS_FETCH)
    if is_data:
        m.window_cache_misses += 1
    level = _read_l3(m, c, tags, marks, line, kind)
    insert(m, c, tags, marks, base, line, st.MAX_RRPV - 1)
    if m.prefetcher > 0 and is_data:
        latency = m.memory_latency
        if m.prefetcher == st.NEXT_LINE:
            _prefetch(m, c, tags, marks, line, line + 1)
        elif m.prefetcher == st.STREAMER:
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
    marks[base + way] = st.MAX_RRPV - 1
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
        insert(m, c, tags, marks, base, line, st.MAX_RRPV - 1)


@inlined
def hit(m: Any, tags: Any, marks: Any, base: Any, way: Any, is_block: Any) -> None:
    """Make a line or block of the L2 cache newer."""
    if m.cache_policy == st.CACHE_LRU:
        tag = tags[base + way]
        for place in range(base + way, base, -1):
            tags[place] = tags[place - 1]
            marks[place] = marks[place - 1]
        tags[base] = tag
        marks[base] = _USED | st.MAX_RRPV
        return
    value: Any = np.int64(marks[base + way]) & st.MAX_RRPV
    if is_block or m.cache_policy != st.CACHE_TLB_SRRIP or m.under_pressure == 0:
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
    if tag < st.EMPTY and m.max_block_ways > 0:
        way = _block_to_replace(tags, marks, base, ways, m.max_block_ways)
    if m.cache_policy == st.CACHE_LRU:
        if way < 0:
            way = ways - 1
        _leave(m, c, tags[base + way], marks[base + way])
        for place in range(base + way, base, -1):
            tags[place] = tags[place - 1]
            marks[place] = marks[place - 1]
        tags[base] = tag
        marks[base] = st.MAX_RRPV
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
        value = np.int64(marks[base + other]) & st.MAX_RRPV
        if value > highest:
            highest = value
            way = other
            if value == st.MAX_RRPV:
                break
    if highest < st.MAX_RRPV:
        for other in range(ways):
            marks[base + other] += st.MAX_RRPV - highest
    if tags[base + way] < st.EMPTY and m.cache_policy == st.CACHE_TLB_SRRIP and m.under_pressure:
        # A TLB block is skipped once, in favour of the next candidate that is a line.
        for other in range(way + 1, ways):
            if (
                tags[base + other] >= st.EMPTY
                and (marks[base + other] & st.MAX_RRPV) == st.MAX_RRPV
            ):
                return other
    return way


@inlined
def _block_to_replace(tags: Any, marks: Any, base: Any, ways: Any, most: Any) -> Any:
    """Return the oldest block of a set with the maximum number of blocks, else -1."""
    count = 0
    way = -1
    highest: Any = -1
    for other in range(ways):
        if tags[base + other] < st.EMPTY:
            count += 1
            value = np.int64(marks[base + other]) & st.MAX_RRPV
            if value >= highest:
                highest = value
                way = other
    return way if count >= most else -1


@inlined
def _leave(m: Any, c: Any, tag: Any, mark: Any) -> None:
    """Count an eviction from the L2 cache."""
    if tag < st.EMPTY:
        c.block_evictions += 1
        lose_block(m, tag)
    elif tag > st.EMPTY:
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
    return remove(tags, marks, base, m.l2_cache_ways, m.cache_policy == st.CACHE_LRU, tag)


@compiled
def access_memory(m: Any, c: Any, tags: Any, line: Any, arrival: Any) -> Any:
    """Read a line from memory; return the cycles.

    Args:
      m: Record of `MACHINE`.
      c: Record of `COUNTS`.
      tags: Tags, of which those from `rows_base` are the open rows.
      line: Physical line.
      arrival: Time at which the read leaves the last cache; only with a clock.
    """
    kept_apart()
    channel = line % st.CHANNELS
    block = (line // st.CHANNELS) >> _ROW_LINE_BITS
    row = block >> _BANK_BITS
    # Banks are permuted by the row, so that equal strides do not meet in one bank (Z. Zhang,
    # Z. Zhu, X. Zhang, MICRO 2000).
    bank = channel * st.BANKS_PER_CHANNEL + ((block ^ row) & (st.BANKS_PER_CHANNEL - 1))
    held = tags[m.rows_base + bank]
    cycles = _COMMAND
    start = arrival + m.memory_overhead_cycles
    if held == row:
        c.memory_row_hits += 1
    else:
        cycles += _COMMAND
        if held != _CLOSED:
            cycles += _COMMAND
            c.memory_row_conflicts += 1
        tags[m.rows_base + bank] = row
        if m.reorder_entries > 0:
            start = _reserve(
                m.bank_times, m.bank_next, m.bank_ready, bank, st.HELD_OF_BANK, start, _ROW_CYCLE
            )  # fmt: skip
    if m.reorder_entries > 0:
        data = _reserve(
            m.bus_times, m.bus_next, m.bus_ready, channel, st.HELD_OF_BUS, start + cycles, _BURST
        )  # fmt: skip
        waited = int(data - cycles - m.memory_overhead_cycles - arrival)
        c.memory_wait_cycles += waited
        cycles += waited
    return m.memory_overhead_cycles + cycles + _BURST


@compiled
def _reserve(
    times: Any, following: Any, ready: Any, owner: Any, held: Any, earliest: Any, length: Any
) -> Any:
    """Reserve the first free interval of a bank or bus; return its start.

    Args:
      times: (owners * held,), rings with the starts of the latest reservations of each owner.
      following: (owners,), next place in each ring.
      ready: (owners,), time after all reservations.
      owner: Number of the bank or bus.
      held: Size of a ring, a power of two.
      earliest: Earliest start.
      length: Length of the interval [cycles].
    """
    kept_apart()
    first = owner * held
    start = earliest
    if start < ready[owner]:
        place = 0
        while place < held:
            other = times[first + place]
            if other - length < start and start < other + length:
                start = other + length
                place = 0
            else:
                place += 1
    times[first + following[owner]] = start
    following[owner] = (following[owner] + 1) & (held - 1)
    ready[owner] = max(ready[owner], start + length)
    return start
