"""Choice of the next command: legal, allowed by the filters, first by the scheduler."""

from typing import Any

from archgym.simulators.dram.ramulator.kernel import state as st
from archgym.simulators.kit.kernels import helper, kept_apart


@helper
def earliest(w: Any, d: Any, c: int, bank: int, command: int) -> int:
    """Return the tick from which a command to a bank is legal."""
    time = 0
    node_of = bank * w.n_levels
    ready = c * w.n_nodes
    for level in range(w.n_levels):
        node = ready + w.node_of[node_of + level]
        time = max(time, w.ready[node * w.n_commands + command])
    return time


@helper
def earliest_all(w: Any, d: Any, c: int, first: int, command: int) -> int:
    """Return the tick from which a command to all banks of a scope is legal."""
    kept_apart()
    time = 0
    for bank in range(first, first + d.scope_banks):
        time = max(time, earliest(w, d, c, bank, command))
    return time


@helper
def pick_stored(
    w: Any, d: Any, k: Any, c: int, buffer: int, tick: int, columns: bool, rows: int
) -> bool:
    """Find the oldest request of a buffer whose next command is legal and allowed."""
    kept_apart()
    ch = w.channels[c]
    if ch.scan_from[buffer] > tick:
        return False
    best = st.NONE
    best_command = st.NONE
    scan_from = st.FAR
    wake = st.FAR
    column = d.wr if buffer else d.rd
    for place in range(ch.n_banks_used[buffer]):
        bank = w.used[(2 * c + buffer) * w.n_banks + place]
        b = w.banks[c * w.n_banks + bank]
        if b.bound[buffer] > tick:
            scan_from = min(scan_from, b.bound[buffer])
            wake = min(wake, b.bound[buffer])
            continue
        later = st.FAR
        is_legal = False
        hit = b.hit[buffer]
        if hit != st.NONE:
            time = earliest(w, d, c, bank, column)
            if time > tick:
                later = time
            else:
                is_legal = True
                ch.latest = max(ch.latest, time)
                if columns and (best == st.NONE or hit < best):
                    best = hit
                    best_command = column
        other = b.other[buffer]
        if other != st.NONE and b.state != 1:
            command = d.act if b.state == st.CLOSED else d.pre
            time = earliest(w, d, c, bank, command)
            if time > tick:
                later = min(later, time)
            else:
                is_legal = True
                ch.latest = max(ch.latest, time)
                if rows > 0 and (best == st.NONE or other < best):
                    is_allowed = rows == 2 or command == d.pre
                    if command == d.pre:
                        if b.n_active > 0 and ch.n_active > 0:
                            is_allowed = False
                        elif k.row_hit_first and hit != st.NONE:
                            is_allowed &= w.requests[hit].arrive > w.requests[other].arrive
                        is_allowed &= _may_pair(d, ch, bank, tick)
                        is_allowed &= ch.owner == st.NONE or w.requests[ch.owner].bank != bank
                    elif ch.owner != st.NONE:
                        is_allowed = False
                    if is_allowed:
                        best = other
                        best_command = command
        b.bound[buffer] = 0 if is_legal else later
        scan_from = min(scan_from, b.bound[buffer])
        wake = min(wake, later)
    ch.scan_from[buffer] = scan_from
    ch.wake_of[buffer] = wake
    ch.picked = best
    ch.picked_command = best_command
    return best != st.NONE


@helper
def _may_pair(d: Any, ch: Any, bank: int, tick: int) -> Any:
    """Return True if a precharge of the bank may pair with the row command before."""
    if d.kind != st.TWO_BUS or ch.pair_at != tick or ch.pair_scope != bank // d.scope_banks:
        return True
    return ch.pair_bank != st.NONE and ch.pair_bank != bank % d.scope_banks


@helper
def pick_active(w: Any, d: Any, k: Any, c: int, tick: int, rows: int) -> bool:
    """Find the first active request whose next command is legal and allowed."""
    kept_apart()
    ch = w.channels[c]
    if ch.active_from > tick:
        return False
    best = st.NONE
    best_command = st.NONE
    scan_from = st.FAR
    wake = st.FAR
    index = ch.active_head
    while index != st.NONE:
        r = w.requests[index]
        b = w.banks[c * w.n_banks + r.bank]
        if r.bound > tick and r.version == b.version:
            scan_from = min(scan_from, r.bound)
            wake = min(wake, r.bound)
            index = r.next
            continue
        if b.state == st.OPENED:
            command = (d.wr if r.is_write else d.rd) if b.row == r.row else d.pre
        elif b.state == st.CLOSED:
            command = d.act
        else:
            command = st.NONE
        if command != st.NONE:
            time = earliest(w, d, c, r.bank, command)
            r.version = b.version
            if time > tick:
                r.bound = time
                wake = min(wake, time)
                scan_from = min(scan_from, time)
            else:
                r.bound = 0
                scan_from = 0
                ch.latest = max(ch.latest, time)
                is_allowed = rows > 0 or command == d.rd or command == d.wr
                if command == d.act and ch.owner != st.NONE:
                    is_allowed = False
                if command == d.pre:
                    if ch.owner != st.NONE and w.requests[ch.owner].bank == r.bank:
                        is_allowed = False
                    if k.row_hit_first and _has_older_hit(w, c, index):
                        is_allowed = False
                if is_allowed and (best == st.NONE or r.arrive < w.requests[best].arrive):
                    best = index
                    best_command = command
        else:
            scan_from = 0
        index = r.next
    ch.active_from = scan_from
    ch.active_wake = wake
    ch.picked = best
    ch.picked_command = best_command
    return best != st.NONE


@helper
def _has_older_hit(w: Any, c: int, index: int) -> bool:
    """Return True if an active request to the same bank's open row is not younger."""
    r = w.requests[index]
    b = w.banks[c * w.n_banks + r.bank]
    other = w.channels[c].active_head
    while other != st.NONE:
        o = w.requests[other]
        if o.bank == r.bank and o.row == b.row and o.arrive <= r.arrive:
            return True
        other = o.next
    return False


@helper
def head_command(w: Any, d: Any, c: int) -> Any:
    """Return the next command of the priority buffer's head."""
    ch = w.channels[c]
    entry = w.priority[c * st.PRIORITY_RING + ch.priority_first]
    kind = entry >> 32
    target = entry & 0xFFFFFFFF
    if kind == st.PRECHARGE_BANK:
        return d.pre
    if kind == st.REFRESH_ALL:
        for bank in range(target * d.scope_banks, (target + 1) * d.scope_banks):
            if w.banks[c * w.n_banks + bank].state != st.CLOSED:
                return d.prea
        return d.refab
    if w.banks[c * w.n_banks + target].state != st.CLOSED:
        return d.pre
    return d.refpb


@helper
def pick_head(w: Any, d: Any, c: int, tick: int, rows: int) -> bool:
    """Check that the priority buffer's head may issue its next command."""
    kept_apart()
    ch = w.channels[c]
    if ch.priority_bound > tick:
        return False
    entry = w.priority[c * st.PRIORITY_RING + ch.priority_first]
    kind = entry >> 32
    target = entry & 0xFFFFFFFF
    command = head_command(w, d, c)
    is_all = kind == st.REFRESH_ALL
    first = target * d.scope_banks if is_all else target
    count = d.scope_banks if is_all else 1
    time = earliest_all(w, d, c, first, command) if is_all else earliest(w, d, c, first, command)
    if time > tick:
        ch.priority_bound = time
        return False
    ch.priority_bound = 0
    ch.latest = max(ch.latest, time)
    closes = command == d.pre or command == d.prea
    if rows == 1 and not closes:
        return False
    if closes and ch.n_active > 0:
        for bank in range(first, first + count):
            if w.banks[c * w.n_banks + bank].n_active > 0:
                return False
    if closes and d.kind == st.TWO_BUS and ch.pair_at == tick:
        is_same = is_all or ch.pair_bank == st.NONE or ch.pair_bank == first % d.scope_banks
        if is_same and ch.pair_scope == first // d.scope_banks:
            return False
    if ch.owner != st.NONE:
        owned = w.requests[ch.owner].bank
        if first <= owned < first + count:
            return False
    ch.picked = st.NONE
    ch.picked_command = command
    return True
