"""Latency of memory from open rows in banks, with waits for banks and buses; compiled.

DDR4-2400 in three channels, as in the public Victima artifact. A bank keeps its row open until
another row of it is read. A core with a clock waits for a bank that opened a row a short time ago
and for the channel's bus; without a clock only the state of rows counts. Refresh and writes are not
modelled.

Misses in flight overlap, but the kernel handles one after the other: a read often arrives before
reads that were handled earlier. Banks and buses therefore remember intervals in which they are
busy, and a read takes the first gap after its arrival.
"""

from typing import Any, Final

from archgym.runtime.kernels import compiled, kept_apart
from archgym.simulators.translation.state import (
    BANKS_PER_CHANNEL,
    CHANNELS,
    HELD_OF_BANK,
    HELD_OF_BUS,
)

_BANK_BITS: Final = 4
# JESD79-4: a row of 1 KiB in each of eight x8 devices, 128 lines of 64 bytes.
_ROW_LINE_BITS: Final = 7
# Cycles at 2.6 GHz. JESD79-4, speed bin DDR4-2400T: tCL = tRCD = tRP = 17 clocks of 0.833 ns.
_COMMAND: Final = 37
# JESD79-4: tRC = tRAS + tRP = 32 + 14.16 ns.
_ROW_CYCLE: Final = 120
# Eight transfers at 2,400 MT/s: 3.33 ns.
_BURST: Final = 9
_CLOSED: Final = -1


@compiled
def access_memory(m: Any, c: Any, tags: Any, line: Any, arrival: Any) -> Any:
    """Read a line from memory; return the cycles.

    Args:
      m: Record of `MACHINE`.
      c: Record of `COUNTS`.
      tags: Tags, of which those from `rows_base` are the open rows.
      line: Physical line.
      arrival: Time at which the read leaves the last cache; only with a clock.
    """
    kept_apart()
    channel = line % CHANNELS
    block = (line // CHANNELS) >> _ROW_LINE_BITS
    row = block >> _BANK_BITS
    # Banks are permuted by the row, so that equal strides do not meet in one bank (Z. Zhang,
    # Z. Zhu, X. Zhang, MICRO 2000).
    bank = channel * BANKS_PER_CHANNEL + ((block ^ row) & (BANKS_PER_CHANNEL - 1))
    held = tags[m.rows_base + bank]
    cycles = _COMMAND
    start = arrival + m.memory_overhead_cycles
    if held == row:
        c.memory_row_hits += 1
    else:
        cycles += _COMMAND
        if held != _CLOSED:
            cycles += _COMMAND
            c.memory_row_conflicts += 1
        tags[m.rows_base + bank] = row
        if m.reorder_entries > 0:
            start = _reserve(
                m.bank_times, m.bank_next, m.bank_ready, bank, HELD_OF_BANK, start, _ROW_CYCLE
            )  # fmt: skip
    if m.reorder_entries > 0:
        data = _reserve(
            m.bus_times, m.bus_next, m.bus_ready, channel, HELD_OF_BUS, start + cycles, _BURST
        )  # fmt: skip
        waited = int(data - cycles - m.memory_overhead_cycles - arrival)
        c.memory_wait_cycles += waited
        cycles += waited
    return m.memory_overhead_cycles + cycles + _BURST


@compiled
def _reserve(
    times: Any, following: Any, ready: Any, owner: Any, held: Any, earliest: Any, length: Any
) -> Any:
    """Reserve the first free interval of a bank or bus; return its start.

    Args:
      times: (owners * held,), rings with the starts of the latest reservations of each owner.
      following: (owners,), next place in each ring.
      ready: (owners,), time after all reservations.
      owner: Number of the bank or bus.
      held: Size of a ring, a power of two.
      earliest: Earliest start.
      length: Length of the interval [cycles].
    """
    kept_apart()
    first = owner * held
    start = earliest
    if start < ready[owner]:
        place = 0
        while place < held:
            other = times[first + place]
            if other - length < start and start < other + length:
                start = other + length
                place = 0
            else:
                place += 1
    times[first + following[owner]] = start
    following[owner] = (following[owner] + 1) & (held - 1)
    ready[owner] = max(ready[owner], start + length)
    return start
