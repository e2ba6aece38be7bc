"""Refreshes and the row policy's precharges, which enter the priority buffer."""

from typing import Any

from archgym.runtime.kernels import helper, kept_apart
from archgym.simulators.dram.ramulator.kernel.picking import earliest
from archgym.simulators.dram.ramulator.kernel.state import (
    ALL_BANK,
    FAR,
    NONE,
    PRECHARGE_BANK,
    PRIORITY_PLACES,
    PRIORITY_RING,
    REFRESH_ALL,
    REFRESH_BANK,
    TWO_BUS,
)


@helper
def inject(w: Any, c: int, kind: int, target: int) -> bool:
    """Append a request to the priority buffer, unless it is full."""
    kept_apart()
    ch = w.channels[c]
    if ch.n_priority >= PRIORITY_PLACES:
        return False
    place = (ch.priority_first + ch.n_priority) % PRIORITY_RING
    w.priority[c * PRIORITY_RING + place] = (kind << 32) | target
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
    ch.capped_from = FAR
    for bank in range(d.n_banks):
        b = w.banks[c * w.n_banks + bank]
        if b.n_columns >= k.cap and not b.is_closing:
            time = earliest(w, d, c, bank, d.pre)
            if time > tick:
                ch.capped_from = min(ch.capped_from, time)
            elif inject(w, c, PRECHARGE_BANK, bank):
                b.is_closing = 1
                ch.n_capped -= 1
                happened = True
    return happened


@helper
def inject_refreshes(w: Any, d: Any, k: Any, c: int, tick: int) -> bool:
    """Ask for the refreshes that are due."""
    kept_apart()
    ch = w.channels[c]
    if k.refresh == ALL_BANK:
        if k.scatter > 0:
            if not inject(w, c, REFRESH_ALL, ch.refresh_index):
                ch.is_stuck = 1
            ch.refresh_index += 1
            ch.refresh_at += k.scatter
            if ch.refresh_index == d.n_scopes:
                ch.refresh_index = 0
                ch.refresh_at += d.refi - d.n_scopes * k.scatter
            return True
        for scope in range(d.n_scopes):
            if not inject(w, c, REFRESH_ALL, scope):
                ch.is_stuck = 1
        ch.refresh_at += d.refi
        return True
    if d.kind != TWO_BUS:
        if not inject(w, c, REFRESH_BANK, ch.refresh_index):
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
    if ch.refresh_part == NONE:
        for scope in range(d.n_scopes):
            if tick < ch.refresh_free[scope * n_stacks + stack]:
                ch.refresh_at = tick + 1
                return False
        ch.refresh_part = 0
        ch.refresh_next = ch.refresh_at + d.refi_bank
    scope = ch.refresh_part
    if not inject(w, c, REFRESH_BANK, scope * d.scope_banks + ch.refresh_index):
        ch.refresh_at = tick + 1
        return False
    pair = scope * n_stacks + stack
    ch.refresh_left[pair] += 1
    if ch.refresh_left[pair] == d.banks_per_stack:
        ch.refresh_left[pair] = 0
        ch.refresh_free[pair] = tick + d.rfc_bank
    ch.refresh_part += 1
    if ch.refresh_part == d.n_scopes:
        ch.refresh_part = NONE
        ch.refresh_index = (ch.refresh_index + 1) % d.scope_banks
        ch.refresh_at = max(tick + 1, ch.refresh_next)
    else:
        ch.refresh_at = tick + 1
    return True
