"""Compiled requests, queues, answers and merging between components."""

from archgym.simulators.cpu.kernel import layout as lay
from archgym.simulators.cpu.kernel.layout import Words
from archgym.simulators.kit.kernels import helper


@helper
def new_request(m: Words) -> int:
    """Return a request that nobody uses; its fields are undefined."""
    request = m[lay.G_POOL]
    if request != 0:
        m[lay.G_POOL] = m[request + lay.R_NEXT]
        return request
    request = m[lay.G_POOL_TOP]
    if request + lay.R_SIZE >= m[lay.G_POOL_END]:
        m[lay.G_STATUS] = lay.STATUS_OVERFLOW
        return request
    m[lay.G_POOL_TOP] = request + lay.R_SIZE
    return request


@helper
def free_request(m: Words, request: int) -> None:
    """Give a request back."""
    m[request + lay.R_NEXT] = m[lay.G_POOL]
    m[lay.G_POOL] = request


@helper
def new_node(m: Words, start: int, count: int) -> int:
    """Return a range of instruction ids as a list of one."""
    node = m[lay.G_NODES]
    if node != 0:
        m[lay.G_NODES] = m[node + lay.N_NEXT]
    else:
        node = m[lay.G_NODES_TOP]
        if node + lay.N_SIZE >= m[lay.G_NODES_END]:
            m[lay.G_STATUS] = lay.STATUS_OVERFLOW
        else:
            m[lay.G_NODES_TOP] = node + lay.N_SIZE
    m[node + lay.N_START] = start
    m[node + lay.N_COUNT] = count
    m[node + lay.N_NEXT] = 0
    return node


@helper
def free_node(m: Words, node: int) -> None:
    """Give a range of ids back."""
    m[node + lay.N_NEXT] = m[lay.G_NODES]
    m[lay.G_NODES] = node


@helper
def unite_ids(m: Words, first: int, second: int) -> int:
    """Merge two lists of disjoint ranges, each ascending, and return the whole."""
    if first == 0:
        return second
    if second == 0:
        return first
    if m[first + lay.N_START] > m[second + lay.N_START]:
        first, second = second, first
    head = first
    while second != 0:
        following = m[first + lay.N_NEXT]
        if following == 0 or m[following + lay.N_START] > m[second + lay.N_START]:
            m[first + lay.N_NEXT] = second
            first = second
            second = following
        else:
            first = following
    return head


@helper
def has_room(m: Words, queue: int) -> bool:
    """Return True if the queue would take one more request."""
    return m[queue + lay.Q_COUNT] < m[queue + lay.Q_CAPACITY]


@helper
def push(m: Words, channel: int, queue: int, request: int, now: int) -> None:
    """Append a request to a channel's queue, which has room, and wake the lower component."""
    end = (m[queue + lay.Q_HEAD] + m[queue + lay.Q_COUNT]) & m[queue + lay.Q_MASK]
    m[m[queue + lay.Q_BUFFER] + end] = request
    m[queue + lay.Q_COUNT] += 1
    m[queue + lay.Q_NEW] += 1
    m[channel + lay.C_NEW] += 1
    m[m[channel + lay.C_LOWER]] = now
    if m[queue + lay.Q_COUNT] > m[queue + lay.Q_MASK] + 1:
        m[lay.G_STATUS] = lay.STATUS_OVERFLOW


@helper
def send(
    m: Words,
    channel: int,
    queue: int,
    address: int,
    virtual: int,
    ip: int,
    kind: int,
    translated: int,
    wanted: int,
    now: int,
) -> int:
    """Append a new request to a channel's queue; return it, or 0 if the queue is full."""
    if m[queue + lay.Q_COUNT] >= m[queue + lay.Q_CAPACITY]:
        return 0
    request = new_request(m)
    m[request + lay.R_ADDRESS] = address
    m[request + lay.R_VIRTUAL] = virtual
    m[request + lay.R_IP] = ip
    m[request + lay.R_TYPE] = kind
    m[request + lay.R_TRANSLATED] = translated
    m[request + lay.R_WANTED] = wanted
    m[request + lay.R_DATA] = 0
    m[request + lay.R_IDS] = 0
    m[request + lay.R_OWN] = 0
    m[request + lay.R_SKIP] = 0
    m[request + lay.R_ASKED] = 0
    m[request + lay.R_DUE] = 0
    push(m, channel, queue, request, now)
    return request


@helper
def pop(m: Words, channel: int, queue: int, now: int) -> int:
    """Remove and return the first request; wake the upper component if it waited for room."""
    head = m[queue + lay.Q_HEAD]
    request = m[m[queue + lay.Q_BUFFER] + head]
    m[queue + lay.Q_HEAD] = (head + 1) & m[queue + lay.Q_MASK]
    if m[queue + lay.Q_COUNT] >= m[queue + lay.Q_CAPACITY]:
        m[m[channel + lay.C_UPPER]] = now
    m[queue + lay.Q_COUNT] -= 1
    return request


@helper
def remove_at(m: Words, channel: int, queue: int, index: int, now: int) -> None:
    """Remove the request at an index of a queue; those behind it move up."""
    base, head, mask = m[queue + lay.Q_BUFFER], m[queue + lay.Q_HEAD], m[queue + lay.Q_MASK]
    if m[queue + lay.Q_COUNT] >= m[queue + lay.Q_CAPACITY]:
        m[m[channel + lay.C_UPPER]] = now
    count = m[queue + lay.Q_COUNT] - 1
    for i in range(index, count):
        m[base + ((head + i) & mask)] = m[base + ((head + i + 1) & mask)]
    m[queue + lay.Q_COUNT] = count


@helper
def answer(
    m: Words, channel: int, address: int, virtual: int, data: int, ids: int, now: int
) -> None:
    """Append an answer to a channel and wake the upper component."""
    queue = channel + lay.C_ANSWERS
    count = m[queue + lay.Q_COUNT]
    at = m[queue + lay.Q_BUFFER] + lay.ANSWER_SIZE * (
        (m[queue + lay.Q_HEAD] + count) & m[queue + lay.Q_MASK]
    )
    m[at + lay.A_ADDRESS] = address
    m[at + lay.A_VIRTUAL] = virtual
    m[at + lay.A_DATA] = data
    m[at + lay.A_IDS] = ids
    m[queue + lay.Q_COUNT] = count + 1
    m[m[channel + lay.C_UPPER]] = now
    if count >= m[queue + lay.Q_MASK]:
        m[lay.G_STATUS] = lay.STATUS_OVERFLOW


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
                    virtual, ids = m[request + lay.R_VIRTUAL], m[request + lay.R_IDS]
                    answer(m, channel, address, virtual, m[earlier + lay.R_DATA], ids, now)
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
