"""Compiled requests, queues and answers between components, and sets of bits."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from archgym.runtime.kernels import helper
from archgym.simulators.cpu.layout import (
    ANSWER_SIZE,
    C_ANSWERS,
    C_LOWER,
    C_NEW,
    C_UPPER,
    G_NODES,
    G_NODES_END,
    G_NODES_TOP,
    G_POOL,
    G_POOL_END,
    G_POOL_TOP,
    G_STATUS,
    N_COUNT,
    N_NEXT,
    N_SIZE,
    N_START,
    Q_BUFFER,
    Q_CAPACITY,
    Q_COUNT,
    Q_HEAD,
    Q_MASK,
    Q_NEW,
    R_ADDRESS,
    R_ASKED,
    R_DATA,
    R_DUE,
    R_IDS,
    R_IP,
    R_NEXT,
    R_OWN,
    R_SIZE,
    R_SKIP,
    R_TRANSLATED,
    R_TYPE,
    R_VIRTUAL,
    R_WANTED,
    STATUS_OVERFLOW,
    Words,
)

__all__ = [
    "answer",
    "free_node",
    "free_request",
    "has_room",
    "lowest_bit",
    "new_node",
    "new_request",
    "pop",
    "push",
    "remove_at",
    "send",
    "unite_ids",
]


def _lowest_bit(typing_context: Any, word: Any) -> Any:
    """Return the signature and code of the index of a word's lowest set bit."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate  # type: ignore[no-untyped-call]  # numba has no types


lowest_bit: Any = intrinsic(_lowest_bit)


@helper
def new_request(m: Words) -> int:
    """Return a request that nobody uses; its fields are undefined."""
    request = m[G_POOL]
    if request != 0:
        m[G_POOL] = m[request + R_NEXT]
        return request
    request = m[G_POOL_TOP]
    if request + R_SIZE >= m[G_POOL_END]:
        m[G_STATUS] = STATUS_OVERFLOW
        return request
    m[G_POOL_TOP] = request + R_SIZE
    return request


@helper
def free_request(m: Words, request: int) -> None:
    """Give a request back."""
    m[request + R_NEXT] = m[G_POOL]
    m[G_POOL] = request


@helper
def new_node(m: Words, start: int, count: int) -> int:
    """Return a range of instruction ids as a list of one."""
    node = m[G_NODES]
    if node != 0:
        m[G_NODES] = m[node + N_NEXT]
    else:
        node = m[G_NODES_TOP]
        if node + N_SIZE >= m[G_NODES_END]:
            m[G_STATUS] = STATUS_OVERFLOW
        else:
            m[G_NODES_TOP] = node + N_SIZE
    m[node + N_START] = start
    m[node + N_COUNT] = count
    m[node + N_NEXT] = 0
    return node


@helper
def free_node(m: Words, node: int) -> None:
    """Give a range of ids back."""
    m[node + N_NEXT] = m[G_NODES]
    m[G_NODES] = node


@helper
def unite_ids(m: Words, first: int, second: int) -> int:
    """Merge two lists of disjoint ranges, each ascending, and return the whole."""
    if first == 0:
        return second
    if second == 0:
        return first
    if m[first + N_START] > m[second + N_START]:
        first, second = second, first
    head = first
    while second != 0:
        following = m[first + N_NEXT]
        if following == 0 or m[following + N_START] > m[second + N_START]:
            m[first + N_NEXT] = second
            first = second
            second = following
        else:
            first = following
    return head


@helper
def has_room(m: Words, queue: int) -> bool:
    """Return True if the queue would take one more request."""
    return m[queue + Q_COUNT] < m[queue + Q_CAPACITY]


@helper
def push(m: Words, channel: int, queue: int, request: int, now: int) -> None:
    """Append a request to a channel's queue, which has room, and wake the lower component."""
    end = (m[queue + Q_HEAD] + m[queue + Q_COUNT]) & m[queue + Q_MASK]
    m[m[queue + Q_BUFFER] + end] = request
    m[queue + Q_COUNT] += 1
    m[queue + Q_NEW] += 1
    m[channel + C_NEW] += 1
    m[m[channel + C_LOWER]] = now
    if m[queue + Q_COUNT] > m[queue + Q_MASK] + 1:
        m[G_STATUS] = STATUS_OVERFLOW


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
    if m[queue + Q_COUNT] >= m[queue + Q_CAPACITY]:
        return 0
    request = new_request(m)
    m[request + R_ADDRESS] = address
    m[request + R_VIRTUAL] = virtual
    m[request + R_IP] = ip
    m[request + R_TYPE] = kind
    m[request + R_TRANSLATED] = translated
    m[request + R_WANTED] = wanted
    m[request + R_DATA] = 0
    m[request + R_IDS] = 0
    m[request + R_OWN] = 0
    m[request + R_SKIP] = 0
    m[request + R_ASKED] = 0
    m[request + R_DUE] = 0
    push(m, channel, queue, request, now)
    return request


@helper
def pop(m: Words, channel: int, queue: int, now: int) -> int:
    """Remove and return the first request; wake the upper component if it waited for room."""
    head = m[queue + Q_HEAD]
    request = m[m[queue + Q_BUFFER] + head]
    m[queue + Q_HEAD] = (head + 1) & m[queue + Q_MASK]
    if m[queue + Q_COUNT] >= m[queue + Q_CAPACITY]:
        m[m[channel + C_UPPER]] = now
    m[queue + Q_COUNT] -= 1
    return request


@helper
def remove_at(m: Words, channel: int, queue: int, index: int, now: int) -> None:
    """Remove the request at an index of a queue; those behind it move up."""
    base, head, mask = m[queue + Q_BUFFER], m[queue + Q_HEAD], m[queue + Q_MASK]
    if m[queue + Q_COUNT] >= m[queue + Q_CAPACITY]:
        m[m[channel + C_UPPER]] = now
    count = m[queue + Q_COUNT] - 1
    for i in range(index, count):
        m[base + ((head + i) & mask)] = m[base + ((head + i + 1) & mask)]
    m[queue + Q_COUNT] = count


@helper
def answer(
    m: Words, channel: int, address: int, virtual: int, data: int, ids: int, now: int
) -> None:
    """Append an answer to a channel and wake the upper component."""
    queue = channel + C_ANSWERS
    count = m[queue + Q_COUNT]
    at = m[queue + Q_BUFFER] + ANSWER_SIZE * ((m[queue + Q_HEAD] + count) & m[queue + Q_MASK])
    m[at] = address
    m[at + 1] = virtual
    m[at + 2] = data
    m[at + 3] = ids
    m[queue + Q_COUNT] = count + 1
    m[m[channel + C_UPPER]] = now
    if count >= m[queue + Q_MASK]:
        m[G_STATUS] = STATUS_OVERFLOW
