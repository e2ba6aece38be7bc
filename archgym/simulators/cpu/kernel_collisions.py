"""Compiled merging of requests to the same block within a channel."""

from archgym.runtime.kernels import helper
from archgym.simulators.cpu import layout as lay
from archgym.simulators.cpu.kernel_channels import (
    answer,
    free_request,
    remove_at,
    unite_ids,
)
from archgym.simulators.cpu.layout import Words


@helper
def _first_match(m: Words, queue: int, limit: int, address: int, shift: int) -> int:
    """Return the first of `limit` requests of a queue with the same shifted address, or 0."""
    base, head, mask = m[queue + lay.Q_BUFFER], m[queue + lay.Q_HEAD], m[queue + lay.Q_MASK]
    wanted = address >> shift
    for i in range(limit):
        request = m[base + ((head + i) & mask)]
        if m[request + lay.R_ADDRESS] >> shift == wanted:
            return request
    return 0


@helper
def _check_queue(m: Words, channel: int, queue: int, block: int, whole: int, now: int) -> None:
    """Check the new requests of one queue, in order."""
    new = m[queue + lay.Q_NEW]
    m[queue + lay.Q_NEW] = 0
    writes = channel + lay.C_WRITES
    i = m[queue + lay.Q_COUNT] - new
    for _ in range(new):
        request = m[m[queue + lay.Q_BUFFER] + ((m[queue + lay.Q_HEAD] + i) & m[queue + lay.Q_MASK])]
        address = m[request + lay.R_ADDRESS]
        if queue != writes and m[writes + lay.Q_COUNT] > 0:
            earlier = _first_match(m, writes, m[writes + lay.Q_COUNT], address, whole)
            if earlier != 0 and m[earlier + lay.R_TRANSLATED] == m[request + lay.R_TRANSLATED]:
                if m[request + lay.R_WANTED]:
                    answer(
                        m,
                        channel,
                        address,
                        m[request + lay.R_VIRTUAL],
                        m[earlier + lay.R_DATA],
                        m[request + lay.R_IDS],
                        now,
                    )
                remove_at(m, channel, queue, i, now)
                free_request(m, request)
                continue
        earlier = _first_match(m, queue, i, address, whole if queue == writes else block)
        if earlier != 0 and m[earlier + lay.R_TRANSLATED] == m[request + lay.R_TRANSLATED]:
            m[earlier + lay.R_WANTED] |= m[request + lay.R_WANTED]
            m[earlier + lay.R_IDS] = unite_ids(m, m[earlier + lay.R_IDS], m[request + lay.R_IDS])
            remove_at(m, channel, queue, i, now)
            free_request(m, request)
            continue
        i += 1


@helper
def check_collisions(m: Words, channel: int, block: int, whole: int, now: int) -> None:
    """Check a channel's new requests against earlier ones; merge or answer those that collide.

    Args:
      m: State.
      channel: Base of the channel.
      block: Bits of an address below the block's or page's number.
      whole: The same for comparisons with writes: 0 compares whole addresses.
      now: Cycle.
    """
    m[channel + lay.C_NEW] = 0
    if m[channel + lay.C_WRITES + lay.Q_NEW] > 0:
        _check_queue(m, channel, channel + lay.C_WRITES, block, whole, now)
    if m[channel + lay.C_READS + lay.Q_NEW] > 0:
        _check_queue(m, channel, channel + lay.C_READS, block, whole, now)
    if m[channel + lay.C_PREFETCHES + lay.Q_NEW] > 0:
        _check_queue(m, channel, channel + lay.C_PREFETCHES, block, whole, now)
