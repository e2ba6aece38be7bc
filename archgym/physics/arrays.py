"""Area, energy, leakage and time of memory arrays: from tables that CACTI computed at 22 nm.

`cells` interpolates between arrays of any structure, `tlb_array` and `cache_array` between those of
a TLB and a cache with one port, whose number of ways is CACTI's own choice. `at_node` takes any of
them to another technology.

Sources: `data/arrays.csv`, CACTI 6.5 inside McPAT 1.3 (ITRS 2007 high performance, 0.8 V, 380 K,
long-channel devices where timing allows), but `ram` and `cache`, which are CACTI 7 with its
`cache.cfg` at 360 K: words of 16 bytes and lines of 64 bytes, with their tags. `data/cacti.csv`,
CACTI 7 (R. Balasubramonian et al., *CACTI 7: new tools for interconnect exploration in innovative
off-chip memories*, ACM TACO 14(2), 2017), ITRS-HP, 360 K, one read-write port: TLBs have entries of
8 bytes and tags of 49 bits, and 4 to 16 ways; the TLB of 1536 entries is the array of 2048.
"""

import csv
import itertools
import math
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from importlib import resources
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from archgym.physics.economics import NODES

TABLE_NODE: Final = "22nm"
"""Node of the tables."""
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

    def at_node(self, node: str) -> "Array":
        """Return the array at another node; see `node_ratios`."""
        if node == TABLE_NODE:
            return self
        area, energy, delay = node_ratios(node)
        return Array(
            area * self.area_mm2,
            energy * self.read_pj,
            area * self.leakage_mw,
            delay * self.access_ns,
        )


def node_ratios(node: str) -> tuple[float, float, float]:
    """Return area of memory cells, energy and delay at a node, over those at 22 nm.

    Leakage goes with the area: it is that of the same devices.
    """
    old, new = NODES[TABLE_NODE], NODES[node]
    return new.memory / old.memory, new.energy / old.energy, new.delay / old.delay


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
    path = resources.files("archgym.physics").joinpath("data/cacti.csv")
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


class Cells(NamedTuple):
    """An array of memory cells: area, energies of accesses, leakage, time, and height."""

    area_mm2: float
    read_pj: float
    write_pj: float
    search_pj: float
    leakage_mw: float
    access_ns: float
    tag_pj: float
    height_um: float


@lru_cache(maxsize=4096)
def cells(structure: str, *sizes: float) -> Cells:
    """Return an array of a structure, interpolated between those that CACTI computed.

    Args:
      structure: Its name in `data/arrays.csv`.
      sizes: Values along the structure's axes, as many as it has.

    Example:
      >>> one, two = cells("l1d", 64, 8, 1), cells("l1d", 64, 8, 2)
      >>> two.area_mm2 > 2 * one.area_mm2
      True
    """
    axes, values = _arrays()[structure]
    weights = [_around(axis, size) for axis, size in zip(axes, sizes, strict=True)]
    total = np.zeros(len(Cells._fields))
    for corner in itertools.product(*weights):
        share = math.prod(weight for _, weight in corner)
        total += share * values[tuple(index for index, _ in corner)]
    return Cells(*np.exp(total).tolist())


def _around(axis: Sequence[float], size: float) -> list[tuple[int, float]]:
    """Return the entries of an axis around a size with their weights, which sum to 1."""
    if len(axis) == 1:
        return [(0, 1.0)]
    at = min(max(int(np.searchsorted(axis, size)), 1), len(axis) - 1)
    low, high = axis[at - 1], axis[at]
    share = math.log(size / low) / math.log(high / low)
    return [(at - 1, 1.0 - share), (at, share)]


@cache
def _arrays() -> Mapping[str, tuple[tuple[tuple[float, ...], ...], np.ndarray]]:
    """Return, by structure, its axes and the logarithms of its values over them."""
    path = resources.files("archgym.physics").joinpath("data/arrays.csv")
    rows: dict[str, dict[tuple[float, ...], list[float]]] = {}
    for row in csv.reader(path.read_text("utf-8").splitlines()[1:]):
        sizes = tuple(float(text) for text in row[1:4] if text)
        # An array that is not searched has no energy of a search: a billionth instead.
        values = [math.log(max(float(text), 1e-9)) for text in row[4:]]
        rows.setdefault(row[0], {})[sizes] = values
    found = {}
    for name, entries in rows.items():
        n_axes = len(next(iter(entries)))
        axes = tuple(tuple(sorted({sizes[i] for sizes in entries})) for i in range(n_axes))
        grid = [entries[sizes] for sizes in itertools.product(*axes)]
        shape = (*(len(axis) for axis in axes), len(Cells._fields))
        found[name] = axes, np.array(grid).reshape(shape)
    return found
