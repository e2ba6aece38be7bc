"""Walks of the page table, with two dimensions under virtualisation; compiled."""

from typing import Any

from archgym.runtime.kernels import compiled, inlined, kept_apart
from archgym.simulators.translation.kernel.blocks import (
    has_block,
    is_costly,
    make_block,
    meets_block,
    remember,
)
from archgym.simulators.translation.kernel.caches import pull
from archgym.simulators.translation.kernel.state import (
    CLASS_HOST_TABLE,
    CLASS_TABLE,
    LRU,
    VICTIMA,
)
from archgym.simulators.translation.kernel.tlbs import fill, find, holds, push, set_of
from archgym.simulators.translation.kernel.view import ROW


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
        cycles += pull(m, c, tags, marks, line, CLASS_TABLE)
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
    if holds(tags, marks, base, ways, LRU, code):
        c.nested_hits += 1
        return cycles
    c.nested_misses += 1
    is_victima = m.mechanism == VICTIMA
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
    evicted = fill(m, tags, marks, base, ways, LRU, code)
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
        cycles += pull(m, c, tags, marks, t[m.nested_lines_place + entry], CLASS_HOST_TABLE)
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
