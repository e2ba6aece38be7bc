"""A prefix cache under control: the policy of eviction changes between requests."""

from collections.abc import Mapping
from typing import ClassVar, Final, final

import numpy as np

from archgym.control.runs import Counter, Part, Run, completed
from archgym.errors import InvalidDesignError
from archgym.evaluation.simulator import Workload
from archgym.simulators.kv.kernel import drivers, pool
from archgym.simulators.kv.kernel.layout import POLICIES
from archgym.simulators.kv.kernel.run import counts_of, traits_of
from archgym.simulators.kv.simulator import KvSimulator
from archgym.simulators.kv.workloads import stream_blocks
from archgym.spaces.parameter import Value

COUNTERS: Final = (
    Counter(name="hits", low=0.0, high=1.0, doc="Share of prompt blocks that were hits."),
    Counter(name="eligible", low=0.0, high=1.0, doc="Share of prompt blocks that can be hits."),
    Counter(name="evictions", low=0.0, high=1.0, doc="Evictions for each block that was taken."),
    Counter(name="free", low=0.0, high=1.0, doc="Share of blocks that no request uses."),
)
_ORDERED: Final = ("slru", "tail-lru", "priority")
"""Policies whose keys are all the order of release."""


@final
class KvRun(Run):
    """vLLM's pool of blocks, one request after the other; epochs are in requests.

    Work are blocks of prompts, cost those that must be computed.
    """

    switchable: ClassVar[Mapping[str, str]] = {
        "policy": f"One of {', '.join(_ORDERED)} may follow another. Places blocks that are "
        "released from then on; those that are free already keep their places."
    }
    counters = COUNTERS
    costs: ClassVar[Mapping[str, str]] = {"computed": "Share of prompt blocks that are computed."}
    _written = ("_pool", "_traits", "_held", "_hits")

    def __init__(
        self, simulator: KvSimulator, design: Mapping[str, Value], workload: Workload
    ) -> None:
        """Begin a run.

        Args:
          simulator: Simulator of the space `vllm` with the driver `sequential`.
          design: Values of its space; others are the default's.
          workload: The trace.

        Raises:
          InvalidDesignError: The design cannot run in parts.
        """
        values = completed(simulator.space, design)
        self._policy = policy = str(values.get("policy"))
        is_one_by_one = (simulator.space.name, simulator._driver) == ("vllm", "sequential")
        if not is_one_by_one or policy == "belady":
            raise InvalidDesignError(
                "A cache runs in parts in space 'vllm' with driver 'sequential' and a policy that "
                f"does not see what follows; got {simulator.space.name!r}, {simulator._driver!r} "
                f"and {policy!r}."
            )
        block = int(str(simulator._given["block_tokens"] or values["block_tokens"]))
        self._made = made = stream_blocks(workload.content, simulator.settings, block)
        self._capacity = simulator._size("cache_tokens", values, block)
        self._pool = pool.new_pool(self._capacity, made.n_identities, POLICIES.index(policy))
        self._traits = traits_of(made)
        self._held = np.zeros(int(made.blocks.need.max(initial=1)), dtype=np.int32)
        self._hits, self._next = np.zeros(len(made.stream), dtype=np.int64), 0

    @property
    def is_over(self) -> bool:
        """True if all requests have run."""
        return self._next >= len(self._hits)

    def _choice(self, settings: Mapping[str, Value]) -> int:
        """Return the code of the policy; see `Run.choice`."""
        policy = str(settings.get("policy", self._policy))
        if policy != self._policy and not {policy, self._policy} <= {*_ORDERED}:
            raise InvalidDesignError(
                f"`policy` must be {self._policy!r} throughout, or one of {_ORDERED} after another "
                f"of them; got {policy!r}."
            )
        return POLICIES.index(policy)

    def _advance(self, choices: tuple[int, ...], until: int) -> Part:
        """Run until so many requests have run; see `Run.advance`."""
        until = max(self._next, min(until, len(self._hits)))
        blocks, part = self._made.blocks, slice(self._next, until)
        evicted = int(self._pool.state[pool.EVICTIONS])
        none = np.zeros(0, dtype=np.int64)
        self._pool.state[pool.POLICY] = choices[0]
        drivers.run_sequential(
            self._pool, blocks, self._traits, self._made.stream.arrivals, self._held, self._hits,
            none, self._next, until,
        )  # fmt: skip
        self._next = until
        hits = self._hits[part]
        kept = hits >= 0
        prompt, found = float(blocks.prompt[part][kept].sum()), float(hits[kept].sum())
        taken = float(blocks.need[part][kept].sum()) - found
        evicted = int(self._pool.state[pool.EVICTIONS]) - evicted
        values = np.array([[
            found / max(1.0, prompt), float(blocks.eligible[part][kept].sum()) / max(1.0, prompt),
            evicted / max(1.0, taken), float(self._pool.state[pool.FREE]) / max(1, self._capacity),
        ]])  # fmt: skip
        return Part(np.array([prompt]), np.array([prompt - found]), values)

    def _finish(self) -> Mapping[str, float]:
        """Return the counts of the pool by name."""
        found = counts_of(self._made, self._capacity, self._hits)
        del found["hits"]
        return found | {"evictions": int(self._pool.state[pool.EVICTIONS])}
