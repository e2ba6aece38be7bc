"""What a memory trace is like for whoever translates its addresses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from archgym.traces import AccessKind, MemoryTrace

__all__ = ["Character", "characterise"]

_PAGE_BITS, _HUGE_BITS = 12, 21
_MIB = 2**20


@final
@dataclass(frozen=True)
class Character:
    """Statistics of a trace's accesses to data, unless they say otherwise."""

    records: int
    data_accesses: int
    instructions: int
    fetches: int
    """First fetches on another page of code."""
    store_percent: float
    """Stores, and reads with a write."""
    footprint_mib: float
    """Pages of 4 KiB that are touched."""
    huge_regions: int
    """Regions of 2 MiB that are touched."""
    accesses_per_kilo_instruction: float
    page_changes_per_kilo_instruction: float
    """Accesses whose page is not that of the access before."""
    pages_for_half: int
    """The hottest pages that take half of the accesses."""

    def rows(self) -> Mapping[str, tuple[float | str, str]]:
        """Return name to (value, unit), as people read them."""
        return {
            "records": (self.records, ""),
            "data accesses": (self.data_accesses, ""),
            "instructions": (self.instructions, ""),
            "fetches on another page": (self.fetches, ""),
            "stores": (self.store_percent, "%"),
            "footprint in pages of 4 KiB": (self.footprint_mib, "MiB"),
            "regions of 2 MiB": (self.huge_regions, ""),
            "data accesses a kiloinstruction": (
                self.accesses_per_kilo_instruction,
                "1/kinstruction",
            ),
            "changes of page": (self.page_changes_per_kilo_instruction, "1/kinstruction"),
            "pages that take half of the accesses": (self.pages_for_half, ""),
        }


def characterise(trace: MemoryTrace) -> Character:
    """Return the statistics of a trace."""
    is_data = np.isin(trace.kind, (AccessKind.LOAD, AccessKind.STORE, AccessKind.MODIFY))
    kinds = trace.kind[is_data]
    pages = trace.address[is_data] >> np.uint64(_PAGE_BITS)
    touched, counts = np.unique(pages, return_counts=True)
    hottest = np.cumsum(np.sort(counts)[::-1])
    thousands = max(1, trace.n_instructions) / 1000.0
    return Character(
        records=len(trace),
        data_accesses=len(pages),
        instructions=trace.n_instructions,
        fetches=int((trace.kind == AccessKind.FETCH).sum()),
        store_percent=100.0 * float((kinds != AccessKind.LOAD).mean()) if len(kinds) else 0.0,
        footprint_mib=len(touched) * 2.0**_PAGE_BITS / _MIB,
        huge_regions=len(np.unique(touched >> np.uint64(_HUGE_BITS - _PAGE_BITS))),
        accesses_per_kilo_instruction=len(pages) / thousands,
        page_changes_per_kilo_instruction=int((np.diff(pages) != 0).sum()) / thousands,
        pages_for_half=int(np.searchsorted(hottest, len(pages) / 2.0)) + 1 if len(pages) else 0,
    )
