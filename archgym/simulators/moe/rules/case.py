"""Measurement of expert-cache rules: counts, miss classes, bytes, bound of the optimum."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, final

import numpy as np

from archgym.errors import SimulatorError
from archgym.rules.case import RuleCase
from archgym.rules.language import RuleSource
from archgym.runtime.reductions import report_loss
from archgym.simulators.moe.kernel.caches import FORCED, admission_code, layer_capacities, tie_order
from archgym.simulators.moe.kernel.replay import Events, replay_events

_MAX_PREFETCH: Final = 64


@final
@dataclass(frozen=True)
class CacheCase(RuleCase):
    """Trace and cache that a rule is measured on.

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

    def arguments(
        self, source: RuleSource | None = None, tuned: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """Return the input of the simulation.

        A constant `PREFETCH` of the rule sets the blocks of an event that its hook is called for.
        """
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
            "prefetch": 0 if source is None else _n_prefetch(source, tuned or {}),
        }

    def built_in_counts(self, rule: str) -> dict[str, int]:
        """Return the counts of a built-in rule, which prefetches nothing."""
        found = replay_events(
            self.events, rule, self.capacity, scope=self.scope, admission=self.admission
        )
        return {"hits": found.hits, "misses": found.misses, "prefetched": 0, "useful": 0}

    def loss(self, counts: Mapping[str, Any]) -> float:
        """Return loads over those of the optimum."""
        return float((counts["misses"] + counts["prefetched"]) / max(1, self.bound))

    def measures(self, counts: Mapping[str, Any]) -> dict[str, Any]:
        """Return loads by cause, and what they move."""
        uses, misses = len(self.events.experts), int(counts["misses"])
        loads = misses + int(counts["prefetched"])
        # A larger cache avoids the first, a better rule the second.
        of_capacity, of_rule = self.bound - self.compulsory, loads - self.bound
        moved = loads * self.expert_bytes
        return {
            "uses": uses,
            "misses": misses,
            "miss_percent": 100 * (misses / max(1, uses)),
            "prefetched": int(counts["prefetched"]),
            "useful_prefetches": int(counts["useful"]),
            "loads": loads,
            "bound_loads": self.bound,
            "compulsory_loads": self.compulsory,
            "capacity_loads": of_capacity,
            "policy_loads": of_rule,
            "diagnosis": "policy" if of_rule > of_capacity else "working set",
            "bytes_moved": moved,
            "transfer_ms": moved / (self.link_gb_per_s * 1e9) * 1e3,
        }

    def check(self, rule: str, counts: Mapping[str, Any]) -> None:
        """Check that counts add up, and that no rule loads less than the optimum."""
        is_sum = counts["hits"] + counts["misses"] == len(self.events.experts)
        if not is_sum or counts["useful"] > counts["prefetched"]:
            raise SimulatorError(f"The counts of policy {rule!r} do not add up.")
        loads = counts["misses"] + counts["prefetched"]
        if loads < self.bound:
            raise SimulatorError(
                f"Policy {rule!r} loads {loads} experts on {self.name!r}, fewer than the optimum "
                f"of {self.bound}. That is a defect of the simulator; report it with the policy "
                "and the trace."
            )

    @cached_property
    def bound(self) -> int:
        """Fewest loads that any rule needs: Belady's, which knows the future."""
        found = replay_events(
            self.events, "belady", self.capacity, scope=self.scope, admission=self.admission
        )
        return found.misses

    @cached_property
    def compulsory(self) -> int:
        """Blocks that are used at all, each of which is loaded once."""
        return len(np.unique(self.events.blocks))


def _n_prefetch(source: RuleSource, tuned: Mapping[str, int]) -> int:
    """Return the blocks of an event for which a rule's hook `prefetch` is called."""
    asked = int({**source.constants, **tuned}.get("PREFETCH", 0))
    used = max(0, min(asked, _MAX_PREFETCH))
    if used != asked:
        report_loss(f"PREFETCH: {used} is used in place of {asked}; choose 0 to {_MAX_PREFETCH}.")
    if "prefetch" in source.hooks and "PREFETCH" not in source.constants:
        report_loss("The policy's `prefetch` is never called; declare PREFETCH = 1 or more.")
    return used
