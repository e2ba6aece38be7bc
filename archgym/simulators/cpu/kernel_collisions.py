"""Compiled merging of requests to the same block within a channel."""

from archgym.runtime.kernels import helper
from archgym.simulators.cpu.kernel_channels import (
    answer,
    free_request,
    remove_at,
    unite_ids,
)
from archgym.simulators.cpu.layout import (
    C_NEW,
    C_PREFETCHES,
    C_READS,
    C_WRITES,
    Q_BUFFER,
    Q_COUNT,
    Q_HEAD,
    Q_MASK,
    Q_NEW,
    R_ADDRESS,
    R_DATA,
    R_IDS,
    R_TRANSLATED,
    R_VIRTUAL,
    R_WANTED,
    Words,
)

__all__ = ["check_collisions"]


@helper
def _first_match(m: Words, queue: int, limit: int, address: int, shift: int) -> int:
    """Return the first of `limit` requests of a queue with the same shifted address, or 0."""
    base, head, mask = m[queue + Q_BUFFER], m[queue + Q_HEAD], m[queue + Q_MASK]
    wanted = address >> shift
    for i in range(limit):
        request = m[base + ((head + i) & mask)]
        if m[request + R_ADDRESS] >> shift == wanted:
            return request
    return 0


@helper
def _check_queue(m: Words, channel: int, queue: int, block: int, whole: int, now: int) -> None:
    """Check the new requests of one queue, in order."""
    new = m[queue + Q_NEW]
    m[queue + Q_NEW] = 0
    writes = channel + C_WRITES
    i = m[queue + Q_COUNT] - new
    for _ in range(new):
        request = m[m[queue + Q_BUFFER] + ((m[queue + Q_HEAD] + i) & m[queue + Q_MASK])]
        address = m[request + R_ADDRESS]
        if queue != writes and m[writes + Q_COUNT] > 0:
            earlier = _first_match(m, writes, m[writes + Q_COUNT], address, whole)
            if earlier != 0 and m[earlier + R_TRANSLATED] == m[request + R_TRANSLATED]:
                if m[request + R_WANTED]:
                    answer(
                        m,
                        channel,
                        address,
                        m[request + R_VIRTUAL],
                        m[earlier + R_DATA],
                        m[request + R_IDS],
                        now,
                    )
                remove_at(m, channel, queue, i, now)
                free_request(m, request)
                continue
        earlier = _first_match(m, queue, i, address, whole if queue == writes else block)
        if earlier != 0 and m[earlier + R_TRANSLATED] == m[request + R_TRANSLATED]:
            m[earlier + R_WANTED] |= m[request + R_WANTED]
            m[earlier + R_IDS] = unite_ids(m, m[earlier + R_IDS], m[request + R_IDS])
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
    m[channel + C_NEW] = 0
    if m[channel + C_WRITES + Q_NEW] > 0:
        _check_queue(m, channel, channel + C_WRITES, block, whole, now)
    if m[channel + C_READS + Q_NEW] > 0:
        _check_queue(m, channel, channel + C_READS, block, whole, now)
    if m[channel + C_PREFETCHES + Q_NEW] > 0:
        _check_queue(m, channel, channel + C_PREFETCHES, block, whole, now)
