"""What the kernel keeps while it runs: sizes and places of its arrays, and its counts."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from archgym.errors import InvalidArgumentError
from archgym.simulators.translation.counters import CLASSES, COUNTERS
from archgym.simulators.translation.hardware import (
    CACHE_POLICIES,
    FILLS,
    MECHANISMS,
    POM_INSERTIONS,
    PREDICTORS,
    TLB_POLICIES,
    Hardware,
)
from archgym.simulators.translation.view import View

__all__ = ["COUNTS", "MACHINE", "Room", "machine", "room"]

# Codes of what the kernel branches on; the order of the names in `hardware`.
LRU: Final = 0
FIFO: Final = 1
SRRIP: Final = 2
RANDOM: Final = 3
CACHE_LRU: Final = 0
CACHE_TLB_SRRIP: Final = 2
RADIX: Final = 0
VICTIMA: Final = 1
POM_TLB: Final = 2
L3_TLB: Final = 3
CLUSTER: Final = 4
PREFETCH: Final = 5
HASH: Final = 6
PERFECT: Final = 7
FILL_BOTH: Final = 0
NEVER: Final = 0
ALWAYS: Final = 2
POM_ON_EVICTION: Final = 0

CLASS_DATA: Final = 0
CLASS_FETCH: Final = 1
CLASS_TABLE: Final = 2
CLASS_HOST_TABLE: Final = 3
CLASS_SIDE_TABLE: Final = 4
_N_CLASSES: Final = len(CLASSES)

MAX_RRPV: Final = 3  # two bits
EMPTY: Final = -1  # a way that holds nothing
N_BUCKETS: Final = 8192  # of one cycle; a walk of 24 reads takes at most 5,400 by default
WINDOW_INSTRUCTIONS: Final = 100_000

COUNTS: Final = np.dtype(
    [
        (name.replace("_data_", "_"), "<i8", (_N_CLASSES,)) if "_data_" in name else (name, "<i8")
        for name in COUNTERS
        if not any(f"cache_{other}_" in name for other in CLASSES[1:])
    ]
)
"""The counters as a record: classes of cache accesses are arrays, `l1_cache_misses` for example."""

_TLBS: Final = ("l1", "l1_huge", "l1_fetch", "l2", "l3_tlb", "pom", "nested")
_WALK_CACHES: Final = ("walk_cache_4", "walk_cache_3", "walk_cache_2")
_CACHES: Final = ("l1_cache", "fetch_cache", "l2_cache", "l3_cache")
_ARRAYS: Final = (*_TLBS, *_WALK_CACHES, *_CACHES)
_INTEGERS: Final = (
    *("l1_policy", "l2_policy", "fill", "mechanism", "cache_policy", "predictor", "pom_insertion"),
    *("l2_cycles", "l3_tlb_cycles", "walk_cache_cycles", "nested_cycles", "memory_cycles"),
    *("l1_cache_cycles", "l2_cache_cycles", "l3_cache_cycles", "probe_cycles"),
    *("l2_cache_prefetch", "insert_on_miss", "insert_on_eviction"),
    *("frequency_low", "frequency_high", "cost_low", "cost_high", "max_block_ways"),
    *("block_shift", "l2_shift", "virtualised", "window_instructions", "only_tlbs"),
    *("n_pages", "pom_line", "hash_line", "hash_lines", "history_base"),
    *("page_leaf_place", "page_region_place", "next_place", "block_place", "run_place"),
    *("leaf_nested_place", "data_nested_place", "nested_lines_place", "nested_block_place"),
    # What changes while the kernel runs.
    *("random", "touched_memory", "under_pressure", "bypasses"),
    *("window_tlb_misses", "window_cache_misses", "blocks", "reach_kib"),
    *("group_start", "group_longest", "group_cycles", "last_code"),
)

MACHINE: Final = np.dtype(
    [(f"{name}_{what}", "<i8") for name in _ARRAYS for what in ("base", "sets", "mask", "ways")]
    + [(name, "<i8") for name in _INTEGERS]
    + [("level_cycles", "<i8", (4,)), ("parallel", "<f8")]
    + [("pressure_mpki", "<f8"), ("bypass_mpki", "<f8"), ("buckets", "<i4", (N_BUCKETS,))]
)
"""A design and the scalars of its run; `mask` is sets - 1 where sets are a power of two, else -1.

`base` is a structure's place in the array of tags, `history_base` the end of the tags, and a name
with `place` says where a part of `Packed.table` begins. `buckets` counts walks by their latency.
"""


class Room(NamedTuple):
    """Arrays of one run.

    Attributes:
      tags: int32, tags of every structure.
      marks: uint8, beside each tag its RRPV, and of lines in the L2 cache whether it was hit; then,
        for each page and nested page, walks in the lower three bits and in the next four those
        that went to memory.
    """

    tags: npt.NDArray[np.int32]
    marks: npt.NDArray[np.uint8]


def machine(hardware: Hardware, view: View, *, only_tlbs: bool, capacity_gib: int) -> np.ndarray:
    """Return (1,) of `MACHINE`, a design at the start of a run.

    Raises:
      InvalidArgumentError: The design's sizes do not fit each other.
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
    made["n_pages"] = view.n_pages
    for part, place in view.packed(hardware.cluster_pages).places.items():
        if part != "regions":
            made[f"{part}_place"] = place
    line = capacity_gib * 2**24
    made["pom_line"] = line
    made["hash_line"] = line + 2**22
    # A way of the hashed table is filled to at most half: the next power of two above the lines.
    made["hash_lines"] = 1 << max(10, (2 * view.n_pages // 8).bit_length())
    return made


def room(made: np.ndarray, view: View) -> Room:
    """Return empty structures of a design."""
    n_tags = int(made[0]["history_base"])
    marks = np.full(n_tags + view.n_pages + view.n_nested, MAX_RRPV, dtype=np.uint8)
    marks[n_tags:] = 0
    return Room(np.full(n_tags, EMPTY, dtype=np.int32), marks)


def _sizes(hardware: Hardware, only_tlbs: bool) -> dict[str, tuple[int, int]]:
    """Return entries and ways of each structure; none where a design has no use for it."""
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
    return sizes


def _fill_codes(made: np.ndarray, hardware: Hardware, only_tlbs: bool) -> None:
    made["l2_policy"] = _code("tlb_policy", hardware.tlb_policy, TLB_POLICIES)
    first = hardware.l1_policy or hardware.tlb_policy
    made["l1_policy"] = _code("l1_policy", first, TLB_POLICIES)
    made["fill"] = _code("fill", hardware.fill, FILLS)
    made["cache_policy"] = _code("l2_cache_policy", hardware.l2_cache_policy, CACHE_POLICIES)
    made["predictor"] = _code("predictor", hardware.predictor, PREDICTORS)
    made["pom_insertion"] = _code("pom_insertion", hardware.pom_insertion, POM_INSERTIONS)
    mechanism = _code("mechanism", hardware.mechanism, MECHANISMS)
    if only_tlbs and mechanism not in (CLUSTER, PERFECT):
        mechanism = RADIX
    if mechanism == HASH and hardware.virtualised:
        raise InvalidArgumentError(
            "`mechanism` must not be 'hash' where `virtualised` is true: the model hashes only one "
            "page table. Choose another mechanism."
        )
    made["mechanism"] = mechanism
    made["only_tlbs"] = only_tlbs


def _fill_numbers(made: np.ndarray, hardware: Hardware) -> None:
    for name in (
        *("l2_cycles", "l3_tlb_cycles", "walk_cache_cycles", "nested_cycles", "memory_cycles"),
        *("l1_cache_cycles", "l2_cache_cycles", "l3_cache_cycles", "l2_cache_prefetch"),
        *("insert_on_miss", "insert_on_eviction", "frequency_low", "frequency_high"),
        *("cost_low", "cost_high", "max_block_ways", "virtualised", "window_instructions"),
        *("pressure_mpki", "bypass_mpki"),
    ):
        made[name] = getattr(hardware, name)
    made["block_shift"] = hardware.cluster_pages.bit_length() - 1
    made["l2_shift"] = made["block_shift"] * (made["mechanism"] == CLUSTER)
    overlap = hardware.l2_cycles if hardware.probe_with_l2_tlb else 0
    made["probe_cycles"] = max(0, hardware.l2_cache_cycles - overlap)
    made["parallel"] = max(1.0, min(float(hardware.walkers), hardware.mlp))
    steps = (hardware.l1_cache_cycles, hardware.l2_cache_cycles, hardware.l3_cache_cycles)
    made["level_cycles"] = np.cumsum([*steps, hardware.memory_cycles])
    made["random"] = 0x2545F4914F6CDD1D  # chosen: any but 0 starts a xorshift generator
    made["last_code"] = EMPTY
    made["group_start"] = -1


def _code(name: str, value: str, names: tuple[str, ...]) -> int:
    if value not in names:
        raise InvalidArgumentError(f"`{name}` must be one of {', '.join(names)}; got {value!r}.")
    return names.index(value)
