"""One machine on one trace: counters by name."""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Final, TypeVar, final

import numpy as np

from archgym.errors import SimulatorError
from archgym.simulators.cpu.kernel import layout as lay
from archgym.simulators.cpu.kernel.layout import Ints
from archgym.simulators.cpu.kernel.state import make_state, make_weights
from archgym.simulators.cpu.kernel.warmup import WARM_UPS, Key, Weights, key_of
from archgym.simulators.cpu.machine import Machine
from archgym.simulators.cpu.workloads import InstructionTrace

T = TypeVar("T")

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
    region = (warmup, length)
    state = state_of(parameters, trace, region, ideal, n_events)
    weights = make_weights(parameters)
    is_plain = adapt is None and n_events == 0
    if adapt is not None:
        adapt(state)
    key = key_of(parameters, trace, warmup, ideal) if is_plain else None
    spent = _count(state, weights, trace, warm_up(state, weights, trace, warmup, key), length)
    events = state[state[lay.G_LOG] : state[lay.G_LOG_TOP]].reshape(-1, lay.EVENT_SIZE)
    return counters_of(state, spent, trace, region), events


def warm_up(
    state: Ints, weights: Weights, trace: InstructionTrace, warmup: int, key: Key | None
) -> int:
    """Start a machine, and bring it to the first cycle that counts.

    Args:
      state: State before the first cycle.
      weights: Untrained weights of the direction predictor.
      trace: Trace of the machine.
      warmup: Instructions before counting.
      key: Key of the warm-up, which machines with the same key share; None for one that is not
        shared.

    Returns:
      The last cycle that ran.
    """
    # Numba is slow to import, and describing needs no kernel.
    from archgym.simulators.cpu.kernel import core

    def run_alone() -> int:
        core.start(state, int(warmup > 0))
        return core.advance(state, weights, trace.records, 0, warmup, 1) if warmup > 0 else 0

    if key is None or warmup == 0:
        now = run_alone()
    else:
        now = WARM_UPS.warm(key, state, weights, run_alone)
    core.settle(state, now, 1)
    return now


def _count(
    state: Ints, weights: Weights, trace: InstructionTrace, begin: int, length: int
) -> tuple[int, int]:
    """Run a machine from the end of its warm-up; return counted cycles and instructions."""
    from archgym.simulators.cpu.kernel import core

    retired = int(state[lay.G_RETIRED])
    now = core.advance(state, weights, trace.records, begin, retired + length, 1)
    core.settle(state, now, 0)
    return now - begin, int(state[lay.G_RETIRED]) - retired


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


def copy_of(run: T, into: T | None, names: tuple[str, ...]) -> T:
    """Return a run that continues alike.

    Args:
      run: One or several cores that have stopped.
      into: Earlier copy of the same run that is used again; None for a new one.
      names: Arrays that a run writes to.
    """
    other = copy(run) if into is None else into
    for name, value in vars(run).items():
        if name not in names:
            setattr(other, name, value)
        elif into is None:
            setattr(other, name, value.copy())
        else:
            np.copyto(getattr(other, name), value)
    return other
