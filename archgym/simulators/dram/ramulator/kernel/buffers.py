"""Requests that wait: by bank in the read and write buffer, and in the list of active ones."""

from typing import Any

from archgym.runtime.kernels import helper, kept_apart
from archgym.simulators.dram.ramulator.kernel.state import NONE, OPENED


@helper
def add_request(w: Any, c: int, buffer: int, index: int) -> None:
    """Append a request to a buffer."""
    ch = w.channels[c]
    r = w.requests[index]
    b = w.banks[c * w.n_banks + r.bank]
    ch.n_stored[buffer] += 1
    r.previous = b.tail[buffer]
    r.next = NONE
    if b.tail[buffer] == NONE:
        b.head[buffer] = index
        b.place[buffer] = ch.n_banks_used[buffer]
        w.used[(2 * c + buffer) * w.n_banks + ch.n_banks_used[buffer]] = r.bank
        ch.n_banks_used[buffer] += 1
    else:
        w.requests[b.tail[buffer]].next = index
    b.tail[buffer] = index
    if b.state == OPENED and b.row == r.row:
        if b.hit[buffer] == NONE:
            b.hit[buffer] = index
            b.bound[buffer] = 0
            ch.scan_from[buffer] = 0
    elif b.other[buffer] == NONE:
        b.other[buffer] = index
        b.bound[buffer] = 0
        ch.scan_from[buffer] = 0


@helper
def remove_request(w: Any, c: int, buffer: int, index: int) -> None:
    """Take a request out of a buffer."""
    kept_apart()
    ch = w.channels[c]
    r = w.requests[index]
    b = w.banks[c * w.n_banks + r.bank]
    ch.n_stored[buffer] -= 1
    if index == b.hit[buffer]:
        b.hit[buffer] = _next(w, b, r.next, True)
    elif index == b.other[buffer]:
        b.other[buffer] = _next(w, b, r.next, False)
    if r.previous == NONE:
        b.head[buffer] = r.next
    else:
        w.requests[r.previous].next = r.next
    if r.next == NONE:
        b.tail[buffer] = r.previous
    else:
        w.requests[r.next].previous = r.previous
    b.bound[buffer] = 0
    ch.scan_from[buffer] = 0
    if b.head[buffer] == NONE:
        ch.n_banks_used[buffer] -= 1
        last = w.used[(2 * c + buffer) * w.n_banks + ch.n_banks_used[buffer]]
        w.used[(2 * c + buffer) * w.n_banks + b.place[buffer]] = last
        w.banks[c * w.n_banks + last].place[buffer] = b.place[buffer]


@helper
def relist_bank(w: Any, c: int, bank: int) -> None:
    """Find a bank's first requests to its row and to others after it opened or closed."""
    kept_apart()
    b = w.banks[c * w.n_banks + bank]
    b.version += 1
    ch = w.channels[c]
    for buffer in range(2):
        head = b.head[buffer]
        if head != NONE:
            b.hit[buffer] = _next(w, b, head, True)
            b.other[buffer] = _next(w, b, head, False)
            b.bound[buffer] = 0
            ch.scan_from[buffer] = 0
        else:
            b.hit[buffer] = NONE
            b.other[buffer] = NONE
    ch.active_from = 0
    ch.active_wake = 0


@helper
def _next(w: Any, b: Any, index: int, wants_hit: bool) -> int:
    """Return the first request from `index` on that is, or is not, to the open row."""
    if b.state != OPENED:
        return NONE if wants_hit else index
    while index != NONE and (w.requests[index].row == b.row) != wants_hit:
        index = w.requests[index].next
    return index


@helper
def keep_active(w: Any, c: int, index: int) -> None:
    """Append a request whose row was opened to the list of active ones."""
    ch = w.channels[c]
    r = w.requests[index]
    r.previous = ch.active_tail
    r.next = NONE
    r.bound = 0
    if ch.active_tail == NONE:
        ch.active_head = index
    else:
        w.requests[ch.active_tail].next = index
    ch.active_tail = index
    ch.n_active += 1
    ch.active_from = 0
    ch.active_wake = 0
    w.banks[c * w.n_banks + r.bank].n_active += 1


@helper
def drop_active(w: Any, c: int, index: int) -> None:
    """Take a request out of the list of active ones; its bank's count stays."""
    ch = w.channels[c]
    r = w.requests[index]
    if r.previous == NONE:
        ch.active_head = r.next
    else:
        w.requests[r.previous].next = r.next
    if r.next == NONE:
        ch.active_tail = r.previous
    else:
        w.requests[r.next].previous = r.previous
    ch.n_active -= 1
    ch.active_from = 0
    ch.active_wake = 0
