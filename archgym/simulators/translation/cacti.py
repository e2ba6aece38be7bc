"""What memory arrays cost: area, energy, leakage and time, from a table that CACTI computed.

Source of `data/cacti.csv`: CACTI 7 (R. Balasubramonian et al., *CACTI 7: new tools for
interconnect exploration in innovative off-chip memories*, ACM TACO 14(2), 2017), 22 nm ITRS-HP,
360 K, one read-write port. TLBs have entries of 8 bytes and tags of 49 bits, and 4 to 16 ways; the
TLB of 1536 entries is the array of 2048. Caches have lines of 64 bytes.
"""

import csv
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import final

__all__ = ["Array", "cache_array", "published_cycles", "ratio_cycles", "tlb_array"]

# The published latency of the default L2 TLB contains far more than its array; [A] of the Victima
# artifact: 1536 entries, 12 cycles.
_ANCHOR_ENTRIES, _ANCHOR_CYCLES = 1536, 12
# From that anchor to the 39 cycles of 65,536 entries in K. Kanellopoulos et al., MICRO 2023.
_CYCLES_EXPONENT = 0.314
# Fit of the table's energy over entries, used below its smallest array.
_ENERGY_EXPONENT = 0.62
# chosen: time of small arrays is mostly sensing and decoding, which hardly shrink.
_TIME_EXPONENT = 0.3
# chosen: each cell of a fully associative array has a comparator, some 1.5 times the cell's size.
_ASSOCIATIVE_FACTOR = 2.5


@final
@dataclass(frozen=True)
class Array:
    """One memory array: its area, energy of one read, leakage, and time of one read."""

    area_mm2: float
    read_pj: float
    leakage_mw: float
    access_ns: float

    def scaled(self, factor: float) -> "Array":
        """Return the array with its area, energy and leakage times a factor."""
        return Array(
            self.area_mm2 * factor,
            self.read_pj * factor,
            self.leakage_mw * factor,
            self.access_ns,
        )


@cache
def tlb_array(entries: int, is_fully_associative: bool = False) -> Array:
    """Return a TLB of so many entries; one of none costs nothing."""
    if entries == 0:
        return Array(0.0, 0.0, 0.0, 0.0)
    found = _interpolated(_table("tlb"), entries)
    return found.scaled(_ASSOCIATIVE_FACTOR) if is_fully_associative else found


@cache
def cache_array(capacity_kib: int) -> Array:
    """Return a data cache of so many KiB."""
    return _interpolated(_table("cache"), capacity_kib)


def published_cycles(entries: int) -> int:
    """Cycles of a look-up in an L2 TLB, through the published latencies of 1536 and 65,536 entries.

    >>> [published_cycles(n) for n in (1536, 4096, 65536)]
    [12, 16, 39]
    """
    return round(_ANCHOR_CYCLES * math.pow(entries / _ANCHOR_ENTRIES, _CYCLES_EXPONENT))


def ratio_cycles(entries: int) -> int:
    """Return cycles of a look-up in an L2 TLB, if the whole latency grows as the array's does.

    >>> [ratio_cycles(n) for n in (1536, 65536, 131072)]
    [12, 55, 77]
    """
    ratio = tlb_array(entries).access_ns / tlb_array(_ANCHOR_ENTRIES).access_ns
    return round(_ANCHOR_CYCLES * ratio)


def _interpolated(table: tuple[tuple[int, Array], ...], capacity: int) -> Array:
    """Between two arrays of the table in ratio; beyond its ends by the fits."""
    first, last = table[0], table[-1]
    if capacity <= first[0] or capacity > last[0]:
        size, end = first if capacity <= first[0] else last
        ratio = capacity / size
        return Array(
            end.area_mm2 * ratio,
            end.read_pj * ratio**_ENERGY_EXPONENT,
            end.leakage_mw * ratio,
            end.access_ns * ratio**_TIME_EXPONENT,
        )
    for (small, below), (large, above) in pairwise(table):
        if capacity <= large:
            share = math.log(capacity / small) / math.log(large / small)
            return Array(
                _between(below.area_mm2, above.area_mm2, share),
                _between(below.read_pj, above.read_pj, share),
                _between(below.leakage_mw, above.leakage_mw, share),
                _between(below.access_ns, above.access_ns, share),
            )
    raise AssertionError(capacity)


def _between(low: float, high: float, share: float) -> float:
    return low if share == 0.0 else high if share == 1.0 else low * (high / low) ** share


@cache
def _table(structure: str) -> tuple[tuple[int, Array], ...]:
    """Return the arrays of one kind by capacity, each costing no less than a smaller one."""
    path = resources.files("archgym.simulators.translation").joinpath("data/cacti.csv")
    largest = Array(0.0, 0.0, 0.0, 0.0)
    found = []
    for row in csv.DictReader(path.read_text("utf-8").splitlines()):
        if row["structure"] != structure:
            continue
        # CACTI changes its organisation at 32,768 entries, so that a read of the array takes less
        # energy than one of half its size; a search would only exploit that.
        largest = Array(
            max(largest.area_mm2, float(row["area_mm2"])),
            max(largest.read_pj, float(row["read_pj"])),
            max(largest.leakage_mw, float(row["leakage_mw"])),
            max(largest.access_ns, float(row["access_ns"])),
        )
        found.append((int(row["capacity"]), largest))
    return tuple(found)
