"""The fast kernel: events that only hand a message on are collapsed into recurrences.

Player, arbiter and response path never decide anything that the controller's state does not
already fix, so their times follow from each other: a response leaves the controller at its data's
end, or a clock cycle after the response before; a request is admitted when it reaches the arbiter,
or when the response arrives that frees its place. What is lost against `exact.py` is only the
order of events at one time, where this kernel lets requests arrive before the controller runs.
"""

from typing import Any, Final

from archgym.runtime.kernels import compiled, inlined
from archgym.simulators.dram.kernel.commands import ARBITER_REORDER, ARBITER_SIMPLE
from archgym.simulators.dram.kernel.controller import (
    accept,
    can_accept,
    has_space,
    log_command,
    step,
)
from archgym.simulators.dram.kernel.state import NEVER, NONE

PATIENCE: Final = 100_000
"""Steps without an accepted or served request, while none is on its way, that mean a deadlock.

chosen: far above the refreshes of all ranks that a controller may owe at once."""


@compiled
def run_fast(s: Any, d: Any, requests: Any, log: Any, latencies: Any) -> bool:
    """Run one design to its end.

    Returns:
      Whether every request was answered.
    """
    n = s.n_requests
    now = s.start  # not a literal, for which Numba would compile everything again
    _send(s, d, requests, s.n_accepted, now)
    _offer_next(s, d, requests)
    # The controller runs once at time 0 before the player sends anything.
    s.incoming_is_late = s.incoming_time == now
    while True:
        s.accepted = NONE
        s.issued = NONE
        if s.incoming_is_late and s.incoming_time < now:
            s.incoming_is_late = 0
        if not s.incoming_is_late and can_accept(s, now):
            accept(s, d, requests, now)
        step(s, d, requests, now)
        if s.is_logging:
            log_command(s, requests, log, now)
        _follow(s, d, requests, latencies, now)

        arrival = NEVER
        if s.incoming != NONE and has_space(s):
            arrival = max(now, s.incoming_time)
        wake = min(min(arrival, s.selected_time), _refresh_after(s, d, now))
        if s.n_issued == n and wake > s.last_handed:
            return True
        if wake == NEVER:
            return False
        if s.incoming_time <= now:
            s.incoming_is_late = 0  # any more: the controller has run at its time
        now = wake
        if s.incoming == NONE or s.incoming_time <= now:
            s.n_steps_without_progress += 1
            if s.n_steps_without_progress > PATIENCE:
                return False


@inlined
def _refresh_after(s: Any, d: Any, now: int) -> int:
    """Return when the next refresh that is not due yet falls due."""
    wake: int = s.refresh_wake
    if wake > now:
        return wake
    wake = NEVER
    for rank in range(d.n_ranks):
        if s.refresh_next[rank] > now:
            wake = min(wake, s.refresh_next[rank])
    return wake


@inlined
def _follow(s: Any, d: Any, requests: Any, latencies: Any, now: int) -> None:
    """Draw the consequences of a step for the traffic outside the controller."""
    if s.accepted != NONE:
        if s.n_released == s.n_accepted - 1 and s.last_released <= now:
            s.idle += now - max(0, s.last_released)
        if s.is_logging:
            requests[s.accepted].accepted = now
        s.last_accepted = now
    if s.issued != NONE:
        index = s.issued
        request = requests[index]
        if s.is_logging:
            request.issued = now
        request.done = now + (d.write_done if request.is_write else d.read_done)
        if not s.reorders_responses:
            _release(s, d, requests, latencies, index)
        else:
            while s.n_released < s.n_accepted and requests[s.n_released].done != NONE:
                _release(s, d, requests, latencies, s.n_released)
    if s.accepted != NONE or (s.issued != NONE and s.incoming == NONE):
        is_let_go = s.accepted != NONE and s.arbiter == ARBITER_SIMPLE
        if is_let_go and s.n_accepted < s.n_requests:
            _send(s, d, requests, s.n_accepted, now)
        _offer_next(s, d, requests)


@inlined
def _next_after(done: int, previous: int, clock: int) -> int:
    """Return when a port last used at `previous` passes on what was done at `done`."""
    return done if done > previous else previous + clock


@inlined
def _on_clock(d: Any, time: int) -> int:
    """Return when the arbiter, which runs on the memory's clock, sees what the player does."""
    if d.first_command == 0:
        return time  # every event lies on the clock
    ceiling: int = (time + d.clock - 1) // d.clock * d.clock
    return ceiling


@inlined
def _release(s: Any, d: Any, requests: Any, latencies: Any, index: int) -> None:
    """Let a response leave the controller for the arbiter."""
    acknowledged = s.last_released
    if s.arbiter == ARBITER_SIMPLE:
        acknowledged = _on_clock(d, acknowledged)  # by the player, not by the arbiter
    time = _next_after(requests[index].done, acknowledged, d.clock)
    s.last_released = time
    s.n_released += 1
    if s.arbiter != ARBITER_REORDER:
        _hand(s, requests, latencies, index, time)
        return
    requests[index].received = time
    while s.n_handed < s.n_accepted and requests[s.n_handed].received != NONE:
        first = s.n_handed
        free = _on_clock(d, s.last_handed)
        _hand(s, requests, latencies, first, _next_after(requests[first].received, free, d.clock))


@inlined
def _hand(s: Any, requests: Any, latencies: Any, index: int, time: int) -> None:
    """Hand a response to the player."""
    requests[s.n_handed].handed = time
    requests[index].received = time
    s.n_handed += 1
    s.last_handed = time
    latencies[index] = time - requests[index].sent


@inlined
def _send(s: Any, d: Any, requests: Any, index: int, accepted: int) -> None:
    """Note when the player sends a request, and when it reaches the arbiter."""
    request = requests[index]
    clock = s.player_clock
    due = request.tick * clock
    if index == 0:
        time = max(0, due)
    else:
        following = accepted + clock if s.is_aligned else (accepted // clock + 1) * clock
        # A delay counts from the player's next tick after the acceptance.
        time = following + due if s.is_relative else max(following, due)
    request.sent = time
    s.arbiter_time = time if s.is_aligned else (time + d.clock - 1) // d.clock * d.clock


@inlined
def _offer_next(s: Any, d: Any, requests: Any) -> None:
    """Put the next request at the controller's door, if it is known when it comes there."""
    index = s.n_accepted
    if s.incoming != NONE or index >= s.n_requests:
        return
    time = s.arbiter_time
    is_late = False
    if s.arbiter != ARBITER_SIMPLE:
        if index >= s.max_active:
            if s.n_handed <= index - s.max_active:
                return
            freed = _on_clock(d, requests[index - s.max_active].handed)
            is_late = freed >= time
            time = max(time, freed)
        if index + 1 < s.n_requests:
            _send(s, d, requests, index + 1, time)
        if s.is_logging:
            requests[index].admitted = time
        if index > 0 and time <= s.last_accepted:
            time = s.last_accepted + d.clock
            is_late = False
    elif s.is_logging:
        requests[index].admitted = time
    s.incoming = index
    s.incoming_time = time
    s.incoming_is_late = is_late
