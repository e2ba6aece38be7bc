"""Command counts and bank states that the current-based energy equations need.

Follows how DRAMPower 6.2 counts: a bank is active from its activation to its precharge, and from a
refresh to the refresh's end; a rank is active while any of its banks is. Both memory controllers
report their commands here. `currents` turns the account into energy.

Source:
  DRAMPower 6.2 (DDR4, DDR5, LPDDR4, LPDDR5), its behaviour in refresh mode 1.
"""

from typing import Any

from archgym.simulators.dram.kernel import records as st
from archgym.simulators.kit.kernels import entry_point, helper, inlined


@helper
def account_command(
    rules: Any, banks: Any, ranks: Any, kind: int, rank: int, bank: int, time: int
) -> None:
    """Enter one command into the account.

    Args:
      rules: Record of `RULES`.
      banks: (n_banks,) of `BANK_ACCOUNT`, all ranks one after the other.
      ranks: (n_ranks,) of `RANK_ACCOUNT`.
      kind: Place in `KINDS`.
      rank: Rank of the command.
      bank: Bank counted over all ranks; for a command to a whole rank its first bank; for REFSB
        the bank of that number in the first group.
      time: When it is issued.
    """
    r = ranks[rank]
    if r.next_close <= time:
        _settle(rules, banks, r, rank, time)
    if kind == st._ACT:
        b = banks[bank]
        b.counts[st._ACT] += 1
        b.activated = time
        b.since = time
        if not b.is_active:
            _wake(b, r, time)
    elif kind == st._PRE:
        _precharge(banks[bank], r, time)
    elif kind == st._PREA:
        for other in range(rank * rules.banks_per_rank, (rank + 1) * rules.banks_per_rank):
            _precharge(banks[other], r, time)
    elif st._RD <= kind <= st._WRA:
        b = banks[bank]
        b.counts[kind] += 1
        if kind >= st._RDA and b.is_active:
            delay = rules.read_to_precharge if kind == st._RDA else rules.write_to_precharge
            b.precharge_at = max(b.activated + rules.ras, time + delay)
            r.next_close = min(r.next_close, b.precharge_at)
    elif kind == st._REFA:
        for other in range(rank * rules.banks_per_rank, (rank + 1) * rules.banks_per_rank):
            _refresh(banks[other], r, kind, time, time + rules.refresh_all)
    elif kind == st._REFB:
        _refresh(banks[bank], r, kind, time, time + rules.refresh_bank)
    elif kind == st._REFSB:
        for group in range(rules.banks_per_rank // rules.banks_per_group):
            other = bank + group * rules.banks_per_group
            _refresh(banks[other], r, kind, time, time + rules.refresh_same)
    else:
        _sleep(r, kind, time)


@helper
def close_account(rules: Any, banks: Any, ranks: Any, n_ranks: int, end: int) -> None:
    """End the account: intervals that are still open last until `end`."""
    for rank in range(n_ranks):
        r = ranks[rank]
        if r.next_close <= end:
            _settle(rules, banks, r, rank, end)
        if r.n_active > 0:
            r.active_time += end - r.since
            r.since = end
        for bank in range(rank * rules.banks_per_rank, (rank + 1) * rules.banks_per_rank):
            if banks[bank].is_active:
                banks[bank].active_time += end - banks[bank].since
                banks[bank].since = end
        _sleep(r, -1, end)


@entry_point(seconds=4.0)
def count_commands(
    rules: Any, banks: Any, ranks: Any, kinds: Any, rank_of: Any, bank_of: Any, times: Any, end: int
) -> None:
    """Enter a list of commands into the account and close it at `end`."""
    for index in range(len(kinds)):
        account_command(
            rules[0], banks, ranks, kinds[index], rank_of[index], bank_of[index], times[index]
        )
    close_account(rules[0], banks, ranks, len(ranks), end)


@inlined
def _wake(b: Any, r: Any, time: int) -> None:
    b.is_active = 1
    if r.n_active == 0:
        r.since = time
    r.n_active += 1


@inlined
def _close(b: Any, r: Any, time: int) -> None:
    b.is_active = 0
    b.precharge_at = st.NEVER
    b.active_time += time - b.since
    r.n_active -= 1


@inlined
def _precharge(b: Any, r: Any, time: int) -> None:
    # A bank that is being refreshed counts as open; its refresh's end still closes it.
    if b.is_active:
        b.counts[st._PRE] += 1
        _close(b, r, time)
        if r.n_active == 0:
            r.active_time += time - r.since


@inlined
def _refresh(b: Any, r: Any, kind: int, time: int, end: int) -> None:
    b.counts[kind] += 1
    if not b.is_active:
        b.since = time
        _wake(b, r, time)
    b.refreshed_at = end
    r.next_close = min(r.next_close, end)


@helper
def _settle(rules: Any, banks: Any, r: Any, rank: int, time: int) -> None:
    """Carry out the closings up to `time`, which go before a command of that time."""
    latest = 0
    r.next_close = st.NEVER
    for bank in range(rank * rules.banks_per_rank, (rank + 1) * rules.banks_per_rank):
        b = banks[bank]
        if b.precharge_at <= min(time, b.refreshed_at):
            latest = max(latest, b.precharge_at)
            b.counts[st._PRE] += 1
            _close(b, r, b.precharge_at)
        if b.refreshed_at <= time:
            if b.is_active:
                latest = max(latest, b.refreshed_at)
                _close(b, r, b.refreshed_at)
            b.refreshed_at = st.NEVER
        r.next_close = min(r.next_close, min(b.precharge_at, b.refreshed_at))
    # Between two commands banks only close, so the rank falls idle with the last of them.
    if latest > 0 and r.n_active == 0:
        r.active_time += latest - r.since


@inlined
def _sleep(r: Any, kind: int, time: int) -> None:
    """Enter or leave a low-power state; `kind` -1 ends whichever lasts."""
    if r.state == st._PDEA:
        r.power_down_active += time - r.asleep_since
    elif r.state == st._PDEP:
        r.power_down_precharged += time - r.asleep_since
    elif r.state == st._SREFEN:
        r.self_refresh += time - r.asleep_since
    r.state = kind if kind in (st._PDEA, st._PDEP, st._SREFEN) else -1
    r.asleep_since = time
