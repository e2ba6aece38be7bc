"""The exact kernel: every message between player, arbiter and controller is an event.

At one time several rounds can follow each other, and the order of processes within a round decides
some ties. SystemC's kernel settles it by the mechanics of its binary heap, which is copied here.
"""

from typing import Any, Final

import numpy as np

from archgym.kernels import compiled, inlined
from archgym.simulators.dram.commands import ARBITER_REORDER, ARBITER_SIMPLE, NO_COMMAND, NO_REFRESH
from archgym.simulators.dram.controller import accept, can_accept, log_command, prepared_time, step
from archgym.simulators.dram.recurrence import PATIENCE
from archgym.simulators.dram.state import NEVER, NONE

__all__ = ["run_exact"]

# Codes are np.int64, because Numba compiles a function anew for each Python int handed to it.

# Processes.
_PLAYER: Final[Any] = np.int64(0)
_ARBITER: Final[Any] = np.int64(1)
_CONTROLLER: Final[Any] = np.int64(2)

# Wake-ups: the messages of the player and of the arbiter, then four of the controller.
_PLAYER_MESSAGE: Final[Any] = np.int64(0)
_ARBITER_MESSAGE: Final[Any] = np.int64(1)
_NEW_REQUEST: Final[Any] = np.int64(2)
_RESPONSE_FINISHED: Final[Any] = np.int64(3)
_NEXT_COMMAND: Final[Any] = np.int64(4)
_DATA_AVAILABLE: Final[Any] = np.int64(5)

# States of a wake-up.
_IDLE: Final[Any] = np.int64(0)
_TIMED: Final[Any] = np.int64(1)
_SOON: Final[Any] = np.int64(2)  # in the next round of this time

# Kinds of messages.
_BEGIN_REQUEST: Final[Any] = np.int64(0)
_END_REQUEST: Final[Any] = np.int64(1)
_BEGIN_RESPONSE: Final[Any] = np.int64(2)
_END_RESPONSE: Final[Any] = np.int64(3)


@compiled
def run_exact(s: Any, d: Any, requests: Any, log: Any, latencies: Any, e: Any, heap: Any) -> bool:
    """Runs one design to its end.

    Returns:
      Whether every request was answered.
    """
    _start_process(e, _CONTROLLER)
    _start_process(e, _PLAYER)
    _player_sends(s, d, requests, e, heap, e.n_sent, e.now)
    while True:
        n_runnable = e.n_runnable
        e.n_runnable = 0
        for place in range(n_runnable):
            process = e.runnable[place]
            e.is_runnable[process] = 0
            if process == _PLAYER:
                _run_player(s, d, requests, e, heap, latencies)
            elif process == _ARBITER:
                _run_arbiter(s, d, requests, e, heap)
            else:
                _run_controller(s, d, requests, log, e, heap)
        if e.stopped:
            return True
        if s.n_steps_without_progress > PATIENCE:
            return False
        e.round += 1
        if e.n_soon > 0:
            _start_soon(e)
        elif not _advance(e, heap):
            return False


# Wake-ups and time.


@inlined
def _start_process(e: Any, process: int) -> None:
    if not e.is_runnable[process]:
        e.is_runnable[process] = 1
        e.runnable[e.n_runnable] = process
        e.n_runnable += 1


@compiled
def _trigger(e: Any, event: int) -> None:
    e.kind[event] = _IDLE
    _start_process(e, min(event, _CONTROLLER))


@compiled
def _start_soon(e: Any) -> None:
    """Starts the processes of the next round: the last that was woken runs first."""
    n_soon = e.n_soon
    e.n_soon = 0
    for place in range(n_soon - 1, -1, -1):
        _trigger(e, e.soon[place])


@compiled
def _advance(e: Any, heap: Any) -> bool:
    """Goes to the next time at which something is due."""
    while e.n_heap > 0 and not _is_alive(e, heap):
        _pop(e, heap)
    if e.n_heap == 0:
        return False
    e.now = heap[1].time
    while e.n_heap > 0 and heap[1].time == e.now:
        event = heap[1].event
        is_alive = _is_alive(e, heap)
        _pop(e, heap)
        if is_alive:
            _trigger(e, event)
    return True


@inlined
def _is_alive(e: Any, heap: Any) -> bool:
    """Whether the heap's top still stands for a pending wake-up, not a replaced one."""
    event = heap[1].event
    is_alive: bool = e.kind[event] == _TIMED and e.serial[event] == heap[1].serial
    return is_alive


@compiled
def _pop(e: Any, heap: Any) -> None:
    last = e.n_heap
    e.n_heap = last - 1
    heap[1].time, heap[1].event, heap[1].serial = (
        heap[last].time,
        heap[last].event,
        heap[last].serial,
    )
    place = 1
    while True:
        smallest = place
        for child in range(2 * place, 2 * place + 2):
            if child < last and heap[child].time < heap[smallest].time:
                smallest = child
        if smallest == place:
            return
        _swap(heap, place, smallest)
        place = smallest


@inlined
def _swap(heap: Any, a: int, b: int) -> None:
    time, event, serial = heap[a].time, heap[a].event, heap[a].serial
    heap[a].time, heap[a].event, heap[a].serial = heap[b].time, heap[b].event, heap[b].serial
    heap[b].time, heap[b].event, heap[b].serial = time, event, serial


@compiled
def _wake(e: Any, heap: Any, event: int, time: int) -> None:
    """Arms a wake-up; an earlier one stands, a later one is replaced."""
    kind = e.kind[event]
    if kind == _SOON or (kind == _TIMED and time != e.now and e.time[event] <= time):
        return
    if time == e.now:
        e.kind[event] = _SOON
        e.soon[e.n_soon] = event
        e.n_soon += 1
        return
    e.next_serial += 1
    e.kind[event] = _TIMED
    e.time[event] = time
    e.serial[event] = e.next_serial
    e.n_heap += 1
    place = e.n_heap
    heap[place].time = time
    heap[place].event = event
    heap[place].serial = e.next_serial
    while place > 1 and heap[place // 2].time > heap[place].time:
        _swap(heap, place, place // 2)
        place //= 2


# Messages.


@compiled
def _post(e: Any, heap: Any, process: int, kind: int, request: int, time: int) -> None:
    """Sends a message to the player or the arbiter, due at a time."""
    if time == e.now:
        place = e.n_soon_messages[process]
        e.n_soon_messages[process] = place + 1
        e.soon_kind[process, place] = kind
        e.soon_request[process, place] = request
        e.soon_round[process, place] = e.round
    else:
        place = e.n_late_messages[process]
        e.n_late_messages[process] = place + 1
        while place > 0 and e.late_time[process, place - 1] > time:
            e.late_kind[process, place] = e.late_kind[process, place - 1]
            e.late_request[process, place] = e.late_request[process, place - 1]
            e.late_time[process, place] = e.late_time[process, place - 1]
            place -= 1
        e.late_kind[process, place] = kind
        e.late_request[process, place] = request
        e.late_time[process, place] = time
    _wake(e, heap, process, time)


@compiled
def _take_message(e: Any, process: int) -> tuple[int, int]:
    """The next message that is due to a process, or NONE: those of the round before come first."""
    if e.n_soon_messages[process] > 0 and e.soon_round[process, 0] < e.round:
        kind = e.soon_kind[process, 0]
        request = e.soon_request[process, 0]
        n = e.n_soon_messages[process] - 1
        e.n_soon_messages[process] = n
        for place in range(n):
            e.soon_kind[process, place] = e.soon_kind[process, place + 1]
            e.soon_request[process, place] = e.soon_request[process, place + 1]
            e.soon_round[process, place] = e.soon_round[process, place + 1]
        return kind, request
    if e.n_late_messages[process] > 0 and e.late_time[process, 0] <= e.now:
        kind = e.late_kind[process, 0]
        request = e.late_request[process, 0]
        n = e.n_late_messages[process] - 1
        e.n_late_messages[process] = n
        for place in range(n):
            e.late_kind[process, place] = e.late_kind[process, place + 1]
            e.late_request[process, place] = e.late_request[process, place + 1]
            e.late_time[process, place] = e.late_time[process, place + 1]
        return kind, request
    return NONE, NONE


@inlined
def _rearm(e: Any, heap: Any, process: int) -> None:
    if e.n_late_messages[process] > 0:
        _wake(e, heap, process, e.late_time[process, 0])


# Player.


@inlined
def _on_clock(d: Any, time: int) -> int:
    """When the arbiter, which runs on the memory's clock, sees what the player does."""
    ceiling: int = (time + d.clock - 1) // d.clock * d.clock
    return ceiling


@compiled
def _player_sends(
    s: Any, d: Any, requests: Any, e: Any, heap: Any, index: int, accepted: int
) -> None:
    """Prepares a request at the time at which the one before was accepted."""
    clock = s.player_clock
    due = requests[index].tick * clock
    if index == 0:
        time = max(0, due)
    else:
        if s.is_relative:
            due += requests[index - 1].sent
        time = max((accepted // clock + 1) * clock, due)
    requests[index].sent = time
    e.n_sent = index + 1
    _post(e, heap, _ARBITER, _BEGIN_REQUEST, index, _on_clock(d, time))


@compiled
def _run_player(s: Any, d: Any, requests: Any, e: Any, heap: Any, latencies: Any) -> None:
    while True:
        kind, index = _take_message(e, _PLAYER)
        if kind == NONE:
            break
        if kind == _END_REQUEST:
            if e.n_sent < s.n_requests:
                _player_sends(s, d, requests, e, heap, e.n_sent, e.now)
        else:
            requests[index].received = e.now
            latencies[index] = e.now - requests[index].sent
            e.n_received += 1
            s.last_handed = e.now
            _post(e, heap, _ARBITER, _END_RESPONSE, index, _on_clock(d, e.now))
            if e.n_received == s.n_requests:
                e.stopped = 1
    _rearm(e, heap, _PLAYER)


# Arbiter.


@compiled
def _run_arbiter(s: Any, d: Any, requests: Any, e: Any, heap: Any) -> None:
    while True:
        kind, index = _take_message(e, _ARBITER)
        if kind == NONE:
            break
        if s.arbiter == ARBITER_SIMPLE:
            _simple_arbiter(s, d, requests, e, heap, kind, index)
        else:
            _queueing_arbiter(s, d, requests, e, heap, kind, index)
    _rearm(e, heap, _ARBITER)


@inlined
def _forward(s: Any, e: Any, heap: Any, index: int, time: int) -> None:
    """Hands a request to the controller."""
    e.channel_busy = 1
    s.incoming = index
    s.incoming_time = time
    _wake(e, heap, _NEW_REQUEST, time)


@inlined
def _acknowledge(e: Any, heap: Any) -> None:
    """Tells the controller that its response was taken."""
    e.acknowledged = e.now
    _wake(e, heap, _RESPONSE_FINISHED, e.now)


@compiled
def _simple_arbiter(
    s: Any, d: Any, requests: Any, e: Any, heap: Any, kind: int, index: int
) -> None:
    if kind == _BEGIN_REQUEST:
        # The player waits for END_REQ, so the channel is always free here.
        requests[index].admitted = e.now
        _forward(s, e, heap, index, e.now)
    elif kind == _END_REQUEST:
        e.channel_busy = 0
        _post(e, heap, _PLAYER, _END_REQUEST, index, e.now)
    elif kind == _BEGIN_RESPONSE:
        requests[e.n_responses].arbiter_order = index
        e.n_responses += 1
        if not e.thread_busy:
            _hand_response(s, d, requests, e, heap, e.now)
    else:
        _acknowledge(e, heap)
        e.thread_busy = 0
        _hand_response(s, d, requests, e, heap, e.now + d.clock)


@compiled
def _queueing_arbiter(
    s: Any, d: Any, requests: Any, e: Any, heap: Any, kind: int, index: int
) -> None:
    """The arbiters Fifo and Reorder."""
    if kind == _BEGIN_REQUEST:
        if e.n_active < s.max_active:
            e.n_active += 1
            _admit(requests, e, heap, index)
        else:
            e.parked = index
        _forward_pending(s, d, e, heap)
    elif kind == _END_REQUEST:
        e.controller_accepted = e.now
        e.channel_busy = 0
        _forward_pending(s, d, e, heap)
    elif kind == _BEGIN_RESPONSE:
        _acknowledge(e, heap)
        if s.arbiter == ARBITER_REORDER:
            requests[index].arbiter_order = 1
        else:
            requests[e.n_responses].arbiter_order = index
        e.n_responses += 1
        if not e.thread_busy:
            delay = d.clock if e.player_answered == e.now else 0
            _hand_response(s, d, requests, e, heap, e.now + delay)
    else:
        e.player_answered = e.now
        if e.parked != NONE:
            _admit(requests, e, heap, e.parked)
            e.parked = NONE
            _forward_pending(s, d, e, heap)
        else:
            e.n_active -= 1
        e.thread_busy = 0
        _hand_response(s, d, requests, e, heap, e.now + d.clock)


@compiled
def _admit(requests: Any, e: Any, heap: Any, index: int) -> None:
    requests[index].admitted = e.now
    requests[index].arbiter_order = NONE
    e.pending_end = index + 1
    _post(e, heap, _PLAYER, _END_REQUEST, index, e.now)


@compiled
def _forward_pending(s: Any, d: Any, e: Any, heap: Any) -> None:
    """Hands the oldest admitted request on, if the controller takes one."""
    if e.channel_busy or e.pending_first == e.pending_end:
        return
    delay = d.clock if e.controller_accepted == e.now else 0
    _forward(s, e, heap, e.pending_first, e.now + delay)
    e.pending_first += 1


@compiled
def _hand_response(s: Any, d: Any, requests: Any, e: Any, heap: Any, time: int) -> None:
    """Hands the next response to the player, if there is one in its turn."""
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
    _post(e, heap, _PLAYER, _BEGIN_RESPONSE, index, time)


# Controller.


@compiled
def _run_controller(s: Any, d: Any, requests: Any, log: Any, e: Any, heap: Any) -> None:
    now = e.now
    _respond(s, d, requests, e, heap)

    s.accepted = NONE
    s.issued = NONE
    if can_accept(s, now):
        accept(s, d, requests, now)
    s.is_stale = 1
    step(s, d, requests, now)
    if s.is_logging:
        log_command(s, requests, log, now)

    if s.accepted != NONE:
        if e.n_in_controller == 0:
            s.idle += now - e.idle_since
        e.n_in_controller += 1
        requests[s.accepted].accepted = now
        _post(e, heap, _ARBITER, _END_REQUEST, s.accepted, now)
    if s.issued != NONE:
        request = requests[s.issued]
        request.issued = now
        request.done = now + (d.write_done if request.is_write else d.read_done)
        requests[e.n_queued].order = s.issued
        e.n_queued += 1
        _arm_data(s, requests, e, heap)
    if s.incoming == NONE or s.incoming_time <= now:
        s.n_steps_without_progress += 1

    wake = _next_wake(s, d, now)
    if wake != NEVER:
        _wake(e, heap, _NEXT_COMMAND, wake)


@compiled
def _respond(s: Any, d: Any, requests: Any, e: Any, heap: Any) -> None:
    """Drops an acknowledged response and sends the next one."""
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
    index = _finished(s, requests, e, now)
    if index == NONE:
        _arm_data(s, requests, e, heap)
        return
    e.n_left += 1
    e.outgoing = index
    e.acknowledged = NONE
    delay = d.clock if e.last_acknowledged == now else 0
    _post(e, heap, _ARBITER, _BEGIN_RESPONSE, index, now + delay)


@inlined
def _queue_head(s: Any, requests: Any, e: Any) -> int:
    """The response whose turn it is, if its command was issued."""
    head: int = e.n_left
    if s.reorders_responses:
        return head if head < s.n_accepted and requests[head].done != NONE else NONE
    if head == e.n_queued:
        return NONE
    index: int = requests[head].order
    return index


@inlined
def _finished(s: Any, requests: Any, e: Any, now: int) -> int:
    index = _queue_head(s, requests, e)
    if index != NONE and requests[index].done <= now:
        return index
    return NONE


@inlined
def _arm_data(s: Any, requests: Any, e: Any, heap: Any) -> None:
    index = _queue_head(s, requests, e)
    if index != NONE and requests[index].done > e.now:
        _wake(e, heap, _DATA_AVAILABLE, requests[index].done)


@compiled
def _next_wake(s: Any, d: Any, now: int) -> int:
    """When the earliest bank machine or manager wants to act."""
    wake = NEVER
    for place in range(s.n_prepared):
        wake = _earlier(s, wake, prepared_time(s, d, place, now), now)
    for rank in range(d.n_ranks):
        if s.refresh_policy != NO_REFRESH:
            if now < s.refresh_next[rank]:
                wake = _earlier(s, wake, s.refresh_next[rank], now)
            elif s.refresh_command[rank] != NO_COMMAND:
                wake = _earlier(s, wake, s.refresh_time[rank], now)
        if s.powers_down and s.power_command[rank] != NO_COMMAND:
            wake = _earlier(s, wake, s.power_time[rank], now)
    return wake


@inlined
def _earlier(s: Any, wake: int, time: int, now: int) -> int:
    return wake if s.is_blocked and time == now else min(wake, time)
