"""The hardware that translates addresses: every quantity that the kernel knows."""

from dataclasses import dataclass
from typing import Final, final

__all__ = [
    "CACHE_POLICIES",
    "FILLS",
    "MECHANISMS",
    "POM_INSERTIONS",
    "PREDICTORS",
    "TLB_POLICIES",
    "Hardware",
]

MECHANISMS: Final = (
    "radix",
    "victima",
    "pom_tlb",
    "l3_tlb",
    "cluster",
    "prefetch",
    "hash",
    "perfect",
)
"""What a miss in the L2 TLB meets.

`radix` walks the page table; a larger L2 TLB is `radix` with more entries. `victima` keeps eight
translations in a block of the L2 cache. `pom_tlb` looks into a table in memory first, `l3_tlb`
into a third TLB. `cluster` lets an entry of the L2 TLB hold up to `cluster_pages` pages that lie
together in memory. `prefetch` also walks for the next page. `hash` looks into a hashed page table
in three places at once instead of walking. `perfect` translates for nothing.
"""

TLB_POLICIES: Final = ("lru", "fifo", "srrip", "random")
"""What a TLB replaces; `srrip` inserts with RRPV 2 of 3, a hit makes it 0."""

CACHE_POLICIES: Final = ("lru", "srrip", "tlb_srrip")
"""What the L2 cache replaces; `tlb_srrip` favours TLB blocks while the L2 TLB misses a lot."""

FILLS: Final = ("both", "victim")
"""Whether a walk fills both TLBs, or the L2 TLB takes only what the L1 TLBs evict."""

PREDICTORS: Final = ("never", "box", "always")
"""Whether a page is costly: never, by its walks so far with a bypass, always."""

POM_INSERTIONS: Final = ("eviction", "walk")
"""Whether the table in memory takes what the L2 TLB evicts, or what was walked for."""


@final
@dataclass(frozen=True)
class Hardware:
    """One design as the kernel takes it; entries, ways and capacities must fit each other.

    `entries` of a TLB are a multiple of its `ways`; the sets of a cache are any whole number. Ways
    equal to the entries make a structure fully associative. Nothing is checked beyond what would
    break the kernel; see `run`.
    """

    # TLBs. Entries, ways and latencies: the public Victima artifact unless another is named.
    l1_fetch_entries: int = 128
    l1_fetch_ways: int = 8
    l1_entries: int = 64
    """Of 4 KiB pages, for data."""
    l1_ways: int = 4
    l1_huge_entries: int = 32
    """Of 2 MiB pages, for data."""
    l1_huge_ways: int = 4
    l2_entries: int = 1536
    l2_ways: int = 12
    l2_cycles: int = 12
    """Latency of a hit, hidden in no L1 access; from entries by the model of physics."""
    tlb_policy: str = "lru"
    """Of the L1 and L2 TLBs; the other structures with translations are LRU."""
    l1_policy: str = ""
    """Of the L1 TLBs where it is not that of the L2 TLB."""
    fill: str = "both"

    # Page-walk caches of the levels 4, 3 and 2, probed together.
    walk_cache_4_entries: int = 16
    """0 leaves it out."""
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
    l2_cache_prefetch: bool = False
    """Whether a miss of data in the L2 cache also brings the next line of the page."""
    l3_cache_kib: int = 2048
    l3_cache_ways: int = 16
    l3_cache_cycles: int = 35
    memory_cycles: int = 170
    """45 ns and the transfer at 2.6 GHz."""

    # The mechanism.
    mechanism: str = "radix"
    insert_on_miss: bool = True
    """Victima: whether a walk makes a TLB block."""
    insert_on_eviction: bool = True
    """Victima: whether an eviction from the L2 TLB makes one, with a walk in the background."""
    predictor: str = "box"
    frequency_low: int = 1
    """A page is costly if its walks, at most 7 of them counted, lie in this box ..."""
    frequency_high: int = 7
    cost_low: int = 1
    """... and so do its walks that went to memory, of which at most 15 are counted."""
    cost_high: int = 12
    bypass_mpki: float = 5.0
    """Every page counts as costly while the L2 cache's misses of data are more."""
    pressure_mpki: float = 5.0
    """`tlb_srrip` favours TLB blocks while the L2 TLB's misses are more."""
    max_block_ways: int = 0
    """TLB blocks that a set of the L2 cache may hold; 0 for any number."""
    cluster_pages: int = 8
    """Pages that a TLB block, or a clustered TLB entry, covers: 4, 8 or 16."""
    probe_with_l2_tlb: bool = True
    """Whether the L2 cache is probed while the L2 TLB is, not after it."""
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
    """Page walkers, so many misses at most overlap."""
    mlp: float = 1.0
    """Misses that the program keeps under way, 1 for a chain of dependent ones."""
    window_instructions: int = 224
    """What the core reorders; the public Victima artifact."""
