"""Entry point of the compiled model: one design on one prepared trace."""

from typing import Any, Final, NamedTuple

from archgym.simulators.kit.kernels import compiled, entry_point, inlined, kept_apart, pointer
from archgym.simulators.translation.kernel import state as st
from archgym.simulators.translation.kernel.caches import cost, hits_first, read_below
from archgym.simulators.translation.kernel.mechanisms import block_tag, evict, resolve
from archgym.simulators.translation.kernel.prepared import (
    FETCH,
    FLUSH,
    INVALIDATE,
    STORE,
    STRADDLING_DATA,
    STRADDLING_STORE,
)
from archgym.simulators.translation.kernel.state import Run
from archgym.simulators.translation.kernel.timing import (
    begin,
    begin_fetch,
    finish,
    now,
    restart,
    wait_in_front,
)
from archgym.simulators.translation.kernel.tlbs import fill, find, holds, remove, set_of
from archgym.simulators.translation.kernel.walks import lose, lose_all, nested_tag, walk_behind

# Events after a span of steps, which may be combined.
AT_SAMPLE: Final = 1
AT_END_OF_WARMUP: Final = 2

# Place of the steps in a run, which may be combined.
CONTINUES: Final = 0
IS_PASS: Final = 1  # a pass over the trace begins
IS_LAST: Final = 2  # it ends


class Columns(NamedTuple):
    """Columns of a trace's steps.

    Attributes:
      kinds: (n_steps,) uint8.
      codes: (n_steps,) int32, codes of pages.
      pages: (n_steps,) int64, numbers of pages in units of their size.
      lines, leaf_lines, regions: (n_steps,) int32, as in `View`.
      instructions: (n_steps,) int64.
    """

    kinds: Any
    codes: Any
    pages: Any
    lines: Any
    leaf_lines: Any
    regions: Any
    instructions: Any


@entry_point(seconds=45.0)
def count(
    machine: Any,
    counts: Any,
    words: Any,
    tags: Any,
    marks: Any,
    table: Any,
    numbers: Any,
    columns: Any,
    spans: Any,
    place: Any,
    n_instructions: Any,
) -> None:
    """Run a design through a part of a trace, starting in the state that the previous run left.

    Args:
      machine: (1,) of `MACHINE`.
      counts: (1,) of `COUNTS`.
      words: The same memory as `counts`, as int64.
      tags, marks: As in `Run`.
      table, numbers: As in `Packed`.
      columns: The steps, a `Columns`.
      spans: (n_spans, 3) int64: the step after the span, the events then, and the instructions
        since the previous sample.
      place: `IS_PASS` if the part is the first of the trace, plus `IS_LAST` if it is the last.
      n_instructions: Instructions of the whole trace.
    """
    m = machine[0]
    c = counts[0]
    run = Run(m, c, pointer(tags), pointer(marks), pointer(table), pointer(numbers))
    steps = Columns(
        pointer(columns.kinds),
        pointer(columns.codes),
        pointer(columns.pages),
        pointer(columns.lines),
        pointer(columns.leaf_lines),
        pointer(columns.regions),
        pointer(columns.instructions),
    )
    start = 0
    if place & IS_PASS:
        restart(m)
        _reset_counts(m, c, words, 0)
    for span in range(len(spans)):
        stop = spans[span, 0]
        _steps(run, steps, start, stop)
        if spans[span, 1] & AT_SAMPLE:
            _sample(m, c, spans[span, 2])
        if spans[span, 1] & AT_END_OF_WARMUP:
            instruction = steps.instructions[stop] if stop < len(columns.kinds) else n_instructions
            _reset_counts(m, c, words, instruction)
        start = stop
    if place & IS_LAST:
        _close(m, c, n_instructions)


@compiled
def _close(m: Any, c: Any, n_instructions: Any) -> None:
    """Count what is known only at the end of a trace."""
    kept_apart()
    _close_group(m, c)
    if m.reorder_entries > 0:
        c.core_cycles = int(now(m, n_instructions) - m.counted_from)
    c.walk_p50_cycles = _percentile(m, c.walks, 50)
    c.walk_p95_cycles = _percentile(m, c.walks, 95)
    c.walk_p99_cycles = _percentile(m, c.walks, 99)
    c.walk_max_cycles = _percentile(m, c.walks, 100)


@compiled
def _steps(run: Any, steps: Any, start: Any, stop: Any) -> None:
    kept_apart()
    m, c, tags, marks, _, _ = run
    kinds, codes, pages, lines, _, _, _ = steps
    policy = m.l1_policy
    is_translated = m.mechanism != st.PERFECT
    is_cached = m.only_tlbs == 0
    cache_base, cache_sets, cache_mask = m.l1_cache_base, m.l1_cache_sets, m.l1_cache_mask
    cache_ways = m.l1_cache_ways
    l1_base, l1_sets, l1_mask, l1_ways = m.l1_base, m.l1_sets, m.l1_mask, m.l1_ways
    last = m.last_code
    is_timed = m.reorder_entries > 0
    for step in range(start, stop):
        kind = kinds[step]
        code = codes[step]
        line = lines[step]
        if kind <= STORE:
            waited = 0
            fetched = 0
            is_long = False
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
                    if is_timed:
                        is_long = True
                        begin(m, steps.instructions[step])
                    waited = _miss(run, steps, step, base, ways)
            if is_cached:
                place = cache_base + set_of(line, cache_sets, cache_mask) * cache_ways
                if not hits_first(m, c, tags, place, line, st.CLASS_DATA):
                    if is_timed and not is_long:
                        is_long = True
                        begin(m, steps.instructions[step])
                    fetched = _fetch(m, c, tags, marks, line, st.CLASS_DATA)
            if is_long:
                finish(m, c, steps.instructions[step], waited, fetched, kind == STORE)
        elif kind == FETCH:
            waited = 0
            fetched = 0
            if is_timed:
                begin_fetch(m, steps.instructions[step])
            if is_translated:
                number = pages[step]
                ways = m.l1_fetch_ways
                base = m.l1_fetch_base + set_of(number, m.l1_fetch_sets, m.l1_fetch_mask) * ways
                if not holds(tags, marks, base, ways, policy, code):
                    c.l1_fetch_misses += 1
                    waited = _miss(run, steps, step, base, ways)
            if is_cached:
                place = m.fetch_cache_base
                place += set_of(line, m.fetch_cache_sets, m.fetch_cache_mask) * m.fetch_cache_ways
                if not hits_first(m, c, tags, place, line, st.CLASS_FETCH):
                    fetched = _fetch(m, c, tags, marks, line, st.CLASS_FETCH)
            if is_timed and waited + fetched > 0:
                wait_in_front(m, c, waited, fetched)
        elif kind in (STRADDLING_DATA, STRADDLING_STORE):
            m.last_code = last
            _straddle(run, steps, step, kind == STRADDLING_STORE)
            last = m.last_code
        elif kind == INVALIDATE:
            last = st.EMPTY
            if code >= 0:
                _invalidate(run, code, pages[step])
        elif kind == FLUSH:
            last = st.EMPTY
            _flush(m, c, tags, marks)
    m.last_code = last


@compiled
def _straddle(run: Any, steps: Any, step: Any, is_store: Any) -> None:
    """Run an access to the lines of two steps, which counts as one with one miss at most.

    As in cachegrind, the L2 TLB or cache is asked for both if either misses in the first level.
    """
    kept_apart()
    m, c = run.m, run.c
    misses, huge, l2_hits, l2_misses = c.l1_misses, c.l1_huge_misses, c.l2_hits, c.l2_misses
    reads, of_l1 = c.l1_cache_reads[st.CLASS_DATA], c.l1_cache_misses[st.CLASS_DATA]
    of_l2, of_l3 = c.l2_cache_misses[st.CLASS_DATA], c.l3_cache_misses[st.CLASS_DATA]
    walks = c.walks
    _one_line(run, steps, step, is_store)
    has_missed = c.l1_misses > misses
    has_missed_cache = c.l1_cache_misses[st.CLASS_DATA] > of_l1
    if not has_missed and not _l1_holds(run, steps, step + 1):
        _touch_l2(run, steps, step)
    elif has_missed and _l1_holds(run, steps, step + 1):
        _touch_l2(run, steps, step + 1)
    if m.only_tlbs == 0:
        is_held = _cache_holds(run, steps, step + 1)
        if has_missed_cache == is_held:
            other = step + 1 if has_missed_cache else step
            read_below(m, c, run.tags, run.marks, steps.lines[other], st.CLASS_DATA)
    _one_line(run, steps, step + 1, is_store)
    c.l1_misses = min(c.l1_misses, misses + 1)
    c.l1_huge_misses = min(c.l1_huge_misses, huge + 1)
    if c.l2_misses > l2_misses:
        c.l2_misses, c.l2_hits = l2_misses + 1, l2_hits
    else:
        c.l2_hits = min(c.l2_hits, l2_hits + 1)
    if m.only_tlbs:
        c.walks = walks + c.l2_misses - l2_misses
    c.l1_cache_reads[st.CLASS_DATA] = min(c.l1_cache_reads[st.CLASS_DATA], reads + 1)
    c.l1_cache_misses[st.CLASS_DATA] = min(c.l1_cache_misses[st.CLASS_DATA], of_l1 + 1)
    c.l2_cache_misses[st.CLASS_DATA] = min(c.l2_cache_misses[st.CLASS_DATA], of_l2 + 1)
    c.l3_cache_misses[st.CLASS_DATA] = min(c.l3_cache_misses[st.CLASS_DATA], of_l3 + 1)


@compiled
def _one_line(run: Any, steps: Any, step: Any, is_store: Any) -> None:
    """Run the part of an access that is in one line."""
    kept_apart()
    m, c, tags, marks, _, _ = run
    code, line, instruction = steps.codes[step], steps.lines[step], steps.instructions[step]
    is_timed = m.reorder_entries > 0
    waited = 0
    fetched = 0
    is_long = False
    if code != m.last_code and m.mechanism != st.PERFECT:
        m.last_code = code
        base, ways = _l1_place(m, code, steps.pages[step])
        if not holds(tags, marks, base, ways, m.l1_policy, code):
            c.l1_misses += 1
            c.l1_huge_misses += code & 1
            if is_timed:
                is_long = True
                begin(m, instruction)
            waited = _miss(run, steps, step, base, ways)
    if m.only_tlbs == 0:
        place = set_of(line, m.l1_cache_sets, m.l1_cache_mask) * m.l1_cache_ways
        if not hits_first(m, c, tags, m.l1_cache_base + place, line, st.CLASS_DATA):
            if is_timed and not is_long:
                is_long = True
                begin(m, instruction)
            fetched = _fetch(m, c, tags, marks, line, st.CLASS_DATA)
    if is_long:
        finish(m, c, instruction, waited, fetched, is_store)


@inlined
def _l1_place(m: Any, code: Any, number: Any) -> Any:
    """Return the start of a page's set in the L1 data TLB, and its ways."""
    if code & 1:
        ways = m.l1_huge_ways
        return m.l1_huge_base + set_of(number, m.l1_huge_sets, m.l1_huge_mask) * ways, ways
    return m.l1_base + set_of(number, m.l1_sets, m.l1_mask) * m.l1_ways, m.l1_ways


@compiled
def _l1_holds(run: Any, steps: Any, step: Any) -> Any:
    """Return True if the page of a step needs no look-up in the L2 TLB."""
    kept_apart()
    m = run.m
    code = steps.codes[step]
    base, ways = _l1_place(m, code, steps.pages[step])
    return m.mechanism == st.PERFECT or code == m.last_code or find(run.tags, base, ways, code) >= 0


@compiled
def _cache_holds(run: Any, steps: Any, step: Any) -> Any:
    """Return True if the L1 cache holds the line of a step."""
    kept_apart()
    m, line = run.m, steps.lines[step]
    place = set_of(line, m.l1_cache_sets, m.l1_cache_mask) * m.l1_cache_ways
    return find(run.tags, m.l1_cache_base + place, m.l1_cache_ways, line) >= 0


@compiled
def _touch_l2(run: Any, steps: Any, step: Any) -> None:
    """Look up the page of a step in the L2 TLB, and fill it, without waiting."""
    kept_apart()
    m, c, tags, marks, _, _ = run
    base, tag = _l2_place(run, steps.codes[step], steps.pages[step])
    if holds(tags, marks, base, m.l2_ways, m.l2_policy, tag):
        c.l2_hits += 1
        return
    c.l2_misses += 1
    if m.only_tlbs:
        c.walks += 1
    if m.fill == st.FILL_BOTH:
        evicted = fill(m, tags, marks, base, m.l2_ways, m.l2_policy, tag)
        if evicted >= 0:
            evict(run, evicted)


@compiled
def _fetch(m: Any, c: Any, tags: Any, marks: Any, line: Any, kind: Any) -> Any:
    """Read a line of the program that the L1 cache does not hold; return the cycles beyond it."""
    kept_apart()
    level = read_below(m, c, tags, marks, line, kind)
    cycles = 0 if m.free_data else cost(m, level) - m.l1_cache_cycles
    c.data_cycles += cycles
    return cycles


@inlined
def _l2_place(run: Any, code: Any, number: Any) -> Any:
    """Return the start of a page's set in the L2 TLB, and its tag."""
    m = run.m
    tag = run.t[m.run_place + (code >> 1)] if m.mechanism == st.CLUSTER else code
    return m.l2_base + set_of(number >> m.l2_shift, m.l2_sets, m.l2_mask) * m.l2_ways, tag


@compiled
def _miss(run: Any, steps: Any, step: Any, l1_base: Any, l1_ways: Any) -> Any:
    """Look up in the L2 TLB the page of a step that misses in an L1 TLB, and fill both.

    Returns the cycles, and advances the clock by them.
    """
    kept_apart()
    m, c, tags, marks, t, _ = run
    start = m.clock
    waited = 0 if m.free_l2_tlb else m.l2_cycles
    code, number = steps.codes[step], steps.pages[step]
    base, tag = _l2_place(run, code, number)
    if holds(tags, marks, base, m.l2_ways, m.l2_policy, tag):
        c.l2_hits += 1
    else:
        c.l2_misses += 1
        m.window_tlb_misses += 1
        if m.only_tlbs:
            c.walks += 1
        else:
            line, leaf_line, region = steps.lines[step], steps.leaf_lines[step], steps.regions[step]
            m.clock = start + waited
            cycles = resolve(run, code, number, line, leaf_line, region)
            c.miss_cycles += cycles
            waited += cycles
            _overlap(m, c, steps.instructions[step], cycles)
        if m.fill == st.FILL_BOTH:
            evicted = fill(m, tags, marks, base, m.l2_ways, m.l2_policy, tag)
            if evicted >= 0:
                evict(run, evicted)
        if m.mechanism == st.PREFETCH:
            _prefetch(run, t[m.next_place + (code >> 1)])
    evicted = fill(m, tags, marks, l1_base, l1_ways, m.l1_policy, code)
    if m.fill != st.FILL_BOTH and evicted >= 0:
        _take_victim(run, evicted)
    m.clock = start + waited
    return waited


@compiled
def _prefetch(run: Any, code: Any) -> None:
    """Walk in the background for a page that the L2 TLB does not hold yet."""
    kept_apart()
    m, c, tags, marks, _, numbers = run
    if code < 0:
        return
    number = numbers[code >> 1]
    base = m.l2_base + set_of(number, m.l2_sets, m.l2_mask) * m.l2_ways
    if find(tags, base, m.l2_ways, code) >= 0:
        return
    walk_behind(run, code, number)
    c.prefetch_fills += 1
    if fill(m, tags, marks, base, m.l2_ways, m.l2_policy, code) >= 0:
        c.l2_evictions += 1


@compiled
def _take_victim(run: Any, code: Any) -> None:
    """Insert a page that an L1 TLB evicts into the L2 TLB."""
    kept_apart()
    m, _, tags, marks, _, _ = run
    base, tag = _l2_place(run, code, run.numbers[code >> 1])
    if not holds(tags, marks, base, m.l2_ways, m.l2_policy, tag):
        evicted = fill(m, tags, marks, base, m.l2_ways, m.l2_policy, tag)
        if evicted >= 0:
            evict(run, evicted)


@inlined
def _overlap(m: Any, c: Any, instruction: Any, cycles: Any) -> None:
    """Add a miss to the group whose instructions are in the reorder window together."""
    if m.group_start < 0 or instruction - m.group_start > m.window_instructions:
        _close_group(m, c)
        m.group_start = instruction
    m.group_cycles += cycles
    m.group_longest = max(m.group_longest, cycles)


@compiled
def _close_group(m: Any, c: Any) -> None:
    """Count the cycles of overlapping misses: divided by the overlap, at least the longest."""
    kept_apart()
    shared = int(m.group_cycles / m.parallel)
    c.exposed_miss_cycles += max(shared, m.group_longest)
    m.group_start = -1
    m.group_cycles = 0
    m.group_longest = 0


@compiled
def _sample(m: Any, c: Any, instructions: Any) -> None:
    """Record the pressure since the previous sample, and the current reach."""
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
def _reset_counts(m: Any, c: Any, words: Any, instruction: Any) -> None:
    """Reset all counts after an instruction, and keep the state."""
    kept_apart()
    _close_group(m, c)
    if m.reorder_entries > 0:
        m.counted_from = now(m, instruction)
    for place in range(len(words)):
        words[place] = 0
    for bucket in range(st.N_BUCKETS):
        m.buckets[bucket] = 0


@compiled
def _percentile(m: Any, total: Any, percent: Any) -> Any:
    """Return the fewest cycles that at least a percentage of the walks do not exceed."""
    kept_apart()
    wanted = (total * percent + 99) // 100
    seen = 0
    for bucket in range(st.N_BUCKETS):
        seen += m.buckets[bucket]
        if seen >= wanted:
            return bucket
    return st.N_BUCKETS - 1


@compiled
def _invalidate(run: Any, code: Any, number: Any) -> None:
    """Remove a page's translation from all structures, and its whole TLB block."""
    kept_apart()
    m, c, tags, marks, t, numbers = run
    is_ordered = m.l1_policy <= st.FIFO
    if code & 1:
        base = m.l1_huge_base + set_of(number, m.l1_huge_sets, m.l1_huge_mask) * m.l1_huge_ways
        remove(tags, marks, base, m.l1_huge_ways, is_ordered, code)
    else:
        base = m.l1_base + set_of(number, m.l1_sets, m.l1_mask) * m.l1_ways
        remove(tags, marks, base, m.l1_ways, is_ordered, code)
    base = m.l1_fetch_base + set_of(number, m.l1_fetch_sets, m.l1_fetch_mask) * m.l1_fetch_ways
    remove(tags, marks, base, m.l1_fetch_ways, is_ordered, code)
    base, tag = _l2_place(run, code, number)
    remove(tags, marks, base, m.l2_ways, m.l2_policy <= st.FIFO, tag)
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
    """Remove all translations of the program from all structures; those of the host stay."""
    kept_apart()
    # The tags of TLBs come first, then the nested TLB, the walk caches and the data caches.
    _empty(tags, marks, m.l1_base, m.nested_base)
    _empty(tags, marks, m.walk_cache_4_base, m.l1_cache_base)
    if m.only_tlbs == 0:
        lose_all(m, c, tags, marks)


@compiled
def _empty(tags: Any, marks: Any, start: Any, stop: Any) -> None:
    kept_apart()
    for place in range(start, stop):
        tags[place] = st.EMPTY
        marks[place] = st.MAX_RRPV
