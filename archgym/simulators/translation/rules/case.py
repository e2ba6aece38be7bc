"""Measurement of TLB replacement rules: misses by cause, walks, bound of the optimum."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit import (
    InvalidArgumentError,
    SimulatorError,
    check_known,
    parse_whole,
    unknown_name,
)
from archgym.simulators.kit.rules import RuleCase, RuleSource
from archgym.simulators.translation.kernel.state import EMPTY, FIFO, LRU, MAX_RRPV, SRRIP
from archgym.simulators.translation.workloads import load
from archgym.traces.memory_trace import AccessKind

BUILT_IN: Final = {
    "lru": (LRU, False),
    "fifo": (FIFO, False),
    "srrip": (SRRIP, False),
    "next-page": (LRU, True),
}
"""Replacement of the built-in rules that know no future, and True for a prefetch."""
# chosen: the L2 TLB of a recent core, 1,536 entries with 12 ways; a walk of 100 cycles.
_DEFAULTS: Final = {
    "entries": "1536",
    "ways": "12",
    "walk_cycles": "100",
    # chosen: a prefetch is a walk like any other, so that none is free.
    "prefetch_percent": "100",
}
_MAX_ENTRIES: Final = 2**20
_PAGE_BITS: Final = 12


@final
@dataclass(frozen=True)
class TlbCase(RuleCase):
    """Pages that a program touches, and the TLB that translates them.

    Attributes:
      name: Name of the trace.
      pages: (n,) int64, page of 4 KiB of each access to data, without repeats of the same page.
      entries: Entries of the TLB.
      ways: Ways of a set.
      walk_cycles: Cycles of a page walk.
      prefetch_weight: Share of a miss that a prefetch counts in the loss.
    """

    name: str
    pages: npt.NDArray[np.int64]
    entries: int
    ways: int
    walk_cycles: float = 100.0
    prefetch_weight: float = 1.0

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes of arrays by name."""
        return {"line": self.entries, "set": self.entries // self.ways}

    @property
    def values(self) -> dict[str, int]:
        """Values of the domain by name."""
        return {"SETS": self.entries // self.ways, "WAYS": self.ways}

    def arguments(
        self, source: RuleSource | None = None, tuned: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """Return the input of the simulation, the same for every rule."""
        return {
            "pages": self.pages,
            "mapped": np.unique(self.pages),
            "entries": self.entries,
            "ways": self.ways,
        }

    def built_in_counts(self, rule: str) -> dict[str, Any]:
        """Return misses and prefetches of a built-in rule."""
        from archgym.simulators.translation.rules.bounds import replay_built_in

        if rule not in BUILT_IN:
            raise unknown_name("built-in rule", rule, BUILT_IN)
        tags = np.full(self.entries, EMPTY, dtype=np.int64)
        marks = np.full(self.entries, MAX_RRPV, dtype=np.uint8)
        # Random replacement alone would read it.
        state = np.ones(1, dtype=[("random", np.int64)])
        code, is_prefetching = BUILT_IN[rule]
        following = np.zeros(0, dtype=np.int64)
        if is_prefetching:
            following = np.where(np.isin(self.pages + 1, self.pages), self.pages + 1, -1)
        both = int(replay_built_in(self.pages, following, tags, marks, self.ways, code, state))
        return {"misses": both & 0xFFFFFFFF, "prefetches": both >> 32}

    def loss(self, counts: Mapping[str, Any]) -> float:
        """Return walks over those of the optimum."""
        walks = counts["misses"] + self.prefetch_weight * counts["prefetches"]
        return float(walks / max(1, self.bound))

    def measures(self, counts: Mapping[str, Any]) -> dict[str, Any]:
        """Return misses by cause and walks."""
        misses, prefetches = counts["misses"], counts["prefetches"]
        capacity = self.bound - self.compulsory
        of_rule = misses + prefetches - self.bound
        return {
            "uses": len(self.pages),
            "misses": misses,
            "miss_percent": 100 * misses / max(1, len(self.pages)),
            "prefetches": prefetches,
            "useful_prefetches": counts.get("useful"),
            "bound_misses": self.bound,
            "compulsory_misses": self.compulsory,
            "capacity_misses": capacity,
            "policy_misses": of_rule,
            "diagnosis": "policy" if of_rule > capacity else "working set",
            "walk_cycles": misses * self.walk_cycles,
        }

    def check(self, rule: str, counts: Mapping[str, Any]) -> None:
        """Check that each page was a hit or a miss, and that the optimum walks less."""
        if counts["hits"] + counts["misses"] != len(self.pages):
            raise SimulatorError(f"The counts of rule {rule!r} do not add up.")
        # A prefetch can move a walk, but not save one.
        walks = counts["misses"] + counts["prefetches"]
        if walks < self.bound:
            raise SimulatorError(
                f"Rule {rule!r} walks {walks} times on {self.name!r}, less than the optimum of "
                f"{self.bound}. That is a defect of the simulator; report it with the rule."
            )

    @cached_property
    def bound(self) -> int:
        """Fewest misses of any rule that fills on each miss: Belady's."""
        from archgym.simulators.translation.rules.bounds import optimum_misses

        return optimum_misses(self.pages, self.entries, self.ways)

    @cached_property
    def compulsory(self) -> int:
        """Pages that are touched at all, each of which misses once."""
        return len(np.unique(self.pages))


def open_case(name: str, options: Mapping[str, str]) -> TlbCase:
    """Return a trace with the TLB that options describe.

    Args:
      name: Workload of the simulator, or a memory trace.
      options: Values by name.

    Raises:
      UnknownNameError: An option or a workload does not exist.
      InvalidArgumentError: An option has another form.
      FileFormatError: The file is damaged or of another form.
    """
    check_known("option", options, _DEFAULTS)
    chosen = {**_DEFAULTS, **options}
    entries = parse_whole("entries", chosen["entries"], 1, _MAX_ENTRIES)
    ways = parse_whole("ways", chosen["ways"], 1, _MAX_ENTRIES)
    if entries % ways:
        raise InvalidArgumentError(f"`entries` must be whole sets of {ways} ways; got {entries}.")
    trace = load(name).trace
    is_data = trace.kind < AccessKind.INVALIDATE
    is_data &= trace.kind != AccessKind.FETCH
    pages = (trace.address[is_data] >> np.uint64(_PAGE_BITS)).astype(np.int64)
    # Repeats of a page hit the L1 TLB under every policy.
    is_new = np.concatenate([[True], pages[1:] != pages[:-1]])
    walk = parse_whole("walk_cycles", chosen["walk_cycles"], 1, _MAX_ENTRIES)
    weight = parse_whole("prefetch_percent", chosen["prefetch_percent"], 0, 100)
    return TlbCase(str(name), pages[is_new], entries, ways, float(walk), weight / 100)
