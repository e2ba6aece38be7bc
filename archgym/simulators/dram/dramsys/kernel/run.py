"""A run: every message between player, arbiter and controller is an event.

Here stand the three processes; `events.py` says in which order they run.
"""

from typing import Any, Final

import numpy as np

from archgym.simulators.dram.dramsys.kernel.commands import (
    ARBITER_REORDER,
    ARBITER_SIMPLE,
    NO_COMMAND,
    NO_REFRESH,
)
from archgym.simulators.dram.dramsys.kernel.controller import (
    accept,
    can_accept,
    has_work,
    log_command,
    prepared_time,
    step,
)
from archgym.simulators.dram.dramsys.kernel.events import (
    ARBITER,
    BEGIN_REQUEST,
    BEGIN_RESPONSE,
    CONTROLLER,
    DATA_AVAILABLE,
    END_REQUEST,
    END_RESPONSE,
    ENTRY_BITS,
    ENTRY_MASK,
    NEW_REQUEST,
    NEXT_COMMAND,
    PLAYER,
    RESPONSE_FINISHED,
    advance,
    is_timed,
    post,
    post_soon,
    rearm,
    take_late,
    take_messages,
    take_soon,
    wake_at,
    wake_later,
    wake_soon,
)
from archgym.simulators.dram.dramsys.kernel.state import NONE
from archgym.simulators.dram.kernel.records import NEVER
from archgym.simulators.kit.kernels import compiled, inlined

PATIENCE: Final = 100_000
"""Steps without an accepted or served request, while none is on its way, that mean a deadlock.

chosen: far above the refreshes of all ranks that a controller may owe at once."""


@compiled
def run_design(
    s: Any, d: Any, requests: Any, log: Any, latencies: Any, e: Any, heap: Any, until: int
) -> bool:
    """Run one design from its start, or from where it stopped, until `until` requests are answered.

    It stops between two times, when nothing is due at the present one. All that is to come then
    stands in the state, the events, the heap and the requests, so that any number of parts give
    the bits of one run.

    Returns:
      False if it cannot continue although requests wait.
    """
    todo: Any = np.int64(0)
    if e.n_sent == 0:
        _player_sends(s, d, requests, e, heap, e.n_sent, e.now)
        # At the start the controller runs before the player, without any message.
        todo = ((PLAYER + 1) << ENTRY_BITS) | (CONTROLLER + 1)
    to_player: Any = np.int64(0)
    to_arbiter: Any = np.int64(0)
    while True:
        # A process runs once in a round, on messages that were posted before it.
        has_run: Any = np.int64(0)
        while todo != 0:
            process = min((todo & ENTRY_MASK) - 1, CONTROLLER)
            todo >>= ENTRY_BITS
            if has_run >> process & 1:
                continue
            has_run |= np.int64(1) << process
            if process == CONTROLLER:
                _run_controller(s, d, requests, log, e, heap)
            elif process == ARBITER:
                _run_arbiter(s, d, requests, e, heap, to_arbiter)
            else:
                _run_player(s, d, requests, e, heap, latencies, to_player)
        if e.stopped:
            return True
        if e.soon != 0:
            todo = take_soon(e)
            to_player = take_messages(e, PLAYER)
            to_arbiter = take_messages(e, ARBITER)
            continue
        if e.n_received >= until:
            return True
        if s.n_steps_without_progress > PATIENCE:
            return False
        todo = advance(e, heap)
        to_player = to_arbiter = np.int64(0)
        if todo == 0:
            return False


# Player.


@inlined
def _on_clock(d: Any, time: int) -> int:
    """Return when the arbiter, which runs on the memory's clock, sees what the player does."""
    ceiling: int = (time + d.clock - 1) // d.clock * d.clock
    return ceiling


@inlined
def _next_tick(s: Any, time: int) -> int:
    """Return the player's next tick after a time."""
    clock: int = s.player_clock
    return time + clock if s.is_aligned else (time // clock + 1) * clock


@inlined
def _answered(requests: Any, request: Any) -> int:
    """Return when the answer that a request waits for was complete, NONE if it is not."""
    latest: int = 0
    for burst in range(request.waits[0], request.waits[1]):
        if requests[burst].received == NONE:
            return NONE
        latest = max(latest, requests[burst].received)
    return latest


@compiled
def _player_sends(
    s: Any, d: Any, requests: Any, e: Any, heap: Any, index: int, accepted: int
) -> None:
    """Prepare a request once the one before was accepted and the answer it waits for is there."""
    request = requests[index]
    clock = s.player_clock
    due = request.tick * clock
    waits = request.waits[1] > 0
    if waits:
        answered = _answered(requests, request)
        if answered == NONE:
            e.is_held = 1
            e.held_since = accepted
            return
        ready = _next_tick(s, answered)
        if s.is_relative:
            accepted = max(accepted, answered)
        else:
            due += s.stall
            ready += max(0, request.tick - requests[request.waits[0]].tick) * clock
            s.stall += max(0, ready - due)
            due = max(due, ready)
    else:
        due += s.stall
    if index == 0:
        time = max(0, due)
    else:
        following = _next_tick(s, accepted)
        # A delay counts from the player's next tick after the acceptance.
        time = following + due if s.is_relative else max(following, due)
    request.due = due
    request.sent = time
    request.received = NONE
    e.n_sent = index + 1
    post(e, heap, ARBITER, BEGIN_REQUEST, index, time if s.is_aligned else _on_clock(d, time))


@compiled
def _run_player(
    s: Any, d: Any, requests: Any, e: Any, heap: Any, latencies: Any, messages: int
) -> None:
    now = e.now
    while True:
        if messages == 0:
            messages = take_late(e, PLAYER)
            if messages == 0:
                break
        kind = (messages & ENTRY_MASK) - 1
        messages >>= ENTRY_BITS
        if kind == END_REQUEST:
            if e.n_sent < s.n_requests:
                _player_sends(s, d, requests, e, heap, e.n_sent, now)
        else:
            index = e.message_request[PLAYER, BEGIN_RESPONSE]
            requests[index].received = now
            latencies[index] = now - requests[index].sent
            e.n_received += 1
            s.last_handed = now
            time = now if d.first_command == 0 else _on_clock(d, now)
            post(e, heap, ARBITER, END_RESPONSE, index, time)
            if e.is_held:
                e.is_held = 0
                _player_sends(s, d, requests, e, heap, e.n_sent, e.held_since)
            if e.n_received == s.n_requests:
                e.stopped = 1
    rearm(e, heap, PLAYER)


# Arbiter.


@compiled
def _run_arbiter(s: Any, d: Any, requests: Any, e: Any, heap: Any, messages: int) -> None:
    while True:
        if messages == 0:
            messages = take_late(e, ARBITER)
            if messages == 0:
                break
        kind = (messages & ENTRY_MASK) - 1
        messages >>= ENTRY_BITS
        index = e.message_request[ARBITER, kind]
        if s.arbiter == ARBITER_SIMPLE:
            _simple_arbiter(s, d, requests, e, heap, kind, index)
        else:
            _queueing_arbiter(s, d, requests, e, heap, kind, index)
    rearm(e, heap, ARBITER)


@inlined
def _forward(s: Any, e: Any, heap: Any, index: int, time: int) -> None:
    """Hand a request to the controller."""
    e.channel_busy = 1
    s.incoming = index
    s.incoming_time = time
    wake_at(e, heap, NEW_REQUEST, time)


@inlined
def _acknowledge(e: Any) -> None:
    """Tell the controller that its response was taken."""
    e.acknowledged = e.now
    wake_soon(e, RESPONSE_FINISHED)


@compiled
def _simple_arbiter(
    s: Any, d: Any, requests: Any, e: Any, heap: Any, kind: int, index: int
) -> None:
    hands = True
    time = e.now
    if kind == BEGIN_REQUEST:
        # The player waits for END_REQ, so the channel is always free here.
        if s.is_logging:
            requests[index].admitted = e.now
        _forward(s, e, heap, index, e.now)
        hands = False
    elif kind == END_REQUEST:
        e.channel_busy = 0
        post_soon(e, PLAYER, END_REQUEST, index)
        hands = False
    elif kind == BEGIN_RESPONSE:
        requests[e.n_responses].arbiter_order = index
        e.n_responses += 1
        hands = not e.thread_busy
    else:
        _acknowledge(e)
        e.thread_busy = 0
        time += d.clock
    if hands:
        _hand_response(s, d, requests, e, heap, time)


@inlined
def _queueing_arbiter(
    s: Any, d: Any, requests: Any, e: Any, heap: Any, kind: int, index: int
) -> None:
    """Run the arbiters Fifo and Reorder."""
    forwards = True
    hands = True
    time = e.now
    if kind == BEGIN_REQUEST:
        if e.n_active < s.max_active:
            e.n_active += 1
            _admit(s, requests, e, index)
        else:
            e.parked = index
        hands = False
    elif kind == END_REQUEST:
        e.controller_accepted = e.now
        e.channel_busy = 0
        hands = False
    elif kind == BEGIN_RESPONSE:
        _acknowledge(e)
        if s.arbiter == ARBITER_REORDER:
            requests[index].arbiter_order = 1
        else:
            requests[e.n_responses].arbiter_order = index
        e.n_responses += 1
        forwards = False
        hands = not e.thread_busy
        if e.player_answered == e.now:
            time += d.clock
    else:
        e.player_answered = e.now
        if e.parked != NONE:
            _admit(s, requests, e, e.parked)
            e.parked = NONE
        else:
            e.n_active -= 1
            forwards = False
        e.thread_busy = 0
        time += d.clock
    if forwards:
        _forward_pending(s, d, e, heap)
    if hands:
        _hand_response(s, d, requests, e, heap, time)


@inlined
def _admit(s: Any, requests: Any, e: Any, index: int) -> None:
    if s.is_logging:
        requests[index].admitted = e.now
    requests[index].arbiter_order = NONE
    e.pending_end = index + 1
    post_soon(e, PLAYER, END_REQUEST, index)


@inlined
def _forward_pending(s: Any, d: Any, e: Any, heap: Any) -> None:
    """Hand the oldest admitted request on, if the controller takes one."""
    if e.channel_busy or e.pending_first == e.pending_end:
        return
    delay = d.clock if e.controller_accepted == e.now else 0
    _forward(s, e, heap, e.pending_first, e.now + delay)
    e.pending_first += 1


@inlined
def _hand_response(s: Any, d: Any, requests: Any, e: Any, heap: Any, time: int) -> None:
    """Hand the next response to the player, if there is one in its turn."""
    place = e.n_responses_handed
    if s.arbiter == ARBITER_REORDER:
        if place >= e.pending_end or requests[place].arbiter_order == NONE:
            return
        index = place
    else:
        if place >= e.n_responses:
            return
        index = requests[place].arbiter_order
    e.n_responses_handed += 1
    e.thread_busy = 1
    post(e, heap, PLAYER, BEGIN_RESPONSE, index, time)


# Controller.


@compiled
def _run_controller(s: Any, d: Any, requests: Any, log: Any, e: Any, heap: Any) -> None:
    now = e.now
    _respond(s, d, requests, e, heap)

    accepts = can_accept(s, now)
    if not accepts and s.selected_time > now and not has_work(s, now):
        # Nothing changes, so that a wake-up for the next command that is armed still stands.
        s.is_blocked = s.selected_command != NO_COMMAND or s.n_prepared > 0
        if s.incoming == NONE or s.incoming_time <= now:
            s.n_steps_without_progress += 1
        if not is_timed(e, NEXT_COMMAND):
            _arm_next(s, d, e, heap, now)
        return
    s.accepted = NONE
    s.issued = NONE
    if accepts:
        accept(s, d, requests, now)
    if s.selected_time < now:
        s.is_stale = 1  # times are counted from the present on, which changes ties
    step(s, d, requests, now)
    if s.is_logging:
        log_command(s, requests, log, now)

    if s.accepted != NONE:
        if e.n_in_controller == 0:
            s.idle += now - e.idle_since
        e.n_in_controller += 1
        if s.is_logging:
            requests[s.accepted].accepted = now
        post_soon(e, ARBITER, END_REQUEST, s.accepted)
    if s.issued != NONE:
        request = requests[s.issued]
        if s.is_logging:
            request.issued = now
        request.done = now + (d.write_done if request.is_write else d.read_done)
        requests[e.n_queued].handed = s.issued
        e.n_queued += 1
        _arm_data(s, requests, e, heap)
    if s.incoming == NONE or s.incoming_time <= now:
        s.n_steps_without_progress += 1

    _arm_next(s, d, e, heap, now)


@compiled
def _respond(s: Any, d: Any, requests: Any, e: Any, heap: Any) -> None:
    """Drop an acknowledged response and send the next one."""
    now = e.now
    if e.outgoing != NONE:
        if e.acknowledged != now:
            return
        e.outgoing = NONE
        e.last_acknowledged = now
        s.n_served += 1
        e.n_in_controller -= 1
        if e.n_in_controller == 0:
            e.idle_since = now
            return
    index = _queue_head(s, requests, e)
    if index == NONE:
        return
    if requests[index].done > now:
        wake_later(e, heap, DATA_AVAILABLE, requests[index].done)
        return
    e.n_left += 1
    e.outgoing = index
    e.acknowledged = NONE
    delay = d.clock if e.last_acknowledged == now else 0
    post(e, heap, ARBITER, BEGIN_RESPONSE, index, now + delay)


@inlined
def _queue_head(s: Any, requests: Any, e: Any) -> int:
    """Return the response whose turn it is, if its command was issued."""
    head: int = e.n_left
    if s.reorders_responses:
        return head if head < s.n_accepted and requests[head].done != NONE else NONE
    if head == e.n_queued:
        return NONE
    index: int = requests[head].handed
    return index


@inlined
def _arm_data(s: Any, requests: Any, e: Any, heap: Any) -> None:
    index = _queue_head(s, requests, e)
    if index != NONE and requests[index].done > e.now:
        wake_later(e, heap, DATA_AVAILABLE, requests[index].done)


@compiled
def _arm_next(s: Any, d: Any, e: Any, heap: Any, now: int) -> None:
    """Wake the controller when the earliest bank machine or manager wants to act."""
    wake: int = NEVER
    if s.n_prepared > 0:
        wake = max(s.soonest, now)
        if s.is_blocked and wake == now:
            wake = NEVER
            for place in range(s.n_prepared):
                wake = _earlier(s, wake, prepared_time(s, d, place, now), now)
    if now < s.refresh_wake and not s.powers_down:
        wake = min(wake, s.refresh_wake)
        if wake != NEVER:
            wake_at(e, heap, NEXT_COMMAND, wake)
        return
    for rank in range(d.n_ranks):
        if s.refresh_policy != NO_REFRESH:
            if now < s.refresh_next[rank]:
                wake = _earlier(s, wake, s.refresh_next[rank], now)
            elif s.refresh_command[rank] != NO_COMMAND:
                wake = _earlier(s, wake, s.refresh_time[rank], now)
        if s.powers_down and s.power_command[rank] != NO_COMMAND:
            wake = _earlier(s, wake, s.power_time[rank], now)
    if wake != NEVER:
        wake_at(e, heap, NEXT_COMMAND, wake)


@inlined
def _earlier(s: Any, wake: int, time: int, now: int) -> int:
    return wake if s.is_blocked and time == now else min(wake, time)
