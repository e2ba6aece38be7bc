"""Earliest times of commands, and the delays that each issue causes.

For commands to a bank, times are kept by bank, bank group and rank. Each issue raises those that it
can delay; `timing.device_table` refuses other rules. Commands to a whole rank are rare:
`earliest_for_rank` considers all earlier commands.
"""

from typing import Any

from archgym.simulators.dram.dramsys.kernel.commands import ACT, PRE, RD, RDA, REFB, WR, WRA
from archgym.simulators.kit.kernels import compiled, inlined


@compiled
def earliest_for_rank(s: Any, d: Any, rank: int, command: int) -> int:
    """Return earliest time of a command to a whole rank."""
    time: int = s.bus_free[0]
    for previous in range(len(d.rank)):
        time = max(time, s.last[rank, previous] + d.rank[previous, command])
    if d.has_shared_power:
        for other in range(d.n_ranks):
            if other != rank:
                for previous in range(len(d.other)):
                    time = max(time, s.last[other, previous] + d.other[previous, command])
    return time


@inlined
def earliest_for_bank(s: Any, d: Any, bank: int, command: int) -> int:
    """Return earliest time of a command to a bank."""
    time: int = max(s.bank_earliest[bank, command], s.rank_earliest[s.rank_of[bank], command])
    if d.has_groups:
        time = max(time, s.group_earliest[s.group_of[bank], command])
    bus_free: int = s.bus_free[0]
    return max(time, bus_free)


@inlined
def _raise(earliest: Any, delays: Any, following: int, now: int) -> None:
    """Raise the earliest time of a following command."""
    earliest[following] = max(earliest[following], now + delays[following])


@inlined
def _raise_columns(earliest: Any, delays: Any, now: int) -> None:
    """Raise the earliest times of column commands."""
    earliest[RD] = max(earliest[RD], now + delays[RD])
    earliest[RDA] = max(earliest[RDA], now + delays[RDA])
    earliest[WR] = max(earliest[WR], now + delays[WR])
    earliest[WRA] = max(earliest[WRA], now + delays[WRA])


@inlined
def _raise_openings(earliest: Any, delays: Any, now: int) -> None:
    """Raise the earliest times of commands that need a closed bank."""
    earliest[ACT] = max(earliest[ACT], now + delays[ACT])
    earliest[REFB] = max(earliest[REFB], now + delays[REFB])


@inlined
def push_act(s: Any, d: Any, bank: int, rank: int, now: int) -> None:
    """Apply the delays of an ACT, except the window of four activations."""
    _raise_columns(s.bank_earliest[bank], d.bank[ACT], now)
    _raise_openings(s.bank_earliest[bank], d.bank[ACT], now)
    _raise(s.bank_earliest[bank], d.bank[ACT], PRE, now)
    _raise_openings(s.rank_earliest[rank], d.rank[ACT], now)
    if d.has_groups:
        _raise_openings(s.group_earliest[s.group_of[bank]], d.group[ACT], now)


@inlined
def push_column(s: Any, d: Any, command: int, bank: int, rank: int, now: int) -> None:
    """Apply the delays of a column command, also on other ranks."""
    _raise_openings(s.bank_earliest[bank], d.bank[command], now)
    _raise(s.bank_earliest[bank], d.bank[command], RDA, now)
    _raise(s.bank_earliest[bank], d.bank[command], PRE, now)
    _raise_columns(s.rank_earliest[rank], d.rank[command], now)
    if d.has_groups:
        _raise_columns(s.group_earliest[s.group_of[bank]], d.group[command], now)
    if d.n_ranks > 1:
        for other in range(d.n_ranks):
            if other != rank:
                _raise_columns(s.rank_earliest[other], d.other[command], now)


@inlined
def push_pre(s: Any, d: Any, bank: int, rank: int, now: int) -> None:
    """Apply the delays of a PRE."""
    _raise_openings(s.bank_earliest[bank], d.bank[PRE], now)
    _raise(s.rank_earliest[rank], d.rank[PRE], PRE, now)


@inlined
def push_refb(s: Any, d: Any, bank: int, rank: int, now: int) -> None:
    """Apply the delays of a REFB, except the window and the round of banks."""
    _raise_openings(s.bank_earliest[bank], d.bank[REFB], now)
    _raise_openings(s.rank_earliest[rank], d.rank[REFB], now)


@inlined
def push_rank_command(s: Any, d: Any, command: int, rank: int, now: int) -> None:
    """Delay commands to the rank's banks after a command to the rank."""
    _raise_columns(s.rank_earliest[rank], d.rank[command], now)
    _raise_openings(s.rank_earliest[rank], d.rank[command], now)
    _raise(s.rank_earliest[rank], d.rank[command], PRE, now)
    if d.has_shared_power:
        for other in range(d.n_ranks):
            if other != rank:
                _raise_columns(s.rank_earliest[other], d.other[command], now)
                _raise_openings(s.rank_earliest[other], d.other[command], now)
                _raise(s.rank_earliest[other], d.other[command], PRE, now)


@inlined
def push_window(s: Any, d: Any, command: int, bank: int, now: int) -> None:
    """Delay the next activation until the fourth-last has left the window."""
    rank = s.rank_of[bank]
    place = s.window_place[rank]
    s.window[rank, place] = now + d.length[command] - d.clock
    place = (place + 1) & 3
    s.window_place[rank] = place
    oldest = s.window[rank, place]
    s.rank_earliest[rank, ACT] = max(s.rank_earliest[rank, ACT], oldest + d.window_to_act)
    if d.window_to_refb:
        s.rank_earliest[rank, REFB] = max(s.rank_earliest[rank, REFB], oldest + d.window_to_refb)
