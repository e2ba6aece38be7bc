"""Compiled entry points: derive the instructions of a trace, and run one design on them."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from archgym.simulators.cpu.kernel import layout as lay
from archgym.simulators.cpu.kernel.back import (
    complete,
    dispatch,
    execute,
    operate_loads,
    operate_stores,
    retire,
    schedule,
    take_loaded,
)
from archgym.simulators.cpu.kernel.cache import step_cache
from archgym.simulators.cpu.kernel.channels import has_room
from archgym.simulators.cpu.kernel.front import (
    decode,
    enter,
    fetch,
    look_into_dib,
    promote,
    take_fetched,
)
from archgym.simulators.cpu.kernel.layout import Ints, Words
from archgym.simulators.cpu.kernel.memory import catch_up, last_run, step_memory
from archgym.simulators.cpu.kernel.walker import start_pages, step_walker
from archgym.simulators.kit.kernels import entry_point, helper, pointer

# chosen: a walk of five faults takes some 2,000 cycles; more without retirement never end.
_PATIENCE: Final = 1_000_000
_ANSWERS_I: Final = lay.CHANNELS + lay.CHANNEL_SIZE * lay.CORE_L1I + lay.C_ANSWERS + lay.Q_COUNT
_ANSWERS_D: Final = lay.CHANNELS + lay.CHANNEL_SIZE * lay.CORE_L1D + lay.C_ANSWERS + lay.Q_COUNT
_READS_D: Final = lay.CHANNELS + lay.CHANNEL_SIZE * lay.CORE_L1D + lay.C_READS


@helper
def _account(m: Words, width: int, used: int) -> None:
    """Attribute the dispatch slots of a cycle that no instruction used."""
    lost = width - used
    if lost <= 0:
        return
    reason = lay.SLOTS_FRONT_END
    if m[lay.G_DISPATCH_TAIL] > m[lay.G_ROB_TAIL]:
        reason = lay.SLOTS_CORE
    elif m[lay.G_RESUME] == lay.NEVER or m[lay.G_ROB_TAIL] < m[lay.G_REFILL_UNTIL]:
        reason = lay.SLOTS_BAD_SPECULATION
    if reason != lay.SLOTS_FRONT_END and m[lay.G_HEAD] < m[lay.G_ROB_TAIL]:
        # A core that fetched the wrong path would stall behind the same head of the ROB.
        i = m[lay.G_INSTRUCTIONS] + lay.I_SIZE * (m[lay.G_HEAD] & m[lay.G_MASK])
        if m[i + lay.I_FLAGS] & lay.EXECUTED and m[i + lay.I_MEMORY] > 0:
            reason = lay.SLOTS_MEMORY
    m[lay.G_SLOT_REASON] = reason
    m[lay.N_SLOTS + reason] += lost


@helper
def _core_wake(m: Words, now: int) -> int:
    """Return the first cycle in which an unchanged core may act without hearing from others."""
    wake = lay.NEVER
    base, mask = m[lay.G_INSTRUCTIONS], m[lay.G_MASK]
    if m[lay.G_N_COMPLETE] > 0:
        wake = now + 1
    if m[lay.G_N_LOAD_SEND] > 0 and has_room(m, _READS_D):
        wake = now + 1
    if m[lay.G_SCHEDULED] < m[lay.G_ROB_TAIL]:
        ready = m[base + lay.I_SIZE * (m[lay.G_SCHEDULED] & mask) + lay.I_READY]
        if ready > now:
            wake = min(wake, ready)
    if m[lay.G_STORE_ISSUED] < m[lay.G_STORE_TAIL]:
        ready = m[
            m[lay.G_STORES]
            + lay.S_SIZE * (m[lay.G_STORE_ISSUED] & m[lay.G_STORE_MASK])
            + lay.S_READY
        ]
        if ready > now:
            wake = min(wake, ready)
    if m[lay.G_ROB_TAIL] < m[lay.G_DISPATCH_TAIL]:
        ready = m[base + lay.I_SIZE * (m[lay.G_ROB_TAIL] & mask) + lay.I_READY]
        if ready > now:
            wake = min(wake, ready)
    if m[lay.G_DISPATCH_TAIL] < m[lay.G_DECODE_TAIL]:
        ready = m[base + lay.I_SIZE * (m[lay.G_DISPATCH_TAIL] & mask) + lay.I_READY]
        if ready > now:
            wake = min(wake, ready)
    has_room_to_fetch = m[lay.G_TAIL] - m[lay.G_DECODE_TAIL] < m[lay.G_IFETCH_BUFFER]
    if has_room_to_fetch and m[lay.G_TAIL] < m[lay.G_N_RECORDS] and m[lay.G_RESUME] >= now:
        wake = min(wake, m[lay.G_RESUME])
    return max(wake, now + 1)


@helper
def _step_core(m: Words, w: Words, tr: Words, now: int) -> None:
    """Run the core for one cycle, and set when it is to run next."""
    skipped = now - m[lay.G_LAST_CORE_CYCLE] - 1
    width = m[lay.G_DISPATCH_WIDTH]
    if skipped > 0:
        m[lay.N_SLOTS + m[lay.G_SLOT_REASON]] += skipped * width
    m[lay.G_LAST_CORE_CYCLE] = now
    resume = m[lay.G_RESUME]
    changed = 0
    if m[lay.G_HEAD] < m[lay.G_ROB_TAIL]:
        changed = retire(m, now)
        if m[lay.G_N_COMPLETE] > 0:
            changed += complete(m, now)
        if m[lay.G_N_EXECUTE] > 0:
            changed += execute(m, now)
        changed += schedule(m, now)
    if m[_ANSWERS_I] > 0:
        changed += take_fetched(m, tr)
    if m[_ANSWERS_D] > 0:
        changed += take_loaded(m)
    if m[lay.G_STORE_HEAD] < m[lay.G_STORE_TAIL]:
        changed += operate_stores(m, tr, now)
    if m[lay.G_N_LOAD_SEND] > 0:
        changed += operate_loads(m, tr, now)
    used = 0
    if m[lay.G_ROB_TAIL] < m[lay.G_DISPATCH_TAIL]:
        used = dispatch(m, tr, now)
        changed += used
    if m[lay.G_DISPATCH_TAIL] < m[lay.G_DECODE_TAIL]:
        changed += decode(m, tr, now)
    if m[lay.G_DECODE_TAIL] < m[lay.G_TAIL]:
        changed += promote(m, now)
        changed += fetch(m, tr, now)
        changed += look_into_dib(m, tr, now)
    changed += enter(m, w, tr, now)
    if resume == lay.NEVER and m[lay.G_RESUME] != lay.NEVER:
        # The first instruction behind the branch ends the bad speculation when it is dispatched.
        m[lay.G_REFILL_UNTIL] = m[lay.G_TAIL] + 1
    _account(m, width, used)
    m[lay.WAKE + lay.CORE] = now + 1 if changed > 0 else _core_wake(m, now)


@helper
def next_cycle(m: Words, now: int) -> int:
    """Return the next cycle in which a component may act."""
    following = m[lay.WAKE]
    for component in range(1, lay.N_COMPONENTS):
        following = min(following, m[lay.WAKE + component])
    return max(now + 1, following)


@helper
def step_core_and_caches(m: Words, w: Words, tr: Words, now: int) -> None:
    """Run every component but the DRAM for one cycle, where it has work."""
    if m[lay.WAKE + lay.CORE] <= now:
        _step_core(m, w, tr, now)
    for component in range(1, lay.PTW):
        if m[lay.WAKE + component] <= now:
            step_cache(m, lay.CACHES + lay.CACHE_SIZE * component, now)
    if m[lay.WAKE + lay.PTW] <= now:
        step_walker(m, now)


@helper
def check_progress(m: Words, now: int) -> None:
    """Set the status of a machine that does not retire anything any more."""
    if m[lay.G_RETIRED] != m[lay.G_RETIRED_BEFORE]:
        m[lay.G_RETIRED_BEFORE] = m[lay.G_RETIRED]
        m[lay.G_QUIET_SINCE] = now
    elif now - m[lay.G_QUIET_SINCE] > _PATIENCE:
        m[lay.G_STATUS] = lay.STATUS_STUCK
        if m[lay.G_HEAD] == m[lay.G_N_RECORDS]:
            m[lay.G_STATUS] = lay.STATUS_TRACE_END


@helper
def settle_slots(m: Words, now: int) -> None:
    """Account for the dispatch slots that an idle core lost up to this cycle."""
    skipped = now - m[lay.G_LAST_CORE_CYCLE]
    m[lay.N_SLOTS + m[lay.G_SLOT_REASON]] += skipped * m[lay.G_DISPATCH_WIDTH]
    m[lay.G_LAST_CORE_CYCLE] = now


@helper
def begin_counting(m: Words, now: int) -> None:
    """End the warm-up and set the counters to zero."""
    if m[lay.G_WARM] != 0:
        m[lay.G_WARM] = 0
        # Latencies change, so that nobody may sleep on.
        for component in range(lay.N_COMPONENTS):
            m[lay.WAKE + component] = now
    for counter in range(lay.N_COUNTERS):
        m[lay.COUNTERS + counter] = 0


def phase_with(step: Callable[[Words, Any, int, bool], None]) -> Callable[..., int]:
    """Return the loop of a phase with this helper for the DRAM compiled into it.

    Args:
      step: Helper of state, what it needs besides, cycle, and whether the phase ends in it.
    """

    @helper
    def run_phase(
        m: Words, w: Words, tr: Words, memory: Any, now: int, until: int, begins: int
    ) -> int:
        """Run until `until` instructions have retired in all; return the last cycle.

        A phase in several parts gives the bits of one: only its first part `begins`.
        """
        if begins:
            m[lay.G_QUIET_SINCE] = now
            m[lay.G_RETIRED_BEFORE] = m[lay.G_RETIRED]
        while m[lay.G_RETIRED] < until and m[lay.G_STATUS] == lay.STATUS_OK:
            now = next_cycle(m, now)
            step_core_and_caches(m, w, tr, now)
            if m[lay.WAKE + lay.DRAM] <= now:
                step(m, memory, now, m[lay.G_RETIRED] >= until)
            check_progress(m, now)
        settle_slots(m, now)
        return now

    return run_phase


@helper
def settle_memory(m: Words, now: int) -> None:
    """Run the DRAM's ticks of a phase that ends in this cycle."""
    catch_up(m, last_run(m, now, True) + m[lay.MEMORY + lay.M_PERIOD])


@helper
def _step_dram(m: Words, memory: int, now: int, is_last: bool) -> None:
    step_memory(m, now, is_last)


_run_phase: Final = phase_with(_step_dram)


@entry_point(seconds=3.0)
def start(state: Ints, is_warming: int) -> None:
    """Prepare a state for its first cycle.

    Args:
      state: Result of `state.make_state`.
      is_warming: 1 if the first phase warms up, where every miss takes no time.
    """
    m = pointer(state)
    start_pages(m)
    m[lay.G_WARM] = is_warming


@entry_point(seconds=40.0)
def advance(
    state: Ints, weights: npt.NDArray[np.int8], records: Ints, now: int, until: int, begins: int
) -> int:
    """Run a machine until `until` instructions have retired since its first cycle.

    Args:
      state: Its state, which holds the counters.
      weights: Weights of the direction predictor, zeros at first.
      records: (n + 1, 8), of `derive`.
      now: Last cycle that ran.
      until: Retired instructions to stop at.
      begins: 1 for the first part of a phase, else 0.

    Returns:
      The last cycle that ran.
    """
    m = pointer(state)
    if m[lay.WAKE + lay.DRAM] <= now:
        # Its runs of this cycle that came after the end of an earlier phase.
        step_memory(m, now, False)
    return _run_phase(m, pointer(weights), pointer(records), 0, now, until, begins)


@entry_point(seconds=5.0)
def settle(state: Ints, now: int, begins_counting: int) -> None:
    """End a phase in its last cycle, and set the counters to zero if the next one counts."""
    m = pointer(state)
    if begins_counting == 0 or m[lay.G_WARM] != 0:
        settle_memory(m, now)
    if begins_counting:
        begin_counting(m, now)
