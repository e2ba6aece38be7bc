"""Refresh and power-down managers of each rank."""

from typing import Any, Final

from archgym.simulators.dram.dramsys.kernel import commands as cmd
from archgym.simulators.dram.dramsys.kernel.earliest import earliest_for_bank, earliest_for_rank
from archgym.simulators.dram.dramsys.kernel.state import NONE
from archgym.simulators.dram.kernel.records import NEVER
from archgym.simulators.kit.kernels import compiled, inlined

# Bits of a bank's `halted`.
BLOCKED: Final = 1  # by a refresh that can no longer wait
SLEEPING: Final = 2  # by power-down

# States of a power-down manager.
AWAKE, ACTIVE_DOWN, PRECHARGED_DOWN, SELF_REFRESH, EXTRA_REFRESH = range(5)


@compiled
def start_managers(s: Any, d: Any, now: int) -> None:
    """Let every refresh manager, then every power-down manager choose its command."""
    if s.refresh_policy != cmd.NO_REFRESH:
        wake = NEVER
        for rank in range(d.n_ranks):
            if s.refresh_policy == cmd.ALL_BANK:
                _start_all_bank_refresh(s, d, rank, now)
            else:
                _start_per_bank_refresh(s, d, rank, now)
            wake = min(wake, s.refresh_next[rank])
        s.refresh_wake = wake
    if s.powers_down:
        s.power_wants = 0
        for rank in range(d.n_ranks):
            _start_power_down(s, d, rank, now)
            if s.power_entry[rank] or s.power_exit[rank] or s.power_self_refresh[rank]:
                s.power_wants = 1
    s.has_rank_candidate = 0
    for rank in range(d.n_ranks):
        if s.refresh_command[rank] != cmd.NO_COMMAND or s.power_command[rank] != cmd.NO_COMMAND:
            s.has_rank_candidate = 1


@compiled
def _start_all_bank_refresh(s: Any, d: Any, rank: int, now: int) -> None:
    s.refresh_command[rank] = cmd.NO_COMMAND
    if not _is_refresh_due(s, d, rank, now):
        return
    interval = d.refresh_interval[s.refresh_policy]
    if s.refresh_pulls_in[rank]:
        if s.n_busy[rank] > 0:
            s.refresh_pulls_in[rank] = 0
            s.refresh_next[rank] += interval
            return
        command = cmd.REFA
    else:
        if s.refresh_flex[rank] >= s.max_postponed:
            _block(s, d, rank * d.banks_per_rank, d.banks_per_rank)
        elif s.n_busy[rank] > 0:
            s.refresh_flex[rank] += 1
            s.refresh_next[rank] += interval
            return
        command = cmd.PREA if s.n_open[rank] > 0 else cmd.REFA
    s.refresh_command[rank] = command
    s.refresh_target[rank] = rank
    s.refresh_time[rank] = max(now, earliest_for_rank(s, d, rank, command))


@compiled
def _start_per_bank_refresh(s: Any, d: Any, rank: int, now: int) -> None:
    s.refresh_command[rank] = cmd.NO_COMMAND
    if not _is_refresh_due(s, d, rank, now):
        return
    interval = d.refresh_interval[s.refresh_policy]
    is_forced = s.refresh_flex[rank] >= s.max_postponed
    if s.refresh_pulls_in[rank]:
        bank = _first_idle(s, d, rank)
        if bank == NONE:
            s.refresh_pulls_in[rank] = 0
            s.refresh_next[rank] += interval
            return
        s.refresh_target[rank] = bank
    elif not s.refresh_keeps_bank[rank]:
        bank = _first_idle(s, d, rank)
        if bank == NONE:
            if not is_forced:
                s.refresh_flex[rank] += 1
                s.refresh_next[rank] += interval
                return
            bank = _first_remaining(s, d, rank)
        s.refresh_target[rank] = bank
    bank = s.refresh_target[rank]
    if s.open_row[bank] != NONE:
        command = cmd.PRE
    else:
        command = cmd.REFB
        if is_forced and not s.refresh_pulls_in[rank]:
            _block(s, d, bank, 1)
            s.refresh_keeps_bank[rank] = 1
    s.refresh_command[rank] = command
    s.refresh_time[rank] = max(now, earliest_for_bank(s, d, bank, command))


@inlined
def _is_refresh_due(s: Any, d: Any, rank: int, now: int) -> bool:
    """Return True if a refresh is wanted now; wake the rank and catch up missed intervals."""
    if now < s.refresh_next[rank]:
        return False
    if s.powers_down:
        interrupt_power_down(s, rank)
        if s.refresh_sleeps[rank]:
            return False
    interval = d.refresh_interval[s.refresh_policy]
    if now >= s.refresh_next[rank] + interval:
        s.refresh_next[rank] += interval
        s.refresh_pulls_in[rank] = 0
    return True


@inlined
def _block(s: Any, d: Any, first_bank: int, n_banks: int) -> None:
    for bank in range(first_bank, first_bank + n_banks):
        if not s.halted[bank] & BLOCKED:
            s.halted[bank] |= BLOCKED
            s.blocked_late = 1


@inlined
def _first_idle(s: Any, d: Any, rank: int) -> int:
    for place in range(d.banks_per_rank):
        bank: int = rank * d.banks_per_rank + place
        if s.refresh_remaining[rank] >> place & 1 and s.current[bank] == NONE:
            return bank
    return NONE


@inlined
def _first_remaining(s: Any, d: Any, rank: int) -> int:
    for place in range(d.banks_per_rank):
        if s.refresh_remaining[rank] >> place & 1:
            bank: int = rank * d.banks_per_rank + place
            return bank
    return NONE


@compiled
def refresh_issued(s: Any, d: Any, rank: int, bank: int, now: int) -> None:
    """Move a refresh manager on after its REFA, or its REFB to `bank`."""
    interval = d.refresh_interval[s.refresh_policy]
    if s.refresh_sleeps[rank]:
        s.refresh_pulls_in[rank] = 0
        s.refresh_next[rank] = now + interval
        s.refresh_sleeps[rank] = 0
        return
    if bank != NONE:
        s.refresh_keeps_bank[rank] = 0
        s.refresh_remaining[rank] &= ~(1 << (bank - rank * d.banks_per_rank))
        if s.refresh_remaining[rank] == 0:
            s.refresh_remaining[rank] = (1 << d.banks_per_rank) - 1
    if s.refresh_pulls_in[rank]:
        s.refresh_flex[rank] -= 1
    else:
        s.refresh_pulls_in[rank] = 1
    if s.refresh_flex[rank] <= -s.max_pulled_in:
        s.refresh_pulls_in[rank] = 0
        s.refresh_next[rank] += interval


@inlined
def request_power_down(s: Any, rank: int) -> None:
    """Request power-down of a rank that is idle."""
    s.power_controller_idle[rank] = 1
    if s.power_state[rank] == AWAKE:
        s.power_entry[rank] = 1
        s.power_wants = 1


@inlined
def request_wake_up(s: Any, rank: int) -> None:
    """Request the wake-up of a rank that accepted its first request."""
    s.power_controller_idle[rank] = 0
    s.power_self_refresh[rank] = 0
    s.power_entry[rank] = 0
    if s.power_state[rank] != AWAKE:
        s.power_exit[rank] = 1
        s.power_wants = 1


@inlined
def interrupt_power_down(s: Any, rank: int) -> None:
    """Interrupt power-down for a refresh."""
    s.power_entry[rank] = 0
    if s.power_state[rank] != AWAKE:
        s.power_exit[rank] = 1
        s.power_wants = 1


@compiled
def _start_power_down(s: Any, d: Any, rank: int, now: int) -> None:
    command = cmd.NO_COMMAND
    if s.power_exit[rank]:
        state = s.power_state[rank]
        if state == ACTIVE_DOWN:
            command = cmd.PDXA
        elif state == PRECHARGED_DOWN:
            command = cmd.PDXP
        elif state == SELF_REFRESH:
            command = cmd.SREFEX
        elif state == EXTRA_REFRESH:
            command = cmd.REFA
    elif s.power_entry[rank]:
        command = cmd.PDEA if s.power_n_open[rank] != 0 else cmd.PDEP
    elif s.power_self_refresh[rank]:
        command = cmd.SREFEN
    s.power_command[rank] = command
    if command != cmd.NO_COMMAND:
        s.power_time[rank] = max(now, earliest_for_rank(s, d, rank, command))


@compiled
def power_command_issued(s: Any, d: Any, rank: int, command: int) -> None:
    """Move a power-down manager, its rank's banks and its refresh manager on after a command."""
    if command in (cmd.PDEA, cmd.PDEP, cmd.SREFEN):
        s.power_entry[rank] = 0
        s.refresh_sleeps[rank] = 1
        _set_sleeping(s, d, rank, True)
        if command == cmd.PDEA:
            s.power_state[rank] = ACTIVE_DOWN
        elif command == cmd.PDEP:
            s.power_state[rank] = PRECHARGED_DOWN
        else:
            s.power_state[rank] = SELF_REFRESH
            s.power_self_refresh[rank] = 0
            s.refresh_next[rank] = NEVER
    elif command in (cmd.PDXA, cmd.PDXP):
        s.power_state[rank] = AWAKE
        s.power_exit[rank] = 0
        s.refresh_sleeps[rank] = 0
        _set_sleeping(s, d, rank, False)
        if command == cmd.PDXP and s.power_controller_idle[rank]:
            s.power_self_refresh[rank] = 1
            s.power_wants = 1
    elif command == cmd.SREFEX:
        s.power_state[rank] = EXTRA_REFRESH
    elif command == cmd.REFA:
        if s.power_state[rank] == EXTRA_REFRESH:
            s.power_state[rank] = AWAKE
            s.power_exit[rank] = 0
        elif s.power_controller_idle[rank]:
            s.power_entry[rank] = 1
            s.power_wants = 1
    elif command == cmd.REFB:
        if s.power_controller_idle[rank]:
            s.power_entry[rank] = 1
            s.power_wants = 1
    elif command == cmd.PREA:
        s.power_n_open[rank] = 0


@inlined
def _set_sleeping(s: Any, d: Any, rank: int, sleeping: bool) -> None:
    for bank in range(rank * d.banks_per_rank, (rank + 1) * d.banks_per_rank):
        if sleeping:
            s.halted[bank] |= SLEEPING
        else:
            s.halted[bank] &= ~SLEEPING
