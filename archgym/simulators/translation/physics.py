"""Area, energy and latencies of a design, from its arrays.

`area_mm2` is the area of a slice of a processor: one core, its caches and its TLBs. Only structures
that designs change are computed; the rest of the slice is 32 mm2 less those of the default design.
Absolute power may be wrong by a factor of two; only ratios between designs are meaningful.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final, final

import numpy as np

from archgym.simulators.translation.cacti import (
    Array,
    cache_array,
    published_cycles,
    ratio_cycles,
    tlb_array,
)
from archgym.simulators.translation.counters import CLASSES, COLUMN
from archgym.simulators.translation.hardware import Hardware

CLOCK_GHZ: Final = 2.6
"""Clock of the core; the public Victima artifact."""
SLICE_MM2: Final = 32.0
"""chosen: one core with its caches of a server processor of the 22 nm generation."""
# chosen: DDR4 takes about 15 nJ for the activation, transfer and precharge of 64 B.
_MEMORY_READ_PJ: Final = 15_000.0
# Two more bits in the tag of each line of the L2 cache: 64 Kibit in 2 MiB, of 22 nm SRAM with its
# share of the periphery.
_VICTIMA_TAG_MM2_PER_KIB: Final = 0.015 / 2048
# The predictor: 24 bytes of counters of the published design, at the density of those tags, and
# four comparators.
_VICTIMA_PREDICTOR_MM2: Final = 0.015 * (24 * 8) / 65536
# A clustered entry has a valid bit for each page in addition to 64 data and 49 tag bits.
_ENTRY_BITS: Final = 64 + 49
# Victima's artifact; 512 KiB by the fit 12 x MiB^0.44.
_L2_CACHE_CYCLES: Final = {512: 9, 1024: 12, 2048: 16, 4096: 22, 8192: 30}


def l2_cache_cycles(capacity_kib: int) -> int:
    """Return the cycles of a hit in an L2 cache of 512, 1024, 2048, 4096 or 8192 KiB."""
    return _L2_CACHE_CYCLES[capacity_kib]


def l2_tlb_cycles(entries: int, model: str) -> int:
    """Return the cycles of a look-up in an L2 TLB.

    The model is `published`, `cacti-ratio`, or `ideal`: the default latency at any size.
    """
    if model == "ideal":
        return Hardware().l2_cycles
    return published_cycles(entries) if model == "published" else ratio_cycles(entries)


@final
@dataclass(frozen=True)
class _Structures:
    """Arrays of a design; a look-up reads each of these once."""

    l1_fetch_tlb: Array
    l1_tlb: Array
    """TLBs of both page sizes, which are read together."""
    l2_tlb: Array
    walk_caches: Array
    """Caches of all three levels, which are read together."""
    nested_tlb: Array
    l3_tlb: Array
    l2_cache: Array
    additions: Array
    """Area of the mechanism in other structures, whose energy includes it."""

    @property
    def translation(self) -> tuple[Array, ...]:
        """Arrays that only translate: all except the L2 cache."""
        return (
            self.l1_fetch_tlb, self.l1_tlb, self.l2_tlb, self.walk_caches, self.nested_tlb,
            self.l3_tlb, self.additions,
        )  # fmt: skip


def area_mm2(hardware: Hardware) -> float:
    """Return the area of the slice with this design."""
    own, default = _structures(hardware), _structures(Hardware())
    return SLICE_MM2 + (_area(own) - _area(default))


def translation_area_mm2(hardware: Hardware) -> float:
    """Return the area of TLBs, walk caches and the mechanism's additions."""
    return sum(array.area_mm2 for array in _structures(hardware).translation)


def power_mw(hardware: Hardware, counters: np.ndarray, cycles: float) -> float:
    """Return the average power of TLBs, caches and reads of memory: leakage and energy over time.

    Args:
      hardware: The design.
      counters: (n_counters,) int64, its counts.
      cycles: Its cycles, above 0.
    """
    parts = _structures(hardware)
    l1_cache, l3_cache = cache_array(hardware.l1_cache_kib), cache_array(hardware.l3_cache_kib)

    def count(name: str) -> int:
        return int(counters[COLUMN[name]])

    def missed(level: str) -> int:
        return sum(count(f"{level}_{name}_misses") for name in CLASSES)

    l2_lookups = count("l2_hits") + count("l2_misses")
    fills = count("l2_misses") + count("prefetch_fills")
    walks = count("walks") + count("background_walks")
    inserts = count("block_inserts_on_miss") + count("block_inserts_on_eviction")
    # chosen: a probe for TLB blocks costs one read of the L2 cache. Its tags alone would be
    # cheaper, but two page sizes are probed. A fill or an insert costs as much as a read.
    probes = count("l2_misses") if hardware.mechanism == "victima" else 0
    l1_cache_reads = sum(count(f"l1_cache_{name}_reads") for name in CLASSES)
    energy_pj = (
        count("accesses") * parts.l1_tlb.read_pj
        + count("fetches") * parts.l1_fetch_tlb.read_pj
        + (l2_lookups + fills) * parts.l2_tlb.read_pj
        + walks * parts.walk_caches.read_pj
        + (count("nested_hits") + count("nested_misses")) * parts.nested_tlb.read_pj
        + count("l2_misses") * parts.l3_tlb.read_pj
        + l1_cache_reads * l1_cache.read_pj
        + (missed("l1_cache") + probes + inserts) * parts.l2_cache.read_pj
        + (missed("l2_cache") + count("l2_cache_prefetches")) * l3_cache.read_pj
        + missed("l3_cache") * _MEMORY_READ_PJ
    )
    # One picojoule per nanosecond is one milliwatt.
    return leakage_mw(hardware) + energy_pj / (cycles / CLOCK_GHZ)


def leakage_mw(hardware: Hardware) -> float:
    """Return the part of the power that TLBs and caches leak."""
    parts = _structures(hardware)
    l1_cache, l3_cache = cache_array(hardware.l1_cache_kib), cache_array(hardware.l3_cache_kib)
    leaked = sum(array.leakage_mw for array in (*parts.translation, parts.l2_cache))
    # The L1 caches of instructions and data leak the same.
    return leaked + (2 * l1_cache.leakage_mw + l3_cache.leakage_mw)


def memory_mw(counters: np.ndarray, cycles: float) -> float:
    """Return the part of the power that reads of memory take."""
    reads = sum(int(counters[COLUMN[f"l3_cache_{name}_misses"]]) for name in CLASSES)
    return reads * _MEMORY_READ_PJ / (cycles / CLOCK_GHZ)


def _area(parts: _Structures) -> float:
    return sum(array.area_mm2 for array in (*parts.translation, parts.l2_cache))


@cache
def _additions(mechanism: str, l2_cache_kib: int) -> Array:
    if mechanism != "victima":
        return Array()
    area = _VICTIMA_TAG_MM2_PER_KIB * l2_cache_kib + _VICTIMA_PREDICTOR_MM2
    base = cache_array(l2_cache_kib)
    return Array(area, 0.0, base.leakage_mw * area / base.area_mm2, 0.0)


def _structures(hardware: Hardware) -> _Structures:
    l2_tlb = _tlb(hardware.l2_entries, hardware.l2_ways)
    if hardware.mechanism == "cluster":
        l2_tlb = l2_tlb.scaled(1.0 + hardware.cluster_pages / _ENTRY_BITS)
    has_l3_tlb = hardware.mechanism == "l3_tlb"
    return _Structures(
        l1_fetch_tlb=_tlb(hardware.l1_fetch_entries, hardware.l1_fetch_ways),
        l1_tlb=_together(
            _tlb(hardware.l1_entries, hardware.l1_ways),
            _tlb(hardware.l1_huge_entries, hardware.l1_huge_ways),
        ),
        l2_tlb=l2_tlb,
        walk_caches=_together(
            tlb_array(hardware.walk_cache_4_entries),
            tlb_array(hardware.walk_cache_3_entries),
            tlb_array(hardware.walk_cache_2_entries),
        ),
        nested_tlb=_tlb(hardware.nested_entries if hardware.virtualised else 0, 0),
        l3_tlb=_tlb(hardware.l3_tlb_entries, hardware.l3_tlb_ways) if has_l3_tlb else tlb_array(0),
        l2_cache=cache_array(hardware.l2_cache_kib),
        additions=_additions(hardware.mechanism, hardware.l2_cache_kib),
    )


def _tlb(entries: int, ways: int) -> Array:
    return tlb_array(entries, is_fully_associative=entries > 0 and ways == entries)


def _together(*arrays: Array) -> Array:
    area, read, leakage, access = zip(*arrays, strict=True)
    return Array(sum(area), sum(read), sum(leakage), max(access))
