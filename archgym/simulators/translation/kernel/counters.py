"""Counters of the kernel, in the order of its columns."""

from typing import Final

CLASSES: Final = ("data", "fetch", "table", "host_table", "side_table")
"""Classes of accesses to a data cache.

Data and instructions of the program; entries of its page table, of the host's page table under
virtualisation, and of the table in memory or the hashed page table of a mechanism.
"""

COUNTERS: Final = (
    # The trace after warm-up, the same for every design.
    "instructions",
    "accesses",  # of data; one that crosses pages counts twice
    "fetches",
    # TLBs. Every L1 miss is a look-up in the L2 TLB.
    "l1_misses",
    "l1_huge_misses",  # those of l1_misses on 2 MiB pages
    "l1_fetch_misses",
    "l2_hits",
    "l2_misses",
    "l2_evictions",
    "l3_tlb_hits",
    "pom_hits",
    "block_hits",
    "prefetch_fills",
    # Walks. walks = l2_misses - l3_tlb_hits - pom_hits - block_hits.
    "walks",
    "background_walks",  # for TLB blocks and prefetches, which nothing waits for
    "walk_cycles",  # of walks that were waited for
    "walk_p50_cycles",
    "walk_p95_cycles",
    "walk_p99_cycles",
    "walk_max_cycles",
    "walks_to_memory",  # walks that read memory at least once
    "walk_reads",  # entries of page tables, the host's too
    "miss_cycles",  # after the look-up in the L2 TLB
    "exposed_miss_cycles",  # the part that does not overlap; equal for one walker
    # Virtualised.
    "nested_hits",
    "nested_misses",
    "nested_block_hits",
    "host_walks",
    "background_host_walks",
    "host_walk_cycles",
    # TLB blocks, nested ones included.
    "predictions",
    "predicted_costly",
    "predictions_bypassed",
    "block_inserts_on_miss",
    "block_inserts_on_eviction",
    "block_evictions",
    "block_invalidations",
    # Samples every 100,000 instructions.
    "samples",
    "sampled_blocks",  # summed over samples
    "sampled_reach_kib",  # summed over samples
    "sampled_pressure",  # samples with the L2 TLB under pressure
    # Data caches: look-ups and misses by class. A miss in L1 is a look-up in L2, and so on.
    *(f"l1_cache_{name}_reads" for name in CLASSES),
    *(f"l1_cache_{name}_misses" for name in CLASSES),
    *(f"l2_cache_{name}_misses" for name in CLASSES),
    *(f"l3_cache_{name}_misses" for name in CLASSES),
    "l2_cache_prefetches",
    "l2_cache_evictions",  # of lines
    "l2_cache_unused_evictions",  # of lines without a hit
    "data_cycles",  # beyond the L1 cache, of data and fetches
    # Memory, if it has rows.
    "memory_row_hits",
    "memory_row_conflicts",
    "memory_wait_cycles",  # for banks and buses
    # A core with a reorder buffer.
    "core_cycles",  # of the whole run
    "translation_stall_cycles",  # in which the oldest instruction waited for a translation
)
"""Names of the columns that `run` returns, all whole numbers."""

COLUMN: Final = {name: place for place, name in enumerate(COUNTERS)}
"""Index of each counter's column."""
