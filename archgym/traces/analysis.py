"""Characteristics of a memory trace: pages used, frequency and reuse."""

from dataclasses import dataclass
from typing import final

import numpy as np

from archgym.runtime.kernels import entry_point
from archgym.traces.memory_trace import AccessKind, MemoryTrace

_PAGE_BITS = np.uint64(12)
# Entries of translation buffers whose misses are told: powers of two up to all of 64 GB.
_MAX_ENTRIES_BITS = 24
_N_WINDOWS = 100


@final
@dataclass(frozen=True, eq=False)
class Analysis:
    """Statistics over the data accesses' pages of 4 KiB.

    Attributes:
      accesses: Data accesses.
      instructions: Instructions that retired up to the last record.
      pages: Distinct pages.
      entries: (m,) int64, powers of two.
      miss_share: (m,) float64, share of accesses that miss a fully associative buffer of that many
        pages which replaces the one used longest ago, empty at first; falls.
      hot_pages: (k,) float64, shares of the pages, the most used first.
      hot_accesses: (k,) float64, shares of the accesses that go to them.
      window_instructions: Length of a window [instructions].
      window_pages: (w,) int64, distinct pages in each window.
      new_pages: (w,) int64, pages first used in each window.
    """

    accesses: int
    instructions: int
    pages: int
    entries: np.ndarray
    miss_share: np.ndarray
    hot_pages: np.ndarray
    hot_accesses: np.ndarray
    window_instructions: int
    window_pages: np.ndarray
    new_pages: np.ndarray

    def missing(self, entries: int) -> float:
        """Return share of accesses that miss `entries` pages, a power of two from `entries`."""
        return float(self.miss_share[int(np.searchsorted(self.entries, entries))])

    def share_of_hottest(self, pages: float) -> float:
        """Return share of accesses to this share of the pages, those used most."""
        return float(np.interp(pages, self.hot_pages, self.hot_accesses))


def analyse(trace: MemoryTrace) -> Analysis:
    """Return statistics of a trace; none of its arrays is empty if it has a data access."""
    is_data = (trace.kind <= AccessKind.MODIFY) & (trace.kind != AccessKind.FETCH)
    when = np.cumsum(trace.instructions, dtype=np.int64)[is_data]
    pages, ids = np.unique(trace.address[is_data] >> _PAGE_BITS, return_inverse=True)
    ids = ids.astype(np.int64)
    distances = reuse_distances(ids, len(pages))
    entries = 1 << np.arange(_MAX_ENTRIES_BITS + 1, dtype=np.int64)
    is_again = distances >= 0
    counts = np.sort(distances[is_again])
    # A page that is used again after d others is found among more than d.
    hits = np.searchsorted(counts, entries, side="left")
    uses = np.sort(np.bincount(ids, minlength=len(pages)))[::-1]
    n = max(1, len(ids))
    place = np.unique(np.geomspace(1, max(1, len(pages)), 200).astype(np.int64))
    length = max(1, -(-(trace.n_instructions + 1) // _N_WINDOWS))
    window = when // length
    in_window = np.unique(window * max(1, len(pages)) + ids)
    n_windows = int(window[-1]) + 1 if len(window) else 0
    return Analysis(
        accesses=len(ids),
        instructions=trace.n_instructions,
        pages=len(pages),
        entries=entries,
        miss_share=(n - hits) / n,
        hot_pages=place / max(1, len(pages)) if len(pages) else np.zeros(1),
        hot_accesses=np.cumsum(uses)[place - 1] / n if len(pages) else np.zeros(1),
        window_instructions=length,
        window_pages=np.bincount(in_window // max(1, len(pages)), minlength=n_windows),
        new_pages=np.bincount(window[~is_again], minlength=n_windows),
    )


def reuse_distances(ids: np.ndarray, n_ids: int) -> np.ndarray:
    """Return for each use the number of distinct ids since the previous use of its id, or -1.

    Args:
      ids: (n,) int64, from 0.
    """
    last = np.full(max(1, n_ids), -1, np.int64)
    tree = np.zeros(len(ids) + 1, np.int32)
    distances = np.zeros(len(ids), np.int64)
    find_distances(ids, last, tree, distances)
    return distances


@entry_point(seconds=2)
def find_distances(
    ids: np.ndarray, last: np.ndarray, tree: np.ndarray, distances: np.ndarray
) -> None:
    """Fill `distances` with a Fenwick tree over the places of each id's last use."""
    n = len(ids)
    n_known = 0
    for i in range(n):
        before = last[ids[i]]
        if before < 0:
            distances[i] = -1
            n_known += 1
        else:
            # Ids whose last use came up to then, itself among them.
            older = 0
            place = before + 1
            while place > 0:
                older += tree[place]
                place -= place & -place
            distances[i] = n_known - older
            place = before + 1
            while place <= n:
                tree[place] -= 1
                place += place & -place
        last[ids[i]] = i
        place = i + 1
        while place <= n:
            tree[place] += 1
            place += place & -place
