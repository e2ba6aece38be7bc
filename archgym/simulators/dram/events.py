"""Events of the exact kernel: which process runs when, and the messages between them.

Time stands still while rounds follow each other: whatever is woken at the present time runs in the
next round. The order of processes within a round decides some ties. SystemC's kernel settles it by
the mechanics of its binary heap, which is copied here.
"""

from typing import Any, Final

import numpy as np

from archgym.runtime.kernels import compiled, inlined
from archgym.simulators.dram.state import NONE

__all__ = [
    "advance",
    "clear_events",
    "post",
    "rearm",
    "start_process",
    "start_soon",
    "take_message",
    "take_only",
    "wake_at",
]

# Codes are np.int64, because Numba compiles a function again for each Python int passed to it.

# Processes.
PLAYER: Final[Any] = np.int64(0)
ARBITER: Final[Any] = np.int64(1)
CONTROLLER: Final[Any] = np.int64(2)

# Wake-ups. The player and the arbiter have one each, for their messages, with their own number; the
# controller has four.
NEW_REQUEST: Final[Any] = np.int64(2)
RESPONSE_FINISHED: Final[Any] = np.int64(3)
NEXT_COMMAND: Final[Any] = np.int64(4)
DATA_AVAILABLE: Final[Any] = np.int64(5)

# States of a wake-up.
_IDLE: Final[Any] = np.int64(0)
_TIMED: Final[Any] = np.int64(1)
_SOON: Final[Any] = np.int64(2)  # in the next round of this time

# A heap entry's code is its serial number, then the wake-up's number in the lowest bits.
_EVENT_BITS: Final[Any] = np.int64(3)
_EVENT_MASK: Final[Any] = np.int64(7)

# Kinds of messages.
BEGIN_REQUEST: Final[Any] = np.int64(0)
END_REQUEST: Final[Any] = np.int64(1)
BEGIN_RESPONSE: Final[Any] = np.int64(2)
END_RESPONSE: Final[Any] = np.int64(3)


@compiled
def clear_events(e: Any) -> None:
    """Make `EVENTS` those of a design before its first one."""
    e.now = 0
    e.round = 0
    e.stopped = 0
    for event in range(6):
        e.kind[event] = _IDLE
    e.next_serial = 0
    e.n_heap = 0
    e.n_soon = 0
    e.n_runnable = 0
    for process in range(3):
        e.is_runnable[process] = 0
    for process in range(2):
        e.n_soon_messages[process] = 0
        e.n_late_messages[process] = 0
    e.n_queued = 0
    e.n_left = 0
    e.outgoing = NONE
    e.acknowledged = NONE
    e.last_acknowledged = NONE
    e.n_in_controller = 0
    e.idle_since = 0
    e.channel_busy = 0
    e.thread_busy = 0
    e.n_active = 0
    e.parked = NONE
    e.pending_first = 0
    e.pending_end = 0
    e.controller_accepted = NONE
    e.player_answered = NONE
    e.n_responses = 0
    e.n_responses_handed = 0
    e.n_sent = 0
    e.n_received = 0


# Wake-ups and time.


@inlined
def start_process(e: Any, process: int) -> None:
    """Schedule a process for the next round, once."""
    if not e.is_runnable[process]:
        e.is_runnable[process] = 1
        e.runnable[e.n_runnable] = process
        e.n_runnable += 1


@compiled
def _trigger(e: Any, event: int) -> None:
    """Start the process that a wake-up is for."""
    e.kind[event] = _IDLE
    start_process(e, min(event, CONTROLLER))


@inlined
def take_only(e: Any) -> int:
    """Return the process of the only wake-up in the next round; NONE where there are more."""
    if e.n_soon != 1:
        return NONE
    event = e.soon[0]
    e.n_soon = 0
    e.kind[event] = _IDLE
    process: int = min(event, CONTROLLER)
    return process


@compiled
def start_soon(e: Any) -> None:
    """Start the processes of the next round: the last that was woken runs first."""
    n_soon = e.n_soon
    e.n_soon = 0
    for place in range(n_soon - 1, -1, -1):
        _trigger(e, e.soon[place])


@compiled
def advance(e: Any, heap: Any) -> bool:
    """Go to the next time at which something is due."""
    while e.n_heap > 0 and not _is_alive(e, heap[3]):
        _pop(e, heap)
    if e.n_heap == 0:
        return False
    e.now = heap[2]
    while e.n_heap > 0 and heap[2] == e.now:
        code = heap[3]
        is_alive = _is_alive(e, code)
        _pop(e, heap)
        if is_alive:
            _trigger(e, code & _EVENT_MASK)
    return True


@inlined
def _is_alive(e: Any, code: int) -> bool:
    """Return True if a heap entry still stands for a pending wake-up, not a replaced one."""
    event = code & _EVENT_MASK
    is_alive: bool = e.kind[event] == _TIMED and e.code[event] == code
    return is_alive


@compiled
def _pop(e: Any, heap: Any) -> None:
    """Remove the heap's top: entry i stands at 2 * i (time) and 2 * i + 1 (code), from i = 1."""
    last = e.n_heap
    e.n_heap = last - 1
    time = heap[2 * last]
    code = heap[2 * last + 1]
    place = 1
    while True:
        left = 2 * place
        smallest = place
        earliest = time
        if left < last and heap[2 * left] < earliest:
            smallest = left
            earliest = heap[2 * left]
        if left + 1 < last and heap[2 * left + 2] < earliest:
            smallest = left + 1
            earliest = heap[2 * left + 2]
        if smallest == place:
            break
        heap[2 * place] = earliest
        heap[2 * place + 1] = heap[2 * smallest + 1]
        place = smallest
    heap[2 * place] = time
    heap[2 * place + 1] = code


@compiled
def wake_at(e: Any, heap: Any, event: int, time: int) -> None:
    """Arm a wake-up; an earlier one stands, a later one is replaced."""
    kind = e.kind[event]
    if kind == _SOON or (kind == _TIMED and time != e.now and e.time[event] <= time):
        return
    if time == e.now:
        e.kind[event] = _SOON
        e.soon[e.n_soon] = event
        e.n_soon += 1
        return
    e.next_serial += 1
    code = (e.next_serial << _EVENT_BITS) | event
    e.kind[event] = _TIMED
    e.time[event] = time
    e.code[event] = code
    e.n_heap += 1
    place = e.n_heap
    while place > 1 and heap[2 * (place >> 1)] > time:
        heap[2 * place] = heap[2 * (place >> 1)]
        heap[2 * place + 1] = heap[2 * (place >> 1) + 1]
        place >>= 1
    heap[2 * place] = time
    heap[2 * place + 1] = code


# Messages.


@compiled
def post(e: Any, heap: Any, process: int, kind: int, request: int, time: int) -> None:
    """Send a message to the player or the arbiter, due at a time."""
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
    wake_at(e, heap, process, time)


@compiled
def take_message(e: Any, process: int) -> tuple[int, int]:
    """Take the next message due to a process, or NONE: those of the round before come first."""
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
def rearm(e: Any, heap: Any, process: int) -> None:
    """Wake a process again for the earliest message that is still to come."""
    if e.n_late_messages[process] > 0:
        wake_at(e, heap, process, e.late_time[process, 0])
