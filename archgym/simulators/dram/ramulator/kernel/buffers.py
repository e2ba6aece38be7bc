"""Requests that wait: by bank in the read and write buffer, as active ones, and with priority.

Refreshes and the row policy's precharges enter the priority buffer.
"""

from typing import Any

from archgym.simulators.dram.ramulator.kernel import state as st
from archgym.simulators.dram.ramulator.kernel.picking import earliest
from archgym.simulators.kit.kernels import helper, kept_apart


@helper
def inject(w: Any, c: int, kind: int, target: int) -> bool:
    """Append a request to the priority buffer, unless it is full."""
    kept_apart()
    ch = w.channels[c]
    if ch.n_priority >= st.PRIORITY_PLACES:
        return False
    place = (ch.priority_first + ch.n_priority) % st.PRIORITY_RING
    w.priority[c * st.PRIORITY_RING + place] = (kind << 32) | target
    if ch.n_priority == 0:
        ch.priority_bound = 0
    ch.n_priority += 1
    return True


@helper
def inject_precharges(w: Any, d: Any, k: Any, c: int, tick: int) -> bool:
    """Ask for the precharge of each bank that has had its share of column commands."""
    kept_apart()
    ch = w.channels[c]
    happened = False
    ch.capped_from = st.FAR
    for bank in range(d.n_banks):
        b = w.banks[c * w.n_banks + bank]
        if b.n_columns >= k.cap and not b.is_closing:
            time = earliest(w, d, c, bank, d.pre)
            if time > tick:
                ch.capped_from = min(ch.capped_from, time)
            elif inject(w, c, st.PRECHARGE_BANK, bank):
                b.is_closing = 1
                ch.n_capped -= 1
                happened = True
    return happened


@helper
def inject_refreshes(w: Any, d: Any, k: Any, c: int, tick: int) -> bool:
    """Ask for the refreshes that are due."""
    kept_apart()
    ch = w.channels[c]
    if k.refresh == st.ALL_BANK:
        if k.scatter > 0:
            if not inject(w, c, st.REFRESH_ALL, ch.refresh_index):
                ch.is_stuck = 1
            ch.refresh_index += 1
            ch.refresh_at += k.scatter
            if ch.refresh_index == d.n_scopes:
                ch.refresh_index = 0
                ch.refresh_at += d.refi - d.n_scopes * k.scatter
            return True
        for scope in range(d.n_scopes):
            if not inject(w, c, st.REFRESH_ALL, scope):
                ch.is_stuck = 1
        ch.refresh_at += d.refi
        return True
    if d.kind != st.TWO_BUS:
        if not inject(w, c, st.REFRESH_BANK, ch.refresh_index):
            ch.is_stuck = 1
        ch.refresh_index = (ch.refresh_index + 1) % d.n_banks
        ch.refresh_at += d.refi_bank
        return True
    return _inject_set(w, d, c, tick)


@helper
def _inject_set(w: Any, d: Any, c: int, tick: int) -> bool:
    """Ask for a set of per-bank refreshes, one pseudo-channel a tick."""
    ch = w.channels[c]
    stack = ch.refresh_index // d.banks_per_stack
    n_stacks = d.scope_banks // d.banks_per_stack
    if ch.refresh_part == st.NONE:
        for scope in range(d.n_scopes):
            if tick < ch.refresh_free[scope * n_stacks + stack]:
                ch.refresh_at = tick + 1
                return False
        ch.refresh_part = 0
        ch.refresh_next = ch.refresh_at + d.refi_bank
    scope = ch.refresh_part
    if not inject(w, c, st.REFRESH_BANK, scope * d.scope_banks + ch.refresh_index):
        ch.refresh_at = tick + 1
        return False
    pair = scope * n_stacks + stack
    ch.refresh_left[pair] += 1
    if ch.refresh_left[pair] == d.banks_per_stack:
        ch.refresh_left[pair] = 0
        ch.refresh_free[pair] = tick + d.rfc_bank
    ch.refresh_part += 1
    if ch.refresh_part == d.n_scopes:
        ch.refresh_part = st.NONE
        ch.refresh_index = (ch.refresh_index + 1) % d.scope_banks
        ch.refresh_at = max(tick + 1, ch.refresh_next)
    else:
        ch.refresh_at = tick + 1
    return True


@helper
def add_request(w: Any, c: int, buffer: int, index: int) -> None:
    """Append a request to a buffer."""
    ch = w.channels[c]
    r = w.requests[index]
    b = w.banks[c * w.n_banks + r.bank]
    ch.n_stored[buffer] += 1
    r.previous = b.tail[buffer]
    r.next = st.NONE
    if b.tail[buffer] == st.NONE:
        b.head[buffer] = index
        b.place[buffer] = ch.n_banks_used[buffer]
        w.used[(2 * c + buffer) * w.n_banks + ch.n_banks_used[buffer]] = r.bank
        ch.n_banks_used[buffer] += 1
    else:
        w.requests[b.tail[buffer]].next = index
    b.tail[buffer] = index
    if b.state == st.OPENED and b.row == r.row:
        if b.hit[buffer] == st.NONE:
            b.hit[buffer] = index
            b.bound[buffer] = 0
            ch.scan_from[buffer] = 0
    elif b.other[buffer] == st.NONE:
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
    if r.previous == st.NONE:
        b.head[buffer] = r.next
    else:
        w.requests[r.previous].next = r.next
    if r.next == st.NONE:
        b.tail[buffer] = r.previous
    else:
        w.requests[r.next].previous = r.previous
    b.bound[buffer] = 0
    ch.scan_from[buffer] = 0
    if b.head[buffer] == st.NONE:
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
        if head != st.NONE:
            b.hit[buffer] = _next(w, b, head, True)
            b.other[buffer] = _next(w, b, head, False)
            b.bound[buffer] = 0
            ch.scan_from[buffer] = 0
        else:
            b.hit[buffer] = st.NONE
            b.other[buffer] = st.NONE
    ch.active_from = 0
    ch.active_wake = 0


@helper
def _next(w: Any, b: Any, index: int, wants_hit: bool) -> int:
    """Return the first request from `index` on that is, or is not, to the open row."""
    if b.state != st.OPENED:
        return st.NONE if wants_hit else index
    while index != st.NONE and (w.requests[index].row == b.row) != wants_hit:
        index = w.requests[index].next
    return index


@helper
def keep_active(w: Any, c: int, index: int) -> None:
    """Append a request whose row was opened to the list of active ones."""
    ch = w.channels[c]
    r = w.requests[index]
    r.previous = ch.active_tail
    r.next = st.NONE
    r.bound = 0
    if ch.active_tail == st.NONE:
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
    if r.previous == st.NONE:
        ch.active_head = r.next
    else:
        w.requests[r.previous].next = r.next
    if r.next == st.NONE:
        ch.active_tail = r.previous
    else:
        w.requests[r.next].previous = r.previous
    ch.n_active -= 1
    ch.active_from = 0
    ch.active_wake = 0
