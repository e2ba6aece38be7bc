"""Compiled runs whose DRAM is the DRAM simulator's: both advance together, cycle by cycle.

The core and its caches are those of `cpu.kernel`, the controllers those of `dram.ramulator`. In a
cycle of the core the controllers run every tick that ends in it. A request of cycle `c` is offered
at the first tick that does not begin before the end of `c`; an answer comes in the first cycle that
does not end before the last bit has arrived.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from archgym.simulators.cpu.kernel import layout as lay
from archgym.simulators.cpu.kernel.channels import answer, free_request, pop
from archgym.simulators.cpu.kernel.core import begin_counting, phase_with
from archgym.simulators.cpu.kernel.layout import Ints, Words
from archgym.simulators.cpu.kernel.walker import start_pages
from archgym.simulators.dram.kernel.power import close_account
from archgym.simulators.dram.ramulator.kernel.controller import (
    View,
    Work,
    accept,
    tick_channel,
    view_of,
)
from archgym.simulators.kit.kernels import entry_point, helper, pointer

_UPPER: Final = lay.CHANNELS + lay.CHANNEL_SIZE * lay.LLC_DRAM
_NONE: Final = -1
(
    _START, _CLOCK, _REFUSED, _N_REQUESTS, _N_OUTSTANDING, _TAKEN, _LATENCY,
) = range(7)  # fmt: skip
"""Words of `Bus.words`: first counted cycle, last tick, queues whose head found no room, requests
so far, reads under way, reads that were answered and the sum of their latencies [cycles]."""
_OUTSTANDING: Final = 16  # reads under way, from here: request, address, cycle in which it came
_MAX_OUTSTANDING: Final = 2048
BUS_SIZE: Final = _OUTSTANDING + 3 * _MAX_OUTSTANDING


class Bus(NamedTuple):
    """The connection between the last level and the controllers.

    Attributes:
      words: (BUS_SIZE,) int64, zeros.
      shape: (8 + 2 * n_levels,) int64: picoseconds of a tick; bits of channel, column and row;
        levels; lines that fit; mapping; bits below the channel's; then bits and size of each level.
    """

    words: Any
    shape: Any


_TICK_PS, _CHANNEL_BITS, _COLUMN_BITS, _ROW_BITS, _N_LEVELS, _N_LINES, _MAPPING, _BELOW = range(8)
_LEVELS: Final = 8
_ROW_FIRST, _BANK_FIRST, _MIXED = range(3)
"""Mappings of the DRAM simulator by their place in `addresses.MAPPINGS`."""
_LOW_COLUMN_BITS: Final = 2  # four neighbouring lines share a row: minimalist open page


@helper
def _place(s: Words, r: Any, line: int) -> None:
    """Set channel, bank, row and column of a line as `addresses.decode` does."""
    below = s[_BELOW]
    r.channel = (line >> below) & ((1 << s[_CHANNEL_BITS]) - 1)
    a = line >> s[_CHANNEL_BITS]
    if below > 0:
        a = ((line >> (below + s[_CHANNEL_BITS])) << below) | (line & ((1 << below) - 1))
    if s[_MAPPING] == _MIXED:
        _place_mixed(s, r, a)
        return
    n_levels = s[_N_LEVELS]
    row_mask = (1 << s[_ROW_BITS]) - 1
    r.column = a & ((1 << s[_COLUMN_BITS]) - 1)
    a >>= s[_COLUMN_BITS]
    bank = 0
    if s[_MAPPING] == _BANK_FIRST:
        r.row = a & row_mask
        a >>= s[_ROW_BITS]
        stride = 1
        for i in range(n_levels):
            level = n_levels - 1 - i
            bits, size = s[_LEVELS + 2 * level], s[_LEVELS + 2 * level + 1]
            bank += stride * (a & (size - 1))
            stride *= size
            a >>= bits
    else:
        for level in range(n_levels):
            bits, size = s[_LEVELS + 2 * level], s[_LEVELS + 2 * level + 1]
            bank = bank * size + (a & (size - 1))
            a >>= bits
        r.row = a & row_mask
    r.bank = bank


@helper
def _place_mixed(s: Words, r: Any, a: int) -> None:
    """Set bank, row and column of a channel's line: the mapping MOP4CLXOR."""
    low = a & ((1 << _LOW_COLUMN_BITS) - 1)
    above = a >> _LOW_COLUMN_BITS
    n_levels = s[_N_LEVELS]
    for level in range(n_levels):
        above >>= s[_LEVELS + 2 * level]
    n_high = s[_COLUMN_BITS] - _LOW_COLUMN_BITS
    column = low | ((above & ((1 << n_high) - 1)) << _LOW_COLUMN_BITS)
    row = above >> n_high
    a >>= _LOW_COLUMN_BITS
    bank = 0
    used = 0
    for level in range(n_levels):
        bits, size = s[_LEVELS + 2 * level], s[_LEVELS + 2 * level + 1]
        bank = bank * size + ((a ^ (column >> used)) & (size - 1))
        a >>= bits
        used += bits
    r.row = row ^ ((column >> used) & ((1 << s[_ROW_BITS]) - 1))
    r.column = column
    r.bank = bank


@helper
def _answer_at_once(m: Words, now: int) -> None:
    """Answer every request of the warm-up, which takes no time."""
    for which in range(3):
        queue = _UPPER + lay.Q_SIZE * which
        m[queue + lay.Q_NEW] = 0
        while m[queue + lay.Q_COUNT] > 0:
            request = pop(m, _UPPER, queue, now)
            if which < 2 and m[request + lay.R_WANTED]:
                answer(m, _UPPER, m[request + lay.R_ADDRESS], 0, 0, 0, now)
            free_request(m, request)


@helper
def _mark_new(m: Words, due: int, now: int) -> None:
    """Set the tick at which the requests of this cycle are offered first."""
    for which in range(3):
        queue = _UPPER + lay.Q_SIZE * which
        count = m[queue + lay.Q_COUNT]
        for i in range(max(0, count - m[queue + lay.Q_NEW]), count):
            at = (m[queue + lay.Q_HEAD] + i) & m[queue + lay.Q_MASK]
            request = m[m[queue + lay.Q_BUFFER] + at]
            m[request + lay.R_DUE] = due
            m[request + lay.R_TIME] = now
        m[queue + lay.Q_NEW] = 0


@helper
def _offer(m: Words, v: View, d: Any, k: Any, b: Words, s: Words, clock: int, now: int) -> None:
    """Offer the waiting requests to the controllers: reads, then prefetches, then writes."""
    b[_REFUSED] = 0
    for which in range(3):
        queue = _UPPER + lay.Q_SIZE * which
        while m[queue + lay.Q_COUNT] > 0:
            request = m[m[queue + lay.Q_BUFFER] + m[queue + lay.Q_HEAD]]
            if m[request + lay.R_DUE] > clock:
                break
            index, line = b[_N_REQUESTS], m[request + lay.R_ADDRESS] >> 6
            if index >= len(v.requests) or line >= s[_N_LINES]:
                m[lay.G_STATUS] = lay.STATUS_OVERFLOW
                return
            r = v.requests[index]
            r.due = m[request + lay.R_DUE]
            r.depart = _NONE
            r.is_write = which // 2
            r.address = line
            _place(s, r, line)
            if not accept(v, d, k, index, clock):
                b[_REFUSED] |= 1 << which
                break
            b[_N_REQUESTS] = index + 1
            if which < 2 and m[request + lay.R_WANTED]:
                at = _OUTSTANDING + 3 * b[_N_OUTSTANDING]
                b[at], b[at + 1] = index, m[request + lay.R_ADDRESS]
                b[at + 2] = m[request + lay.R_TIME]
                b[_N_OUTSTANDING] += 1
                if b[_N_OUTSTANDING] == _MAX_OUTSTANDING:
                    m[lay.G_STATUS] = lay.STATUS_OVERFLOW
            pop(m, _UPPER, queue, now)
            free_request(m, request)


@helper
def _next_clock(m: Words, v: View, b: Words) -> int:
    """Return the next tick before which nothing can happen."""
    following = lay.NEVER
    for c in range(v.n_channels):
        following = min(following, v.channels[c].wake - 1)
    for which in range(3):
        queue = _UPPER + lay.Q_SIZE * which
        if m[queue + lay.Q_COUNT] > 0 and (b[_REFUSED] >> which) & 1 == 0:
            head = m[m[queue + lay.Q_BUFFER] + m[queue + lay.Q_HEAD]]
            following = min(following, m[head + lay.R_DUE])
    return max(following, b[_CLOCK] + 1)


@helper
def _answer_reads(m: Words, v: View, b: Words, s: Words, now: int) -> int:
    """Answer the reads whose data are there; return the cycle of the next answer."""
    wake = lay.NEVER
    kept = 0
    for i in range(b[_N_OUTSTANDING]):
        at = _OUTSTANDING + 3 * i
        depart = v.requests[b[at]].depart
        cycle = lay.NEVER
        if depart != _NONE:
            cycle = b[_START] + (depart * s[_TICK_PS] + lay.CYCLE_PS - 1) // lay.CYCLE_PS
        if cycle <= now:
            answer(m, _UPPER, b[at + 1], 0, 0, 0, now)
            b[_TAKEN] += 1
            b[_LATENCY] += now - b[at + 2]
            continue
        wake = min(wake, cycle)
        to = _OUTSTANDING + 3 * kept
        b[to], b[to + 1], b[to + 2] = b[at], b[at + 1], b[at + 2]
        kept += 1
    b[_N_OUTSTANDING] = kept
    return wake


@helper
def _step_controllers(
    m: Words, memory: tuple[View, Any, Any, Words, Words], now: int, is_last: bool
) -> None:
    """Run the controllers up to the end of a cycle, and set when they are to run next."""
    v, d, k, b, s = memory
    if m[lay.G_WARM]:
        _answer_at_once(m, now)
        m[lay.WAKE + lay.DRAM] = lay.NEVER
        return
    time_ps = lay.CYCLE_PS * (now - b[_START])
    last = time_ps // s[_TICK_PS]
    _mark_new(m, (time_ps + s[_TICK_PS] - 1) // s[_TICK_PS], now)
    clock = _next_clock(m, v, b)
    while clock <= last and m[lay.G_STATUS] == lay.STATUS_OK:
        b[_CLOCK] = clock
        _offer(m, v, d, k, b, s, clock, now)
        for c in range(v.n_channels):
            if v.channels[c].wake <= clock + 1:
                tick_channel(v, d, k, c, clock + 1)
        clock = _next_clock(m, v, b)
    wake = _answer_reads(m, v, b, s, now)
    run = b[_START] + (clock * s[_TICK_PS] + lay.CYCLE_PS - 1) // lay.CYCLE_PS
    m[lay.WAKE + lay.DRAM] = max(min(wake, run), now + 1)


_run_phase: Final = phase_with(_step_controllers)


@entry_point(seconds=60.0)
def run_composed(
    state: Ints,
    weights: npt.NDArray[np.int8],
    records: Ints,
    work: Work,
    bus: Bus,
    begin: int,
    warmup: int,
    length: int,
) -> tuple[int, int]:
    """Run one design on a trace with its controllers; counters are left in state and work.

    A run has two parts: the warm-up, which leaves the controllers as they are, and the rest.

    Args:
      state: Machine, from `state.make_state`.
      weights: Weights of the direction predictor, zeros.
      records: (n + 1, 8), from `derive`.
      work: Controllers before their first tick, with room for every request.
      bus: Connection to them.
      begin: Last cycle of the warm-up; -1 to run that.
      warmup: Instructions before counting.
      length: Instructions that are counted.

    Returns:
      Cycles and retired instructions of the part.
    """
    m, w, tr = pointer(state), pointer(weights), pointer(records)
    b, s = pointer(bus.words), pointer(bus.shape)
    v = view_of(work)
    d = work.device[0]
    k = work.controller[0]
    memory = (v, d, k, b, s)
    start, retired, until = begin, m[lay.G_RETIRED], m[lay.G_RETIRED] + length
    if begin < 0:
        start_pages(m)
        if warmup > 0:
            m[lay.G_WARM] = 1
        start, until = 0, warmup
    else:
        begin_counting(m, begin)
        b[_START], b[_CLOCK] = begin, -1
    now = _run_phase(m, w, tr, memory, start, until, 1)
    if begin < 0:
        return now, m[lay.G_RETIRED]
    if k.is_counting:
        end = lay.CYCLE_PS * (now - start) // s[_TICK_PS]
        close_account(
            work.power_rules[0], v.bank_accounts, v.rank_accounts, len(work.rank_accounts), end
        )
    return now - start, m[lay.G_RETIRED] - retired
