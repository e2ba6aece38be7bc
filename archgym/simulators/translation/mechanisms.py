"""What a miss in the L2 TLB meets: a walk, and what hardware puts before it."""

from typing import Any

from archgym.kernels import compiled, inlined
from archgym.simulators.translation.blocks import (
    has_block,
    is_costly,
    make_block,
    meets_block,
    remember,
)
from archgym.simulators.translation.caches import pull
from archgym.simulators.translation.state import (
    CLASS_SIDE_TABLE,
    HASH,
    L3_TLB,
    LRU,
    N_BUCKETS,
    POM_ON_EVICTION,
    POM_TLB,
    VICTIMA,
)
from archgym.simulators.translation.tlbs import fill, holds, set_of
from archgym.simulators.translation.walks import walk

__all__ = ["block_tag", "evict", "resolve"]


@compiled
def resolve(
    m: Any, c: Any, r: Any, t: Any, b: Any, code: Any, number: Any, line: Any
) -> Any:
    """Translates what the L2 TLB does not hold; the cycles after its look-up."""
    if m.mechanism == VICTIMA:
        return _resolve_victima(m, c, r, t, b, code, number)
    if m.mechanism == POM_TLB:
        return _resolve_pom(m, c, r, t, b, code, number, line)
    if m.mechanism == HASH:
        return _resolve_hash(m, c, r, code, number)
    if m.mechanism == L3_TLB:
        base = m.l3_tlb_base + set_of(number, m.l3_tlb_sets, m.l3_tlb_mask) * m.l3_tlb_ways
        if holds(r.tags, r.marks, base, m.l3_tlb_ways, LRU, code):
            c.l3_tlb_hits += 1
            return m.l3_tlb_cycles
        return m.l3_tlb_cycles + _demand(m, c, r, t, b, code, number)
    return _demand(m, c, r, t, b, code, number)


@compiled
def evict(m: Any, c: Any, r: Any, t: Any, b: Any, code: Any) -> None:
    """What a mechanism does with a page that leaves the L2 TLB."""
    c.l2_evictions += 1
    if m.only_tlbs:
        return
    place = code >> 1
    number = t.number[place]
    if m.mechanism == VICTIMA:
        if m.insert_on_eviction and is_costly(m, c, r.history, place):
            tag = block_tag(b, code)
            if not has_block(m, r.tags, number, tag):
                walk(m, c, r, t, b, code, number)
                c.background_walks += 1
                c.block_inserts_on_eviction += 1
                make_block(m, c, r.tags, r.marks, number, tag, _leaf_line(t, place))
    elif m.mechanism == POM_TLB and m.pom_insertion == POM_ON_EVICTION:
        _put_pom(m, c, r, code, number)
    elif m.mechanism == L3_TLB:
        base = m.l3_tlb_base + set_of(number, m.l3_tlb_sets, m.l3_tlb_mask) * m.l3_tlb_ways
        if not holds(r.tags, r.marks, base, m.l3_tlb_ways, LRU, code):
            fill(m, r.tags, r.marks, base, m.l3_tlb_ways, LRU, code)


@inlined
def block_tag(b: Any, code: Any) -> Any:
    """Tag of the block of a page."""
    return -2 - b.block[code >> 1]


@inlined
def _leaf_line(t: Any, place: Any) -> Any:
    return t.lines[4 * place + 4 - t.leaf_level[place]]


@inlined
def _count_walk(m: Any, c: Any, r: Any, cycles: Any) -> None:
    c.walks += 1
    c.walk_cycles += cycles
    c.walks_to_memory += m.touched_memory
    r.buckets[min(cycles, N_BUCKETS - 1)] += 1


@compiled
def _demand(m: Any, c: Any, r: Any, t: Any, b: Any, code: Any, number: Any) -> Any:
    """A walk that the program waits for."""
    cycles = walk(m, c, r, t, b, code, number)
    _count_walk(m, c, r, cycles)
    return cycles


@inlined
def _resolve_victima(m: Any, c: Any, r: Any, t: Any, b: Any, code: Any, number: Any) -> Any:
    tag = block_tag(b, code)
    if meets_block(m, r.tags, r.marks, number, tag):
        c.block_hits += 1
        return m.probe_cycles
    cycles = _demand(m, c, r, t, b, code, number)
    place = code >> 1
    remember(r.history, place, m.touched_memory)
    if m.insert_on_miss and is_costly(m, c, r.history, place):
        if not has_block(m, r.tags, number, tag):
            make_block(m, c, r.tags, r.marks, number, tag, _leaf_line(t, place))
            c.block_inserts_on_miss += 1
    return cycles


@inlined
def _pom_line(m: Any, number: Any) -> Any:
    """The line of the table in memory that is read for a page: 4 entries of 16 bytes."""
    lines = (m.pom_ways + 3) // 4
    return m.pom_line + (number % m.pom_sets) * lines + (number // m.pom_sets) % lines


@compiled
def _resolve_pom(
    m: Any, c: Any, r: Any, t: Any, b: Any, code: Any, number: Any, line: Any
) -> Any:
    """Reads the sets of both page sizes at once, and walks if neither holds the page."""
    other = number >> 9
    if code & 1:  # the 4 KiB page within the huge one, which is aligned in memory
        other = (number << 9) | ((line >> 6) & 511)
    right = pull(m, c, r.tags, r.marks, _pom_line(m, number), CLASS_SIDE_TABLE)
    wrong = pull(m, c, r.tags, r.marks, _pom_line(m, other), CLASS_SIDE_TABLE)
    base = m.pom_base + set_of(number, m.pom_sets, m.pom_mask) * m.pom_ways
    if holds(r.tags, r.marks, base, m.pom_ways, LRU, code):
        c.pom_hits += 1
        return right
    cycles = max(right, wrong) + _demand(m, c, r, t, b, code, number)
    if m.pom_insertion != POM_ON_EVICTION:
        _put_pom(m, c, r, code, number)
    return cycles


@compiled
def _put_pom(m: Any, c: Any, r: Any, code: Any, number: Any) -> None:
    """Writes a page into the table in memory, which reads the line; nothing waits for it."""
    base = m.pom_base + set_of(number, m.pom_sets, m.pom_mask) * m.pom_ways
    if not holds(r.tags, r.marks, base, m.pom_ways, LRU, code):
        pull(m, c, r.tags, r.marks, _pom_line(m, number), CLASS_SIDE_TABLE)
        fill(m, r.tags, r.marks, base, m.pom_ways, LRU, code)


@compiled
def _resolve_hash(m: Any, c: Any, r: Any, code: Any, number: Any) -> Any:
    """Reads three places of the hashed table of the page's size at once: an elastic cuckoo table.

    A cache tells the size, as long as it takes the page-walk caches; a line holds eight entries.
    """
    m.touched_memory = 0
    key = (number >> 3) * 2 + (code & 1)
    longest = 0
    for way in range(3):
        mixed = (key + 1) * 0x9E3779B97F4A7C1 + way * 0x632BE59BD9B4E01
        mixed = (mixed ^ ((mixed >> 29) & 0x7FFFFFFFF)) * 0x5851F42D4C957F2
        index = (mixed >> 32) & (m.hash_lines - 1)
        line = m.hash_line + way * m.hash_lines + index
        longest = max(longest, pull(m, c, r.tags, r.marks, line, CLASS_SIDE_TABLE))
        c.walk_reads += 1
    cycles = m.walk_cache_cycles + longest
    _count_walk(m, c, r, cycles)
    return cycles
