"""Memory controllers tick by tick, idle ticks skipped.

One round of the loop lets the front end offer requests, then every channel with something to do
runs a tick: refresh, the row policy's precharges, and one command (two-bus devices: up to two).
After a tick in which nothing happened, a channel sleeps until the earliest time at which a
candidate may become legal. Those times are lower bounds: a time from which a command is legal only
grows, so that waking too early costs time and never changes a result.
"""

from typing import Any, Final, NamedTuple

from archgym.simulators.dram.kernel.power import account_command, close_account
from archgym.simulators.dram.ramulator.kernel import state as st
from archgym.simulators.dram.ramulator.kernel.buffers import (
    add_request,
    drop_active,
    inject_precharges,
    inject_refreshes,
    keep_active,
    relist_bank,
    remove_request,
)
from archgym.simulators.dram.ramulator.kernel.picking import (
    earliest,
    pick_active,
    pick_head,
    pick_stored,
)
from archgym.simulators.kit.kernels import entry_point, helper, kept_apart, pointer

PATIENCE: Final = 300_000
"""Ticks without progress that mean a livelock: SPEC value, sufficient on all recorded rows."""

_FNV_PRIME: Final = 1099511628211

ACTIVE: Final = 2
PRIORITY: Final = 3


class Work(NamedTuple):
    """Everything that one run works on, borrowed from the caller; arrays have one dimension.

    Attributes:
      device: (1,) of `DEVICE`.
      controller: (1,) of `CONTROLLER`.
      node_of: (n_banks * n_levels,) int32, nodes that a bank lies in.
      number_of: (n_banks * n_levels,) int32, their numbers within their parents.
      siblings: (n_nodes * 2,) int32, first node of the same parent and one after the last.
      rules: of `RULE`.
      channels: (n_channels,) of `CHANNEL`.
      banks: (n_channels * n_banks,) of `BANK`.
      used: (n_channels * 2 * n_banks,) int32, banks with requests by buffer.
      ready: (n_channels * n_nodes * n_commands,) int64, no such command at the node before.
      rings: (n_windows * n_channels * n_nodes * MAX_WINDOW,) int64, times of the last commands.
      priority: (n_channels * PRIORITY_RING,) int64.
      requests: of `REQUEST`.
      is_buffered: uint8 by number of the address: a write to it is in the write buffer.
      power_rules: (1,) of `dram.kernel.records.RULES`.
      bank_accounts: (n_channels * n_banks,) of `dram.kernel.records.BANK_ACCOUNT`.
      rank_accounts: (n_channels * n_ranks,) of `dram.kernel.records.RANK_ACCOUNT`.
      log: (6 * n,) int64, of the first n commands: tick, command, channel, bank, request (-1 for
        none), 1 for a command to all banks of a scope.
      hash: (1,) int64, taken modulo 2^64.
    """

    device: Any
    controller: Any
    node_of: Any
    number_of: Any
    siblings: Any
    rules: Any
    channels: Any
    banks: Any
    used: Any
    ready: Any
    rings: Any
    priority: Any
    requests: Any
    is_buffered: Any
    power_rules: Any
    bank_accounts: Any
    rank_accounts: Any
    log: Any
    hash: Any


class View(NamedTuple):
    """`Work` as the helpers take it: pointers to arrays of numbers, and sizes."""

    node_of: Any
    number_of: Any
    siblings: Any
    rules: Any
    channels: Any
    banks: Any
    used: Any
    ready: Any
    rings: Any
    priority: Any
    requests: Any
    is_buffered: Any
    power_rules: Any
    bank_accounts: Any
    rank_accounts: Any
    log: Any
    hash: Any
    n_channels: Any
    n_banks: Any
    n_nodes: Any
    n_levels: Any
    n_commands: Any
    n_logged: Any


@helper
def view_of(work: Work) -> View:
    """Return what the helpers take of a run's work."""
    d = work.device[0]
    return View(
        pointer(work.node_of),
        pointer(work.number_of),
        pointer(work.siblings),
        work.rules,
        work.channels,
        work.banks,
        pointer(work.used),
        pointer(work.ready),
        pointer(work.rings),
        pointer(work.priority),
        work.requests,
        pointer(work.is_buffered),
        work.power_rules,
        work.bank_accounts,
        work.rank_accounts,
        pointer(work.log),
        pointer(work.hash),
        len(work.channels),
        d.n_banks,
        d.n_nodes,
        d.n_levels,
        d.n_commands,
        len(work.log) // 6,
    )


@entry_point(seconds=12.0)
def run(work: Work, out: Any, until: int) -> None:
    """Run one controller from its start, or from where it stopped.

    Args:
      work: Tables and blank state, or the state of the part before.
      out: (4,) int64, zeros at first: 0 or 1 where the run cannot end, its ticks, the last
        acceptance, requests that were accepted.
      until: Accepted requests with which it stops; more than there are to run to the end.
    """
    d = work.device[0]
    k = work.controller[0]
    w = view_of(work)
    n = len(work.requests)
    n_channels = w.n_channels
    clock = out[1]
    last_accept = out[2]
    upcoming = out[3]
    is_over = False
    while upcoming < until:
        is_refused = False
        n_offered = 0
        while (
            upcoming < n
            and n_offered < k.width
            and (not k.is_waiting or release(w, k, upcoming))
            and w.requests[upcoming].due <= clock
        ):
            if not accept(w, d, k, upcoming, clock):
                is_refused = True
                break
            last_accept = clock
            upcoming += 1
            n_offered += 1
        tick = clock + 1
        wake = st.FAR
        for c in range(n_channels):
            ch = w.channels[c]
            if ch.wake <= tick:
                tick_channel(w, d, k, c, tick)
            wake = min(wake, ch.wake)
        if upcoming == n:
            end = last_accept + 1
            is_over = True
            for c in range(n_channels):
                ch = w.channels[c]
                end = max(end, ch.last_leave)
                if ch.n_stored[0] + ch.n_stored[1] + ch.n_active > 0 or ch.owner != st.NONE:
                    is_over = False
                if ch.cas_request != st.NONE:
                    is_over = False
            if is_over:
                if tick >= end:
                    clock = tick
                    break
                is_over = False
                clock = min(wake, end) - 1
                continue
        next_offer = st.FAR
        if upcoming < n and not is_refused and (not k.is_waiting or release(w, k, upcoming)):
            next_offer = max(w.requests[upcoming].due, tick)
        clock = min(next_offer, wake - 1)
        if upcoming == n or w.requests[upcoming].due <= clock:
            progress = 0
            for c in range(n_channels):
                progress = max(progress, w.channels[c].progress)
            if upcoming < n:
                progress = max(progress, w.requests[upcoming].due)
            if clock - progress > PATIENCE:
                out[0] = 1
                break
        for c in range(n_channels):
            if w.channels[c].is_stuck:
                out[0] = 1
        if out[0] == 1:
            break
    out[1] = clock
    out[2] = last_accept
    out[3] = upcoming
    if k.is_counting and is_over and out[0] == 0:
        close_account(
            work.power_rules[0], w.bank_accounts, w.rank_accounts, len(work.rank_accounts), clock
        )


@helper
def release(w: Any, k: Any, index: int) -> bool:
    """Settle when a request is due; return False while the answer that it waits for is missing."""
    kept_apart()
    r = w.requests[index]
    if r.is_released:
        return True
    answered = r.due
    for burst in range(r.waits[0], r.waits[1]):
        depart = w.requests[burst].depart
        if depart == st.NONE:
            return False
        answered = max(answered, depart + r.think)
    due = r.due + k.stall
    if r.waits[1] > 0:
        k.stall += max(0, answered - due)
        due = max(due, answered)
    r.due = due
    r.is_released = 1
    return True


@helper
def accept(w: Any, d: Any, k: Any, index: int, clock: int) -> bool:
    """Take a request into its channel, or refuse it."""
    kept_apart()
    r = w.requests[index]
    c = r.channel
    ch = w.channels[c]
    buffer = st.WRITE if r.is_write else st.READ
    if w.is_buffered[r.address]:
        r.arrive = clock
        if buffer == st.READ:
            r.depart = clock + 1
            ch.forwarded += 1
            ch.last_leave = max(ch.last_leave, clock + 1)
        else:
            r.depart = clock
            ch.coalesced += 1
        ch.progress = clock
        return True
    if ch.n_stored[buffer] >= k.places[buffer]:
        return False
    r.arrive = clock
    if buffer == st.WRITE:
        w.is_buffered[r.address] = 1
    add_request(w, c, buffer, index)
    ch.progress = clock
    ch.n_quiet = 0
    ch.wake = min(ch.wake, clock + 1)
    return True


@helper
def tick_channel(w: Any, d: Any, k: Any, c: int, tick: int) -> None:
    """Run one tick of a channel and find when it has to run next."""
    ch = w.channels[c]
    happened = False
    if ch.refresh_at <= tick:
        happened = inject_refreshes(w, d, k, c, tick)
    if ch.n_capped > 0 and ch.capped_from <= tick:
        happened |= inject_precharges(w, d, k, c, tick)
    ch.latest = st.NONE
    if d.kind == st.COMMON:
        if _pick(w, d, k, c, tick, True, 2):
            _serve(w, d, k, c, tick, True)
            happened = True
    elif d.kind == st.SPLIT_ACTIVATION:
        happened |= _tick_split(w, d, k, c, tick)
    else:
        happened |= _tick_two_bus(w, d, k, c, tick)
    if happened:
        ch.wake = tick + 1
        ch.n_quiet = 0
    else:
        ch.n_quiet += 1
        ch.wake = _sleep_until(w, d, c, tick)


@helper
def _sleep_until(w: Any, d: Any, c: int, tick: int) -> Any:
    """Return the next tick at which something may happen, after one without an event."""
    ch = w.channels[c]
    wake = ch.refresh_at
    if ch.n_capped > 0:
        wake = min(wake, ch.capped_from)
    if d.kind == st.SPLIT_ACTIVATION:
        if ch.owner != st.NONE:
            return tick + 1
        if ch.cas_request != st.NONE:
            r = w.requests[ch.cas_request]
            command = d.wr if r.is_write else d.rd
            return max(tick + 1, min(wake, earliest(w, d, c, r.bank, command)))
    if ch.n_active > 0:
        wake = min(wake, ch.active_wake)
    if ch.n_priority > 0:
        if ch.priority_bound > tick:
            wake = min(wake, ch.priority_bound)
    else:
        buffer = st.WRITE if ch.writes_first else st.READ
        wake = min(wake, ch.wake_of[buffer])
    # On two buses a candidate that is legal may wait for its edge of the clock or for a pairing.
    waits = ch.latest != st.NONE and (ch.n_quiet < 2 or ch.latest > tick - 1)
    if d.kind == st.TWO_BUS and (ch.refresh_part != st.NONE or waits):
        return tick + 1
    return max(wake, tick + 1)


@helper
def _pick(w: Any, d: Any, k: Any, c: int, tick: int, columns: bool, rows: int) -> bool:
    """Find the command to issue; `rows` is 0 for none, 1 for precharges, 2 for all row commands."""
    ch = w.channels[c]
    if ch.n_active > 0 and columns and pick_active(w, d, k, c, tick, rows):
        ch.picked_from = ACTIVE
        return True
    if ch.n_priority > 0:
        if rows > 0 and pick_head(w, d, c, tick, rows):
            ch.picked_from = PRIORITY
            return True
        return False
    n_reads = ch.n_stored[st.READ]
    n_writes = ch.n_stored[st.WRITE]
    if ch.writes_first:
        if n_writes < k.low and n_reads > 0:
            ch.writes_first = 0
    elif n_writes > k.high or n_reads == 0:
        ch.writes_first = 1
    buffer = st.WRITE if ch.writes_first else st.READ
    if pick_stored(w, d, k, c, buffer, tick, columns, rows):
        ch.picked_from = buffer
        return True
    return False


@helper
def _tick_split(w: Any, d: Any, k: Any, c: int, tick: int) -> bool:
    """Issue one command of a device that activates a row in two commands."""
    kept_apart()
    ch = w.channels[c]
    if ch.cas_request != st.NONE:
        r = w.requests[ch.cas_request]
        if earliest(w, d, c, r.bank, d.wr if r.is_write else d.rd) > tick:
            return False
        ch.picked = ch.cas_request
        ch.picked_command = d.wr if r.is_write else d.rd
        ch.picked_from = ch.cas_from
        ch.cas_request = st.NONE
        ch.cas_issued += 1
        _extend_wck(d, k, ch, ch.picked_command, tick)
        _serve(w, d, k, c, tick, False)
        return True
    if ch.owner != st.NONE and ch.deadline <= tick:
        ch.act2_forced += 1
        _finish_activation(w, d, k, c, tick)
        return True
    if not _pick(w, d, k, c, tick, True, 2):
        if ch.owner == st.NONE:
            return False
        ch.act2_deferred += 1
        _finish_activation(w, d, k, c, tick)
        return True
    command = ch.picked_command
    if ch.picked_from == PRIORITY or (command != d.rd and command != d.wr):
        _serve(w, d, k, c, tick, True)
        return True
    if not k.always_on and tick >= ch.wck_end:
        if ch.owner != st.NONE and ch.deadline <= tick + 1:
            ch.act2_forced += 1
            _finish_activation(w, d, k, c, tick)
            return True
        index = ch.picked
        _count_outcome(w, ch, c, index)
        ch.cas_request = index
        ch.cas_from = ch.picked_from
        ch.progress = tick
        cas = d.cas_wr if command == d.wr else d.cas_rd
        _issue(w, d, k, c, cas, w.requests[index].bank, index, tick)
        return True
    ch.cas_skipped += 1
    _extend_wck(d, k, ch, command, tick)
    _serve(w, d, k, c, tick, True)
    return True


@helper
def _extend_wck(d: Any, k: Any, ch: Any, command: int, tick: int) -> None:
    if not k.always_on:
        latency = d.cwl if command == d.wr else d.cl
        ch.wck_end = max(ch.wck_end, tick + latency + d.wck_tail)


@helper
def _finish_activation(w: Any, d: Any, k: Any, c: int, tick: int) -> None:
    """Issue the second half of the activation under way."""
    ch = w.channels[c]
    index = ch.owner
    ch.owner = st.NONE
    r = w.requests[index]
    b = w.banks[c * w.n_banks + r.bank]
    b.state = st.OPENED
    b.row = r.row
    relist_bank(w, c, r.bank)
    keep_active(w, c, index)
    _issue(w, d, k, c, d.act2, r.bank, index, tick)


@helper
def _tick_two_bus(w: Any, d: Any, k: Any, c: int, tick: int) -> bool:
    """Issue a column command on a rising edge, and a row command on either edge."""
    happened = False
    is_rising = tick % 2 == 1
    if is_rising and _pick(w, d, k, c, tick, True, 0):
        _serve(w, d, k, c, tick, True)
        happened = True
    if _pick(w, d, k, c, tick, False, 2 if is_rising else 1):
        _serve(w, d, k, c, tick, True)
        happened = True
    return happened


@helper
def _serve(w: Any, d: Any, k: Any, c: int, tick: int, may_close: bool) -> None:
    """Issue the picked command and follow what it does to its request."""
    kept_apart()
    ch = w.channels[c]
    command = ch.picked_command
    if ch.picked_from == PRIORITY:
        _serve_head(w, d, k, c, command, tick)
        return
    index = ch.picked
    r = w.requests[index]
    bank = r.bank
    b = w.banks[c * w.n_banks + bank]
    if not r.is_counted:
        _count_outcome(w, ch, c, index)
        ch.progress = tick
    if command == d.rd or command == d.wr:
        ch.progress = tick
        closes = False
        if k.closes and may_close and b.n_columns >= k.cap:
            closing = d.rda if command == d.rd else d.wra
            if earliest(w, d, c, bank, closing) <= tick:
                command = closing
                closes = True
        b.n_columns += 1
        if k.closes and b.n_columns == k.cap and not b.is_closing:
            ch.n_capped += 1
        ch.capped_from = 0
        if ch.picked_from == ACTIVE:
            drop_active(w, c, index)
            b.n_active -= 1
        else:
            remove_request(w, c, ch.picked_from, index)
            if r.is_write:
                w.is_buffered[r.address] = 0
        if r.is_write:
            r.depart = tick
            ch.last_leave = max(ch.last_leave, tick)
        else:
            r.depart = tick + d.read_latency
            ch.last_leave = max(ch.last_leave, r.depart)
        _issue(w, d, k, c, command, bank, index, tick)
        if closes:
            _close(w, k, c, bank)
    elif command == d.act:
        if ch.picked_from == ACTIVE:
            drop_active(w, c, index)
        else:
            remove_request(w, c, ch.picked_from, index)
            if r.is_write:
                w.is_buffered[r.address] = 0
        if d.kind == st.SPLIT_ACTIVATION:
            b.state = st.ACTIVATING
            ch.owner = index
            ch.deadline = tick + d.aad
            relist_bank(w, c, bank)
        else:
            b.state = st.OPENED
            b.row = r.row
            relist_bank(w, c, bank)
            keep_active(w, c, index)
        _issue(w, d, k, c, command, bank, index, tick)
    else:
        _issue(w, d, k, c, command, bank, index, tick)
        _close(w, k, c, bank)
    _pair(w, d, c, command, bank, tick)


@helper
def _serve_head(w: Any, d: Any, k: Any, c: int, command: int, tick: int) -> None:
    """Issue a command of the priority buffer's head, which leaves with its last one."""
    kept_apart()
    ch = w.channels[c]
    entry = w.priority[c * st.PRIORITY_RING + ch.priority_first]
    kind = entry >> 32
    target = entry & 0xFFFFFFFF
    is_last = (command != d.prea and command != d.pre) or kind == st.PRECHARGE_BANK
    if is_last:
        ch.priority_first = (ch.priority_first + 1) % st.PRIORITY_RING
        ch.n_priority -= 1
    ch.priority_bound = 0
    if kind == st.REFRESH_ALL:
        first = target * d.scope_banks
        _issue_all(w, d, k, c, command, first, tick)
        if command == d.prea:
            for bank in range(first, first + d.scope_banks):
                _close(w, k, c, bank)
        _pair(w, d, c, command, first, tick)
    else:
        _issue(w, d, k, c, command, target, st.NONE, tick)
        if command == d.pre:
            _close(w, k, c, target)
        _pair(w, d, c, command, target, tick)


@helper
def _count_outcome(w: Any, ch: Any, c: int, index: int) -> None:
    """Count a request as row hit, conflict or miss with its first command."""
    r = w.requests[index]
    if r.is_counted:
        return
    r.is_counted = 1
    b = w.banks[c * w.n_banks + r.bank]
    if b.state != st.OPENED:
        ch.misses += 1
    elif b.row == r.row:
        ch.hits += 1
    else:
        ch.conflicts += 1


@helper
def _close(w: Any, k: Any, c: int, bank: int) -> None:
    """Close a bank's row and reset its row policy."""
    kept_apart()
    b = w.banks[c * w.n_banks + bank]
    if k.closes and b.n_columns >= k.cap and not b.is_closing:
        w.channels[c].n_capped -= 1
    b.n_columns = 0
    b.is_closing = 0
    b.state = st.CLOSED
    relist_bank(w, c, bank)


@helper
def _pair(w: Any, d: Any, c: int, command: int, bank: int, tick: int) -> None:
    """Remember a row command on a rising edge, which restricts a falling edge."""
    if d.kind != st.TWO_BUS or tick % 2 == 0:
        return
    if command == d.rd or command == d.wr or command == d.rda or command == d.wra:
        return
    ch = w.channels[c]
    ch.pair_at = tick + (3 if command == d.act else 1)
    ch.pair_scope = bank // d.scope_banks
    is_all = command == d.prea or command == d.refab
    ch.pair_bank = st.NONE if is_all else bank % d.scope_banks


@helper
def _issue(w: Any, d: Any, k: Any, c: int, command: int, bank: int, index: int, tick: int) -> None:
    """Put a command to one bank into effect."""
    kept_apart()
    for i in range(d.rules_of[command], d.rules_of[command + 1]):
        rule = w.rules[i]
        _apply(w, c, rule, w.node_of[bank * w.n_levels + rule.level], tick)
    _record(w, d, k, c, command, bank, index, False, tick)


@helper
def _issue_all(w: Any, d: Any, k: Any, c: int, command: int, first: int, tick: int) -> None:
    """Put a command to all banks of a scope into effect."""
    kept_apart()
    for i in range(d.rules_of[command], d.rules_of[command + 1]):
        rule = w.rules[i]
        if rule.level <= d.scope_level:
            _apply(w, c, rule, w.node_of[first * w.n_levels + rule.level], tick)
            continue
        last = st.NONE
        for bank in range(first, first + d.scope_banks):
            node = w.node_of[bank * w.n_levels + rule.level]
            if node != last:
                _apply(w, c, rule, node, tick)
                last = node
    _record(w, d, k, c, command, first, st.NONE, True, tick)


@helper
def _apply(w: Any, c: int, rule: Any, node: int, tick: int) -> None:
    """Delay what a rule makes wait."""
    start = tick
    if rule.window > 1:
        first = ((rule.slot * w.n_channels + c) * w.n_nodes + node) * st.MAX_WINDOW
        for i in range(first, first + rule.window - 1):
            w.rings[i] = w.rings[i + 1]
        w.rings[first + rule.window - 1] = tick
        start = w.rings[first]
    time = start + rule.distance
    if rule.siblings:
        for other in range(w.siblings[2 * node], w.siblings[2 * node + 1]):
            if other != node:
                _delay(w, c, other, rule.following, time)
    else:
        _delay(w, c, node, rule.following, time)


@helper
def _delay(w: Any, c: int, node: int, command: int, time: int) -> None:
    place = (c * w.n_nodes + node) * w.n_commands + command
    w.ready[place] = max(w.ready[place], time)


@helper
def _record(
    w: Any, d: Any, k: Any, c: int, command: int, bank: int, index: int, is_all: bool, tick: int
) -> None:
    """Count a command, and enter it into log, hash and energy account where wanted."""
    ch = w.channels[c]
    ch.n_issued[command] += 1
    if k.is_counting and d.power_kind[command] != st.NONE:
        rank = (c * d.n_banks + bank) // w.power_rules[0].banks_per_rank
        account_command(
            w.power_rules[0],
            w.bank_accounts,
            w.rank_accounts,
            d.power_kind[command],
            rank,
            c * d.n_banks + bank,
            tick,
        )
    if not k.is_hashing:
        return
    value = w.hash[0]
    value = _mix(value, tick)
    value = _mix(value, command)
    value = _mix(value, c)
    for level in range(1, d.n_levels):
        is_named = not is_all or level <= d.scope_level
        value = _mix(value, w.number_of[bank * w.n_levels + level] if is_named else st.NONE)
    value = _mix(value, w.requests[index].row if index != st.NONE else st.NONE)
    value = _mix(value, w.requests[index].column if index != st.NONE else st.NONE)
    w.hash[0] = value
    n = w.channels[0].n_commands
    w.channels[0].n_commands += 1
    if n < w.n_logged:
        w.log[6 * n] = tick
        w.log[6 * n + 1] = command
        w.log[6 * n + 2] = c
        w.log[6 * n + 3] = bank
        w.log[6 * n + 4] = index
        w.log[6 * n + 5] = is_all


@helper
def _mix(value: Any, number: int) -> Any:
    """Return the FNV-1a hash after the eight bytes of a number."""
    for byte in range(8):
        value = (value ^ ((number >> (8 * byte)) & 0xFF)) * _FNV_PRIME
    return value
