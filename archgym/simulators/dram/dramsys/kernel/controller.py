"""The controller step: request buffer, schedulers, bank machines, command multiplexer, issue.

`run.py` drives these functions. A
step is: accept a waiting request if there is space, then `step`, which lets the managers choose,
selects one command, issues it if its time has come, and prepares what follows.

The published controller restarts every bank machine in each run. A bank machine's choice depends
only on its bank's requests and state, so here only the banks that changed are restarted.
"""

from typing import Any, Final

import numpy as np

from archgym.simulators.dram.dramsys.kernel import commands as cmd
from archgym.simulators.dram.dramsys.kernel.earliest import (
    push_act,
    push_column,
    push_pre,
    push_rank_command,
    push_refb,
    push_window,
)
from archgym.simulators.dram.dramsys.kernel.energy import (
    account_act,
    account_auto,
    account_pre,
    account_rank_command,
)
from archgym.simulators.dram.dramsys.kernel.managers import (
    power_command_issued,
    refresh_issued,
    request_power_down,
    request_wake_up,
    start_managers,
)
from archgym.simulators.dram.dramsys.kernel.rule_calls import (
    best_scored,
    report_request,
    wants_closing,
)
from archgym.simulators.dram.dramsys.kernel.state import NONE
from archgym.simulators.dram.kernel.records import NEVER
from archgym.simulators.kit.kernels import compiled, inlined

# Outcomes of a request.
ROW_HIT: Final = 0
ROW_MISS: Final = 1
ROW_CONFLICT: Final = 2

# Ages of candidates that are not requests; requests' ages are their places in the trace.
_REFRESH_AGE: Final = -1
_POWER_AGE: Final = NEVER


@inlined
def has_space(s: Any) -> bool:
    """Return True if the buffer takes one more request."""
    n_counted = s.n_stored
    if s.buffer == cmd.BANKWISE:
        # DRAMSys looks at the bank of the request stored last, not of the incoming one.
        n_counted = s.count[s.last_stored_bank]
    elif s.buffer == cmd.READ_WRITE:
        n_counted = max(s.n_stored_reads, s.n_stored_writes)
    fits: bool = n_counted < s.buffer_size
    return fits


@inlined
def can_accept(s: Any, now: int) -> bool:
    """Return True if a request has arrived at the controller's door and fits in."""
    return s.incoming != NONE and s.incoming_time <= now and has_space(s)


@compiled
def accept(s: Any, d: Any, requests: Any, now: int) -> None:
    """Take the incoming request into the buffer and restarts its bank's machine."""
    index = s.incoming
    request = requests[index]
    s.incoming = NONE
    s.accepted = index
    s.n_accepted += 1
    s.n_steps_without_progress = 0

    bank: Any = np.int64(request.bank)
    rank = request.rank
    if s.n_payloads[rank] == 0 and s.powers_down:
        request_wake_up(s, rank)
    s.n_payloads[rank] += 1

    tail = s.tail[bank]
    request.previous = tail
    request.next = NONE
    request.outcome = ROW_HIT
    request.done = NONE
    request.received = NONE
    if tail == NONE:
        s.head[bank] = index
    else:
        requests[tail].next = index
    s.tail[bank] = index
    s.count[bank] += 1
    s.n_stored += 1
    if request.is_write:
        s.n_stored_writes += 1
    else:
        s.n_stored_reads += 1
    s.last_stored_bank = bank
    if s.open_row[bank] == request.row:
        s.n_hits[bank] += 1
    s.policy_time = now
    if s.policy_on_arrive != 0:
        report_request(s, d, s.policy_on_arrive, request, 0)
    start_bank(s, d, requests, bank)


@inlined
def _remove(s: Any, requests: Any, index: int) -> None:
    """Take a request out of the buffer."""
    request = requests[index]
    bank = request.bank
    before = request.previous
    after = request.next
    if before == NONE:
        s.head[bank] = after
    else:
        requests[before].next = after
    if after == NONE:
        s.tail[bank] = before
    else:
        requests[after].previous = before
    s.count[bank] -= 1
    s.n_stored -= 1
    if request.is_write:
        s.n_stored_writes -= 1
    else:
        s.n_stored_reads -= 1
    s.n_hits[bank] -= 1


@compiled
def start_bank(s: Any, d: Any, requests: Any, bank: int) -> None:
    """Choose a bank's request and the command it needs next."""
    if s.halted[bank]:
        s.is_stale = 1
        _withdraw(s, bank)
        return
    head = s.head[bank]
    if head == NONE:
        s.is_stale = 1
        _set_current(s, bank, NONE)
        _withdraw(s, bank)
        return

    row = s.open_row[bank]
    index = head
    if s.scheduler == cmd.USER_SCHEDULER:
        index = best_scored(s, d, requests, bank, row)
    if row == NONE:
        command = cmd.ACT
    else:
        if s.scheduler == cmd.USER_SCHEDULER:
            is_hit = requests[index].row == row
            hits_again = s.n_hits[bank] > 1
        elif s.scheduler == cmd.FIFO:
            is_hit = requests[head].row == row
            second = requests[head].next
            hits_again = second != NONE and requests[second].row == requests[head].row
        else:
            is_hit = s.n_hits[bank] > 0
            hits_again = s.n_hits[bank] > 1
            if is_hit:
                index = _oldest_hit(requests, head, row)
                if s.scheduler == cmd.FR_FCFS_GRP:
                    index = _grouped_hit(s, requests, head, index, row)
        if not is_hit:
            # Never under Closed alone; after a switch to it, rows of before are still open.
            command = cmd.PRE
        else:
            if s.policy_close != 0:
                closes = wants_closing(s, d, bank, requests[index])
            elif s.page_policy == cmd.OPEN:
                closes = False
            elif s.page_policy == cmd.CLOSED:
                closes = True
            elif s.page_policy == cmd.CLOSED_ADAPTIVE:
                closes = not hits_again
            else:
                closes = s.count[bank] > 1 and not hits_again
            command = cmd.RD + 2 * requests[index].is_write + closes

    _set_current(s, bank, index)
    time = s.bank_earliest[bank, command]
    place = s.place[bank]
    if place == NONE:
        place = s.n_prepared
        s.n_prepared = place + 1
        s.place[bank] = place
        s.prepared_bank[place] = bank
    elif (
        s.prepared_command[place] == command
        and s.prepared_request[place] == index
        and s.prepared_time[place] == time
    ):
        return  # so that the selection stands
    s.is_stale = 1
    s.prepared_command[place] = command
    s.prepared_request[place] = index
    s.prepared_time[place] = time


@inlined
def _oldest_hit(requests: Any, head: int, row: int) -> int:
    index = head
    while requests[index].row != row:
        index = requests[index].next
    return index


@inlined
def _grouped_hit(s: Any, requests: Any, head: int, oldest: int, row: int) -> int:
    """Return first hit that keeps the data bus's direction and overtakes no hit to its address."""
    index = oldest
    while index != NONE:
        request = requests[index]
        if request.row == row and request.is_write == s.last_is_write:
            earlier = oldest
            while earlier != index and not (
                requests[earlier].row == row and requests[earlier].address == request.address
            ):
                earlier = requests[earlier].next
            if earlier == index:
                return index
        index = request.next
    return oldest


@inlined
def _set_current(s: Any, bank: int, index: int) -> None:
    s.n_busy[s.rank_of[bank]] += (index != NONE) - (s.current[bank] != NONE)
    s.current[bank] = index


@inlined
def _withdraw(s: Any, bank: int) -> None:
    """Forget a bank's prepared command."""
    place = s.place[bank]
    if place == NONE:
        return
    s.place[bank] = NONE
    last = s.n_prepared - 1
    s.n_prepared = last
    if place != last:
        moved = s.prepared_bank[last]
        s.place[moved] = place
        s.prepared_bank[place] = moved
        s.prepared_command[place] = s.prepared_command[last]
        s.prepared_request[place] = s.prepared_request[last]
        s.prepared_time[place] = s.prepared_time[last]


@inlined
def has_work(s: Any, now: int) -> bool:
    """Return True if `step` does more than issue the selected command."""
    work: bool = (
        s.is_stale != 0 or s.blocked_late != 0 or s.power_wants != 0 or now >= s.refresh_wake
    )
    return work


@compiled
def step(s: Any, d: Any, requests: Any, now: int) -> None:
    """Run the controller once, after the request at its door was looked at."""
    s.policy_time = now
    changes = False
    if s.power_wants or now >= s.refresh_wake:
        # A manager that is not an interval behind does nothing more unless something happens.
        changes = now - d.refresh_interval[s.refresh_policy] >= s.refresh_wake
        start_managers(s, d, now)
        s.is_stale = 1
    if s.is_stale:
        select(s, d, now)
    s.is_blocked = 0
    if s.selected_time == now:
        issue(s, d, requests, now)
        changes = True
    elif s.selected_command != cmd.NO_COMMAND or s.n_prepared > 0:
        s.is_blocked = 1
    if s.blocked_late:
        # Commands prepared before the block were still candidates until here.
        s.blocked_late = 0
        for bank in range(d.n_banks):
            if s.halted[bank]:
                start_bank(s, d, requests, bank)
        changes = True
    if changes and (s.power_wants or now >= s.refresh_wake):
        start_managers(s, d, now)
        s.is_stale = 1
    if s.is_stale:
        select(s, d, now)


@compiled
def select(s: Any, d: Any, now: int) -> None:
    """Select, of all candidates, the command that the multiplexer prefers."""
    s.is_stale = 0
    if s.has_rank_candidate or not d.is_simple:
        _select_generally(s, d, now)
        return
    floor = max(now, s.bus_free[0])
    best_time = NEVER
    best_request = NEVER
    best = 0
    soonest = NEVER
    for place in range(s.n_prepared):
        command = s.prepared_command[place]
        request = s.prepared_request[place]
        time = max(s.prepared_time[place], s.rank_earliest[0, command])
        time = max(time, floor)
        soonest = min(soonest, time)
        if s.is_strict and _is_out_of_turn(s, command, request):
            continue
        if time < best_time or (time == best_time and request < best_request):
            best_time = time
            best_request = request
            best = place
    s.selected_time = best_time
    s.soonest = soonest
    if best_time != NEVER:
        s.selected_command = s.prepared_command[best]
        s.selected_target = s.prepared_bank[best]
        s.selected_request = best_request
    else:
        s.selected_command = cmd.NO_COMMAND


@inlined
def _is_out_of_turn(s: Any, command: int, request: int) -> bool:
    """Return True if Strict holds a column command back because another request is next."""
    is_out: bool = cmd.RD <= command <= cmd.WRA and request != s.n_issued
    return is_out


@inlined
def _bus_of(d: Any, command: int) -> int:
    return 1 if d.has_column_bus and cmd.RD <= command <= cmd.WRA else 0


@inlined
def prepared_time(s: Any, d: Any, place: int, now: int) -> int:
    """Return earliest time of a prepared command, from now on."""
    bank = s.prepared_bank[place]
    command = s.prepared_command[place]
    time: int = max(s.prepared_time[place], s.rank_earliest[s.rank_of[bank], command])
    if d.has_groups:
        time = max(time, s.group_earliest[s.group_of[bank], command])
    bus_free: int = s.bus_free[_bus_of(d, command)]
    return max(time, max(now, bus_free))


@compiled
def _select_generally(s: Any, d: Any, now: int) -> None:
    """Select as `select`, also for several ranks, bank groups, buses, managers and Strict."""
    # One best candidate per bus: its time, time plus length, age, command, target, request.
    time_0 = key_0 = age_0 = NEVER
    time_1 = key_1 = age_1 = NEVER
    command_0 = command_1 = cmd.NO_COMMAND
    target_0 = target_1 = request_0 = request_1 = NONE

    for rank in range(d.n_ranks):
        command = cmd.NO_COMMAND
        time = age = NEVER
        target = rank
        if s.powers_down and s.power_command[rank] != cmd.NO_COMMAND:
            command = s.power_command[rank]
            time = max(now, s.power_time[rank])
            age = _POWER_AGE
        elif s.refresh_command[rank] != cmd.NO_COMMAND:
            command = s.refresh_command[rank]
            time = max(now, s.refresh_time[rank])
            age = _REFRESH_AGE
            target = s.refresh_target[rank]
        if command != cmd.NO_COMMAND:
            key = time + d.length[command]
            if command_0 == cmd.NO_COMMAND or key < key_0 or (key == key_0 and age < age_0):
                time_0, key_0, age_0 = time, key, age
                command_0, target_0, request_0 = command, target, NONE

    soonest = NEVER
    for place in range(s.n_prepared):
        bank = s.prepared_bank[place]
        command = s.prepared_command[place]
        request = s.prepared_request[place]
        time = prepared_time(s, d, place, now)
        soonest = min(soonest, time)
        if s.powers_down and s.power_command[s.rank_of[bank]] != cmd.NO_COMMAND:
            continue
        is_column = cmd.RD <= command <= cmd.WRA
        if s.is_strict and _is_out_of_turn(s, command, request):
            continue
        key = time + d.length[command]
        if is_column and d.has_column_bus:
            if key < key_1 or (key == key_1 and request < age_1):
                time_1, key_1, age_1 = time, key, request
                command_1, target_1, request_1 = command, bank, request
        elif key < key_0 or (key == key_0 and request < age_0):
            time_0, key_0, age_0 = time, key, request
            command_0, target_0, request_0 = command, bank, request

    if time_1 < time_0 or (time_1 == time_0 and age_1 < age_0):
        time_0, command_0, target_0, request_0 = time_1, command_1, target_1, request_1
    s.selected_time = time_0
    s.soonest = soonest
    s.selected_command = command_0
    s.selected_target = target_0
    s.selected_request = request_0


@inlined
def issue(s: Any, d: Any, requests: Any, now: int) -> None:
    """Issue the selected command and prepare the banks that it changes."""
    command = s.selected_command
    target = s.selected_target
    s.is_stale = 1
    s.n_commands[command] += 1
    s.account_last_time = now
    s.account_last_command = command
    if s.is_logging:
        s.issued_command = command
        s.issued_target = target
        s.issued_request = s.selected_request
    s.bus_free[_bus_of(d, command)] = now + d.length[command]

    if command >= cmd.PREA:
        _issue_to_rank(s, d, requests, command, target, now)
    else:
        s.last[s.rank_of[target], command] = now
        if command == cmd.ACT:
            _issue_act(s, d, requests, target, now)
        elif command == cmd.PRE:
            _issue_pre(s, d, requests, target, now)
        elif command == cmd.REFB:
            _issue_refb(s, d, requests, target, now)
        else:
            _issue_column(s, d, requests, command, target, now)

    if s.powers_down:
        rank = target if command >= cmd.PREA else s.rank_of[target]
        if s.n_payloads[rank] == 0:
            request_power_down(s, rank)


@inlined
def _issue_act(s: Any, d: Any, requests: Any, bank: int, now: int) -> None:
    rank = s.rank_of[bank]
    push_act(s, d, bank, rank, now)
    push_window(s, d, cmd.ACT, bank, now)
    request = requests[s.selected_request]
    request.outcome = max(request.outcome, ROW_MISS)
    row = request.row
    s.open_row[bank] = row
    s.n_open[rank] += 1
    s.power_n_open[rank] += 1
    n_hits = 0
    index = s.head[bank]
    while index != NONE:
        n_hits += requests[index].row == row
        index = requests[index].next
    s.n_hits[bank] = n_hits
    account_act(s, bank, now)
    start_bank(s, d, requests, bank)


@inlined
def _issue_pre(s: Any, d: Any, requests: Any, bank: int, now: int) -> None:
    rank = s.rank_of[bank]
    push_pre(s, d, bank, rank, now)
    if s.selected_request != NONE:
        requests[s.selected_request].outcome = ROW_CONFLICT
    s.open_row[bank] = NONE
    s.n_open[rank] -= 1
    s.power_n_open[rank] -= 1
    account_pre(s, bank, now)
    start_bank(s, d, requests, bank)


@inlined
def _issue_refb(s: Any, d: Any, requests: Any, bank: int, now: int) -> None:
    rank = s.rank_of[bank]
    push_refb(s, d, bank, rank, now)
    push_window(s, d, cmd.REFB, bank, now)
    s.n_refb[rank] += 1
    if s.n_refb[rank] % d.banks_per_rank == 0:
        s.rank_earliest[rank, cmd.REFB] = max(s.rank_earliest[rank, cmd.REFB], now + d.refb_round)
    s.halted[bank] &= ~1
    refresh_issued(s, d, rank, bank, now)
    if s.powers_down:
        power_command_issued(s, d, rank, cmd.REFB)
    start_bank(s, d, requests, bank)


@inlined
def _issue_column(s: Any, d: Any, requests: Any, command: int, bank: int, now: int) -> None:
    index = s.selected_request
    is_write = command >= cmd.WR
    rank = s.rank_of[bank]
    push_column(s, d, command, bank, rank, now)
    _remove(s, requests, index)
    _set_current(s, bank, NONE)
    if command in (cmd.RDA, cmd.WRA):
        s.open_row[bank] = NONE
        s.n_open[rank] -= 1
        account_auto(s, d, bank, now, is_write)
    outcome = requests[index].outcome
    if outcome == ROW_HIT:
        s.n_hits_served += 1
    elif outcome == ROW_MISS:
        s.n_misses_served += 1
    else:
        s.n_conflicts_served += 1
    if s.policy_on_issue != 0:
        report_request(s, d, s.policy_on_issue, requests[index], outcome)
    s.issued = index
    s.n_issued += 1
    s.n_steps_without_progress = 0
    turns = s.last_is_write != is_write
    s.last_is_write = is_write

    if can_accept(s, now):
        accept(s, d, requests, now)
    s.n_payloads[rank] -= 1
    start_bank(s, d, requests, bank)
    if turns and s.scheduler >= cmd.FR_FCFS_GRP:
        for other in range(d.n_banks):
            if other != bank and s.open_row[other] != NONE and s.place[other] != NONE:
                start_bank(s, d, requests, other)


@inlined
def _issue_to_rank(s: Any, d: Any, requests: Any, command: int, rank: int, now: int) -> None:
    s.last[rank, command] = now
    push_rank_command(s, d, command, rank, now)
    first_bank = rank * d.banks_per_rank
    last_bank = first_bank + d.banks_per_rank
    account_rank_command(s, d, command, now)
    if command == cmd.PREA:
        for bank in range(first_bank, last_bank):
            s.open_row[bank] = NONE
        s.n_open[rank] = 0
    elif command == cmd.REFA:
        for bank in range(first_bank, last_bank):
            s.halted[bank] = 0
        if s.refresh_policy != cmd.NO_REFRESH:
            refresh_issued(s, d, rank, NONE, now)
    if s.powers_down:
        power_command_issued(s, d, rank, command)
    for bank in range(first_bank, last_bank):
        start_bank(s, d, requests, bank)


@compiled
def log_command(s: Any, requests: Any, log: Any, now: int) -> None:
    """Keep the command that was issued in this run, if there was one."""
    if s.issued_command == cmd.NO_COMMAND:
        return
    if s.n_logged < s.log_size:
        entry = log[s.n_logged]
        index = s.issued_request
        entry.time = now
        entry.command = s.issued_command
        entry.target = s.issued_target
        entry.request = index
        entry.row = NONE if index == NONE else requests[index].row
    s.n_logged += 1
    s.issued_command = cmd.NO_COMMAND
