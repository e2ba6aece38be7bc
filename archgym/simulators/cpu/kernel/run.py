"""One machine on one trace: counters by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from archgym.simulators.cpu.kernel import layout as lay
from archgym.simulators.cpu.kernel.layout import Ints
from archgym.simulators.cpu.kernel.state import make_state, make_weights
from archgym.simulators.cpu.kernel.warmup import WARM_UPS, key_of
from archgym.simulators.cpu.machine import Machine
from archgym.simulators.cpu.workloads.programs import InstructionTrace
from archgym.simulators.kit import SimulatorError
from archgym.simulators.kit.control import branch_of

SWITCHABLE: Final[Mapping[str, int]] = {
    "l1i_prefetcher": lay.L1I,
    "l1d_prefetcher": lay.L1D,
    "l2_prefetcher": lay.L2C,
}
"""Cache of each parameter that may change during a run."""
STRIDES: Final = (lay.L1D, lay.L2C)
"""Caches with room for the table of the stride prefetcher, whatever theirs is."""

BRANCH_KINDS: Final = (
    "direct_jump", "indirect", "conditional", "direct_call", "indirect_call", "return",
    "other",
)  # fmt: skip
TYPES: Final = ("load", "rfo", "prefetch", "write", "translation")
CACHES: Final = ("L1I", "L1D", "L2C", "LLC", "ITLB", "DTLB", "STLB")
_CACHE_EVENTS: Final = (
    "pf_requested", "pf_issued", "pf_useful", "pf_useless", "pf_fill", "miss_latency",
    "pf_late", "evicted_dirty",
)  # fmt: skip
_DRAM: Final = (
    "rq_row_hit", "rq_row_miss", "wq_row_hit", "wq_row_miss", "wq_full", "refreshes",
    "congested_count", "congested_cycles",
)  # fmt: skip
_CORE: Final = (
    "dib_hits", "dib_lookups", "loads", "stores", "forwarded", "walks", "sources",
    "destinations", "faults",
)  # fmt: skip
_SLOTS: Final = ("front_end", "bad_speculation", "memory", "core")


def _places() -> dict[str, int]:
    """Return the index of every counter in the state, by name."""
    places = {}
    for number, kind in enumerate(BRANCH_KINDS):
        places[f"br_{kind}"] = lay.N_BRANCH + number
        places[f"mp_{kind}"] = lay.N_MISPREDICTED + number
    places["rob_occ_mp"] = lay.N_ROB_OCCUPANCY
    for name in CACHES:
        base = lay.COUNTERS + lay.CACHE_COUNTERS * lay.COMPONENTS.index(name)
        for number, kind in enumerate(TYPES):
            places[f"{name}_{kind}_hit"] = base + lay.N_HIT + number
            places[f"{name}_{kind}_miss"] = base + lay.N_MISS + number
            places[f"{name}_{kind}_merge"] = base + lay.N_MERGE + number
        for number, event in enumerate(_CACHE_EVENTS):
            places[f"{name}_{event}"] = base + lay.N_PF_REQUESTED + number
    places |= {f"DRAM_{event}": lay.N_READ_ROW_HIT + i for i, event in enumerate(_DRAM)}
    places |= {f"CPU_{event}": lay.N_DIB_HITS + i for i, event in enumerate(_CORE)}
    places |= {f"slots_{reason}": lay.N_SLOTS + i for i, reason in enumerate(_SLOTS)}
    return places


PLACES: Final = _places()
"""Word of a state by counter."""
COUNTERS: Final = ("cycles", "instructions", *PLACES)
"""Names of the counters, of the counted phase."""


@final
@dataclass(frozen=True)
class Ideal:
    """Costs that an ideal machine does not pay."""

    branches: bool = False
    tlbs: bool = False
    l1: bool = False
    l2: bool = False


Adapt = Callable[[Ints], None]
"""Function that changes the state of a machine before its first cycle."""


def run(
    parameters: Machine,
    trace: InstructionTrace,
    warmup: int,
    length: int,
    ideal: Ideal | None = None,
) -> Ints | None:
    """Return `COUNTERS` of a machine on a trace, (n_counters,); None if it never ends.

    Args:
      parameters: Every parameter, of `machine`.
      trace: Trace that it runs.
      warmup: Instructions before counting.
      length: Instructions that are counted.
      ideal: Costs that are removed.

    Raises:
      SimulatorError: The trace is too short, or more is in flight than the model can hold.
    """
    return run_logged(parameters, trace, warmup, length, ideal=ideal)[0]


def run_logged(
    parameters: Machine,
    trace: InstructionTrace,
    warmup: int,
    length: int,
    n_events: int = 0,
    adapt: Adapt | None = None,
    ideal: Ideal | None = None,
) -> tuple[Ints | None, Ints]:
    """Return as `run`, with the first `n_events` events of caches, (n, 8) as `layout` says.

    `adapt` changes the state before the first cycle; the other arguments are those of `run`.
    """
    core = Core(parameters, trace, warmup, length, ideal, (), n_events, adapt)
    core.advance(length)
    found, state = core.finish(core.state), core.state
    return found, state[state[lay.G_LOG] : state[lay.G_LOG_TOP]].reshape(-1, lay.EVENT_SIZE)


@final
class Core:
    """A core in the counted phase, whose run may stop and continue.

    Attributes:
      state: The machine.
      now: Last cycle that ran.
    """

    def __init__(
        self,
        parameters: Machine,
        trace: InstructionTrace,
        warmup: int,
        length: int,
        ideal: Ideal | None = None,
        strides: tuple[int, ...] = STRIDES,
        n_events: int = 0,
        adapt: Adapt | None = None,
    ) -> None:
        """Warm the core up; arguments are those of `run_logged` and `state_of`."""
        # Numba is slow to import, and describing needs no kernel.
        from archgym.simulators.cpu.kernel import core

        self._kernel = core
        self._trace, self._region = trace, (warmup, length)
        self.state = state_of(parameters, trace, self._region, ideal, n_events, strides)
        self._weights = make_weights(parameters)
        if adapt is not None:
            adapt(self.state)

        def warm_up() -> int:
            core.start(self.state, int(warmup > 0))
            if warmup == 0:
                return 0
            return core.advance(self.state, self._weights, trace.records, 0, warmup, 1)

        if warmup > 0 and adapt is None and n_events == 0 and trace.digest:
            # Machines with the same key share the warm-up; a trace without a digest has no key.
            key = key_of(parameters, trace, warmup, (ideal, strides) if strides else ideal)
            self.now = WARM_UPS.warm(key, self.state, self._weights, warm_up)
        else:
            self.now = warm_up()
        core.settle(self.state, self.now, 1)
        self._begin, self._retired = self.now, int(self.state[lay.G_RETIRED])
        self._begins = 1

    @property
    def n_retired(self) -> int:
        """Instructions that have retired since counting began."""
        return int(self.state[lay.G_RETIRED]) - self._retired

    @property
    def n_cycles(self) -> int:
        """Cycles since counting began."""
        return self.now - self._begin

    @property
    def is_over(self) -> bool:
        """True if all instructions have retired, or the machine cannot continue."""
        status = int(self.state[lay.G_STATUS])
        return self.n_retired >= self._region[1] or status != lay.STATUS_OK

    def advance(self, until: int) -> None:
        """Run until instructions have retired; the last cycle may retire a few more."""
        until = self._retired + min(until, self._region[1])
        self.now = self._kernel.advance(
            self.state, self._weights, self._trace.records, self.now, until, self._begins
        )
        self._begins = 0

    def copy(self, into: "Core | None" = None) -> "Core":
        """Return an independent core that continues alike; `into` is one that is used again."""
        return branch_of(self, into, ("state", "_weights"))

    def finish(self, state: Ints | None = None) -> Ints | None:
        """Return the counters as `run` does; the core stays as it is unless its state is given."""
        state = self.state.copy() if state is None else state
        self._kernel.settle(state, self.now, 0)
        return counters_of(state, (self.n_cycles, self.n_retired), self._trace, self._region)


def state_of(
    parameters: Machine,
    trace: InstructionTrace,
    region: tuple[int, int],
    ideal: Ideal | None = None,
    n_events: int = 0,
    strides: tuple[int, ...] = (),
) -> Ints:
    """Return the state of a machine before it runs a trace.

    Args:
      parameters: Every parameter, of `machine`.
      trace: Its trace.
      region: Instructions before counting, and those that are counted.
      ideal: Costs that are free.
      n_events: Events of caches that are logged at most.
      strides: Caches with a table of the stride prefetcher, whatever theirs is.

    Raises:
      SimulatorError: The trace is too short.
    """
    if sum(region) > trace.n:
        raise SimulatorError(
            f"{trace.name} must have {sum(region):,} instructions; it has {trace.n:,}."
        )
    state = make_state(parameters, 2 * trace.n_pages, n_events, strides)
    state[lay.G_N_RECORDS] = trace.n
    if ideal is not None:
        state[lay.G_IDEAL_BRANCHES] = int(ideal.branches)
        perfect = [
            *((lay.ITLB, lay.DTLB) if ideal.tlbs else ()),
            *((lay.L1I, lay.L1D) if ideal.l1 else ()),
            *((lay.L2C,) if ideal.l2 else ()),
        ]
        for component in perfect:
            state[lay.CACHES + lay.CACHE_SIZE * component + lay.K_PERFECT] = 1
    return state


def counters_of(
    state: Ints, spent: tuple[int, int], trace: InstructionTrace, region: tuple[int, int]
) -> Ints | None:
    """Return `COUNTERS` of a machine that has run, or None if it never ends.

    Args:
      state: Its state.
      spent: Cycles and retired instructions.
      trace, region: As of `state_of`.

    Raises:
      SimulatorError: The trace is too short, or more is in flight than the model can hold.
    """
    status = int(state[lay.G_STATUS])
    if status == lay.STATUS_OVERFLOW:
        raise SimulatorError(f"The CPU model holds too little for this machine on {trace.name}.")
    if status == lay.STATUS_TRACE_END:
        raise SimulatorError(f"{trace.name} ends before {region[1]:,} instructions have retired.")
    if status != lay.STATUS_OK:
        return None
    return np.array([*spent, *(state[i] for i in PLACES.values())], dtype=np.int64)


def switch_prefetchers(state: Ints, wanted: Mapping[int, int], now: int) -> None:
    """Choose the prefetchers of a core from the next cycle on.

    A prefetcher that is off sees nothing, so that its table is that of before when it is on again.
    Prefetches that were queued, and a look-ahead that has begun, still come.

    Args:
      state: State of the core, changed.
      wanted: Number of the prefetcher by cache.
      now: Last cycle that ran.
    """
    for component, number in wanted.items():
        place = lay.CACHES + lay.CACHE_SIZE * component + lay.K_PREFETCHER
        if state[place] != number:
            state[place] = number
            # A cache that has refused look-ups shows them to its prefetcher in every cycle.
            state[lay.WAKE + component] = now
