"""Area, energy, leakage and time of memory arrays, from a table that CACTI computed.

Source of `data/cacti.csv`: CACTI 7 (R. Balasubramonian et al., *CACTI 7: new tools for
interconnect exploration in innovative off-chip memories*, ACM TACO 14(2), 2017), 22 nm ITRS-HP,
360 K, one read-write port. TLBs have entries of 8 bytes and tags of 49 bits, and 4 to 16 ways; the
TLB of 1536 entries is the array of 2048. Caches have lines of 64 bytes.
"""

import csv
import math
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import NamedTuple

# The published latency of the default L2 TLB includes much more than its array. Victima's artifact:
# 1536 entries, 12 cycles.
_ANCHOR_ENTRIES, _ANCHOR_CYCLES = 1536, 12
# From that anchor to the 39 cycles of 65,536 entries in K. Kanellopoulos et al., MICRO 2023.
_CYCLES_EXPONENT = 0.314
# Fit of the table's energy over entries, for arrays smaller than the smallest one.
_ENERGY_EXPONENT = 0.62
# chosen: the time of small arrays is mostly sensing and decoding, which hardly shrink.
_TIME_EXPONENT = 0.3
# chosen: each cell of a fully associative array has a comparator of about 1.5 times its size.
_ASSOCIATIVE_FACTOR = 2.5


class Array(NamedTuple):
    """Memory array: its area, energy of one read, leakage, and time of one read."""

    area_mm2: float = 0.0
    read_pj: float = 0.0
    leakage_mw: float = 0.0
    access_ns: float = 0.0

    def scaled(self, factor: float) -> "Array":
        """Return the array with its area, energy and leakage times a factor."""
        area, read, leakage = (factor * part for part in self[:3])
        return Array(area, read, leakage, self.access_ns)


@cache
def tlb_array(entries: int, is_fully_associative: bool = False) -> Array:
    """Return the array of a TLB; one without entries costs nothing."""
    if entries == 0:
        return Array()
    found = _interpolated(_table("tlb"), entries)
    return found.scaled(_ASSOCIATIVE_FACTOR) if is_fully_associative else found


@cache
def cache_array(capacity_kib: int) -> Array:
    """Return the array of a data cache."""
    return _interpolated(_table("cache"), capacity_kib)


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


def _interpolated(table: tuple[tuple[int, Array], ...], capacity: int) -> Array:
    """Interpolate between two arrays of the table; extrapolate beyond its ends by the fits."""
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
            return Array(*(_between(*ends, share) for ends in zip(below, above, strict=True)))
    raise AssertionError(capacity)


def _between(low: float, high: float, share: float) -> float:
    return low if share == 0.0 else high if share == 1.0 else low * (high / low) ** share


@cache
def _table(structure: str) -> tuple[tuple[int, Array], ...]:
    """Return the arrays of a structure by capacity; none costs less than a smaller one."""
    path = resources.files("archgym.simulators.translation").joinpath("data/cacti.csv")
    largest = Array()
    found = []
    for row in csv.DictReader(path.read_text("utf-8").splitlines()):
        if row["structure"] != structure:
            continue
        # CACTI changes its organisation at 32,768 entries, so that a read of the array takes less
        # energy than one of half its size; a search would only exploit that.
        largest = Array(*(max(getattr(largest, name), float(row[name])) for name in Array._fields))
        found.append((int(row["capacity"]), largest))
    return tuple(found)
