"""Handling of a miss in the L2 TLB: a walk, and the mechanisms before it; compiled."""

from typing import Any

from archgym.simulators.kit.kernels import compiled, inlined, kept_apart
from archgym.simulators.translation.kernel import state as st
from archgym.simulators.translation.kernel.caches import pull
from archgym.simulators.translation.kernel.tlbs import fill, holds, set_of
from archgym.simulators.translation.kernel.walks import (
    has_block,
    is_costly,
    make_block,
    meets_block,
    remember,
    walk,
    walk_behind,
)


@compiled
def resolve(run: Any, code: Any, number: Any, line: Any, leaf_line: Any, region: Any) -> Any:
    """Translate a page that the L2 TLB does not hold; return the cycles after its look-up."""
    kept_apart()
    m = run.m
    if m.mechanism == st.VICTIMA:
        return _resolve_victima(run, code, number, leaf_line, region)
    if m.mechanism == st.POM_TLB:
        return _resolve_pom(run, code, number, line, leaf_line, region)
    if m.mechanism == st.HASH:
        return _resolve_hash(m, run.c, run.tags, run.marks, code, number)
    if m.mechanism == st.L3_TLB:
        base = m.l3_tlb_base + set_of(number, m.l3_tlb_sets, m.l3_tlb_mask) * m.l3_tlb_ways
        if holds(run.tags, run.marks, base, m.l3_tlb_ways, st.LRU, code):
            run.c.l3_tlb_hits += 1
            return m.l3_tlb_cycles
        m.clock += m.l3_tlb_cycles
        return m.l3_tlb_cycles + _demand(run, code, number, leaf_line, region)
    return _demand(run, code, number, leaf_line, region)


@compiled
def evict(run: Any, code: Any) -> None:
    """Hand a page that leaves the L2 TLB to the mechanism."""
    kept_apart()
    m, c, tags, marks, t, numbers = run
    c.l2_evictions += 1
    if m.only_tlbs or m.mechanism == st.RADIX:
        return
    place = code >> 1
    number = numbers[place]
    if m.mechanism == st.VICTIMA:
        if m.insert_on_eviction and is_costly(m, c, marks, m.history_base + place):
            tag = block_tag(m, t, code)
            if not has_block(m, tags, number, tag):
                walk_behind(run, code, number)
                c.block_inserts_on_eviction += 1
                make_block(m, c, tags, marks, number, tag, t[m.page_leaf_place + place])
    elif m.mechanism == st.POM_TLB and m.pom_insertion == st.POM_ON_EVICTION:
        _put_pom(m, c, tags, marks, code, number)
    elif m.mechanism == st.L3_TLB:
        base = m.l3_tlb_base + set_of(number, m.l3_tlb_sets, m.l3_tlb_mask) * m.l3_tlb_ways
        if not holds(tags, marks, base, m.l3_tlb_ways, st.LRU, code):
            fill(m, tags, marks, base, m.l3_tlb_ways, st.LRU, code)


@inlined
def block_tag(m: Any, t: Any, code: Any) -> Any:
    """Return the tag of the block of a page."""
    return -2 - t[m.block_place + (code >> 1)]


@inlined
def _count_walk(m: Any, c: Any, cycles: Any) -> None:
    c.walks += 1
    c.walk_cycles += cycles
    c.walks_to_memory += m.touched_memory
    m.buckets[min(cycles, st.N_BUCKETS - 1)] += 1


@compiled
def _demand(run: Any, code: Any, number: Any, leaf_line: Any, region: Any) -> Any:
    """Walk for a page that the program waits for; return the cycles, with those for a walker."""
    kept_apart()
    m = run.m
    waited = _wait_for_walker(m) if m.reorder_entries > 0 else 0
    cycles = walk(run, code, number, leaf_line, region)
    if m.reorder_entries > 0:
        m.walker_free[m.walker] = m.clock + cycles
    _count_walk(m, run.c, cycles)
    return waited + cycles


@compiled
def _wait_for_walker(m: Any) -> Any:
    """Take the walker that is free first; return the cycles until then, and advance the clock."""
    kept_apart()
    m.walker = 0
    for other in range(m.walkers):
        if m.walker_free[other] < m.walker_free[m.walker]:
            m.walker = other
    waited = int(max(0.0, m.walker_free[m.walker] - m.clock))
    m.clock += waited
    return waited


@inlined
def _resolve_victima(run: Any, code: Any, number: Any, leaf_line: Any, region: Any) -> Any:
    m, c, tags, marks, t, _ = run
    tag = block_tag(m, t, code)
    if meets_block(m, tags, marks, number, tag):
        c.block_hits += 1
        return m.probe_cycles
    cycles = _demand(run, code, number, leaf_line, region)
    place = code >> 1
    remember(marks, m.history_base + place, m.touched_memory)
    is_wanted = m.insert_on_miss and is_costly(m, c, marks, m.history_base + place)
    if is_wanted and not has_block(m, tags, number, tag):
        make_block(m, c, tags, marks, number, tag, leaf_line)
        c.block_inserts_on_miss += 1
    return cycles


@inlined
def _pom_line(m: Any, number: Any) -> Any:
    """Return the line of the table in memory for a page: 4 entries of 16 bytes."""
    lines = (m.pom_ways + 3) // 4
    return m.pom_line + (number % m.pom_sets) * lines + (number // m.pom_sets) % lines


@compiled
def _resolve_pom(run: Any, code: Any, number: Any, line: Any, leaf_line: Any, region: Any) -> Any:
    """Read the sets of both page sizes at once, and walk if neither holds the page."""
    kept_apart()
    m, c, tags, marks, _, _ = run
    other = number >> 9
    if code & 1:  # the 4 KiB page within the huge one, which is aligned in memory
        other = (number << 9) | ((line >> 6) & 511)
    right = pull(m, c, tags, marks, _pom_line(m, number), st.CLASS_SIDE_TABLE)
    wrong = pull(m, c, tags, marks, _pom_line(m, other), st.CLASS_SIDE_TABLE)
    base = m.pom_base + set_of(number, m.pom_sets, m.pom_mask) * m.pom_ways
    if holds(tags, marks, base, m.pom_ways, st.LRU, code):
        c.pom_hits += 1
        return right
    probed = max(right, wrong)
    m.clock += probed
    cycles = probed + _demand(run, code, number, leaf_line, region)
    if m.pom_insertion != st.POM_ON_EVICTION:
        _put_pom(m, c, tags, marks, code, number)
    return cycles


@compiled
def _put_pom(m: Any, c: Any, tags: Any, marks: Any, code: Any, number: Any) -> None:
    """Write a page into the table in memory, which reads its line in the background."""
    kept_apart()
    base = m.pom_base + set_of(number, m.pom_sets, m.pom_mask) * m.pom_ways
    if not holds(tags, marks, base, m.pom_ways, st.LRU, code):
        pull(m, c, tags, marks, _pom_line(m, number), st.CLASS_SIDE_TABLE)
        fill(m, tags, marks, base, m.pom_ways, st.LRU, code)


@compiled
def _resolve_hash(m: Any, c: Any, tags: Any, marks: Any, code: Any, number: Any) -> Any:
    """Read three lines of the hashed table of the page's size at once: an elastic cuckoo table.

    A cache with the latency of the page-walk caches knows the size; a line holds eight entries.
    """
    kept_apart()
    m.touched_memory = 0
    key = (number >> 3) * 2 + (code & 1)
    longest = 0
    for way in range(3):
        mixed = (key + 1) * 0x9E3779B97F4A7C1 + way * 0x632BE59BD9B4E01
        mixed = (mixed ^ ((mixed >> 29) & 0x7FFFFFFFF)) * 0x5851F42D4C957F2
        index = (mixed >> 32) & (m.hash_lines - 1)
        line = m.hash_line + way * m.hash_lines + index
        longest = max(longest, pull(m, c, tags, marks, line, st.CLASS_SIDE_TABLE))
        c.walk_reads += 1
    cycles = m.walk_cache_cycles + longest
    _count_walk(m, c, cycles)
    return cycles
