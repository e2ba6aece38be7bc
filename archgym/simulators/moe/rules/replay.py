"""Measurement of expert-cache policies: counts, miss classes, bytes, bound of the optimum."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, final

import numpy as np

from archgym.errors import SimulatorError
from archgym.rules.language import RuleSource
from archgym.rules.sandbox import RuleRunner
from archgym.runtime.reductions import report_loss
from archgym.simulators.moe.kernel.caches import FORCED, admission_code, layer_capacities, tie_order
from archgym.simulators.moe.kernel.replay import Events, replay_events

BUILT_IN: Final = ("lru", "lfu", "lfru", "fifo", "least-stale")
"""Built-in policies that know no future."""
_MAX_PREFETCH: Final = 64


@final
@dataclass(frozen=True)
class CacheCase:
    """Trace and cache that a policy is measured on.

    Attributes:
      name: Name of the trace.
      events: Its events.
      capacity: Experts that fit [experts].
      scope: `global` or `layer`.
      admission: `bypass` or `forced`.
      expert_bytes: Size of an expert [bytes].
      link_gb_per_s: Bandwidth of the link to fast memory [GB/s].
    """

    name: str
    events: Events
    capacity: int
    scope: str = "global"
    admission: str = "bypass"
    expert_bytes: float = 12_582_912.0
    link_gb_per_s: float = 25.0

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes of arrays by name."""
        events = self.events
        return {"block": events.n_blocks, "layer": events.n_layers, "expert": events.n_experts}

    @property
    def values(self) -> dict[str, int]:
        """Values of the domain by name."""
        events = self.events
        return {
            "N_LAYERS": events.n_layers,
            "N_EXPERTS": events.n_experts,
            "CAPACITY": self.capacity,
        }

    def arguments(self, n_prefetch: int) -> dict[str, Any]:
        """Return the input of the simulation."""
        events = self.events
        whole = np.array([self.capacity], dtype=np.int64)
        parts = layer_capacities(self.capacity, events.n_layers)
        return {
            "layers": events.layers,
            "offsets": events.offsets,
            "blocks": events.blocks,
            "capacities": whole if self.scope == "global" else parts,
            "is_forced": admission_code(self.admission) == FORCED,
            "tie": tie_order(0, events.n_blocks),
            "n_layers": events.n_layers,
            "n_experts": events.n_experts,
            "prefetch": n_prefetch,
            "sizes": self.sizes,
            "values": self.values,
        }

    @cached_property
    def bound(self) -> int:
        """Fewest loads that any policy needs: Belady's, which knows the future."""
        found = replay_events(
            self.events, "belady", self.capacity, scope=self.scope, admission=self.admission
        )
        return found.misses

    @cached_property
    def compulsory(self) -> int:
        """Blocks that are used at all, each of which is loaded once."""
        return len(np.unique(self.events.blocks))


@final
@dataclass(frozen=True, kw_only=True)
class PolicyResult:
    """Measures of a policy on one case.

    Attributes:
      case: Name of the trace.
      policy: Name of the policy.
      uses: Experts that were used.
      misses: Uses of experts that were not resident.
      prefetched: Loads by prefetch.
      useful: Prefetched blocks that were used before they went.
      compulsory: Misses on the first use of a block, which no cache avoids.
      bound: Fewest loads, by a policy that knows the future.
      state_bits: Storage of the policy [bits].
      operations: Operations of one call by hook, on its longest path.
      problem: Reason why the policy is infeasible; empty if it ran.
      expert_bytes: Size of an expert [bytes].
      link_gb_per_s: Bandwidth of the link to fast memory [GB/s].
    """

    case: str
    policy: str
    uses: int = 0
    misses: int = 0
    prefetched: int = 0
    useful: int = 0
    compulsory: int = 0
    bound: int = 0
    state_bits: int | None = None
    operations: Mapping[str, int] | None = None
    problem: str = ""
    expert_bytes: float = 0.0
    link_gb_per_s: float = 1.0

    @property
    def loss(self) -> float:
        """Loads over those of the optimum; infinite for an infeasible policy."""
        return math.inf if self.problem else self.loads / max(1, self.bound)

    @property
    def is_feasible(self) -> bool:
        """True if the policy ran without a fault and within its limits."""
        return not self.problem

    @property
    def loads(self) -> int:
        """Experts that were moved into fast memory."""
        return self.misses + self.prefetched

    @property
    def capacity_misses(self) -> int:
        """Loads beyond the compulsory ones that even the optimum needs: a larger cache helps."""
        return self.bound - self.compulsory

    @property
    def policy_loads(self) -> int:
        """Loads beyond the optimum: a better policy helps."""
        return self.loads - self.bound

    @property
    def miss_rate(self) -> float:
        """Misses over uses."""
        return self.misses / max(1, self.uses)

    @property
    def diagnosis(self) -> str:
        """Main cause of the loads: ``policy`` or ``working set``."""
        return "policy" if self.policy_loads > self.capacity_misses else "working set"

    def to_json(self) -> dict[str, Any]:
        """Return the measures as JSON."""
        if self.problem:
            return {"trace": self.case, "policy": self.policy, "problem": self.problem}
        moved = self.loads * self.expert_bytes
        return {
            "trace": self.case,
            "policy": self.policy,
            "uses": self.uses,
            "misses": self.misses,
            "miss_percent": 100 * self.miss_rate,
            "prefetched": self.prefetched,
            "useful_prefetches": self.useful,
            "loads": self.loads,
            "bound_loads": self.bound,
            "compulsory_loads": self.compulsory,
            "capacity_loads": self.capacity_misses,
            "policy_loads": self.policy_loads,
            "diagnosis": self.diagnosis,
            "bytes_moved": moved,
            "transfer_ms": moved / (self.link_gb_per_s * 1e9) * 1e3,
            "state_bits": self.state_bits,
            "operations": None if self.operations is None else dict(self.operations),
        }


def evaluate_policy(
    source: RuleSource,
    case: CacheCase,
    runner: RuleRunner,
    tuned: Mapping[str, int] | None = None,
) -> PolicyResult:
    """Return the measures of a policy on a case; a policy that fails is infeasible.

    Args:
      source: The policy.
      case: Trace and cache.
      runner: Process in which it runs.
      tuned: Values of its tunable constants.

    Raises:
      SimulatorError: The policy needs fewer loads than the optimum; a defect of the simulator.
    """
    from archgym.rules.language import bounds_of

    name = source.doc.split("\n")[0].rstrip(".") or source.path
    operations = bounds_of(source, case.values)
    asked = int({**source.constants, **(tuned or {})}.get("PREFETCH", 0))
    n_prefetch = max(0, min(asked, _MAX_PREFETCH))
    if n_prefetch != asked:
        report_loss(
            f"PREFETCH: {n_prefetch} is used in place of {asked}; choose 0 to {_MAX_PREFETCH}."
        )
    if "prefetch" in source.hooks and "PREFETCH" not in source.constants:
        report_loss("The policy's `prefetch` is never called; declare PREFETCH = 1 or more.")
    counts = runner.run(source.text, case.arguments(n_prefetch), tuned)
    if "problem" in counts:
        return PolicyResult(case=case.name, policy=name, problem=str(counts["problem"]))
    result = PolicyResult(
        case=case.name,
        policy=name,
        uses=len(case.events.experts),
        misses=int(counts["misses"]),
        prefetched=int(counts["prefetched"]),
        useful=int(counts["useful"]),
        compulsory=case.compulsory,
        bound=case.bound,
        state_bits=source.state_bits(case.sizes),
        operations=operations,
        expert_bytes=case.expert_bytes,
        link_gb_per_s=case.link_gb_per_s,
    )
    _check(result, int(counts["hits"]), case)
    return result


def evaluate_builtin(policy: str, case: CacheCase) -> PolicyResult:
    """Return the measures of a built-in policy on a case.

    Raises:
      InvalidArgumentError: There is no such policy.
    """
    found = replay_events(
        case.events, policy, case.capacity, scope=case.scope, admission=case.admission
    )
    return PolicyResult(
        case=case.name,
        policy=policy,
        uses=len(case.events.experts),
        misses=found.misses,
        compulsory=case.compulsory,
        bound=case.bound,
        expert_bytes=case.expert_bytes,
        link_gb_per_s=case.link_gb_per_s,
    )


def _check(result: PolicyResult, hits: int, case: CacheCase) -> None:
    if hits + result.misses != result.uses or result.useful > result.prefetched:
        raise SimulatorError(f"The counts of policy {result.policy!r} do not add up.")
    if result.loads < result.bound:
        raise SimulatorError(
            f"Policy {result.policy!r} loads {result.loads} experts on {case.name!r}, fewer than "
            f"the optimum of {result.bound}. That is a defect of the simulator; report it with the "
            "policy and the trace."
        )
