"""One machine on one trace: counters by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.errors import SimulatorError
from archgym.simulators.cpu import kernel
from archgym.simulators.cpu import layout as at
from archgym.simulators.cpu.state import make_state, make_weights
from archgym.simulators.cpu.trace import InstructionTrace

__all__ = ["BRANCH_KINDS", "CACHES", "COUNTERS", "Ideal", "run"]

BRANCH_KINDS: Final = (
    *("direct_jump", "indirect", "conditional", "direct_call", "indirect_call", "return"),
    "other",
)
TYPES: Final = ("load", "rfo", "prefetch", "write", "translation")
CACHES: Final = ("L1I", "L1D", "L2C", "LLC", "ITLB", "DTLB", "STLB")
_CACHE_EVENTS: Final = (
    *("pf_requested", "pf_issued", "pf_useful", "pf_useless", "pf_fill", "miss_latency"),
    *("pf_late", "evicted_dirty"),
)
_DRAM: Final = (
    *("rq_row_hit", "rq_row_miss", "wq_row_hit", "wq_row_miss", "wq_full", "refreshes"),
    *("congested_count", "congested_cycles"),
)
_CORE: Final = (
    *("dib_hits", "dib_lookups", "loads", "stores", "forwarded", "walks", "sources"),
    *("destinations", "faults"),
)
_SLOTS: Final = ("front_end", "bad_speculation", "memory", "core")


def _places() -> dict[str, int]:
    """Return the index of every counter in the state, by name."""
    places = {}
    for number, kind in enumerate(BRANCH_KINDS):
        places[f"br_{kind}"] = at.N_BRANCH + number
        places[f"mp_{kind}"] = at.N_MISPREDICTED + number
    places["rob_occ_mp"] = at.N_ROB_OCCUPANCY
    for name in CACHES:
        base = at.COUNTERS + at.CACHE_COUNTERS * at.COMPONENTS.index(name)
        for number, kind in enumerate(TYPES):
            places[f"{name}_{kind}_hit"] = base + at.N_HIT + number
            places[f"{name}_{kind}_miss"] = base + at.N_MISS + number
            places[f"{name}_{kind}_merge"] = base + at.N_MERGE + number
        for number, event in enumerate(_CACHE_EVENTS):
            places[f"{name}_{event}"] = base + at.N_PF_REQUESTED + number
    places |= {f"DRAM_{event}": at.N_READ_ROW_HIT + i for i, event in enumerate(_DRAM)}
    places |= {f"CPU_{event}": at.N_DIB_HITS + i for i, event in enumerate(_CORE)}
    places |= {f"slots_{reason}": at.N_SLOTS + i for i, reason in enumerate(_SLOTS)}
    return places


_PLACES: Final = _places()
COUNTERS: Final = ("cycles", "instructions", *_PLACES)
"""Names of the counters, of the counted phase."""


@final
@dataclass(frozen=True)
class Ideal:
    """Costs that an ideal machine does not pay."""

    branches: bool = False
    tlbs: bool = False
    l1: bool = False
    l2: bool = False


def run(
    parameters: Mapping[str, int],
    trace: InstructionTrace,
    warmup: int,
    length: int,
    ideal: Ideal | None = None,
) -> npt.NDArray[np.int64] | None:
    """Return `COUNTERS` of a machine on a trace, (n_counters,); None if it never ends.

    Args:
      parameters: Every parameter, of `machine`.
      trace: What it runs.
      warmup: Instructions before counting.
      length: Instructions that are counted.
      ideal: What is free.

    Raises:
      SimulatorError: The trace is too short, or more is in flight than the model can hold.
    """
    if warmup + length > trace.n:
        raise SimulatorError(
            f"{trace.name} must have {warmup + length:,} instructions; it has {trace.n:,}."
        )
    state = make_state(parameters, 2 * trace.n_pages)
    state[at.G_N_RECORDS] = trace.n
    if ideal is not None:
        state[at.G_IDEAL_BRANCHES] = int(ideal.branches)
        _idealise(state, ideal)
    cycles, instructions = kernel.run(
        state, make_weights(parameters), trace.records, warmup, length
    )
    status = int(state[at.G_STATUS])
    if status == at.STATUS_OVERFLOW:
        raise SimulatorError(f"The CPU model holds too little for this machine on {trace.name}.")
    if status != at.STATUS_OK:
        return None
    return np.array([cycles, instructions, *(state[i] for i in _PLACES.values())], dtype=np.int64)


def _idealise(state: npt.NDArray[np.int64], ideal: Ideal) -> None:
    perfect = [
        *((at.ITLB, at.DTLB) if ideal.tlbs else ()),
        *((at.L1I, at.L1D) if ideal.l1 else ()),
        *((at.L2C,) if ideal.l2 else ()),
    ]
    for component in perfect:
        state[at.CACHES + at.CACHE_SIZE * component + at.K_PERFECT] = 1
