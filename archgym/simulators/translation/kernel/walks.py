"""Walks of the page table, with two dimensions under virtualisation, and Victima's TLB blocks.

A block is a line of the L2 cache with eight translations. Compiled.
"""

from typing import Any

import numpy as np

from archgym.simulators.kit.kernels import compiled, inlined, kept_apart
from archgym.simulators.translation.kernel import state as st
from archgym.simulators.translation.kernel.caches import (
    block_kib,
    drop,
    hit,
    insert,
    lose_block,
    pull,
)
from archgym.simulators.translation.kernel.tlbs import fill, find, holds, push, set_of
from archgym.simulators.translation.kernel.view import ROW

_MOST_WALKS = 7  # three bits
_MOST_COSTS = 15  # four


@inlined
def block_set(m: Any, number: Any) -> Any:
    """Return the start of the set of a page's block."""
    block = number >> m.block_shift
    return set_of(block, m.l2_cache_sets, m.l2_cache_mask) * m.l2_cache_ways + m.l2_cache_base


@compiled
def meets_block(m: Any, tags: Any, marks: Any, number: Any, tag: Any) -> Any:
    """Return True if the L2 cache holds a block; a hit makes the block newer."""
    kept_apart()
    base = block_set(m, number)
    way = find(tags, base, m.l2_cache_ways, tag)
    if way < 0:
        return False
    hit(m, tags, marks, base, way, True)
    return True


@inlined
def has_block(m: Any, tags: Any, number: Any, tag: Any) -> Any:
    """Return True if the L2 cache holds a block, without making it newer."""
    return find(tags, block_set(m, number), m.l2_cache_ways, tag) >= 0


@compiled
def make_block(
    m: Any, c: Any, tags: Any, marks: Any, number: Any, tag: Any, leaf_line: Any
) -> None:
    """Replace the line with a page's entry by a block, which is in another set."""
    kept_apart()
    line_base = set_of(leaf_line, m.l2_cache_sets, m.l2_cache_mask) * m.l2_cache_ways
    drop(m, tags, marks, line_base + m.l2_cache_base, leaf_line)
    favoured = m.cache_policy == st.CACHE_TLB_SRRIP and m.under_pressure != 0
    insert(m, c, tags, marks, block_set(m, number), tag, 0 if favoured else st.MAX_RRPV - 1)
    m.blocks += 1
    m.reach_kib += block_kib(m, tag)


@compiled
def lose(m: Any, c: Any, tags: Any, marks: Any, number: Any, tag: Any) -> None:
    """Invalidate a page's block, if there is one."""
    kept_apart()
    if drop(m, tags, marks, block_set(m, number), tag):
        lose_block(m, tag)
        c.block_invalidations += 1


@compiled
def lose_all(m: Any, c: Any, tags: Any, marks: Any) -> None:
    """Invalidate all blocks except nested ones."""
    kept_apart()
    ways = m.l2_cache_ways
    lowest = st.EMPTY - 2 * m.n_pages
    for index in range(m.l2_cache_sets):
        base = m.l2_cache_base + index * ways
        # From the last way, since the ways after a dropped one move.
        for way in range(ways - 1, -1, -1):
            tag = tags[base + way]
            if lowest <= tag and tag < st.EMPTY:
                drop(m, tags, marks, base, tag)
                lose_block(m, tag)
                c.block_invalidations += 1


@inlined
def remember(history: Any, place: Any, to_memory: Any) -> None:
    """Count a walk for a page, and whether it went to memory."""
    walks = np.int64(history[place]) & _MOST_WALKS
    costs = np.int64(history[place]) >> 3
    if walks < _MOST_WALKS:
        walks += 1
    if to_memory and costs < _MOST_COSTS:
        costs += 1
    history[place] = costs << 3 | walks


@inlined
def is_costly(m: Any, c: Any, history: Any, place: Any) -> Any:
    """Return True if the predictor expects costly walks for a page."""
    c.predictions += 1
    costly = m.predictor == st.ALWAYS
    if m.predictor != st.ALWAYS and m.predictor != st.NEVER:
        if m.bypasses:
            c.predictions_bypassed += 1
            costly = True
        else:
            walks = np.int64(history[place]) & _MOST_WALKS
            costs = np.int64(history[place]) >> 3
            costly = (
                m.frequency_low <= walks
                and walks <= m.frequency_high
                and m.cost_low <= costs
                and costs <= m.cost_high
            )
    if costly:
        c.predicted_costly += 1
    return costly


@compiled
def walk(run: Any, code: Any, number: Any, leaf_line: Any, region: Any) -> Any:
    """Walk for a page; return the cycles, and set `touched_memory` if it read memory.

    The walk starts below the deepest page-walk cache that hits. A cached entry holds the position
    of the next table, so under virtualisation that address needs no translation.
    """
    kept_apart()
    m, c, tags, marks, t, _ = run
    place = code >> 1
    page = number << 9 if code & 1 else number
    row = ROW * region
    leaf = t[row + 5]
    m.touched_memory = 0
    begin = m.clock
    cycles = m.walk_cache_cycles
    level = _first_level(m, tags, t, row, page, region)
    is_known = level < 4
    while level >= leaf:
        if m.virtualised and not is_known:
            nested = t[m.leaf_nested_place + place] if level == 1 else t[row + 10 - level]
            m.clock = begin + cycles
            cycles += _translate_nested(run, nested)
        is_known = False
        m.clock = begin + cycles
        line = leaf_line if level == leaf else t[row + 4 - level]
        cycles += pull(m, c, tags, marks, line, st.CLASS_TABLE)
        c.walk_reads += 1
        if level > leaf:
            tag = region if level == 2 else t[row + 7 - level]
            _put_prefix(m, tags, tag, page, level)
        level -= 1
    if m.virtualised:
        nested = t[m.data_nested_place + place]
        m.clock = begin + cycles
        cycles += _translate_nested(run, nested)
    m.clock = begin
    return cycles


@inlined
def walk_behind(run: Any, code: Any, number: Any) -> None:
    """Walk for a page in the background; nothing waits for it."""
    leaf_line = run.t[run.m.page_leaf_place + (code >> 1)]
    region = run.t[run.m.page_region_place + (code >> 1)]
    walk(run, code, number, leaf_line, region)
    run.c.background_walks += 1


@inlined
def _first_level(m: Any, tags: Any, t: Any, row: Any, page: Any, region: Any) -> Any:
    """Return the first level to read after the page-walk caches; huge pages have no level 1."""
    if t[row + 5] < 2 and _has_prefix(m, tags, region, page, 2):
        return 1
    if _has_prefix(m, tags, t[row + 4], page, 3):
        return 2
    if _has_prefix(m, tags, t[row + 3], page, 4):
        return 3
    return 4


@inlined
def _prefix_set(m: Any, page: Any, level: Any) -> Any:
    """Return start and ways of a page's set in the page-walk cache of level 4, 3 or 2."""
    if level == 2:
        start, sets, mask = m.walk_cache_2_base, m.walk_cache_2_sets, m.walk_cache_2_mask
        ways = m.walk_cache_2_ways
    elif level == 3:
        start, sets, mask = m.walk_cache_3_base, m.walk_cache_3_sets, m.walk_cache_3_mask
        ways = m.walk_cache_3_ways
    else:
        start, sets, mask = m.walk_cache_4_base, m.walk_cache_4_sets, m.walk_cache_4_mask
        ways = m.walk_cache_4_ways
    if sets == 0:
        ways = 0
    else:
        start += set_of(page >> (9 * (level - 1)), sets, mask) * ways
    return start, ways


@inlined
def _has_prefix(m: Any, tags: Any, tag: Any, page: Any, level: Any) -> Any:
    base, ways = _prefix_set(m, page, level)
    way = find(tags, base, ways, tag)
    if way < 0:
        return False
    push(tags, base, way, tag)
    return True


@inlined
def _put_prefix(m: Any, tags: Any, tag: Any, page: Any, level: Any) -> None:
    """Insert an entry of level 4, 3 or 2 into that level's page-walk cache."""
    base, ways = _prefix_set(m, page, level)
    if ways > 0:
        way = find(tags, base, ways, tag)
        push(tags, base, way if way >= 0 else ways - 1, tag)


@inlined
def nested_tag(m: Any, t: Any, code: Any) -> Any:
    """Return the tag of the block of a nested page; nested codes follow those of pages."""
    return -2 - (2 * m.n_pages + t[m.nested_block_place + (code >> 1)])


@compiled
def _translate_nested(run: Any, code: Any) -> Any:
    """Translate a guest's physical page; return the cycles."""
    kept_apart()
    m, c, tags, marks, t, numbers = run
    number = numbers[m.n_pages + (code >> 1)]
    ways = m.nested_ways
    base = m.nested_base + set_of(number, m.nested_sets, m.nested_mask) * ways
    cycles = m.nested_cycles
    if holds(tags, marks, base, ways, st.LRU, code):
        c.nested_hits += 1
        return cycles
    c.nested_misses += 1
    is_victima = m.mechanism == st.VICTIMA
    if is_victima and meets_block(m, tags, marks, number, nested_tag(m, t, code)):
        c.nested_block_hits += 1
        cycles += 0 if m.free_tables else m.l2_cache_cycles
    else:
        walked = _host_walk(run, code)
        c.host_walks += 1
        c.host_walk_cycles += walked
        cycles += walked
        if (
            is_victima
            and m.insert_on_miss
            and is_costly(m, c, marks, m.history_base + m.n_pages + (code >> 1))
        ) and _make_nested_block(run, code):
            c.block_inserts_on_miss += 1
    evicted = fill(m, tags, marks, base, ways, st.LRU, code)
    if evicted >= 0 and is_victima and m.insert_on_eviction:
        other = numbers[m.n_pages + (evicted >> 1)]
        costly = is_costly(m, c, marks, m.history_base + m.n_pages + (evicted >> 1))
        if costly and not has_block(m, tags, other, nested_tag(m, t, evicted)):
            _host_walk(run, evicted)
            c.background_host_walks += 1
            if _make_nested_block(run, evicted):
                c.block_inserts_on_eviction += 1
    return cycles


@compiled
def _host_walk(run: Any, code: Any) -> Any:
    """Read the host's entries for a nested page and record the cost; return the cycles."""
    kept_apart()
    m, c, tags, marks, t, _ = run
    first = 4 * (code >> 1)
    before = m.touched_memory
    begin = m.clock
    m.touched_memory = 0
    cycles = 0
    for entry in range(first, first + (3 if code & 1 else 4)):
        m.clock = begin + cycles
        cycles += pull(m, c, tags, marks, t[m.nested_lines_place + entry], st.CLASS_HOST_TABLE)
        c.walk_reads += 1
    m.clock = begin
    remember(marks, m.history_base + m.n_pages + (code >> 1), m.touched_memory)
    m.touched_memory |= before
    return cycles


@inlined
def _make_nested_block(run: Any, code: Any) -> Any:
    m, c, tags, marks, t, numbers = run
    number = numbers[m.n_pages + (code >> 1)]
    tag = nested_tag(m, t, code)
    if has_block(m, tags, number, tag):
        return False
    leaf = t[m.nested_lines_place + 4 * (code >> 1) + (2 if code & 1 else 3)]
    make_block(m, c, tags, marks, number, tag, leaf)
    return True
