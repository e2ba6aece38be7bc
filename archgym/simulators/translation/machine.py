"""Hardware of a design: every quantity that the kernel uses, and the core that runs on it."""

import math
from dataclasses import dataclass, replace
from typing import Final, final

from archgym.physics.arrays import TABLE_NODE, tlb_array

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
    node: str = TABLE_NODE
    """Technology of area and energy; latencies in cycles stay those of the published hardware."""
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


@final
@dataclass(frozen=True)
class Core:
    """Core with a reorder buffer, or shares of each latency that an additive core waits for."""

    cycles_per_instruction: float
    l2_tlb_exposed: float = 0.0
    miss_exposed: float = 0.0
    data_exposed: float = 0.0
    overlaps_walks: bool = False
    """True if misses of the L2 TLB overlap within the workload's parallelism and the walkers."""
    reorder_entries: int = 0
    """Instructions of the reorder buffer; 0 for an additive core."""

    @property
    def has_parallelism(self) -> bool:
        """True if the workload's parallel misses have an effect."""
        return self.overlaps_walks or self.reorder_entries > 0


CORES: Final = {
    # Four instructions wide at 0.4 cycles each (chosen), and the reorder buffer of the public
    # Victima artifact. Nothing of its timing is fitted.
    "out-of-order": Core(0.4, reorder_entries=224),
    # chosen: exposures that were the default before version 1.
    "additive": Core(0.4, 0.1, 0.5, 0.25),
    # A miss is exposed unless another one in the reorder window covers it.
    "window": Core(0.4, 0.1, 1.0, 0.25, overlaps_walks=True),
    # Nothing overlaps. Gains are not always larger, since the core waits for data too.
    "in-order": Core(1.0, 1.0, 1.0, 1.0),
}


def on_core(hardware: Hardware, core: Core) -> Hardware:
    """Return the hardware with what the kernel needs to know of a core."""
    return replace(
        hardware,
        reorder_entries=core.reorder_entries,
        dispatch_cycles=core.cycles_per_instruction,
    )


# Victima's artifact; 512 KiB by the fit 12 x MiB^0.44.
_L2_CACHE_CYCLES: Final = {512: 9, 1024: 12, 2048: 16, 4096: 22, 8192: 30}


def l2_cache_cycles(capacity_kib: int) -> int:
    """Return the cycles of a hit in an L2 cache of 512, 1024, 2048, 4096 or 8192 KiB."""
    return _L2_CACHE_CYCLES[capacity_kib]


# The published latency of the default L2 TLB includes much more than its array. Victima's artifact:
# 1536 entries, 12 cycles.
_ANCHOR_ENTRIES, _ANCHOR_CYCLES = 1536, 12
# From that anchor to the 39 cycles of 65,536 entries in K. Kanellopoulos et al., MICRO 2023.
_CYCLES_EXPONENT: Final = 0.314


def published_cycles(entries: int) -> int:
    """Return the cycles of an L2 TLB from the published latencies of 1536 and 65,536 entries.

    >>> [published_cycles(n) for n in (1536, 4096, 65536)]
    [12, 16, 39]
    """
    return round(_ANCHOR_CYCLES * math.pow(entries / _ANCHOR_ENTRIES, _CYCLES_EXPONENT))


def ratio_cycles(entries: int) -> int:
    """Return the cycles of an L2 TLB if the whole latency grows as that of its array.

    >>> [ratio_cycles(n) for n in (1536, 65536, 131072)]
    [12, 55, 77]
    """
    ratio = tlb_array(entries).access_ns / tlb_array(_ANCHOR_ENTRIES).access_ns
    return round(_ANCHOR_CYCLES * ratio)


def l2_tlb_cycles(entries: int, model: str) -> int:
    """Return the cycles of a look-up in an L2 TLB.

    The model is `published`, `cacti-ratio`, or `ideal`: the default latency at any size.
    """
    if model == "ideal":
        return Hardware().l2_cycles
    return published_cycles(entries) if model == "published" else ratio_cycles(entries)


DEFAULT_HARDWARE: Final = Hardware(memory="rows")
"""Hardware of the default design; fields of `Hardware` that no parameter sets are the same."""
