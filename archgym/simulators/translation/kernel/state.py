"""State of the kernel while it runs: sizes and positions of its arrays, and its counts."""

from typing import Any, Final, NamedTuple

import numpy as np

from archgym.simulators.kit import InvalidArgumentError
from archgym.simulators.translation.kernel.counters import CLASSES, COUNTERS
from archgym.simulators.translation.kernel.view import View
from archgym.simulators.translation.machine import (
    CACHE_POLICIES,
    FILLS,
    MECHANISMS,
    MEMORIES,
    POM_INSERTIONS,
    PREDICTORS,
    PREFETCHERS,
    TLB_POLICIES,
    Hardware,
)

# Codes of the kernel, in the order of the names in `hardware` and `counters`.
LRU, FIFO, SRRIP, RANDOM = range(4)
CACHE_LRU, CACHE_TLB_SRRIP = 0, 2
RADIX, VICTIMA, POM_TLB, L3_TLB, CLUSTER, PREFETCH, HASH, PERFECT = range(8)
FILL_BOTH = 0
NEVER, ALWAYS = 0, 2
POM_ON_EVICTION = 0
NEXT_LINE, STREAMER = 1, 2
CLASS_DATA, CLASS_FETCH, CLASS_TABLE, CLASS_HOST_TABLE, CLASS_SIDE_TABLE = range(5)

MAX_RRPV: Final = 3  # two bits
EMPTY: Final = -1  # a way that holds nothing
N_BUCKETS: Final = 8192  # of one cycle; a walk of 24 reads takes at most 5,400 by default
WINDOW_INSTRUCTIONS: Final = 100_000
CHANNELS: Final = 3
"""Channels of memory, as in the public Victima artifact: 57.6 GB/s are three of 19.2 GB/s."""
BANKS_PER_CHANNEL: Final = 16
"""JEDEC JESD79-4, x8 devices: four groups of four banks; one rank."""
_BANKS: Final = CHANNELS * BANKS_PER_CHANNEL
# chosen: more reads than can overlap in one bank or on one bus, with 16 misses in flight.
HELD_OF_BANK: Final = 8
HELD_OF_BUS: Final = 32
REORDER_RING: Final = 1024  # a power of two; the oldest access leaves a full ring at once
MAX_CHAINS: Final = 16  # chosen: as many as the L1 cache has miss registers in ChampSim's default

COUNTS: Final = np.dtype(
    [
        (name.replace("_data_", "_"), "<i8", (len(CLASSES),)) if "_data_" in name else (name, "<i8")
        for name in COUNTERS
        if not any(f"cache_{other}_" in name for other in CLASSES[1:])
    ]
)
"""Record of the counters; classes of cache accesses are arrays, such as `l1_cache_misses`."""

# chosen: pages that the streamer follows at a time, two tags each: the page and its last line.
_STREAMS: Final = 128
_TLBS: Final = ("l1", "l1_huge", "l1_fetch", "l2", "l3_tlb", "pom", "nested")
_WALK_CACHES: Final = ("walk_cache_4", "walk_cache_3", "walk_cache_2")
_CACHES: Final = ("l1_cache", "fetch_cache", "l2_cache", "l3_cache")
_ARRAYS: Final = (*_TLBS, *_WALK_CACHES, *_CACHES, "rows", "streams")
_INTEGERS: Final = (
    "l1_policy", "l2_policy", "fill", "mechanism", "cache_policy", "predictor", "pom_insertion",
    "l2_cycles", "l3_tlb_cycles", "walk_cache_cycles", "nested_cycles", "memory_cycles",
    "memory_overhead_cycles", "l1_cache_cycles", "l2_cache_cycles", "l3_cache_cycles",
    "probe_cycles", "prefetcher", "insert_on_miss", "insert_on_eviction", "has_rows",
    "reorder_entries", "free_l2_tlb", "free_tables", "free_data", "chains", "walkers",
    "frequency_low", "frequency_high", "cost_low", "cost_high", "max_block_ways",
    "block_shift", "l2_shift", "virtualised", "window_instructions", "only_tlbs",
    "n_pages", "pom_line", "hash_line", "hash_lines", "history_base",
    "page_leaf_place", "page_region_place", "next_place", "block_place", "run_place",
    "leaf_nested_place", "data_nested_place", "nested_lines_place", "nested_block_place",
    # State that changes while the kernel runs.
    "random", "touched_memory", "under_pressure", "bypasses",
    "window_tlb_misses", "window_cache_misses", "blocks", "reach_kib",
    "group_start", "group_longest", "group_cycles", "last_code",
    "memory_latency", "dispatched_instruction", "oldest", "newest", "next_chain",
    "walker",
)  # fmt: skip
_TIMES: Final = (
    # Times of the core with a reorder buffer [cycles].
    "dispatch_cycles", "clock", "dispatched", "retired", "counted_from",
)  # fmt: skip

MACHINE: Final = np.dtype(
    [(f"{name}_{what}", "<i8") for name in _ARRAYS for what in ("base", "sets", "mask", "ways")]
    + [(name, "<i8") for name in _INTEGERS]
    + [("level_cycles", "<i8", (4,)), ("parallel", "<f8")]
    + [("pressure_mpki", "<f8"), ("bypass_mpki", "<f8"), ("buckets", "<i4", (N_BUCKETS,))]
    + [(name, "<f8") for name in _TIMES]
    + [("held_instruction", "<i8", (REORDER_RING,)), ("held_until", "<f8", (REORDER_RING,))]
    + [("chain_end", "<f8", (MAX_CHAINS,)), ("walker_free", "<f8", (MAX_CHAINS,))]
    + [("bank_times", "<f8", (_BANKS * HELD_OF_BANK,)), ("bank_next", "<i8", (_BANKS,))]
    + [("bus_times", "<f8", (CHANNELS * HELD_OF_BUS,)), ("bus_next", "<i8", (CHANNELS,))]
    + [("bank_ready", "<f8", (_BANKS,)), ("bus_ready", "<f8", (CHANNELS,))]
)
"""Record of a design and the scalars of its run.

`mask` is sets - 1 if the number of sets is a power of two, else -1. `base` is the start of a
structure in the array of tags, `history_base` the end of the tags. A name with `place` is the start
of a part of `Packed.table`. `buckets` counts walks by latency. `held_instruction` and `held_until`
are a ring of the long accesses in the reorder buffer, and when each retires.
"""


class Run(NamedTuple):
    """Memory of one run as the helpers of the kernel take it.

    Attributes:
      m: Record of `MACHINE`.
      c: Record of `COUNTS`.
      tags: int32, tags of every structure.
      marks: uint8. First the RRPV of each tag, and for lines in the L2 cache whether they were hit.
        Then, for each page and nested page, its walks in the lower three bits and its walks that
        went to memory in the next four.
      t: Table of `Packed`.
      numbers: Numbers of `Packed`.
    """

    m: Any
    c: Any
    tags: Any
    marks: Any
    t: Any
    numbers: Any


def machine(hardware: Hardware, view: View, *, only_tlbs: bool, capacity_gib: int) -> np.ndarray:
    """Return (1,) of `MACHINE`, a design at the start of a run.

    Raises:
      InvalidArgumentError: Sizes of the design are inconsistent.
    """
    pages = hardware.cluster_pages
    if not 1 <= pages <= 512 or pages & (pages - 1):
        raise InvalidArgumentError(
            f"`cluster_pages` must be a power of two, 1 to 512; got {pages!r}."
        )
    made = np.zeros(1, dtype=MACHINE)
    tags = 0
    for name, (entries, ways) in _sizes(hardware, only_tlbs).items():
        if ways < 1 or entries < 0 or entries % ways:
            raise InvalidArgumentError(
                f"`{name}` must have ways that divide its entries; got {entries} entries and "
                f"{ways} ways."
            )
        sets = entries // ways
        made[f"{name}_base"] = tags
        made[f"{name}_sets"] = sets
        made[f"{name}_mask"] = sets - 1 if sets & (sets - 1) == 0 else -1
        made[f"{name}_ways"] = ways
        tags += entries
    made["history_base"] = tags
    _fill_codes(made, hardware, only_tlbs)
    _fill_numbers(made, hardware)
    if only_tlbs:
        made["reorder_entries"] = 0
    made["n_pages"] = view.n_pages
    for part, place in view.packed(hardware.cluster_pages).places.items():
        if part != "regions":
            made[f"{part}_place"] = place
    line = capacity_gib * 2**24
    made["pom_line"] = line
    made["hash_line"] = line + 2**22
    # A way of the hashed table is at most half full: the next power of two above the lines.
    made["hash_lines"] = 1 << max(10, (2 * view.n_pages // 8).bit_length())
    return made


def empty_structures(made: np.ndarray, view: View) -> tuple[np.ndarray, np.ndarray]:
    """Return the tags and marks of a design without any entry."""
    n_tags = int(made[0]["history_base"])
    marks = np.full(n_tags + view.n_pages + view.n_nested, MAX_RRPV, dtype=np.uint8)
    marks[n_tags:] = 0
    return np.full(n_tags, EMPTY, dtype=np.int32), marks


def _sizes(hardware: Hardware, only_tlbs: bool) -> dict[str, tuple[int, int]]:
    """Return entries and ways of each structure; no entries if the design does not use it."""
    h = hardware
    sizes = {
        "l1": (h.l1_entries, h.l1_ways),
        "l1_huge": (h.l1_huge_entries, h.l1_huge_ways),
        "l1_fetch": (h.l1_fetch_entries, h.l1_fetch_ways),
        "l2": (h.l2_entries, h.l2_ways),
        "l3_tlb": (h.l3_tlb_entries * (h.mechanism == "l3_tlb"), h.l3_tlb_ways),
        "pom": (h.pom_entries * (h.mechanism == "pom_tlb"), h.pom_ways),
        "nested": (h.nested_entries * h.virtualised, h.nested_ways),
    }
    for level in (4, 3, 2):
        entries = getattr(h, f"walk_cache_{level}_entries")
        sizes[f"walk_cache_{level}"] = (entries, min(h.walk_cache_ways, max(entries, 1)))
    lines = 0 if only_tlbs else 16  # of 64 bytes in a KiB
    sizes["l1_cache"] = sizes["fetch_cache"] = (lines * h.l1_cache_kib, h.l1_cache_ways)
    sizes["l2_cache"] = (lines * h.l2_cache_kib, h.l2_cache_ways)
    sizes["l3_cache"] = (lines * h.l3_cache_kib, h.l3_cache_ways)
    sizes["rows"] = (_BANKS * (h.memory == "rows"), 1)
    sizes["streams"] = (_STREAMS * (h.l2_cache_prefetcher == "streamer"), 1)
    return sizes


def _fill_codes(made: np.ndarray, hardware: Hardware, only_tlbs: bool) -> None:
    h = hardware
    made["l2_policy"] = _code("tlb_policy", h.tlb_policy, TLB_POLICIES)
    made["l1_policy"] = _code("l1_policy", h.l1_policy or h.tlb_policy, TLB_POLICIES)
    made["fill"] = _code("fill", h.fill, FILLS)
    made["cache_policy"] = _code("l2_cache_policy", h.l2_cache_policy, CACHE_POLICIES)
    made["predictor"] = _code("predictor", h.predictor, PREDICTORS)
    made["pom_insertion"] = _code("pom_insertion", h.pom_insertion, POM_INSERTIONS)
    mechanism = _code("mechanism", h.mechanism, MECHANISMS)
    if only_tlbs and mechanism not in (CLUSTER, PERFECT):
        mechanism = RADIX
    if mechanism == HASH and hardware.virtualised:
        raise InvalidArgumentError(
            "`mechanism` must not be 'hash' if `virtualised` is true: the model hashes only one "
            "page table. Choose another mechanism."
        )
    made["mechanism"] = mechanism
    made["only_tlbs"] = only_tlbs
    made["has_rows"] = _code("memory", h.memory, MEMORIES)
    made["prefetcher"] = _code("l2_cache_prefetcher", h.l2_cache_prefetcher, PREFETCHERS)


def _fill_numbers(made: np.ndarray, hardware: Hardware) -> None:
    for name in (
        "l2_cycles", "l3_tlb_cycles", "walk_cache_cycles", "nested_cycles", "memory_cycles",
        "l1_cache_cycles", "l2_cache_cycles", "l3_cache_cycles", "memory_overhead_cycles",
        "free_l2_tlb", "free_tables", "free_data", "reorder_entries", "dispatch_cycles",
        "insert_on_miss", "insert_on_eviction", "frequency_low", "frequency_high", "cost_low",
        "cost_high", "max_block_ways", "virtualised", "window_instructions", "pressure_mpki",
        "bypass_mpki",
    ):  # fmt: skip
        made[name] = getattr(hardware, name)
    made["block_shift"] = hardware.cluster_pages.bit_length() - 1
    made["l2_shift"] = made["block_shift"] * (made["mechanism"] == CLUSTER)
    overlap = hardware.l2_cycles if hardware.probe_with_l2_tlb else 0
    made["probe_cycles"] = max(0, hardware.l2_cache_cycles - overlap) * (not hardware.free_tables)
    made["parallel"] = max(1.0, min(float(hardware.walkers), hardware.mlp))
    made["walkers"] = max(1, min(MAX_CHAINS, hardware.walkers))
    made["chains"] = max(1, min(MAX_CHAINS, round(hardware.mlp)))
    steps = (hardware.l1_cache_cycles, hardware.l2_cache_cycles, hardware.l3_cache_cycles)
    made["level_cycles"] = np.cumsum([*steps, hardware.memory_cycles])
    # Before any time at which a read can arrive.
    made["bank_times"] = made["bus_times"] = -np.inf
    made["random"] = 0x2545F4914F6CDD1D  # chosen: any but 0 starts a xorshift generator
    made["last_code"] = EMPTY
    made["group_start"] = -1


def _code(name: str, value: str, names: tuple[str, ...]) -> int:
    if value not in names:
        raise InvalidArgumentError(f"`{name}` must be one of {', '.join(names)}; got {value!r}.")
    return names.index(value)
