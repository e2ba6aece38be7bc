"""Measurement of eviction rules: hits, and the share of the gap to the optimum that they close."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, final

from archgym.simulators.kit import (
    InvalidArgumentError,
    SimulatorError,
    check_choice,
    check_known,
    parse_whole,
    report_loss,
    unknown_name,
)
from archgym.simulators.kit.rules import RuleCase, RuleSource
from archgym.simulators.kv.analysis import live_blocks
from archgym.simulators.kv.formats.trace import SessionTrace
from archgym.simulators.kv.kernel.policies import OFFERED
from archgym.simulators.kv.kernel.run import optimum, run_pool
from archgym.simulators.kv.metrics import gap_share
from archgym.simulators.kv.workloads.stream import StreamBlocks, StreamSettings
from archgym.simulators.kv.workloads.traces import load, stream_blocks

_DEFAULTS: Final = {
    "block_tokens": "64",
    "memory_percent": "50",
    "gpu_blocks": "0",
    "below": "none",
    "live": "8",
    "think_cap_ms": "600000",
}


@final
@dataclass(frozen=True)
class CacheCase(RuleCase):
    """Requests as blocks, and the memory that keeps them.

    Attributes:
      name: Name of the trace.
      made: Requests as blocks.
      capacity: Blocks of the cache.
      has_below: True if memory below keeps all blocks, from which rules bring them back.
      content: Digest of the trace.
      part: First session (or request, where there are none) and the one after the last.
    """

    name: str
    made: StreamBlocks
    capacity: int
    has_below: bool = False
    content: str = ""
    part: tuple[int, int] = (0, 0)

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes of arrays by name."""
        agents = int(self.made.stream.agent.max(initial=0)) + 1
        return {"block": self.capacity, "session": agents}

    @property
    def values(self) -> dict[str, int]:
        """Values of the domain by name."""
        return {"BLOCKS": self.capacity}

    def arguments(
        self, source: RuleSource | None = None, tuned: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """Return the input of the simulation, the same for every rule."""
        stream = self.made.stream
        return {
            **self.made.blocks._asdict(),
            "agent": stream.agent,
            "is_last": stream.is_last,
            "time": stream.arrivals.time,
            "n_identities": self.made.n_identities,
            "capacity": self.capacity,
            "has_below": self.has_below,
        }

    def built_in_counts(self, rule: str) -> dict[str, Any]:
        """Return the counts of a built-in policy."""
        if rule not in OFFERED:
            raise unknown_name("built-in rule", rule, OFFERED)
        found = run_pool(self.made, "sequential", self.capacity, rule)
        return {"hits": found["hit_blocks"], "evictions": found["evictions"]}

    def loss(self, counts: Mapping[str, Any]) -> float:
        """Return the share of the gap from LRU to the optimum that is left open."""
        return 1.0 - gap_share(counts["hits"], self.of_lru, self.bound)

    def measures(self, counts: Mapping[str, Any]) -> dict[str, Any]:
        """Return hits, and the share of the gap that the rule closes."""
        eligible = max(1, int(self.made.blocks.eligible.sum()))
        return {
            "hit_blocks": counts["hits"],
            "hit_percent": 100 * counts["hits"] / eligible,
            "lru_hit_percent": 100 * self.of_lru / eligible,
            "optimum_hit_percent": 100 * self.bound / eligible,
            "gap_closed_percent": 100 * (1.0 - self.loss(counts)),
            "evictions": counts["evictions"],
            "cache_blocks": self.capacity,
            **({"brought_blocks": counts.get("brought", 0)} if self.has_below else {}),
        }

    def shared_with(self, other: RuleCase) -> int:
        """Return how many sessions, or requests, both traces have."""
        if not isinstance(other, CacheCase) or other.content != self.content:
            return 0
        return min(self.part[1], other.part[1]) - max(self.part[0], other.part[0])

    def check(self, rule: str, counts: Mapping[str, Any]) -> None:
        """Check that the rule has at most as many hits as the optimum."""
        if counts["hits"] > self.bound:
            raise SimulatorError(
                f"Rule {rule!r} hits {counts['hits']} blocks on {self.name!r}, more than the "
                f"optimum of {self.bound}. That is a defect of the simulator; report it with the "
                "rule."
            )

    @cached_property
    def bound(self) -> int:
        """Most hits of any eviction, and of any copies from the memory below."""
        size = 2**40 if self.has_below else self.capacity
        return optimum(self.made, size, self.capacity)

    @cached_property
    def of_lru(self) -> int:
        """Hits of LRU."""
        found = run_pool(self.made, "sequential", self.capacity, "lru")
        return int(found["hit_blocks"])


def open_case(name: str, options: Mapping[str, str]) -> CacheCase:
    """Return a trace with the cache that options describe.

    Args:
      name: Workload of the simulator or a file; `NAME@LOW-HIGH` takes sessions `LOW` to
        `HIGH - 1`, so that others can be held out.
      options: Values by name.

    Raises:
      UnknownNameError: An option or a workload does not exist.
      InvalidArgumentError: An option has another form.
      FileFormatError: The file is damaged or of another form.
    """
    check_known("option", options, _DEFAULTS)
    chosen = {**_DEFAULTS, **options}

    def whole(option: str, low: int, high: int) -> int:
        return parse_whole(option, chosen[option], low, high)

    trace, _, part = str(name).rpartition("@") if "@" in str(name) else (str(name), "", "")
    content, low, high = load(trace), 0, 0
    has_sessions = isinstance(content.trace, SessionTrace)
    if part:
        first, dash, last = part.partition("-")
        if not (dash and first.isdecimal() and last.isdecimal() and int(first) < int(last)):
            raise InvalidArgumentError(
                f"Sessions must be given as NAME@LOW-HIGH with LOW below HIGH; got {str(name)!r}."
            )
        low, high = int(first), int(last)
    live = whole("live", 1, 10**6)
    settings = StreamSettings(
        live=live, think_cap_ms=whole("think_cap_ms", 0, 10**10), first=low, last=high
    )
    if has_sessions:
        settings = replace(settings, first=0, last=0, skip_sessions=low, sessions=high - low)
    made = stream_blocks(content, settings, whole("block_tokens", 1, 2**20))
    contexts = live_blocks(made.stream, made.block, live)
    capacity = whole("gpu_blocks", 0, 2**26)
    capacity = capacity or max(1, whole("memory_percent", 1, 1000) * contexts // 100)
    least = int(made.blocks.need.max(initial=1))
    if capacity < least:
        report_loss(f"{name}: a cache of {capacity:,} blocks is below the largest request, and is "
                    f"taken as {least:,}")  # fmt: skip
        capacity = least
    check_choice("below", chosen["below"], ("none", "all"))
    n = len(
        content.trace.sessions if isinstance(content.trace, SessionTrace) else content.trace.time
    )
    return CacheCase(
        str(name), made, capacity, chosen["below"] == "all", content.digest, (low, high or n)
    )
