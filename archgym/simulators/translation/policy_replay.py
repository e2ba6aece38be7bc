"""Measurement of TLB replacement policies: misses by cause, walks, bound of the optimum."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from archgym.errors import InvalidArgumentError, SimulatorError, unknown_name
from archgym.rules.language import PolicySource, bounds_of
from archgym.rules.sandbox import PolicyRunner
from archgym.simulators.translation.state import EMPTY, FIFO, LRU, MAX_RRPV, SRRIP
from archgym.simulators.translation.workloads import load
from archgym.traces.memory_trace import AccessKind

BUILT_IN: Final = {
    "lru": (LRU, False),
    "fifo": (FIFO, False),
    "srrip": (SRRIP, False),
    "next-page": (LRU, True),
}
"""Replacement of the built-in policies that know no future, and True for a prefetch."""
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
class TlbCase:
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

    def arguments(self) -> dict[str, Any]:
        """Return the input of the simulation."""
        return {
            "pages": self.pages,
            "mapped": np.unique(self.pages),
            "entries": self.entries,
            "ways": self.ways,
            "sizes": self.sizes,
            "values": self.values,
        }

    @cached_property
    def bound(self) -> int:
        """Fewest misses of any policy that fills on each miss: Belady's."""
        from archgym.simulators.translation.policy_bounds import optimum_misses

        return optimum_misses(self.pages, self.entries, self.ways)

    @cached_property
    def compulsory(self) -> int:
        """Pages that are touched at all, each of which misses once."""
        return len(np.unique(self.pages))


@final
@dataclass(frozen=True, kw_only=True)
class TlbResult:
    """Measures of a policy on one case."""

    case: TlbCase
    policy: str
    misses: int = 0
    prefetches: int = 0
    useful: int | None = None
    state_bits: int | None = None
    operations: Mapping[str, int] | None = None
    problem: str = ""

    @property
    def loss(self) -> float:
        """Walks over those of the optimum; infinite for an infeasible policy."""
        walks = self.misses + self.case.prefetch_weight * self.prefetches
        return math.inf if self.problem else walks / max(1, self.case.bound)

    def to_json(self) -> dict[str, Any]:
        """Return the measures as JSON."""
        case = self.case
        if self.problem:
            return {"trace": case.name, "policy": self.policy, "problem": self.problem}
        capacity = case.bound - case.compulsory
        of_policy = self.misses + self.prefetches - case.bound
        return {
            "trace": case.name,
            "policy": self.policy,
            "uses": len(case.pages),
            "misses": self.misses,
            "miss_percent": 100 * self.misses / max(1, len(case.pages)),
            "prefetches": self.prefetches,
            "useful_prefetches": self.useful,
            "bound_misses": case.bound,
            "compulsory_misses": case.compulsory,
            "capacity_misses": capacity,
            "policy_misses": of_policy,
            "diagnosis": "policy" if of_policy > capacity else "working set",
            "walk_cycles": self.misses * case.walk_cycles,
            "state_bits": self.state_bits,
            "operations": None if self.operations is None else dict(self.operations),
        }


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
    for option in options:
        if option not in _DEFAULTS:
            raise unknown_name("option", option, _DEFAULTS)
    chosen = {**_DEFAULTS, **options}
    entries, ways = _whole("entries", chosen["entries"]), _whole("ways", chosen["ways"])
    if entries % ways:
        raise InvalidArgumentError(f"`entries` must be whole sets of {ways} ways; got {entries}.")
    trace = load(name).trace
    is_data = trace.kind < AccessKind.INVALIDATE
    is_data &= trace.kind != AccessKind.FETCH
    pages = (trace.address[is_data] >> np.uint64(_PAGE_BITS)).astype(np.int64)
    # Repeats of a page hit the L1 TLB under every policy.
    is_new = np.concatenate([[True], pages[1:] != pages[:-1]])
    walk = _whole("walk_cycles", chosen["walk_cycles"])
    weight = chosen["prefetch_percent"]
    if not weight.isdecimal() or int(weight[:12]) > 100:
        raise InvalidArgumentError(f"`prefetch_percent` must be 0 to 100; got {weight!r}.")
    return TlbCase(str(name), pages[is_new], entries, ways, float(walk), int(weight) / 100)


def _whole(name: str, text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:12]) <= _MAX_ENTRIES:
        raise InvalidArgumentError(f"`{name}` must be 1 to {_MAX_ENTRIES}; got {text!r}.")
    return int(text)


def evaluate_policy(
    source: PolicySource,
    case: TlbCase,
    runner: PolicyRunner,
    tuned: Mapping[str, int] | None = None,
) -> TlbResult:
    """Return the measures of a policy on a case; a policy that fails is infeasible.

    Raises:
      SimulatorError: The policy misses less than the optimum; a defect of the simulator.
    """
    name = source.doc.split("\n")[0].rstrip(".") or source.path
    operations = bounds_of(source, case.values)
    counts = runner.run(source.text, case.arguments(), tuned)
    if "problem" in counts:
        return TlbResult(case=case, policy=name, problem=str(counts["problem"]))
    misses, prefetches = int(counts["misses"]), int(counts["prefetches"])
    if int(counts["hits"]) + misses != len(case.pages):
        raise SimulatorError(f"The counts of policy {name!r} do not add up.")
    # A prefetch can move a walk, but not save one.
    if misses + prefetches < case.bound:
        raise SimulatorError(
            f"Policy {name!r} walks {misses + prefetches} times on {case.name!r}, less than the "
            f"optimum of "
            f"{case.bound}. That is a defect of the simulator; report it with the policy."
        )
    return TlbResult(
        case=case,
        policy=name,
        misses=misses,
        prefetches=prefetches,
        useful=int(counts["useful"]),
        state_bits=source.state_bits(case.sizes),
        operations=operations,
    )


def evaluate_built_in(policy: str, case: TlbCase) -> TlbResult:
    """Return the measures of a built-in policy on a case.

    Raises:
      UnknownNameError: There is no such policy.
    """
    if policy not in BUILT_IN:
        raise unknown_name("built-in policy", policy, BUILT_IN)
    misses, prefetches = built_in_counts(policy, case)
    return TlbResult(case=case, policy=policy, misses=misses, prefetches=prefetches)


def built_in_counts(policy: str, case: TlbCase) -> tuple[int, int]:
    """Return misses and prefetches of a built-in policy."""
    from archgym.simulators.translation.policy_bounds import replay_built_in

    tags = np.full(case.entries, EMPTY, dtype=np.int64)
    marks = np.full(case.entries, MAX_RRPV, dtype=np.uint8)
    # Random replacement alone would read it.
    state = np.ones(1, dtype=[("random", np.int64)])
    code, is_prefetching = BUILT_IN[policy]
    following = np.zeros(0, dtype=np.int64)
    if is_prefetching:
        following = np.where(np.isin(case.pages + 1, case.pages), case.pages + 1, -1)
    both = int(replay_built_in(case.pages, following, tags, marks, case.ways, code, state))
    return both & 0xFFFFFFFF, both >> 32
