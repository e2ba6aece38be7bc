"""What the kernel counts: by hand on short traces, by invariants on long ones."""

from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.simulators.translation.kernel.caches import _reserve
from archgym.simulators.translation.kernel.counters import COUNTERS
from archgym.simulators.translation.kernel.prepared import prepare
from archgym.simulators.translation.kernel.run import run
from archgym.simulators.translation.layout import Memory
from archgym.simulators.translation.machine import (
    CACHE_POLICIES,
    FILLS,
    MECHANISMS,
    TLB_POLICIES,
    Hardware,
)
from archgym.traces import AccessKind, MemoryTrace
from tests.simulators.translation.traces import (
    FIRST_PAGE,
    HUGE,
    SMALL,
    accesses,
    counts,
    mixed,
    pages,
)

# Latencies add up: 4 in the L1 cache, 16, 35 and 170 more for each level that misses.
L1, L2, MEMORY = 4, 4 + 16, 4 + 16 + 35 + 170
WALK_CACHE = 3
# Every access leaves the TLBs at once.
TINY = Hardware(l1_entries=1, l1_ways=1, l2_entries=1, l2_ways=1)
# TLB blocks whatever the walks cost.
VICTIMA = replace(TINY, mechanism="victima", predictor="always", l2_cache_policy="tlb_srrip")


def design(mechanism: str, **others: object) -> Hardware:
    """Small TLBs and caches, so that a short trace fills them."""
    small = Hardware(
        mechanism=mechanism,
        l1_entries=16,
        l2_entries=64,
        l2_ways=4,
        l2_cache_kib=64,
        l3_cache_kib=128,
        l3_tlb_entries=512,
        pom_entries=1024,
    )
    return replace(small, **others)  # type: ignore[arg-type]  # names and types are the caller's


def test_first_walk_reads_four_levels_from_memory() -> None:
    got = counts(pages([0]), Hardware())

    assert got["walks"] == 1
    assert got["walk_reads"] == 4
    assert got["walk_cycles"] == got["miss_cycles"] == WALK_CACHE + 4 * MEMORY
    assert got["walks_to_memory"] == 1


def test_walk_for_a_huge_page_ends_a_level_sooner() -> None:
    got = counts(pages([0]), Hardware(), HUGE)

    assert got["walk_reads"] == 3
    assert got["l1_huge_misses"] == got["l1_misses"] == 1


def test_neighbour_finds_its_entry_in_the_same_line() -> None:
    alone, both = counts(pages([0]), Hardware()), counts(pages([0, 1]), Hardware())

    # The page-walk cache leads to the last table; the line with both entries lies in the L1 cache.
    assert both["walk_reads"] - alone["walk_reads"] == 1
    assert both["walk_cycles"] - alone["walk_cycles"] == WALK_CACHE + L1


def test_without_walk_caches_every_level_is_read() -> None:
    bare = replace(TINY, walk_cache_4_entries=0, walk_cache_3_entries=0, walk_cache_2_entries=0)

    assert counts(pages([0, 1, 0]), bare)["walk_reads"] == 12


def test_two_dimensional_walk_reads_24_entries() -> None:
    virtual = replace(Hardware(virtualised=True), nested_entries=1, nested_ways=1)

    got = counts(pages([0]), virtual)

    # Five guest addresses to translate, each by a walk of four, and four entries of the guest.
    assert got["walk_reads"] == 24
    assert got["host_walks"] == got["nested_misses"] == 5
    assert got["l1_cache_table_reads"] == 4
    assert got["l1_cache_host_table_reads"] == 20


def test_access_across_pages_is_translated_twice() -> None:
    got = counts(accesses([(0x7F000 << 12) + 4092]), Hardware())

    assert got["accesses"] == got["l1_misses"] == 2
    assert got["l1_cache_data_reads"] == 2


def test_access_across_lines_is_one_that_reads_two() -> None:
    got = counts(accesses([(0x7F000 << 12) + 60]), Hardware())

    assert (got["accesses"], got["l1_misses"], got["l1_cache_data_reads"]) == (1, 1, 2)


def test_tlbs_count_as_a_plain_model_does() -> None:
    trace = mixed(fetches=0.0)
    hardware = Hardware(l1_entries=32, l1_ways=32, l2_entries=256, l2_ways=256)
    expected = [0, 0]
    levels: list[OrderedDict[int, None]] = [OrderedDict(), OrderedDict()]
    for page in (trace.address >> np.uint64(12)).tolist():
        for level, (held, size) in enumerate(zip(levels, (32, 256), strict=True)):
            found = page in held
            held[page] = None
            held.move_to_end(page)
            if found:
                break
            expected[level] += 1
            if len(held) > size:
                held.popitem(last=False)

    for only_tlbs in (True, False):
        got = counts(trace, hardware, only_tlbs=only_tlbs)
        assert [got["l1_misses"], got["l2_misses"]] == expected


def test_caches_count_as_a_plain_model_does() -> None:
    trace = mixed(fetches=0.0)
    hardware = Hardware(
        mechanism="perfect", l1_cache_kib=4, l2_cache_kib=32, l2_cache_ways=4, l3_cache_kib=64
    )
    ready = prepare(trace, SMALL)
    lines = ready.columns(0, ready.steps, virtualised=False).line
    first: list[list[int]] = [[] for _ in range(8)]
    second = _Srrip(sets=128, ways=4)
    third = _Srrip(sets=64, ways=16)
    expected = [0, 0, 0]
    for line in lines.tolist():
        held = first[line % 8]
        found = line in held
        if found:
            held.remove(line)
        held.insert(0, line)
        del held[8:]
        if not found:
            expected[0] += 1
            if not second.meets(line):
                expected[1] += 1
                expected[2] += not third.meets(line)

    got = counts(trace, hardware)

    assert [got[f"l{level}_cache_data_misses"] for level in (1, 2, 3)] == expected
    beyond = 16 * expected[0] + 35 * expected[1] + 170 * expected[2]
    assert got["data_cycles"] == beyond


class _Srrip:
    """Lines by set, each with its RRPV: hits make it 0, new ones have 2, the lowest 3 leaves."""

    def __init__(self, sets: int, ways: int) -> None:
        self._sets = [[[-1, 3] for _ in range(ways)] for _ in range(sets)]

    def meets(self, line: int) -> bool:
        ways = self._sets[line % len(self._sets)]
        for way in ways:
            if way[0] == line:
                way[1] = 0
                return True
        while all(way[1] < 3 for way in ways):
            for way in ways:
                way[1] += 1
        leaving = next(way for way in ways if way[1] == 3)
        leaving[:] = [line, 2]
        return False


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("memory", [SMALL, Memory(capacity_gib=1, huge_share=0.5)])
@pytest.mark.parametrize("virtualised", [False, True])
def test_counts_add_up(mechanism: str, memory: Memory, virtualised: bool) -> None:
    if mechanism == "hash" and virtualised:
        pytest.skip("the model hashes only one page table")
    hardware = design(mechanism, virtualised=virtualised, l2_cache_policy="tlb_srrip")

    got = counts(mixed(), hardware, memory, 0.3)

    assert got["l2_hits"] + got["l2_misses"] == got["l1_misses"] + got["l1_fetch_misses"]
    helped = got["l3_tlb_hits"] + got["pom_hits"] + got["block_hits"]
    assert got["walks"] + helped == got["l2_misses"]
    assert got["walk_cycles"] <= got["miss_cycles"]
    assert got["exposed_miss_cycles"] == got["miss_cycles"]
    assert got["walk_p50_cycles"] <= got["walk_p95_cycles"] <= got["walk_p99_cycles"]
    assert got["walk_p99_cycles"] <= got["walk_max_cycles"]
    tables = got["l1_cache_table_reads"] + got["l1_cache_host_table_reads"]
    if mechanism == "hash":
        tables = got["l1_cache_side_table_reads"]
    assert tables == got["walk_reads"]
    for name in ("data", "fetch", "table", "host_table", "side_table"):
        levels = [got[f"l1_cache_{name}_reads"]]
        levels += [got[f"l{level}_cache_{name}_misses"] for level in (1, 2, 3)]
        assert levels == sorted(levels, reverse=True)
    if mechanism == "perfect":
        assert got["l1_misses"] == got["miss_cycles"] == tables == 0
    else:
        assert got["walks"] > 0
    assert (helped > 0) == (mechanism in ("victima", "pom_tlb", "l3_tlb"))


def test_larger_fully_associative_tlb_never_misses_more() -> None:
    trace = mixed()
    sizes = (8, 16, 64, 256, 1024)

    got = [
        counts(trace, Hardware(l2_entries=n, l2_ways=n), only_tlbs=True)["l2_misses"] for n in sizes
    ]

    assert got == sorted(got, reverse=True)
    assert got[0] > got[-1]


def test_batch_is_what_single_runs_give_on_any_thread() -> None:
    ready = prepare(mixed(8000), Memory(capacity_gib=1))
    designs = [
        design(mechanism, tlb_policy=policy, fill=fill)
        for mechanism in MECHANISMS
        for policy in TLB_POLICIES
        for fill in FILLS
    ]

    together = run(ready, designs)

    with ThreadPoolExecutor(2) as pool:
        alone = list(pool.map(lambda one: run(ready, one)[0], designs))
    assert np.array_equal(together, np.array(alone))
    assert together.shape == (len(designs), len(COUNTERS))


@pytest.mark.parametrize("policy", TLB_POLICIES)
def test_replacement_policies_differ_but_for_the_first_fills(policy: str) -> None:
    few, many = pages([*range(16), *range(16)]), mixed()
    hardware = design("radix", l1_entries=16, l1_ways=16, tlb_policy=policy)

    assert counts(few, hardware, only_tlbs=True)["l1_misses"] == 16
    lru = counts(many, design("radix", l1_entries=16, l1_ways=16), only_tlbs=True)["l1_misses"]
    got = counts(many, hardware, only_tlbs=True)["l1_misses"]
    assert (got == lru) == (policy == "lru")


def test_victim_fill_puts_into_the_second_tlb_what_leaves_the_first() -> None:
    hardware = replace(TINY, fill="victim", l2_entries=4, l2_ways=4)

    got = counts(pages([0, 1, 0, 1]), hardware)
    both = counts(pages([0, 0, 0, 0]), hardware)

    # 0 leaves the first for 1, so the third access finds it in the second; so with 1 and the last.
    assert (got["l2_misses"], got["l2_hits"]) == (2, 2)
    assert both["l1_misses"] == 1


def test_warm_up_forgets_counts_but_no_state() -> None:
    trace = pages([0, 1, 2, 3, 0, 1, 2, 3])

    got = counts(trace, Hardware(), warmup_share=0.5)

    assert (got["accesses"], got["instructions"], got["l1_misses"], got["walks"]) == (4, 12, 0, 0)


def test_passes_before_the_last_are_warm_up() -> None:
    trace = pages([0, 1, 2, 3])

    assert counts(trace, Hardware(), passes=2)["l1_misses"] == 0
    assert counts(trace, Hardware(), passes=2)["accesses"] == 4


def test_block_holds_eight_neighbours() -> None:
    got = counts(pages(range(16)), VICTIMA)

    # The second access of each eight misses in the TLBs and meets the block of the first.
    assert got["walks"] == got["block_inserts_on_miss"] == 2
    assert got["block_hits"] == 14
    # The probe takes 16 cycles, of which the look-up in the L2 TLB hides 12.
    assert got["miss_cycles"] - got["walk_cycles"] == 14 * 4


def test_block_of_huge_pages_holds_eight_of_them() -> None:
    got = counts(pages(range(0, 16 * 512, 512)), VICTIMA, HUGE)

    assert (got["walks"], got["block_hits"]) == (2, 14)


@pytest.mark.parametrize(("size", "walks"), [(4, 4), (8, 2), (16, 1)])
def test_blocks_come_in_three_sizes(size: int, walks: int) -> None:
    got = counts(pages(range(16)), replace(VICTIMA, cluster_pages=size))

    assert got["walks"] == walks


def test_probe_after_the_second_tlb_takes_the_whole_latency() -> None:
    got = counts(pages(range(8)), replace(VICTIMA, probe_with_l2_tlb=False))

    assert got["miss_cycles"] - got["walk_cycles"] == 7 * 16


def test_eviction_from_the_second_tlb_makes_a_block_behind() -> None:
    got = counts(pages([0, 8, 0]), replace(VICTIMA, insert_on_miss=False))

    # 0 leaves the TLB as 8 comes, is walked for behind, and then met.
    assert got["walks"] == 2
    assert got["background_walks"] == got["block_inserts_on_eviction"] == 2
    assert got["block_hits"] == 1


def test_predictor_asks_how_often_and_how_dearly_a_page_was_walked_for() -> None:
    trace = pages([0, 1, 0, 1, 0, 1])
    plain = replace(VICTIMA, predictor="box", insert_on_eviction=False)

    never = counts(trace, replace(plain, predictor="never"))
    dear = counts(trace, plain)
    twice = counts(trace, replace(plain, frequency_low=2, cost_low=0))
    thrice = counts(trace, replace(plain, frequency_low=2, cost_low=2))

    assert never["walks"] == 6
    # The first walk goes to memory, and that is enough.
    assert dear["walks"] == 1
    # 0, 1, and then 0 a second time, whose block both meet.
    assert twice["walks"] == 3
    # No walk but the first goes to memory.
    assert thrice["walks"] == 6


def test_cap_on_blocks_replaces_the_oldest_of_them() -> None:
    # Blocks 2048 apart lie in one set of the L2 cache.
    trace = pages([number * 8 * 2048 for number in range(12)] * 2)
    memory = Memory(capacity_gib=2, huge_share=0.0)

    free = counts(trace, VICTIMA, memory)
    capped = counts(trace, replace(VICTIMA, max_block_ways=4), memory)

    assert free["block_evictions"] == 0
    assert free["block_hits"] == 12
    assert capped["block_evictions"] > 0
    assert capped["block_hits"] < 12


def test_invalidation_takes_page_and_block() -> None:
    trace = pages([0, 1, 0, 0], {2: AccessKind.INVALIDATE})

    got = counts(trace, VICTIMA)

    assert got["block_invalidations"] == 1
    assert got["walks"] == 2
    assert counts(pages([0, 1, 0, 0]), VICTIMA)["walks"] == 1


def test_invalidation_of_another_page_leaves_the_last_one() -> None:
    trace = pages([0, 9, 0], {1: AccessKind.INVALIDATE})

    assert counts(trace, Hardware())["l1_misses"] == 1


@pytest.mark.parametrize("mechanism", ["radix", "victima", "pom_tlb", "l3_tlb"])
def test_flush_takes_everything(mechanism: str) -> None:
    numbers = list(range(0, 640, 8))
    trace = pages([*numbers, 0, *numbers], {len(numbers): AccessKind.FLUSH})

    got = counts(trace, design(mechanism, predictor="always"))

    assert got["walks"] == 2 * len(numbers)


@pytest.mark.parametrize(
    ("mechanism", "hits"), [("pom_tlb", "pom_hits"), ("l3_tlb", "l3_tlb_hits")]
)
def test_what_leaves_the_second_tlb_is_met_behind_it(mechanism: str, hits: str) -> None:
    got = counts(pages([0, 8, 0]), replace(TINY, mechanism=mechanism))

    assert (got["walks"], got[hits]) == (2, 1)


def test_table_in_memory_takes_what_was_walked_for_if_asked() -> None:
    hardware = replace(TINY, mechanism="pom_tlb", pom_insertion="walk")

    got = counts(pages([0, 8, 16, 0]), hardware)

    assert got["pom_hits"] == 1
    # Two lines are read for each miss, and one is written for each walk.
    assert got["l1_cache_side_table_reads"] == 2 * 4 + 3


def test_clustered_entry_covers_pages_that_lie_together() -> None:
    hardware = replace(TINY, mechanism="cluster", l2_entries=4, l2_ways=4)

    together = counts(pages(range(8)), hardware)
    apart = counts(pages(range(7, -1, -1)), hardware)

    # In order of touch, frames follow each other; backwards, no two do.
    assert together["walks"] == 1
    assert apart["walks"] == 8


def test_prefetch_brings_the_next_page_that_is_used() -> None:
    hardware = replace(TINY, mechanism="prefetch", l2_entries=4, l2_ways=4)

    got = counts(pages(range(8)), hardware)

    assert (got["walks"], got["prefetch_fills"], got["background_walks"]) == (4, 4, 4)
    assert counts(pages(range(0, 16, 2)), hardware)["prefetch_fills"] == 0


def test_hashed_table_is_read_in_three_places_at_once() -> None:
    got = counts(pages([0]), Hardware(mechanism="hash"))

    assert got["walk_reads"] == got["l1_cache_side_table_reads"] == 3
    assert got["walk_cycles"] == WALK_CACHE + MEMORY


def test_nested_blocks_spare_walks_of_the_host() -> None:
    tiny = replace(TINY, virtualised=True, nested_entries=1, nested_ways=1)
    victima = replace(VICTIMA, virtualised=True, nested_entries=1, nested_ways=1)
    trace = pages([*range(0, 64, 8)] * 2)

    plain, blocks = counts(trace, tiny), counts(trace, victima)

    assert blocks["nested_block_hits"] > 0
    assert blocks["host_walks"] < plain["host_walks"]


def test_walkers_share_misses_within_a_window() -> None:
    trace = pages(range(0, 4096, 512))

    one = counts(trace, replace(TINY, walkers=1, mlp=4.0))
    two = counts(trace, replace(TINY, walkers=2, mlp=4.0))
    far = counts(trace, replace(TINY, walkers=2, mlp=4.0, window_instructions=1))

    assert one["exposed_miss_cycles"] == one["miss_cycles"] == far["exposed_miss_cycles"]
    assert one["miss_cycles"] // 2 <= two["exposed_miss_cycles"] < one["miss_cycles"]


def test_next_line_comes_with_a_miss_if_asked() -> None:
    trace = accesses([(0x7F000 << 12) + 64 * line for line in range(64)])

    got = counts(trace, Hardware(l2_cache_prefetcher="next-line"))

    assert got["l2_cache_data_misses"] == got["l2_cache_prefetches"] == 32


@pytest.mark.parametrize("policy", CACHE_POLICIES)
def test_reach_is_sampled_while_blocks_come_and_go(policy: str) -> None:
    trace = mixed(60_000)
    hardware = design("victima", predictor="always", l2_cache_policy=policy)

    got = counts(trace, hardware)

    assert got["samples"] == 180_000 // 100_000
    assert 0 < got["sampled_blocks"] <= 1024
    assert got["sampled_reach_kib"] == got["sampled_blocks"] * 32
    inserts = got["block_inserts_on_miss"] + got["block_inserts_on_eviction"]
    assert 0 < got["block_evictions"] <= inserts


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Hardware(l1_entries=10), "`l1` must have ways that divide its entries; got 10"),
        (Hardware(mechanism="other"), "`mechanism` must be one of radix, victima"),
        (Hardware(cluster_pages=3), "`cluster_pages` must be a power of two"),
        (Hardware(mechanism="hash", virtualised=True), "`mechanism` must not be 'hash'"),
    ],
)
def test_designs_that_cannot_be_are_refused(wrong: Hardware, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        run(prepare(pages([0]), SMALL), wrong)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_warm_up_of_everything_is_refused(share: float) -> None:
    with pytest.raises(InvalidArgumentError, match="`warmup_share` must lie in 0 to below 1"):
        run(prepare(pages([0]), SMALL), Hardware(), share)


# A core with a reorder buffer: hits take no time, so an L2 TLB or cache is felt only by misses.
TIMED = replace(Hardware(mechanism="perfect"), reorder_entries=224, dispatch_cycles=0.5)
LINE = 64


def lines(numbers: Sequence[int], instructions: int = 10) -> MemoryTrace:
    """Loads of lines, so many instructions each."""
    return accesses([(0x7F000 << 12) + LINE * n for n in numbers], instructions=instructions)


def test_hits_take_the_time_of_dispatching() -> None:
    got = counts(lines([0] + [0, 1] * 500), replace(TIMED, mlp=16.0))

    assert got["instructions"] == 10_010
    # Two loads miss at once. The buffer is dispatched in 112 cycles, and waits 109 more for data
    # of the first, which takes 221 beyond the L1 cache.
    assert got["core_cycles"] == 0.5 * 10_010 + 109


def test_dependent_misses_follow_each_other() -> None:
    far = lines(range(0, 64 * 20, 64))

    chain, two = (counts(far, replace(TIMED, mlp=mlp))["core_cycles"] for mlp in (1.0, 2.0))

    # 221 cycles beyond the L1 cache, twenty times, after the first load's dispatch at 4.5 to 5.
    assert chain == pytest.approx(20 * (MEMORY - L1), abs=6)
    assert two == pytest.approx(10 * (MEMORY - L1), abs=12)


def test_reorder_buffer_bounds_independent_misses() -> None:
    # One miss in 224 instructions: the next is dispatched when the one before has retired.
    far = lines(range(0, 64 * 20, 64), instructions=224)

    small = counts(far, replace(TIMED, mlp=16.0))["core_cycles"]
    large = counts(far, replace(TIMED, mlp=16.0, reorder_entries=1000))["core_cycles"]

    assert small == pytest.approx(20 * max(MEMORY - L1, 112), abs=120)
    assert large == pytest.approx(20 * 112 + MEMORY - L1, abs=120)


def test_stores_do_not_wait_for_their_data() -> None:
    kinds = dict.fromkeys(range(20), AccessKind.STORE)
    trace = accesses([(0x7F000 << 12) + 64 * 64 * n for n in range(20)], kinds, instructions=10)

    assert counts(trace, replace(TIMED, mlp=1.0))["core_cycles"] == 0.5 * 200


def test_waiting_for_translations_is_told_apart() -> None:
    trace = pages(range(0, 20 * 512, 512))
    radix = replace(TIMED, mechanism="radix", mlp=1.0)

    got = counts(trace, radix)
    free = counts(trace, replace(radix, mechanism="perfect"))

    stalled = got["translation_stall_cycles"]
    assert got["core_cycles"] - free["core_cycles"] == pytest.approx(stalled, rel=0.05)


def bank_and_row(line: int) -> tuple[int, int, int]:
    """Channel, bank and row of a physical line, as `dram` describes them."""
    block = line // 3 // 128
    return line % 3, (block ^ block // 16) % 16, block // 16


def conflicting() -> tuple[int, int]:
    """Two lines of a huge page in two rows of one bank."""
    ready = prepare(lines([0]), HUGE)
    first = int(ready.columns(0, ready.steps, virtualised=False).line[0])
    channel, bank, row = bank_and_row(first)
    for other in range(1, 32_000):
        there = bank_and_row(first + other)
        if there[:2] == (channel, bank) and there[2] != row:
            return 0, other
    raise AssertionError("a huge page has 85 rows")


def test_row_of_memory_stays_open() -> None:
    rows = replace(Hardware(mechanism="perfect"), memory="rows")
    # Three channels take lines in turn.
    same, other = counts(lines([0, 3]), rows, HUGE), counts(lines(conflicting()), rows, HUGE)

    # Closed: two commands of 37 cycles; open: one. Overhead of 52 and a burst of 9 in any case.
    assert same["data_cycles"] == 2 * (16 + 35 + 52 + 9) + 2 * 37 + 37
    assert (same["memory_row_hits"], same["memory_row_conflicts"]) == (1, 0)
    # Another row must be closed first.
    assert (other["memory_row_hits"], other["memory_row_conflicts"]) == (0, 1)
    assert other["data_cycles"] == 2 * (16 + 35 + 52 + 9) + 2 * 37 + 3 * 37


def test_bank_is_not_opened_again_before_its_time() -> None:
    rows = replace(TIMED, memory="rows", mlp=16.0)
    got = counts(accesses([(0x7F000 << 12) + LINE * n for n in conflicting()]), rows, HUGE)

    # The second activation waits for the row cycle of 120; it comes 1.5 cycles after the first.
    assert got["memory_wait_cycles"] == 118


def test_streamer_follows_the_direction_of_misses() -> None:
    trace = lines([40, 39, 38, 37, 36])
    streamer = Hardware(mechanism="perfect", l2_cache_prefetcher="streamer")

    got = counts(trace, streamer)

    # 40 and 39 miss, which fetches 38 and 37; 36 is not next to the miss before, 39.
    assert got["l2_cache_data_misses"] == 3
    assert got["l2_cache_prefetches"] == 2


def test_trace_in_parts_counts_as_in_memory() -> None:
    trace = mixed(600_000, n_pages=9000)
    parts = [trace[:262_144], trace[262_144:524_288], trace[524_288:]]
    hardware = [
        replace(design(name, memory="rows", mlp=4.0), reorder_entries=224)
        for name in ("radix", "victima", "pom_tlb")
    ]

    whole, streamed = prepare(trace, SMALL), prepare(lambda: parts, SMALL)

    assert (whole.is_held, streamed.is_held) == (True, False)
    assert np.array_equal(run(whole, hardware), run(streamed, hardware))
    assert streamed.n_bytes < whole.n_bytes / 10


def test_read_that_arrives_before_a_reserved_interval_does_not_wait() -> None:
    times, following, ready = np.full(8, -np.inf), np.zeros(1, np.int64), np.zeros(1)

    def start(earliest: float) -> float:
        return float(_reserve(times, following, ready, 0, 8, earliest, 120.0))

    # A bank is busy in 1000 to 1120, and the next read arrives 300 cycles before that.
    assert [start(1000.0), start(700.0)] == [1000.0, 700.0]
    # From 820 the gap before 1000 fits; from 890 it does not.
    assert [start(750.0), start(890.0), start(1000.0)] == [820.0, 1120.0, 1240.0]


def test_chains_of_misses_wait_no_longer_than_banks_are_busy() -> None:
    # Eight chains of four reads each. 48 banks are busy for 120 cycles a read.
    trace = pages(np.random.default_rng(0).permutation(200_000)[:8_000].tolist())
    timed = replace(TIMED, mechanism="radix", memory="rows", mlp=8.0)

    got = counts(trace, timed)

    reads = got["memory_row_hits"] + got["memory_row_conflicts"]
    occupied = 120.0 * reads / (48 * got["core_cycles"])
    # The mean wait of an M/D/1 queue that is busy for a share `occupied` of the time, doubled.
    assert got["memory_wait_cycles"] / reads < 2 * 120.0 * occupied / (2 * (1 - occupied)) + 2


STRADDLING = [(FIRST_PAGE << 12) + 60, (FIRST_PAGE << 12) + 4092]
"""Loads of eight bytes in two lines of a page, and in two pages."""


def test_access_to_two_lines_is_two_accesses_by_default() -> None:
    got = counts(accesses(STRADDLING), Hardware())

    assert (got["accesses"], got["l1_misses"], got["l2_misses"]) == (3, 2, 2)
    assert (got["l1_cache_data_reads"], got["l1_cache_data_misses"]) == (4, 4)


@pytest.mark.parametrize("only_tlbs", [False, True])
def test_access_to_two_lines_can_count_as_one(only_tlbs: bool) -> None:
    got = counts(accesses(STRADDLING), Hardware(), only_tlbs=only_tlbs, joins_lines=True)

    # The second access misses, as one of its pages does; the other is in the L1 TLB.
    assert (got["accesses"], got["l1_misses"], got["l2_misses"]) == (2, 2, 2)
    if not only_tlbs:
        names = [f"{cache}_cache_data_misses" for cache in ("l1", "l2", "l3")]
        assert [got[name] for name in names] == [2, 2, 2]
        assert got["l1_cache_data_reads"] == 2


def test_part_that_hits_is_looked_up_in_the_l2_tlb_with_the_one_that_misses() -> None:
    # Page 0 is in the L1 TLB. The access to pages 0 and 1 makes it newer in the L2 TLB, so that
    # page 1 evicts page 2, which then misses.
    hardware = Hardware(l1_entries=2, l1_ways=2, l2_entries=2, l2_ways=2)
    first = FIRST_PAGE << 12
    trace = accesses([first, first + (2 << 12), first, first + 4092, first + (2 << 12)])

    got = counts(trace, hardware, only_tlbs=True, joins_lines=True)

    assert (got["l1_misses"], got["l2_misses"], got["l2_hits"]) == (4, 4, 0)


def test_trace_without_straddling_accesses_counts_equally() -> None:
    trace = mixed(8000)
    timed = replace(TIMED, mechanism="victima", memory="rows", mlp=4.0)

    assert counts(trace, timed) == counts(trace, timed, joins_lines=True)
