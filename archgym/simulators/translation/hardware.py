"""Hardware that translates addresses: every quantity that the kernel uses."""

from dataclasses import dataclass
from typing import Final, final

MECHANISMS: Final = (
    "radix", "victima", "pom_tlb", "l3_tlb", "cluster", "prefetch", "hash", "perfect",
)  # fmt: skip
"""Mechanisms that handle a miss in the L2 TLB.

`radix` walks the page table; a larger L2 TLB is `radix` with more entries. `victima` keeps eight
translations in a block of the L2 cache. `pom_tlb` first reads a table in memory, `l3_tlb` a third
TLB. `cluster` lets an entry of the L2 TLB hold up to `cluster_pages` pages that are contiguous in
memory. `prefetch` also walks for the next page. `hash` reads three lines of a hashed page table at
once instead of walking. `perfect` translates without cost.
"""

TLB_POLICIES: Final = ("lru", "fifo", "srrip", "random")
"""Replacement policies of TLBs; `srrip` inserts with RRPV 2 of 3, and a hit sets it to 0."""

CACHE_POLICIES: Final = ("lru", "srrip", "tlb_srrip")
"""Replacement policies of the L2 cache; `tlb_srrip` favours TLB blocks under pressure."""

FILLS: Final = ("both", "victim")
"""Fill policies of the L2 TLB: by walks, or only by evictions from the L1 TLBs."""

MEMORIES: Final = ("flat", "rows")
"""Models of memory: a constant latency, or open rows in banks."""

PREFETCHERS: Final = ("none", "next-line", "streamer")
"""Prefetchers of the L2 cache, within a page of 4 KiB.

`next-line` fetches the line after each miss of data. `streamer` fetches two lines ahead in the
direction of a page's last two misses.
"""

PREDICTORS: Final = ("never", "box", "always")
"""Predictors of costly pages: never, by the walks so far with a bypass, always."""

POM_INSERTIONS: Final = ("eviction", "walk")
"""Events that fill the table in memory: an eviction from the L2 TLB, or a walk."""


@final
@dataclass(frozen=True)
class Hardware:
    """Design as the kernel takes it.

    `entries` of a TLB are a multiple of its `ways`; the sets of a cache are any whole number. Ways
    equal to the entries make a structure fully associative. `run` checks only what the kernel
    relies on.
    """

    # TLBs. Entries, ways and latencies: the public Victima artifact unless another is named.
    l1_fetch_entries: int = 128
    l1_fetch_ways: int = 8
    l1_entries: int = 64
    """TLB for data in pages of 4 KiB."""
    l1_ways: int = 4
    l1_huge_entries: int = 32
    """TLB for data in pages of 2 MiB."""
    l1_huge_ways: int = 4
    l2_entries: int = 1536
    l2_ways: int = 12
    l2_cycles: int = 12
    """Latency of a hit, which no L1 access hides; `physics` computes it from the entries."""
    tlb_policy: str = "lru"
    """Policy of the L1 and L2 TLBs; the other structures with translations are LRU."""
    l1_policy: str = ""
    """Policy of the L1 TLBs, if it differs from that of the L2 TLB."""
    fill: str = "both"

    # Page-walk caches of the levels 4, 3 and 2, probed together.
    walk_cache_4_entries: int = 16
    """Entries of this cache, 0 for no cache."""
    walk_cache_3_entries: int = 16
    walk_cache_2_entries: int = 32
    walk_cache_ways: int = 4
    walk_cache_cycles: int = 3

    # Data caches, all with lines of 64 bytes; latencies add up on the way down.
    l1_cache_kib: int = 32
    l1_cache_ways: int = 8
    l1_cache_cycles: int = 4
    l2_cache_kib: int = 2048
    l2_cache_ways: int = 16
    l2_cache_cycles: int = 16
    l2_cache_policy: str = "srrip"
    l2_cache_prefetcher: str = "none"
    l3_cache_kib: int = 2048
    l3_cache_ways: int = 16
    l3_cache_cycles: int = 35
    memory: str = "flat"
    """`rows`: latency by open rows of banks, as `dram` says; `flat`: always `memory_cycles`."""
    memory_cycles: int = 170
    """Latency of flat memory: 45 ns and the transfer at 2.6 GHz."""

    memory_overhead_cycles: int = 52
    """Interconnect and controller on the way to memory with rows.

    chosen: a read that closes and opens a row then takes 172 cycles, about the constant of 170.
    """

    # The mechanism.
    mechanism: str = "radix"
    insert_on_miss: bool = True
    """Victima: make a TLB block on a walk."""
    insert_on_eviction: bool = True
    """Victima: make one on an eviction from the L2 TLB, with a background walk."""
    predictor: str = "box"
    frequency_low: int = 1
    """A page is costly if its walks, counted up to 7, are within these bounds ..."""
    frequency_high: int = 7
    cost_low: int = 1
    """... and its walks that went to memory, counted up to 15, within these."""
    cost_high: int = 12
    bypass_mpki: float = 5.0
    """Misses of data in the L2 cache above which every page is costly."""
    pressure_mpki: float = 5.0
    """Misses of the L2 TLB above which `tlb_srrip` favours TLB blocks."""
    max_block_ways: int = 0
    """Most TLB blocks in a set of the L2 cache; 0 for no limit."""
    cluster_pages: int = 8
    """Pages that a TLB block, or a clustered TLB entry, covers: 4, 8 or 16."""
    probe_with_l2_tlb: bool = True
    """Probe the L2 cache in parallel with the L2 TLB, not after it."""
    pom_entries: int = 65536
    pom_ways: int = 16
    pom_insertion: str = "eviction"
    l3_tlb_entries: int = 65536
    l3_tlb_ways: int = 16
    l3_tlb_cycles: int = 15

    # Virtual machines.
    virtualised: bool = False
    nested_entries: int = 64
    nested_ways: int = 4
    nested_cycles: int = 1

    # Overlap of walks that begin within one window of reordering.
    walkers: int = 4
    """Page walkers: the most misses that overlap."""
    mlp: float = 1.0
    """Parallel misses of the program, 1 for a chain of dependent ones."""
    window_instructions: int = 224
    """Size of the reorder window; the public Victima artifact."""

    # Core with a reorder buffer.
    reorder_entries: int = 0
    """Instructions of the reorder buffer; 0 for an additive core, which has no clock."""
    dispatch_cycles: float = 0.4
    """Cycles between the dispatches of two instructions."""

    # Costs that an ideal machine does not pay; see `costs`.
    free_l2_tlb: bool = False
    free_tables: bool = False
    free_data: bool = False
