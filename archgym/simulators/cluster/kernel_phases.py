"""Phases of a chunk: one algorithm of a collective in one dimension, step by step; compiled."""

import math
from typing import Any

from archgym.runtime.kernels import helper, inlined, kept_apart
from archgym.simulators.cluster.kernel_events import add_entry, log_event, take_block
from archgym.simulators.cluster.kernel_network import post, transmit
from archgym.simulators.cluster.state import (
    ALGORITHM,
    ALL_GATHER,
    ALL_REDUCE,
    ALL_TO_ALL,
    ARRIVED,
    CHUNK_NPU,
    CHUNK_TAG,
    CODE_ALGORITHM,
    CODE_BACKWARD,
    CODE_DIM,
    CODE_QUEUE,
    CODE_TREE,
    COORDINATE,
    CYCLE_NONZERO,
    CYCLE_ZERO,
    DELAY,
    DIM,
    DIM_N,
    DIM_STRIDE,
    DIM_WORDS,
    DIMS,
    DIRECT,
    DIRECTION,
    ENDPOINT_NS,
    ENTRY_BYTES,
    ENTRY_SUBJECT,
    FREE,
    GROUP_ENDPOINT_NS,
    GROUP_MEMBERS,
    GROUP_PLACE,
    GROUP_SIZE,
    HALVING_DOUBLING,
    IS_FULL,
    IS_SANE,
    IS_STARTED,
    IS_SYMMETRIC,
    LEFT,
    LEFT_CHILD,
    LOG_PHASE_START,
    MADE,
    MEMORY_BYTES_PER_S,
    MESSAGE,
    N_LOG,
    N_QUEUES,
    NONE,
    NONZERO,
    NOW,
    NPU_WORDS,
    NPUS,
    PACKET,
    PARALLEL,
    PARENT,
    PHASE,
    PHASE_BYTES,
    PHASE_TYPE,
    PHASE_WORDS,
    PHASES,
    PLACE,
    REDUCE_SCATTER,
    RIGHT_CHILD,
    RING_ALGORITHM,
    SENT,
    SLOT,
    TAG_OFFSET,
    TOGGLE,
    TREE,
    TREE_WAIT,
    WHAT,
    WINDOW,
    ZERO,
    N,
)

__all__ = ["arrived", "packet_waited", "phase_queue", "start_phase"]


@inlined
def phase_queue(code: Any, n_queues: Any) -> Any:
    """Return the queue of a phase, counted over the dimensions of an NPU."""
    return ((code >> CODE_DIM) & 7) * n_queues + ((code >> CODE_QUEUE) & 0x1FFFFFF)


@inlined
def _npu(m: Any, chunk: Any) -> Any:
    return m[NPUS] + m[chunk + CHUNK_NPU] * NPU_WORDS


@inlined
def _log2(n: Any) -> Any:
    steps = 0
    while (1 << (steps + 1)) <= n:
        steps += 1
    return steps


@helper
def start_phase(m: Any, f: Any, w: Any, log: Any, chunk: Any) -> None:
    """Start the phase that a chunk has entered."""
    kept_apart()
    at = chunk + PHASES + PHASE_WORDS * m[chunk + PHASE]
    code, n_bytes = m[at], m[at + 1]
    npu = _npu(m, chunk)
    dim = (code >> CODE_DIM) & 7
    phase_type = code & 3
    algorithm = code >> CODE_ALGORITHM
    window = algorithm // WINDOW
    algorithm = algorithm % WINDOW
    slot = m[chunk + SLOT]
    m[chunk + DELAY] = m[ENDPOINT_NS]
    is_group = slot >= 0
    if is_group:
        n, place = w[slot + GROUP_SIZE], w[slot + GROUP_PLACE]
        if not m[IS_SANE]:
            m[chunk + DELAY] = m[GROUP_ENDPOINT_NS]
    else:
        n, place = m[DIMS + dim * DIM_WORDS + DIM_N], m[npu + COORDINATE + dim]
    m[chunk + IS_STARTED] = 1
    m[chunk + N] = n
    m[chunk + PLACE] = place
    m[chunk + DIM] = dim
    m[chunk + DIRECTION] = -1 if (code >> CODE_BACKWARD) & 1 else 1
    m[chunk + PHASE_TYPE] = phase_type
    m[chunk + ALGORITHM] = algorithm
    m[chunk + PHASE_BYTES] = n_bytes
    m[chunk + MADE] = m[chunk + SENT] = m[chunk + ARRIVED] = m[chunk + FREE] = 0
    m[chunk + ZERO] = m[chunk + NONZERO] = m[chunk + TOGGLE] = 0
    m[chunk + MESSAGE] = n_bytes if phase_type == ALL_GATHER else n_bytes // n
    if m[N_LOG]:
        queue = phase_queue(code, m[N_QUEUES])
        tag = m[chunk + CHUNK_TAG] - TAG_OFFSET
        log_event(m, log, LOG_PHASE_START, m[chunk + CHUNK_NPU], tag, m[chunk + PHASE], queue)
    if algorithm == TREE:
        _plant(m, log, chunk, (code >> CODE_TREE) & 1)
        return
    parallel = 1
    if algorithm == DIRECT:
        parallel = n - 1 if window == 0 else min(window, n - 1)
        left = 2 * (n - 1) if phase_type == ALL_REDUCE else n - 1
        m[chunk + CYCLE_ZERO] = parallel
        m[chunk + CYCLE_NONZERO] = (n - 1) * parallel if is_group else parallel
    elif algorithm == RING_ALGORITHM:
        left = n - 1
        if phase_type == ALL_REDUCE:
            left = 2 * (n - 1)
        elif phase_type == ALL_TO_ALL:
            left = n * (n - 1) // 2
        m[chunk + CYCLE_ZERO] = 1
        m[chunk + CYCLE_NONZERO] = n - 1
    else:
        steps = _log2(n)
        left = 2 * steps if phase_type == ALL_REDUCE else steps
        m[chunk + CYCLE_ZERO] = 1
        m[chunk + CYCLE_NONZERO] = steps - 1
    m[chunk + LEFT] = left
    m[chunk + PARALLEL] = parallel
    for _ in range(parallel):
        _make_packet(m, chunk)


@helper
def _halving(m: Any, chunk: Any, k: Any) -> tuple[Any, Any]:
    """Return the distance and the bytes of the k-th packet of halving-doubling."""
    kept_apart()
    n, n_bytes = m[chunk + N], m[chunk + PHASE_BYTES]
    if m[chunk + PHASE_TYPE] == ALL_GATHER:
        return (n >> 1) >> k, n_bytes << k
    steps = _log2(n)
    if k < steps:
        return 1 << k, n_bytes >> (k + 1)
    return (n >> 1) >> (k - steps), (n_bytes >> (steps + 1)) << (k - steps + 1)


@helper
def _make_packet(m: Any, chunk: Any) -> None:
    kept_apart()
    if m[chunk + ZERO] == 0 and m[chunk + NONZERO] == 0:
        m[chunk + ZERO] = m[chunk + CYCLE_ZERO]
        m[chunk + NONZERO] = m[chunk + CYCLE_NONZERO]
        m[chunk + TOGGLE] = 1 - m[chunk + TOGGLE]
    n_bytes = NONE
    if m[chunk + ZERO] > 0:
        m[chunk + ZERO] -= 1
    else:
        m[chunk + NONZERO] -= 1
        phase_type = m[chunk + PHASE_TYPE]
        if phase_type == REDUCE_SCATTER or (phase_type == ALL_REDUCE and m[chunk + TOGGLE]):
            n_bytes = m[chunk + MESSAGE]
            if m[chunk + ALGORITHM] == HALVING_DOUBLING:
                n_bytes = _halving(m, chunk, m[chunk + MADE])[1]
    m[chunk + MADE] += 1
    _wait(m, chunk, PACKET, n_bytes)


@inlined
def _wait(m: Any, chunk: Any, what: Any, n_bytes: Any) -> None:
    """Have a chunk wait for the endpoint delay; -1 bytes are not reduced after it."""
    entry = take_block(m)
    if m[IS_FULL]:
        return
    m[entry + WHAT] = what
    m[entry + ENTRY_SUBJECT] = chunk
    m[entry + ENTRY_BYTES] = n_bytes
    add_entry(m, _npu(m, chunk), m[chunk + CHUNK_NPU], m[NOW] + m[chunk + DELAY], entry)


@inlined
def _reduces(m: Any, f: Any, entry: Any) -> bool:
    """Put an entry whose bytes are to be reduced on the agenda again; false if there are none."""
    n_bytes = m[entry + ENTRY_BYTES]
    if n_bytes < 0:
        return False
    m[entry + ENTRY_BYTES] = -1
    chunk = m[entry + ENTRY_SUBJECT]
    once = math.floor(n_bytes / f[MEMORY_BYTES_PER_S] * 1e9)
    add_entry(m, _npu(m, chunk), m[chunk + CHUNK_NPU], m[NOW] + 3 * once, entry)
    return True


@helper
def _exchange(m: Any, f: Any, w: Any, log: Any, chunk: Any) -> None:
    """Send the next packet of a phase, and post the receive that belongs to it."""
    kept_apart()
    n, place, direction = m[chunk + N], m[chunk + PLACE], m[chunk + DIRECTION]
    k = m[chunk + SENT]
    n_bytes = m[chunk + MESSAGE]
    algorithm = m[chunk + ALGORITHM]
    if algorithm == HALVING_DOUBLING:
        distance, n_bytes = _halving(m, chunk, k)
        to = place + distance if (place // distance) % 2 == 0 else place - distance
        source = to
    else:
        distance = direction
        if algorithm == DIRECT:
            distance = direction * (1 + k % (n - 1))
        to = (place + distance + n) % n
        source = (place - distance + n) % n
    m[chunk + LEFT] -= 1
    m[chunk + FREE] -= 1
    m[chunk + SENT] += 1
    _send(m, f, w, log, chunk, to, n_bytes)
    _receive(m, w, chunk, source, n_bytes)


@inlined
def _member(m: Any, w: Any, chunk: Any, place: Any) -> Any:
    """Return the number of the NPU at a place of the phase's group."""
    slot = m[chunk + SLOT]
    if slot >= 0:
        return w[w[slot + GROUP_MEMBERS] + place]
    stride = m[DIMS + m[chunk + DIM] * DIM_WORDS + DIM_STRIDE]
    return m[chunk + CHUNK_NPU] + (place - m[chunk + PLACE]) * stride


@helper
def _send(m: Any, f: Any, w: Any, log: Any, chunk: Any, place: Any, n_bytes: Any) -> None:
    kept_apart()
    npu, tag = m[chunk + CHUNK_NPU], m[chunk + CHUNK_TAG]
    if m[IS_SYMMETRIC]:
        to, subject, dim = npu, chunk, m[chunk + DIM]
    else:
        to, subject = _member(m, w, chunk, place), NONE
        dim = NONE if m[chunk + SLOT] >= 0 else m[chunk + DIM]
    transmit(m, f, log, npu, to, tag, n_bytes, subject, dim, place - m[chunk + PLACE])


@inlined
def _receive(m: Any, w: Any, chunk: Any, place: Any, n_bytes: Any) -> None:
    if not m[IS_SYMMETRIC]:
        npu, tag = m[chunk + CHUNK_NPU], m[chunk + CHUNK_TAG]
        post(m, _member(m, w, chunk, place), npu, tag, n_bytes, chunk)


@helper
def _try_send(m: Any, f: Any, w: Any, log: Any, chunk: Any) -> None:
    if m[chunk + MADE] > m[chunk + SENT] and m[chunk + LEFT] > 0 and m[chunk + FREE] > 0:
        _exchange(m, f, w, log, chunk)


@helper
def packet_waited(m: Any, f: Any, w: Any, log: Any, entry: Any) -> Any:
    """Process a packet, or a step of a tree, whose wait is over.

    Returns:
      0 if the entry is on the agenda again, 1 if the packet is ready, 2 if the phase has ended.
    """
    kept_apart()
    if _reduces(m, f, entry):
        return 0
    chunk = m[entry + ENTRY_SUBJECT]
    if m[entry + WHAT] == TREE_WAIT:
        return _tree_waited(m, f, w, log, chunk)
    m[chunk + FREE] += 1
    n = m[chunk + N]
    if (
        m[chunk + ALGORITHM] == DIRECT
        and m[chunk + PHASE_TYPE] == ALL_REDUCE
        and m[chunk + LEFT] <= n - 1
    ):
        if m[chunk + ARRIVED] < n - 1:
            return 1
        for _ in range(m[chunk + PARALLEL]):
            _try_send(m, f, w, log, chunk)
    else:
        _try_send(m, f, w, log, chunk)
    if m[chunk + LEFT] == 0 and m[chunk + FREE] == m[chunk + PARALLEL]:
        return 2
    return 1


@helper
def arrived(m: Any, chunk: Any) -> None:
    """Process a message of a collective that meets its receive."""
    kept_apart()
    if m[chunk + ALGORITHM] == TREE:
        # Leaves do not reduce what they receive.
        reduced = NONE if m[chunk + LEFT_CHILD] < 0 else m[chunk + PHASE_BYTES]
        _wait(m, chunk, TREE_WAIT, reduced)
        return
    m[chunk + ARRIVED] += 1
    _make_packet(m, chunk)


# Double binary trees. `MADE` counts the waits that have ended.


@helper
def _plant(m: Any, log: Any, chunk: Any, is_second: Any) -> None:
    """Find a chunk's place in its tree, and start there.

    The members but the root are the in-order sequence of a complete tree: the i-th, from 1, has
    its children at i -+ b / 2 and is a leaf if b is 1, with b its lowest set bit.
    """
    kept_apart()
    n, place = m[chunk + N], m[chunk + PLACE]
    shift = 0 if is_second else 1
    root = 0 if is_second else n - 1
    if place == root:
        child = n // 2 - shift
        m[chunk + PARENT] = -1
        m[chunk + LEFT_CHILD] = child
        m[chunk + RIGHT_CHILD] = -1
        _tree_receive(m, chunk, child)
        return
    i = place + shift
    bit = i & -i
    if i == n // 2:
        m[chunk + PARENT] = root
    else:
        m[chunk + PARENT] = ((i & ~bit) | (2 * bit)) - shift
    if bit == 1:
        m[chunk + LEFT_CHILD] = m[chunk + RIGHT_CHILD] = -1
        _wait(m, chunk, TREE_WAIT, NONE)
        return
    m[chunk + LEFT_CHILD] = i - bit // 2 - shift
    m[chunk + RIGHT_CHILD] = i + bit // 2 - shift
    _tree_receive(m, chunk, m[chunk + LEFT_CHILD])
    _tree_receive(m, chunk, m[chunk + RIGHT_CHILD])


@helper
def _tree_receive(m: Any, chunk: Any, place: Any) -> None:
    kept_apart()
    npu = m[chunk + CHUNK_NPU]
    stride = m[DIMS + m[chunk + DIM] * DIM_WORDS + DIM_STRIDE]
    source = npu + (place - m[chunk + PLACE]) * stride
    post(m, source, npu, m[chunk + CHUNK_TAG], m[chunk + PHASE_BYTES], chunk)


@helper
def _tree_waited(m: Any, f: Any, w: Any, log: Any, chunk: Any) -> Any:
    """Process a wait of a tree that is over; returns as `packet_waited`."""
    kept_apart()
    n_bytes = m[chunk + PHASE_BYTES]
    step = m[chunk + MADE]
    m[chunk + MADE] = step + 1
    if m[chunk + PARENT] < 0:
        _send(m, f, w, log, chunk, m[chunk + LEFT_CHILD], n_bytes)
        return 2
    is_leaf = m[chunk + LEFT_CHILD] < 0
    if is_leaf and step == 1:
        return 2
    if step == (0 if is_leaf else 1):
        _send(m, f, w, log, chunk, m[chunk + PARENT], n_bytes)
        _tree_receive(m, chunk, m[chunk + PARENT])
    elif step == 2:
        _send(m, f, w, log, chunk, m[chunk + LEFT_CHILD], n_bytes)
        _send(m, f, w, log, chunk, m[chunk + RIGHT_CHILD], n_bytes)
        return 2
    return 1
