"""Events of a run: which process runs when, and the messages between them.

Time stands still while rounds follow each other: whatever is woken at the present time runs in the
next round. The order of processes within a round decides some ties. SystemC's kernel settles it by
the mechanics of its binary heap, which is copied here, stale entries included.

At most one message of a kind is under way, as each waits for an answer to the one before. Short
lists of wake-ups and messages are therefore packed into one integer, three bits an entry.
"""

from typing import Any

import numpy as np

from archgym.simulators.dram.dramsys.kernel.state import NONE
from archgym.simulators.kit.kernels import compiled, inlined

# Codes are np.int64, because Numba compiles a function again for each Python int passed to it.

_code: Any = np.int64

# Processes.
PLAYER, ARBITER, CONTROLLER = map(_code, range(3))
# Wake-ups. The player and the arbiter have one each, for their messages, with their own number; the
# controller has four.
NEW_REQUEST, RESPONSE_FINISHED, NEXT_COMMAND, DATA_AVAILABLE = map(_code, range(2, 6))
# An entry of a packed list is a number plus 1, so that 0 is an empty list.
ENTRY_BITS, ENTRY_MASK = _code(3), _code(7)
# A heap entry's code is its serial number, then the wake-up's number in the lowest bits.
_EVENT_BITS, _EVENT_MASK, _NO_CODE = _code(3), _code(7), _code(-1)
# Kinds of messages.
BEGIN_REQUEST, END_REQUEST, BEGIN_RESPONSE, END_RESPONSE = map(_code, range(4))


@compiled
def clear_events(e: Any) -> None:
    """Make `EVENTS` those of a design before its first one."""
    e.now = e.stopped = e.soon = e.is_soon = e.next_serial = e.n_heap = 0
    for event in range(6):
        e.code[event] = _NO_CODE
    for process in range(2):
        e.soon_messages[process] = e.soon_shift[process] = e.n_late_messages[process] = 0
    e.n_queued = e.n_left = e.n_in_controller = e.idle_since = 0
    e.outgoing = e.acknowledged = e.last_acknowledged = NONE
    e.channel_busy = e.thread_busy = e.n_active = e.pending_first = e.pending_end = 0
    e.parked = e.controller_accepted = e.player_answered = NONE
    e.n_responses = e.n_responses_handed = 0
    e.is_held = e.held_since = e.n_sent = e.n_received = 0


# Wake-ups and time.


@inlined
def take_soon(e: Any) -> int:
    """Return the packed wake-ups of the next round, the last that was woken first."""
    soon: int = e.soon
    e.soon = 0
    e.is_soon = 0
    return soon


@compiled
def advance(e: Any, heap: Any) -> Any:
    """Go to the next time at which something is due.

    Returns:
      The packed wake-ups that are due, in the heap's order; 0 if nothing is left.
    """
    due: Any = np.int64(0)
    n_due: Any = np.int64(0)
    while e.n_heap > 0:
        # An entry stands for a pending wake-up unless a later one replaced it.
        code = heap[3]
        event = code & _EVENT_MASK
        if due != 0 and heap[2] != e.now:
            break
        if e.code[event] == code:
            e.code[event] = _NO_CODE
            e.now = heap[2]
            due |= (event + 1) << n_due
            n_due += ENTRY_BITS
        _pop(e, heap)
    return due


@inlined
def _pop(e: Any, heap: Any) -> None:
    """Remove the heap's top: entry i stands at 2 * i (time) and 2 * i + 1 (code), from i = 1."""
    last = e.n_heap
    e.n_heap = last - 1
    time = heap[2 * last]
    code = heap[2 * last + 1]
    place = 1
    left = 2
    while left < last:
        smallest = place
        earliest = time
        if heap[2 * left] < earliest:
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
        left = 2 * place
    heap[2 * place] = time
    heap[2 * place + 1] = code


@inlined
def is_timed(e: Any, event: int) -> bool:
    """Return True if a wake-up is armed for a later time."""
    timed: bool = e.code[event] != _NO_CODE
    return timed


@inlined
def wake_soon(e: Any, event: int) -> None:
    """Wake a process in the next round of this time."""
    bit = np.int64(1) << event
    if e.is_soon & bit:
        return
    e.code[event] = _NO_CODE
    e.is_soon |= bit
    e.soon = (e.soon << ENTRY_BITS) | (event + 1)


@inlined
def wake_later(e: Any, heap: Any, event: int, time: int) -> None:
    """Arm a wake-up for a later time; an earlier one stands, a later one is replaced."""
    if e.is_soon >> event & 1 or (e.code[event] != _NO_CODE and e.time[event] <= time):
        return
    e.next_serial += 1
    code = (e.next_serial << _EVENT_BITS) | event
    e.time[event] = time
    e.code[event] = code
    place = e.n_heap + 1
    e.n_heap = place
    while place > 1 and heap[2 * (place >> 1)] > time:
        heap[2 * place] = heap[2 * (place >> 1)]
        heap[2 * place + 1] = heap[2 * (place >> 1) + 1]
        place >>= 1
    heap[2 * place] = time
    heap[2 * place + 1] = code


@compiled
def wake_at(e: Any, heap: Any, event: int, time: int) -> None:
    """Arm a wake-up; an earlier one stands, a later one is replaced."""
    if time == e.now:
        wake_soon(e, event)
    else:
        wake_later(e, heap, event, time)


# Messages.


@inlined
def post_soon(e: Any, process: int, kind: int, request: int) -> None:
    """Send a message to the player or the arbiter, due in the next round."""
    e.message_request[process, kind] = request
    shift = e.soon_shift[process]
    e.soon_messages[process] |= (kind + 1) << shift
    e.soon_shift[process] = shift + ENTRY_BITS
    wake_soon(e, process)


@compiled
def post(e: Any, heap: Any, process: int, kind: int, request: int, time: int) -> None:
    """Send a message to the player or the arbiter, due at a time."""
    if time == e.now:
        post_soon(e, process, kind, request)
        return
    e.message_request[process, kind] = request
    # The last is the first that is due; of equal ones, the one that was posted first.
    place = e.n_late_messages[process]
    e.n_late_messages[process] = place + 1
    while place > 0 and e.late_time[process, place - 1] <= time:
        e.late_kind[process, place] = e.late_kind[process, place - 1]
        e.late_time[process, place] = e.late_time[process, place - 1]
        place -= 1
    e.late_kind[process, place] = kind
    e.late_time[process, place] = time
    wake_later(e, heap, process, time)


@inlined
def take_messages(e: Any, process: int) -> int:
    """Take the packed messages that were posted at this time so far."""
    messages: int = e.soon_messages[process]
    e.soon_messages[process] = 0
    e.soon_shift[process] = 0
    return messages


@inlined
def take_late(e: Any, process: int) -> int:
    """Take the next message that was posted before this time and is due, as a packed list."""
    last = e.n_late_messages[process] - 1
    if last < 0 or e.late_time[process, last] > e.now:
        return 0
    e.n_late_messages[process] = last
    message: int = e.late_kind[process, last] + 1
    return message


@inlined
def rearm(e: Any, heap: Any, process: int) -> None:
    """Wake a process again for the earliest message that is still to come."""
    n = e.n_late_messages[process]
    if n > 0:
        wake_later(e, heap, process, e.late_time[process, n - 1])
