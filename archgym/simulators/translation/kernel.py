"""Entry point of the compiled model: one design on one prepared trace."""

from typing import Any, Final

from archgym.runtime.kernels import compiled, entry_point, inlined, kept_apart, pointer
from archgym.simulators.translation.blocks import lose, lose_all
from archgym.simulators.translation.caches import read
from archgym.simulators.translation.mechanisms import block_tag, evict, resolve
from archgym.simulators.translation.prepared import DATA, FETCH, INVALIDATE
from archgym.simulators.translation.state import (
    CLASS_DATA,
    CLASS_FETCH,
    CLUSTER,
    EMPTY,
    FIFO,
    FILL_BOTH,
    MAX_RRPV,
    N_BUCKETS,
    PERFECT,
    PREFETCH,
)
from archgym.simulators.translation.tlbs import fill, find, holds, remove, set_of
from archgym.simulators.translation.walks import nested_tag, walk_behind

__all__ = ["AT_END_OF_WARMUP", "AT_SAMPLE", "count"]

# What happens after a span of steps; both may.
AT_SAMPLE: Final = 1
AT_END_OF_WARMUP: Final = 2


@entry_point(seconds=45.0)
def count(
    machine: Any,
    counts: Any,
    words: Any,
    tags: Any,
    marks: Any,
    kinds: Any,
    codes: Any,
    pages: Any,
    lines: Any,
    leaf_lines: Any,
    regions: Any,
    instructions: Any,
    table: Any,
    numbers: Any,
    spans: Any,
) -> None:
    """Run a design through a trace, in the state that an earlier run left.

    Args:
      machine: (1,) of `MACHINE`.
      counts: (1,) of `COUNTS`, what is counted.
      words: The same memory as `counts`, as int64.
      tags, marks: As of `Room`.
      kinds: (n_steps,) uint8.
      codes: (n_steps,) int32, codes of pages.
      pages: (n_steps,) int64, numbers of pages in units of their size.
      lines, leaf_lines, regions: (n_steps,) int32, as of `View`.
      instructions: (n_steps,) int64.
      table, numbers: As of `Packed`.
      spans: (n_spans, 3) int64: the step after the span, what happens then, and the instructions
        since the sample before.
    """
    m = machine[0]
    c = counts[0]
    start = 0
    _begin_anew(m, c, words)
    for span in range(len(spans)):
        stop = spans[span, 0]
        _steps(
            m,
            c,
            pointer(tags),
            pointer(marks),
            pointer(table),
            pointer(numbers),
            pointer(kinds),
            pointer(codes),
            pointer(pages),
            pointer(lines),
            pointer(leaf_lines),
            pointer(regions),
            pointer(instructions),
            start,
            stop,
        )
        if spans[span, 1] & AT_SAMPLE:
            _sample(m, c, spans[span, 2])
        if spans[span, 1] & AT_END_OF_WARMUP:
            _begin_anew(m, c, words)
        start = stop
    _close_group(m, c)
    c.walk_p50_cycles = _percentile(m, c.walks, 50)
    c.walk_p95_cycles = _percentile(m, c.walks, 95)
    c.walk_p99_cycles = _percentile(m, c.walks, 99)
    c.walk_max_cycles = _percentile(m, c.walks, 100)


@compiled
def _steps(
    m: Any,
    c: Any,
    tags: Any,
    marks: Any,
    t: Any,
    numbers: Any,
    kinds: Any,
    codes: Any,
    pages: Any,
    lines: Any,
    leaf_lines: Any,
    regions: Any,
    instructions: Any,
    start: Any,
    stop: Any,
) -> None:
    kept_apart()
    policy = m.l1_policy
    is_translated = m.mechanism != PERFECT
    is_cached = m.only_tlbs == 0
    cache_base, cache_sets, cache_mask = m.l1_cache_base, m.l1_cache_sets, m.l1_cache_mask
    cache_ways = m.l1_cache_ways
    l1_base, l1_sets, l1_mask, l1_ways = m.l1_base, m.l1_sets, m.l1_mask, m.l1_ways
    last = m.last_code
    for step in range(start, stop):
        kind = kinds[step]
        code = codes[step]
        line = lines[step]
        if kind == DATA:
            # The newest entry of its TLB, whatever the design.
            if code != last and is_translated:
                last = code
                number = pages[step]
                if code & 1:
                    ways = m.l1_huge_ways
                    base = m.l1_huge_base + set_of(number, m.l1_huge_sets, m.l1_huge_mask) * ways
                else:
                    ways = l1_ways
                    base = l1_base + set_of(number, l1_sets, l1_mask) * ways
                if not holds(tags, marks, base, ways, policy, code):
                    c.l1_misses += 1
                    c.l1_huge_misses += code & 1
                    _miss(
                        m,
                        c,
                        tags,
                        marks,
                        t,
                        numbers,
                        code,
                        number,
                        line,
                        leaf_lines[step],
                        regions[step],
                        instructions[step],
                        base,
                        ways,
                    )
            if is_cached:
                place = cache_base + set_of(line, cache_sets, cache_mask) * cache_ways
                level = read(m, c, tags, marks, place, line, CLASS_DATA)
                if level > 0:
                    c.data_cycles += m.level_cycles[level] - m.l1_cache_cycles
        elif kind == FETCH:
            if is_translated:
                number = pages[step]
                ways = m.l1_fetch_ways
                base = m.l1_fetch_base + set_of(number, m.l1_fetch_sets, m.l1_fetch_mask) * ways
                if not holds(tags, marks, base, ways, policy, code):
                    c.l1_fetch_misses += 1
                    _miss(
                        m,
                        c,
                        tags,
                        marks,
                        t,
                        numbers,
                        code,
                        number,
                        line,
                        leaf_lines[step],
                        regions[step],
                        instructions[step],
                        base,
                        ways,
                    )
            if is_cached:
                place = m.fetch_cache_base
                place += set_of(line, m.fetch_cache_sets, m.fetch_cache_mask) * m.fetch_cache_ways
                level = read(m, c, tags, marks, place, line, CLASS_FETCH)
                if level > 0:
                    c.data_cycles += m.level_cycles[level] - m.l1_cache_cycles
        else:
            last = EMPTY
            if kind == INVALIDATE:
                if code >= 0:
                    _invalidate(m, c, tags, marks, t, numbers, code, pages[step])
            else:
                _flush(m, c, tags, marks)
    m.last_code = last


@compiled
def _miss(
    m: Any,
    c: Any,
    tags: Any,
    marks: Any,
    t: Any,
    numbers: Any,
    code: Any,
    number: Any,
    line: Any,
    leaf_line: Any,
    region: Any,
    instruction: Any,
    l1_base: Any,
    l1_ways: Any,
) -> None:
    """Look into the L2 TLB for what an L1 TLB does not hold, and fills both."""
    kept_apart()
    tag = t[m.run_place + (code >> 1)] if m.mechanism == CLUSTER else code
    base = m.l2_base + set_of(number >> m.l2_shift, m.l2_sets, m.l2_mask) * m.l2_ways
    if holds(tags, marks, base, m.l2_ways, m.l2_policy, tag):
        c.l2_hits += 1
    else:
        c.l2_misses += 1
        m.window_tlb_misses += 1
        if m.only_tlbs:
            c.walks += 1
        else:
            cycles = resolve(m, c, tags, marks, t, numbers, code, number, line, leaf_line, region)
            c.miss_cycles += cycles
            _overlap(m, c, instruction, cycles)
        if m.fill == FILL_BOTH:
            evicted = fill(m, tags, marks, base, m.l2_ways, m.l2_policy, tag)
            if evicted >= 0:
                evict(m, c, tags, marks, t, numbers, evicted)
        if m.mechanism == PREFETCH:
            _prefetch(m, c, tags, marks, t, numbers, t[m.next_place + (code >> 1)])
    evicted = fill(m, tags, marks, l1_base, l1_ways, m.l1_policy, code)
    if m.fill != FILL_BOTH and evicted >= 0:
        _take_victim(m, c, tags, marks, t, numbers, evicted)


@compiled
def _prefetch(m: Any, c: Any, tags: Any, marks: Any, t: Any, numbers: Any, code: Any) -> None:
    """Walk for a page that no TLB holds yet; nothing waits for it."""
    kept_apart()
    if code < 0:
        return
    number = numbers[code >> 1]
    base = m.l2_base + set_of(number, m.l2_sets, m.l2_mask) * m.l2_ways
    if find(tags, base, m.l2_ways, code) >= 0:
        return
    walk_behind(m, c, tags, marks, t, numbers, code, number)
    c.prefetch_fills += 1
    if fill(m, tags, marks, base, m.l2_ways, m.l2_policy, code) >= 0:
        c.l2_evictions += 1


@compiled
def _take_victim(m: Any, c: Any, tags: Any, marks: Any, t: Any, numbers: Any, code: Any) -> None:
    """Put what an L1 TLB evicts into the L2 TLB."""
    kept_apart()
    number = numbers[code >> 1]
    tag = t[m.run_place + (code >> 1)] if m.mechanism == CLUSTER else code
    base = m.l2_base + set_of(number >> m.l2_shift, m.l2_sets, m.l2_mask) * m.l2_ways
    if not holds(tags, marks, base, m.l2_ways, m.l2_policy, tag):
        evicted = fill(m, tags, marks, base, m.l2_ways, m.l2_policy, tag)
        if evicted >= 0:
            evict(m, c, tags, marks, t, numbers, evicted)


@inlined
def _overlap(m: Any, c: Any, instruction: Any, cycles: Any) -> None:
    """Join a miss with those whose instructions the core holds at the same time."""
    if m.group_start < 0 or instruction - m.group_start > m.window_instructions:
        _close_group(m, c)
        m.group_start = instruction
    m.group_cycles += cycles
    m.group_longest = max(m.group_longest, cycles)


@compiled
def _close_group(m: Any, c: Any) -> None:
    """Count the cycles of overlapping misses: shared out, but at least the longest's."""
    kept_apart()
    shared = int(m.group_cycles / m.parallel)
    c.exposed_miss_cycles += max(shared, m.group_longest)
    m.group_start = -1
    m.group_cycles = 0
    m.group_longest = 0


@compiled
def _sample(m: Any, c: Any, instructions: Any) -> None:
    """Look at the pressure since the sample before, and at the reach now."""
    kept_apart()
    thousands = instructions / 1000.0
    m.under_pressure = 1 if m.window_tlb_misses > m.pressure_mpki * thousands else 0
    m.bypasses = 1 if m.window_cache_misses > m.bypass_mpki * thousands else 0
    m.window_tlb_misses = 0
    m.window_cache_misses = 0
    c.samples += 1
    c.sampled_blocks += m.blocks
    c.sampled_reach_kib += m.reach_kib
    c.sampled_pressure += m.under_pressure


@compiled
def _begin_anew(m: Any, c: Any, words: Any) -> None:
    """Forget what was counted, but nothing of the state."""
    kept_apart()
    _close_group(m, c)
    for place in range(len(words)):
        words[place] = 0
    for bucket in range(N_BUCKETS):
        m.buckets[bucket] = 0


@compiled
def _percentile(m: Any, total: Any, percent: Any) -> Any:
    """Return the fewest cycles that at least so many of the walks do not exceed."""
    kept_apart()
    wanted = (total * percent + 99) // 100
    seen = 0
    for bucket in range(N_BUCKETS):
        seen += m.buckets[bucket]
        if seen >= wanted:
            return bucket
    return N_BUCKETS - 1


@compiled
def _invalidate(
    m: Any, c: Any, tags: Any, marks: Any, t: Any, numbers: Any, code: Any, number: Any
) -> None:
    """Take a page's translation out of everything, and its whole TLB block."""
    kept_apart()
    is_ordered = m.l1_policy <= FIFO
    if code & 1:
        base = m.l1_huge_base + set_of(number, m.l1_huge_sets, m.l1_huge_mask) * m.l1_huge_ways
        remove(tags, marks, base, m.l1_huge_ways, is_ordered, code)
    else:
        base = m.l1_base + set_of(number, m.l1_sets, m.l1_mask) * m.l1_ways
        remove(tags, marks, base, m.l1_ways, is_ordered, code)
    base = m.l1_fetch_base + set_of(number, m.l1_fetch_sets, m.l1_fetch_mask) * m.l1_fetch_ways
    remove(tags, marks, base, m.l1_fetch_ways, is_ordered, code)
    base = m.l2_base + set_of(number >> m.l2_shift, m.l2_sets, m.l2_mask) * m.l2_ways
    tag = t[m.run_place + (code >> 1)] if m.mechanism == CLUSTER else code
    remove(tags, marks, base, m.l2_ways, m.l2_policy <= FIFO, tag)
    if m.l3_tlb_sets > 0:
        base = m.l3_tlb_base + set_of(number, m.l3_tlb_sets, m.l3_tlb_mask) * m.l3_tlb_ways
        remove(tags, marks, base, m.l3_tlb_ways, True, code)
    if m.pom_sets > 0:
        base = m.pom_base + set_of(number, m.pom_sets, m.pom_mask) * m.pom_ways
        remove(tags, marks, base, m.pom_ways, True, code)
    if m.only_tlbs == 0:
        lose(m, c, tags, marks, number, block_tag(m, t, code))
        if m.virtualised:
            nested = t[m.data_nested_place + (code >> 1)]
            number = numbers[m.n_pages + (nested >> 1)]
            lose(m, c, tags, marks, number, nested_tag(m, t, nested))


@compiled
def _flush(m: Any, c: Any, tags: Any, marks: Any) -> None:
    """Take all translations of the program out of everything; those of the host stay."""
    kept_apart()
    _empty(tags, marks, m.l1_base, m.l1_sets * m.l1_ways)
    _empty(tags, marks, m.l1_huge_base, m.l1_huge_sets * m.l1_huge_ways)
    _empty(tags, marks, m.l1_fetch_base, m.l1_fetch_sets * m.l1_fetch_ways)
    _empty(tags, marks, m.l2_base, m.l2_sets * m.l2_ways)
    _empty(tags, marks, m.l3_tlb_base, m.l3_tlb_sets * m.l3_tlb_ways)
    _empty(tags, marks, m.pom_base, m.pom_sets * m.pom_ways)
    _empty(tags, marks, m.walk_cache_4_base, m.walk_cache_4_sets * m.walk_cache_4_ways)
    _empty(tags, marks, m.walk_cache_3_base, m.walk_cache_3_sets * m.walk_cache_3_ways)
    _empty(tags, marks, m.walk_cache_2_base, m.walk_cache_2_sets * m.walk_cache_2_ways)
    if m.only_tlbs == 0:
        lose_all(m, c, tags, marks)


@compiled
def _empty(tags: Any, marks: Any, base: Any, entries: Any) -> None:
    kept_apart()
    for place in range(base, base + entries):
        tags[place] = EMPTY
        marks[place] = MAX_RRPV
