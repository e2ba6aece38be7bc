"""Compiled runs of several cores with a shared last level and DRAM.

Every core has a state of its own, with its L1 caches, L2, TLBs and walker. The last level and the
DRAM run in a further state. Requests and answers are carried over between the two in the cycle in
which they are sent, and a core's channel has as much room as the shared one.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from archgym.simulators.cpu.kernel import layout as lay
from archgym.simulators.cpu.kernel.cache import step_cache
from archgym.simulators.cpu.kernel.channels import answer, free_request, send
from archgym.simulators.cpu.kernel.core import (
    begin_counting,
    check_progress,
    next_cycle,
    settle_memory,
    settle_slots,
    step_core_and_caches,
)
from archgym.simulators.cpu.kernel.layout import Ints, Words
from archgym.simulators.cpu.kernel.memory import step_memory
from archgym.simulators.cpu.kernel.walker import start_pages
from archgym.simulators.kit.kernels import entry_point, helper, pointer

FLAGS: Final = lay.WAKE + 16
"""By core, in the shared state: the last cycle in which its channel had news for it."""
_OWN: Final = lay.CHANNELS + lay.CHANNEL_SIZE * lay.L2C_LLC
_LAST_LEVEL: Final = lay.CACHES + lay.CACHE_SIZE * lay.LLC


@helper
def _channel_of(s: Words, core: int) -> int:
    return s[_LAST_LEVEL + lay.K_UPPER + core]


@helper
def _carry_requests(m: Words, s: Words, core: int, now: int) -> None:
    """Move what a core's L2 sent in this cycle to the shared last level."""
    channel = _channel_of(s, core)
    for which in range(3):
        queue = _OWN + lay.Q_SIZE * which
        while m[queue + lay.Q_COUNT] > 0:
            head = m[queue + lay.Q_HEAD]
            r = m[m[queue + lay.Q_BUFFER] + head]
            address, virtual, ip = m[r + lay.R_ADDRESS], m[r + lay.R_VIRTUAL], m[r + lay.R_IP]
            kind, wanted, shared = m[r + lay.R_TYPE], m[r + lay.R_WANTED], lay.Q_SIZE * which
            send(s, channel, channel + shared, address, virtual, ip, kind, 1, wanted, now)
            m[queue + lay.Q_HEAD] = (head + 1) & m[queue + lay.Q_MASK]
            m[queue + lay.Q_COUNT] -= 1
            free_request(m, r)


@helper
def _carry_answers(m: Words, s: Words, core: int, now: int) -> None:
    """Move answers to a core's L2, wake it if it waited, and set the room that it sees."""
    channel = _channel_of(s, core)
    queue = channel + lay.C_ANSWERS
    for i in range(s[queue + lay.Q_COUNT]):
        at = s[queue + lay.Q_BUFFER] + lay.ANSWER_SIZE * (
            (s[queue + lay.Q_HEAD] + i) & s[queue + lay.Q_MASK]
        )
        answer(m, _OWN, s[at + lay.A_ADDRESS], s[at + lay.A_VIRTUAL], s[at + lay.A_DATA], 0, now)
    s[queue + lay.Q_HEAD] += s[queue + lay.Q_COUNT]
    s[queue + lay.Q_HEAD] &= s[queue + lay.Q_MASK]
    s[queue + lay.Q_COUNT] = 0
    if s[FLAGS + core] == now:
        m[lay.WAKE + lay.L2C] = now
    for which in range(3):
        shared = channel + lay.Q_SIZE * which
        room = s[shared + lay.Q_CAPACITY] - s[shared + lay.Q_COUNT]
        m[_OWN + lay.Q_SIZE * which + lay.Q_CAPACITY] = room


@helper
def _finish(m: Words, counters: Ints, spent: Ints, cycles: int, retired: int) -> None:
    """Keep the counters of a core that has retired its instructions."""
    spent[0], spent[1] = cycles, retired
    for counter in range(lay.N_COUNTERS):
        counters[counter] = m[lay.COUNTERS + counter]


@entry_point(seconds=5.0)
def start_cores(states: Ints, shared: Ints, is_warming: int) -> None:
    """Prepare the states of `advance_cores` for their first cycle; 1 if they warm up first."""
    for c in range(len(states)):
        m = pointer(states[c])
        start_pages(m)
        m[lay.WAKE + lay.DRAM] = lay.NEVER
        m[lay.G_WARM] = is_warming
    pointer(shared)[lay.G_WARM] = is_warming


@entry_point(seconds=5.0)
def count_cores(states: Ints, shared: Ints, now: int) -> None:
    """End the warm-up of all cores and set the counters to zero."""
    begin_counting(pointer(shared), now)
    for c in range(len(states)):
        m = pointer(states[c])
        # A core that waited for the others did not lose those slots in the counted phase.
        settle_slots(m, now)
        begin_counting(m, now)
        m[lay.WAKE + lay.DRAM] = lay.NEVER


@entry_point(seconds=60.0)
def advance_cores(
    states: Ints,
    shared: Ints,
    weights: npt.NDArray[np.int8],
    records: Ints,
    starts: Ints,
    counters: Ints,
    spent: Ints,
    now: int,
    length: int,
    runs_on: int,
    until: int,
    begins: int,
) -> int:
    """Run until every core has retired `length` instructions, or to the end of cycle `until`.

    With `runs_on`, cores that are done continue, so that the others still meet their requests. A
    phase in several parts gives the bits of one: only its first part `begins`. Counters of the
    cores are left in `counters`, those below them in `shared`.

    Args:
      states: (n_cores, n), of `make_state`.
      shared: State of the last level and the DRAM.
      weights: (n_cores, n), of the direction predictors, zeros at first.
      records: (n, 8), the traces of the cores one after another.
      starts: (n_cores,), first record of each core.
      counters: (n_cores, N_COUNTERS), filled in when a core is done.
      spent: (n_cores, 4): cycles (-1 until it is done) and instructions of each core; scratch.
      now: Last cycle that ran.
      length: Instructions of each core in this phase.
      runs_on: 1 if cores that are done continue until all are.
      until: Cycle to stop at.
      begins: 1 for the first part of a phase, else 0.

    Returns:
      The last cycle that ran.
    """
    s = pointer(shared)
    n = len(states)
    n_left = 0
    for c in range(n):
        m = pointer(states[c])
        if begins:
            m[lay.G_QUIET_SINCE] = now
            m[lay.G_RETIRED_BEFORE] = m[lay.G_RETIRED]
            spent[c, 0] = -1
            spent[c, 2] = m[lay.G_RETIRED]
            spent[c, 3] = now
        n_left += spent[c, 0] < 0
    while n_left > 0 and s[lay.G_STATUS] == lay.STATUS_OK:
        following = min(s[lay.WAKE + lay.LLC], s[lay.WAKE + lay.DRAM])
        for c in range(n):
            if runs_on or spent[c, 0] < 0:
                following = min(following, next_cycle(pointer(states[c]), now))
        if max(now + 1, following) > until:
            break
        now = max(now + 1, following)
        for c in range(n):
            if not runs_on and spent[c, 0] >= 0:
                continue
            m = pointer(states[c])
            step_core_and_caches(m, pointer(weights[c]), pointer(records[starts[c] :]), now)
            _carry_requests(m, s, c, now)
        if s[lay.WAKE + lay.LLC] <= now:
            step_cache(s, _LAST_LEVEL, now)
        for c in range(n):
            m = pointer(states[c])
            _carry_answers(m, s, c, now)
        if s[lay.WAKE + lay.DRAM] <= now:
            step_memory(s, now, False)
        for c in range(n):
            m = pointer(states[c])
            if spent[c, 0] >= 0:
                continue
            retired = m[lay.G_RETIRED] - spent[c, 2]
            if retired >= length:
                settle_slots(m, now)
                _finish(m, counters[c], spent[c], now - spent[c, 3], retired)
                n_left -= 1
            else:
                check_progress(m, now)
            if m[lay.G_STATUS] != lay.STATUS_OK:
                s[lay.G_STATUS] = m[lay.G_STATUS]
    if n_left == 0:
        settle_memory(s, now)
    return now
