"""Phases of a chunk: one algorithm of a collective in one dimension, step by step; compiled."""

import math
from typing import Any

from archgym.simulators.cluster.kernel import state as st
from archgym.simulators.cluster.kernel.events import add_entry, log_event, take_block
from archgym.simulators.cluster.kernel.network import post, transmit, transmit_to_all
from archgym.simulators.kit.kernels import helper, inlined, kept_apart


@inlined
def phase_queue(code: Any, n_queues: Any) -> Any:
    """Return the queue of a phase, counted over the dimensions of an NPU."""
    return ((code >> st.CODE_DIM) & 7) * n_queues + ((code >> st.CODE_QUEUE) & 0x1FFFFFF)


@inlined
def _npu(m: Any, chunk: Any) -> Any:
    return m[st.NPUS] + m[chunk + st.CHUNK_NPU] * st.NPU_WORDS


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
    at = chunk + st.PHASES + st.PHASE_WORDS * m[chunk + st.PHASE]
    code, n_bytes = m[at], m[at + 1]
    npu = _npu(m, chunk)
    dim = (code >> st.CODE_DIM) & 7
    phase_type = code & 3
    algorithm = code >> st.CODE_ALGORITHM
    window = algorithm // st.WINDOW
    algorithm = algorithm % st.WINDOW
    slot = m[chunk + st.SLOT]
    m[chunk + st.DELAY] = m[st.ENDPOINT_NS]
    is_group = slot >= 0
    if is_group:
        n, place = w[slot + st.GROUP_SIZE], w[slot + st.GROUP_PLACE]
        if not m[st.IS_SANE]:
            m[chunk + st.DELAY] = m[st.GROUP_ENDPOINT_NS]
    else:
        n, place = m[st.DIMS + dim * st.DIM_WORDS + st.DIM_N], m[npu + st.COORDINATE + dim]
    m[chunk + st.IS_STARTED] = 1
    m[chunk + st.N] = n
    m[chunk + st.PLACE] = place
    m[chunk + st.DIM] = dim
    m[chunk + st.DIRECTION] = -1 if (code >> st.CODE_BACKWARD) & 1 else 1
    m[chunk + st.PHASE_TYPE] = phase_type
    m[chunk + st.ALGORITHM] = algorithm
    m[chunk + st.PHASE_BYTES] = n_bytes
    m[chunk + st.MADE] = m[chunk + st.SENT] = m[chunk + st.ARRIVED] = m[chunk + st.FREE] = 0
    m[chunk + st.ZERO] = m[chunk + st.NONZERO] = m[chunk + st.TOGGLE] = 0
    m[chunk + st.MESSAGE] = n_bytes if phase_type == st.ALL_GATHER else n_bytes // n
    if m[st.N_LOG]:
        queue = phase_queue(code, m[st.N_QUEUES])
        tag = m[chunk + st.CHUNK_TAG] - st.TAG_OFFSET
        log_event(
            m, log, st.LOG_PHASE_START, m[chunk + st.CHUNK_NPU], tag, m[chunk + st.PHASE], queue
        )
    if algorithm == st.TREE:
        _plant(m, log, chunk, (code >> st.CODE_TREE) & 1)
        return
    parallel = 1
    if algorithm == st.DIRECT:
        parallel = n - 1 if window == 0 else min(window, n - 1)
        left = 2 * (n - 1) if phase_type == st.ALL_REDUCE else n - 1
        m[chunk + st.CYCLE_ZERO] = parallel
        m[chunk + st.CYCLE_NONZERO] = (n - 1) * parallel if is_group else parallel
    elif algorithm == st.RING_ALGORITHM:
        left = n - 1
        if phase_type == st.ALL_REDUCE:
            left = 2 * (n - 1)
        elif phase_type == st.ALL_TO_ALL:
            left = n * (n - 1) // 2
        m[chunk + st.CYCLE_ZERO] = 1
        m[chunk + st.CYCLE_NONZERO] = n - 1
    else:
        steps = _log2(n)
        left = 2 * steps if phase_type == st.ALL_REDUCE else steps
        m[chunk + st.CYCLE_ZERO] = 1
        m[chunk + st.CYCLE_NONZERO] = steps - 1
    is_round = algorithm == st.DIRECT and window == 0 and not is_group and _stands_for_all(m, chunk)
    if is_round and (m[st.IS_SHARED] or phase_type != st.ALL_REDUCE):
        # Messages to all others leave at once: they are one event.
        left = 2 if phase_type == st.ALL_REDUCE else 1
        parallel = 0
        _wait(m, chunk, st.PACKET, st.NONE)
    m[chunk + st.LEFT] = left
    m[chunk + st.PARALLEL] = parallel
    for _ in range(parallel):
        _make_packet(m, chunk)


@helper
def _halving(m: Any, chunk: Any, k: Any) -> tuple[Any, Any]:
    """Return the distance and the bytes of the k-th packet of halving-doubling."""
    kept_apart()
    n, n_bytes = m[chunk + st.N], m[chunk + st.PHASE_BYTES]
    if m[chunk + st.PHASE_TYPE] == st.ALL_GATHER:
        return (n >> 1) >> k, n_bytes << k
    steps = _log2(n)
    if k < steps:
        return 1 << k, n_bytes >> (k + 1)
    return (n >> 1) >> (k - steps), (n_bytes >> (steps + 1)) << (k - steps + 1)


@helper
def _make_packet(m: Any, chunk: Any) -> None:
    kept_apart()
    if m[chunk + st.ZERO] == 0 and m[chunk + st.NONZERO] == 0:
        m[chunk + st.ZERO] = m[chunk + st.CYCLE_ZERO]
        m[chunk + st.NONZERO] = m[chunk + st.CYCLE_NONZERO]
        m[chunk + st.TOGGLE] = 1 - m[chunk + st.TOGGLE]
    n_bytes = st.NONE
    if m[chunk + st.ZERO] > 0:
        m[chunk + st.ZERO] -= 1
    else:
        m[chunk + st.NONZERO] -= 1
        phase_type = m[chunk + st.PHASE_TYPE]
        if phase_type == st.REDUCE_SCATTER or (
            phase_type == st.ALL_REDUCE and m[chunk + st.TOGGLE]
        ):
            n_bytes = m[chunk + st.MESSAGE]
            if m[chunk + st.ALGORITHM] == st.HALVING_DOUBLING:
                n_bytes = _halving(m, chunk, m[chunk + st.MADE])[1]
    m[chunk + st.MADE] += 1
    _wait(m, chunk, st.PACKET, n_bytes)


@inlined
def _wait(m: Any, chunk: Any, what: Any, n_bytes: Any) -> None:
    """Have a chunk wait for the endpoint delay; -1 bytes are not reduced after it."""
    entry = take_block(m)
    if m[st.IS_FULL]:
        return
    m[entry + st.WHAT] = what
    m[entry + st.ENTRY_SUBJECT] = chunk
    m[entry + st.ENTRY_BYTES] = n_bytes
    add_entry(m, _npu(m, chunk), m[chunk + st.CHUNK_NPU], m[st.NOW] + m[chunk + st.DELAY], entry)


@inlined
def _reduces(m: Any, f: Any, entry: Any) -> bool:
    """Put an entry whose bytes are to be reduced on the agenda again; false without any.

    Reductions of an NPU share its memory: each waits for those before it. Those of a round began
    when its first message had come.
    """
    n_bytes = m[entry + st.ENTRY_BYTES]
    if n_bytes < 0:
        return False
    m[entry + st.ENTRY_BYTES] = -1
    chunk = m[entry + st.ENTRY_SUBJECT]
    once = math.floor(n_bytes / f[st.MEMORY_BYTES_PER_S] * 1e9)
    npu, end = _npu(m, chunk), m[st.NOW] + 3 * once
    if m[st.IS_SHARED]:
        begun, count = m[st.NOW], 1
        if m[entry + st.WHAT] == st.PACKET and m[chunk + st.PARALLEL] == 0:
            begun, count = m[chunk + st.FREE], m[chunk + st.N] - 1
        m[npu + st.MEMORY_FREE] = max(begun, m[npu + st.MEMORY_FREE]) + 3 * once * count
        end = max(end, m[npu + st.MEMORY_FREE])
    add_entry(m, npu, m[chunk + st.CHUNK_NPU], end, entry)
    return True


@helper
def _exchange(m: Any, f: Any, w: Any, log: Any, chunk: Any) -> None:
    """Send the next packet of a phase, and post the receive that belongs to it."""
    kept_apart()
    n, place, direction = m[chunk + st.N], m[chunk + st.PLACE], m[chunk + st.DIRECTION]
    k = m[chunk + st.SENT]
    n_bytes = m[chunk + st.MESSAGE]
    algorithm = m[chunk + st.ALGORITHM]
    if algorithm == st.HALVING_DOUBLING:
        distance, n_bytes = _halving(m, chunk, k)
        to = place + distance if (place // distance) % 2 == 0 else place - distance
        source = to
    else:
        distance = direction
        if algorithm == st.DIRECT:
            distance = direction * (1 + k % (n - 1))
        to = (place + distance + n) % n
        source = (place - distance + n) % n
    m[chunk + st.LEFT] -= 1
    m[chunk + st.FREE] -= 1
    m[chunk + st.SENT] += 1
    _send(m, f, w, log, chunk, to, n_bytes)
    _receive(m, w, chunk, source, n_bytes)


@inlined
def _member(m: Any, w: Any, chunk: Any, place: Any) -> Any:
    """Return the number of a member of the phase's group; itself if it stands for it."""
    slot = m[chunk + st.SLOT]
    if slot >= 0:
        return w[w[slot + st.GROUP_MEMBERS] + place]
    step = m[st.DIMS + m[chunk + st.DIM] * st.DIM_WORDS + st.DIM_STEP]
    return m[chunk + st.CHUNK_NPU] + (place - m[chunk + st.PLACE]) * step


@inlined
def _stands_for_all(m: Any, chunk: Any) -> bool:
    """Return true if the NPU stands for all others along the phase's dimension."""
    return bool(m[st.DIMS + m[chunk + st.DIM] * st.DIM_WORDS + st.DIM_STEP] == 0)


@helper
def _send(m: Any, f: Any, w: Any, log: Any, chunk: Any, place: Any, n_bytes: Any) -> None:
    kept_apart()
    npu, tag = m[chunk + st.CHUNK_NPU], m[chunk + st.CHUNK_TAG]
    to, subject, dim = _member(m, w, chunk, place), st.NONE, m[chunk + st.DIM]
    if m[chunk + st.SLOT] >= 0:
        dim = st.NONE
    elif _stands_for_all(m, chunk):
        subject = chunk
    transmit(m, f, log, npu, to, tag, n_bytes, subject, dim, place - m[chunk + st.PLACE])


@inlined
def _receive(m: Any, w: Any, chunk: Any, place: Any, n_bytes: Any) -> None:
    if m[chunk + st.SLOT] >= 0 or not _stands_for_all(m, chunk):
        npu, tag = m[chunk + st.CHUNK_NPU], m[chunk + st.CHUNK_TAG]
        post(m, _member(m, w, chunk, place), npu, tag, n_bytes, chunk)


@helper
def _try_send(m: Any, f: Any, w: Any, log: Any, chunk: Any) -> None:
    if (
        m[chunk + st.MADE] > m[chunk + st.SENT]
        and m[chunk + st.LEFT] > 0
        and m[chunk + st.FREE] > 0
    ):
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
    chunk = m[entry + st.ENTRY_SUBJECT]
    if m[entry + st.WHAT] == st.TREE_WAIT:
        return _tree_waited(m, f, w, log, chunk)
    if m[chunk + st.PARALLEL] == 0:
        if m[chunk + st.LEFT] == 0:
            return 2
        m[chunk + st.LEFT] -= 1
        transmit_to_all(m, f, chunk)
        return 1
    m[chunk + st.FREE] += 1
    n = m[chunk + st.N]
    if (
        m[chunk + st.ALGORITHM] == st.DIRECT
        and m[chunk + st.PHASE_TYPE] == st.ALL_REDUCE
        and m[chunk + st.LEFT] <= n - 1
    ):
        if m[chunk + st.ARRIVED] < n - 1:
            return 1
        for _ in range(m[chunk + st.PARALLEL]):
            _try_send(m, f, w, log, chunk)
    else:
        _try_send(m, f, w, log, chunk)
    if m[chunk + st.LEFT] == 0 and m[chunk + st.FREE] == m[chunk + st.PARALLEL]:
        return 2
    return 1


@helper
def arrived(m: Any, chunk: Any) -> None:
    """Process a message of a collective that meets its receive."""
    kept_apart()
    if m[chunk + st.ALGORITHM] == st.TREE:
        # Leaves do not reduce what they receive.
        reduced = st.NONE if m[chunk + st.LEFT_CHILD] < 0 else m[chunk + st.PHASE_BYTES]
        _wait(m, chunk, st.TREE_WAIT, reduced)
        return
    if m[chunk + st.PARALLEL] == 0:
        reduces = m[chunk + st.PHASE_TYPE] == st.REDUCE_SCATTER or m[chunk + st.LEFT] == 1
        _wait(m, chunk, st.PACKET, m[chunk + st.MESSAGE] if reduces else st.NONE)
        return
    m[chunk + st.ARRIVED] += 1
    _make_packet(m, chunk)


# Double binary trees. `MADE` counts the waits that have ended.


@helper
def _plant(m: Any, log: Any, chunk: Any, is_second: Any) -> None:
    """Find a chunk's place in its tree, and start there.

    The members but the root are the in-order sequence of a complete tree, from 1. With b the
    lowest set bit of i, the i-th has its children at i -+ b / 2, and is a leaf if b is 1.
    """
    kept_apart()
    n, place = m[chunk + st.N], m[chunk + st.PLACE]
    shift = 0 if is_second else 1
    root = 0 if is_second else n - 1
    if place == root:
        child = n // 2 - shift
        m[chunk + st.PARENT] = -1
        m[chunk + st.LEFT_CHILD] = child
        m[chunk + st.RIGHT_CHILD] = -1
        _tree_receive(m, chunk, child)
        return
    i = place + shift
    bit = i & -i
    if i == n // 2:
        m[chunk + st.PARENT] = root
    else:
        m[chunk + st.PARENT] = ((i & ~bit) | (2 * bit)) - shift
    if bit == 1:
        m[chunk + st.LEFT_CHILD] = m[chunk + st.RIGHT_CHILD] = -1
        _wait(m, chunk, st.TREE_WAIT, st.NONE)
        return
    m[chunk + st.LEFT_CHILD] = i - bit // 2 - shift
    m[chunk + st.RIGHT_CHILD] = i + bit // 2 - shift
    _tree_receive(m, chunk, m[chunk + st.LEFT_CHILD])
    _tree_receive(m, chunk, m[chunk + st.RIGHT_CHILD])


@helper
def _tree_receive(m: Any, chunk: Any, place: Any) -> None:
    kept_apart()
    npu = m[chunk + st.CHUNK_NPU]
    step = m[st.DIMS + m[chunk + st.DIM] * st.DIM_WORDS + st.DIM_STEP]
    source = npu + (place - m[chunk + st.PLACE]) * step
    post(m, source, npu, m[chunk + st.CHUNK_TAG], m[chunk + st.PHASE_BYTES], chunk)


@helper
def _tree_waited(m: Any, f: Any, w: Any, log: Any, chunk: Any) -> Any:
    """Process the end of a tree's wait; return the same as `packet_waited`."""
    kept_apart()
    n_bytes = m[chunk + st.PHASE_BYTES]
    step = m[chunk + st.MADE]
    m[chunk + st.MADE] = step + 1
    if m[chunk + st.PARENT] < 0:
        _send(m, f, w, log, chunk, m[chunk + st.LEFT_CHILD], n_bytes)
        return 2
    is_leaf = m[chunk + st.LEFT_CHILD] < 0
    if is_leaf and step == 1:
        return 2
    if step == (0 if is_leaf else 1):
        _send(m, f, w, log, chunk, m[chunk + st.PARENT], n_bytes)
        _tree_receive(m, chunk, m[chunk + st.PARENT])
    elif step == 2:
        _send(m, f, w, log, chunk, m[chunk + st.LEFT_CHILD], n_bytes)
        _send(m, f, w, log, chunk, m[chunk + st.RIGHT_CHILD], n_bytes)
        return 2
    return 1
