"""Compiled runs of a layer's phases: tiles are requests to the DRAM simulator's controllers.

Each buffer has two halves. The tiles of the first two phases are asked for at once. When a phase
ends, its results are written and the tiles of the phase after the next are read into its half. A
phase starts when the one before has ended and the last of its tiles has arrived.
"""

from typing import Any

import numpy.typing as npt

from archgym.simulators.dram.kernel.power import close_account
from archgym.simulators.dram.ramulator.kernel.controller import (
    PATIENCE,
    View,
    Work,
    accept,
    tick_channel,
    view_of,
)
from archgym.simulators.dram.ramulator.kernel.state import FAR, NONE
from archgym.simulators.kit.kernels import entry_point, helper

IS_STUCK, TICKS, N_ACCEPTED = range(3)
"""Entries of `out`."""
Ints = npt.NDArray[Any]


@helper
def _is_empty(v: View) -> bool:
    """Return True if no channel holds a request."""
    for c in range(v.n_channels):
        ch = v.channels[c]
        if ch.n_stored[0] + ch.n_stored[1] + ch.n_active > 0 or ch.owner != NONE:
            return False
        if ch.cas_request != NONE:
            return False
    return True


@helper
def _release(v: View, first: int, last: int, clock: int) -> None:
    """Let requests be offered from now on."""
    for index in range(first, last):
        v.requests[index].due = clock


@entry_point(seconds=20.0)
def run_phases(
    work: Work, read_from: Ints, read_to: Ints, release: Ints, ticks: Ints, starts: Ints, out: Ints
) -> None:
    """Run the phases of a layer from the first to the last.

    Args:
      work: Controllers before their first tick, with all requests in the order of offers.
      read_from: (n,) int64, first request of each phase's tiles.
      read_to: (n,) int64, one after the last of them.
      release: (n,) int64, requests that may be offered when a phase has ended.
      ticks: (n,) int64, ticks that each phase computes, 1 or more.
      starts: (n,) int64, filled in: tick in which each phase starts.
      out: (3,) int64, filled in: 1 if it cannot end, its ticks, requests that were accepted.
    """
    d = work.device[0]
    k = work.controller[0]
    v = view_of(work)
    n, n_requests = len(ticks), len(work.requests)
    upcoming, clock, phase, is_running, end = 0, 0, 0, False, 0
    released = read_to[min(1, n - 1)]
    seen, latest, progress = read_from[0], 0, 0
    _release(v, 0, released, 0)
    while True:
        if is_running and clock >= end:
            is_running = False
            following = release[phase - 1]
            _release(v, released, following, clock)
            released, progress = following, clock
        if not is_running and phase < n:
            while seen < read_to[phase] and v.requests[seen].depart != NONE:
                latest = max(latest, v.requests[seen].depart)
                seen += 1
            if seen == read_to[phase] and latest <= clock:
                starts[phase] = clock
                end = clock + ticks[phase]
                is_running, progress = True, clock
                phase += 1
                latest = 0
                if phase < n:
                    seen = read_from[phase]
        n_offered, is_refused = 0, False
        while upcoming < released and n_offered < k.width:
            if not accept(v, d, k, upcoming, clock):
                is_refused = True
                break
            upcoming += 1
            n_offered += 1
            progress = clock
        tick = clock + 1
        wake = FAR
        for c in range(v.n_channels):
            if v.channels[c].wake <= tick:
                tick_channel(v, d, k, c, tick)
            wake = min(wake, v.channels[c].wake)
            if v.channels[c].is_stuck:
                out[IS_STUCK] = 1
        if phase == n and not is_running and upcoming == n_requests and _is_empty(v):
            clock = tick
            for c in range(v.n_channels):
                clock = max(clock, v.channels[c].last_leave)
            break
        following = wake - 1
        if upcoming < released and not is_refused:
            following = clock + 1
        if is_running:
            following = min(following, end)
        elif phase < n and seen == read_to[phase]:
            following = min(following, latest)
        clock = max(following, clock + 1)
        if not is_running and clock - progress > PATIENCE:
            # A refresh is no progress.
            for c in range(v.n_channels):
                progress = max(progress, v.channels[c].progress)
            if clock - progress > PATIENCE:
                out[IS_STUCK] = 1
        if out[IS_STUCK] == 1:
            break
    out[TICKS], out[N_ACCEPTED] = clock, upcoming
    if k.is_counting and out[IS_STUCK] == 0:
        close_account(
            work.power_rules[0], v.bank_accounts, v.rank_accounts, len(work.rank_accounts), clock
        )
