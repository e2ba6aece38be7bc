"""Nodes of an NPU's graph: which are issued, and what follows when one is done; compiled."""

from typing import Any

from archgym.kernels import helper, inlined, kept_apart
from archgym.simulators.cluster.kernel_events import (
    account,
    add_entry,
    give_back,
    log_event,
    take_block,
    take_chunk,
)
from archgym.simulators.cluster.kernel_greedy import begin_greedy, decide
from archgym.simulators.cluster.kernel_network import post, transmit
from archgym.simulators.cluster.kernel_queues import enter, launch, queue_of
from archgym.simulators.cluster.state import (
    ALGORITHMS,
    ALL_GATHER,
    ALL_REDUCE,
    ALL_TO_ALL,
    AMOUNT,
    CAUSE,
    CHUNK_NPU,
    CHUNK_TAG,
    CODE_ALGORITHM,
    CODE_BACKWARD,
    CODE_DIM,
    CODE_QUEUE,
    CODE_TREE,
    COLL,
    COLL_CHUNKS,
    COLL_NODE,
    COLLECTIVE,
    COMPUTE,
    COMPUTE_END,
    COMPUTE_NS,
    COUNTER_A,
    COUNTER_B,
    COUNTER_C,
    DIM_N,
    DIM_WORDS,
    DIMS,
    ENTRY_SUBJECT,
    FINISH,
    FOLLOWING,
    GROUP_IS_ALL,
    GROUP_NUMBER,
    GROUP_SIZE,
    GROUP_TAGS,
    HAS_SPEEDS,
    INFLIGHT,
    INTER,
    IS_COMPUTING,
    IS_FULL,
    IS_SANE,
    IS_STARTED,
    KIND,
    LOCAL_BW_AWARE,
    LOG_DONE,
    LOG_ISSUE,
    MEMBERS,
    N_CHUNKS,
    N_DIMS,
    N_FOLLOWING,
    N_INFLIGHT,
    N_LEFT,
    N_LEFT_BEFORE,
    N_LOG,
    N_PHASES,
    N_PRIORITY,
    N_QUEUES,
    N_SIMULATED,
    N_SLOTS,
    N_TOTAL,
    N_UNFINISHED,
    N_WAITING,
    NEXT_READY,
    NODE_STATE_WORDS,
    NODE_WORDS,
    NODES_AT,
    NONE,
    NOW,
    NPU_WORDS,
    NPUS,
    OFFLINE_GREEDY,
    PEER,
    PHASE,
    PHASE_WORDS,
    PHASES,
    PRIORITY,
    PRIORITY_STEP,
    READY,
    RECEIVE,
    REDUCE_SCATTER,
    RING_ALGORITHM,
    ROTATION,
    ROUND_ROBIN,
    SEND,
    SLOT,
    SLOT_COUNTS,
    SLOT_WORDS,
    SLOTS,
    SPEEDS,
    SPLITS,
    STATE_AT,
    TAG,
    TAG_OFFSET,
    TREE,
    TREES,
    TYPE,
    UNDER_WAY,
    WHAT,
    WINDOW,
)

__all__ = ["add_ready", "chunk_bytes", "look", "node_done"]


@inlined
def _state(m: Any, npu: Any, node: Any) -> Any:
    return m[npu + STATE_AT] + node * NODE_STATE_WORDS


@helper
def add_ready(m: Any, npu: Any, node: Any) -> None:
    """Insert a node into the ready ones, which are in ascending order."""
    kept_apart()
    before = NONE
    other = m[npu + READY]
    while other != NONE and other < node:
        before, other = other, m[_state(m, npu, other) + NEXT_READY]
    m[_state(m, npu, node) + NEXT_READY] = other
    if before == NONE:
        m[npu + READY] = node
    else:
        m[_state(m, npu, before) + NEXT_READY] = node


@helper
def node_done(m: Any, f: Any, w: Any, log: Any, owner: Any, node: Any) -> None:
    """Give a node's place back, make its successors ready, and look for nodes to issue."""
    kept_apart()
    npu = m[NPUS] + owner * NPU_WORDS
    at = m[npu + NODES_AT] + node * NODE_WORDS
    kind = w[at + KIND]
    account(m, npu)
    if kind == COMPUTE:
        m[npu + IS_COMPUTING] = 0
    elif kind == RECEIVE:
        m[npu + N_WAITING] -= 1
    else:
        m[npu + N_INFLIGHT] -= 1
        m[npu + UNDER_WAY + w[at + CAUSE]] -= 1
    if m[N_LOG]:
        log_event(m, log, LOG_DONE, owner, node, 0, 0)
    first = w[at + FOLLOWING]
    for place in range(first, first + w[at + N_FOLLOWING]):
        following = w[place]
        state = _state(m, npu, following)
        m[state + N_LEFT_BEFORE] -= 1
        if m[state + N_LEFT_BEFORE] == 0:
            add_ready(m, npu, following)
    m[npu + N_LEFT] -= 1
    if m[npu + N_LEFT] == 0:
        m[npu + FINISH] = m[NOW]
        m[N_UNFINISHED] -= 1
        return
    look(m, f, w, log, owner)


@helper
def look(m: Any, f: Any, w: Any, log: Any, owner: Any) -> None:
    """Issue each ready node of an NPU for which there is a place, in ascending order."""
    kept_apart()
    npu = m[NPUS] + owner * NPU_WORDS
    account(m, npu)
    before = NONE
    node = m[npu + READY]
    while node != NONE:
        at = m[npu + NODES_AT] + node * NODE_WORDS
        following = m[_state(m, npu, node) + NEXT_READY]
        kind = w[at + KIND]
        if kind == COMPUTE:
            is_issued = m[npu + IS_COMPUTING] == 0
        else:
            is_issued = kind == RECEIVE or m[npu + N_INFLIGHT] < m[INFLIGHT]
        if not is_issued:
            before = node
        else:
            if before == NONE:
                m[npu + READY] = following
            else:
                m[_state(m, npu, before) + NEXT_READY] = following
            _issue(m, f, w, log, owner, npu, node, at)
            if m[IS_FULL]:
                return
        node = following


@helper
def _issue(
    m: Any, f: Any, w: Any, log: Any, owner: Any, npu: Any, node: Any, at: Any
) -> None:
    kept_apart()
    kind, amount = w[at + KIND], w[at + AMOUNT]
    if m[N_LOG]:
        log_event(m, log, LOG_ISSUE, owner, node, 0, 0)
    if kind == COMPUTE:
        if m[HAS_SPEEDS]:
            amount = int(amount * f[SPEEDS + owner])
        m[npu + IS_COMPUTING] = 1
        m[npu + COMPUTE_NS] += amount
        entry = take_block(m)
        if m[IS_FULL]:
            return
        m[entry + WHAT] = COMPUTE_END
        m[entry + ENTRY_SUBJECT] = node
        add_entry(m, npu, owner, m[NOW] + amount, entry)
        return
    n = m[N_SIMULATED]
    peer = (owner + w[at + PEER] + n) % n
    if kind == RECEIVE:
        m[npu + N_WAITING] += 1
        post(m, peer, owner, w[at + TAG], amount, node)
        return
    m[npu + N_INFLIGHT] += 1
    m[npu + UNDER_WAY + w[at + CAUSE]] += 1
    if kind == SEND:
        transmit(m, f, log, owner, peer, w[at + TAG], amount, node, NONE, 0)
    else:
        _issue_collective(m, f, w, log, owner, npu, node, at)


@inlined
def chunk_bytes(collective: Any, n_bytes: Any, splits: Any, n_npus: Any) -> tuple[Any, Any]:
    """Return the bytes of a chunk of a collective, and those of the collective."""
    c = n_bytes // splits
    if collective != ALL_GATHER and c < n_npus:
        return n_npus, splits * n_npus
    return c, n_bytes


@helper
def _issue_collective(
    m: Any, f: Any, w: Any, log: Any, owner: Any, npu: Any, node: Any, at: Any
) -> None:
    kept_apart()
    collective = w[at + TYPE]
    c, left = chunk_bytes(collective, w[at + AMOUNT], m[SPLITS], m[N_TOTAL])
    mask, slot, counts = w[at + MEMBERS], NONE, NONE
    if mask < 0:
        number = -1 - mask
        counts = m[SLOT_COUNTS] + owner * m[N_SLOTS] + number
        slot = w[m[SLOTS] + owner] + number * SLOT_WORDS
        mask = (1 << m[N_DIMS]) - 1
    priority = m[npu + N_PRIORITY]
    m[npu + N_PRIORITY] = priority + m[PRIORITY_STEP]
    is_greedy = m[INTER] == OFFLINE_GREEDY
    if is_greedy and owner == 0:
        begin_greedy(m, f)
    coll = take_block(m)
    m[coll + COLL_NODE] = node
    m[coll + COLL_CHUNKS] = 0
    while left > 0:
        number = m[npu + N_CHUNKS]
        m[npu + N_CHUNKS] = number + 1
        chunk = take_chunk(m)
        if m[IS_FULL]:
            return
        m[coll + COLL_CHUNKS] += 1
        n_bytes, order = c, -1
        if m[IS_SANE]:
            n_bytes = min(c, left)
        if is_greedy and collective != ALL_TO_ALL:
            n_bytes, order = decide(m, f, number, left, c, mask, collective)
        left -= n_bytes
        if slot >= 0:
            number = GROUP_TAGS * w[slot + GROUP_NUMBER] + m[counts]
            m[counts] += 1
        m[chunk + CHUNK_NPU] = owner
        m[chunk + CHUNK_TAG] = TAG_OFFSET + number
        m[chunk + PRIORITY] = priority
        m[chunk + COLL] = coll
        m[chunk + PHASE] = 0
        m[chunk + N_PHASES] = 0
        m[chunk + IS_STARTED] = 0
        m[chunk + SLOT] = NONE
        if slot >= 0 and not w[slot + GROUP_IS_ALL]:
            m[chunk + SLOT] = slot
            _add_group_phase(m, npu, chunk, collective, n_bytes)
        else:
            _add_phases(m, npu, chunk, collective, mask, n_bytes, order)
        enter(m, w, chunk)
        launch(m, f, w, log, queue_of(m, chunk))
    if m[coll + COLL_CHUNKS] == 0:
        give_back(m, coll)


@inlined
def _ascending(m: Any, npu: Any, collective: Any) -> Any:
    """Return the order of dimensions, two bits each, unless OfflineGreedy gave another."""
    n = m[N_DIMS]
    r = 0
    if m[INTER] == ROUND_ROBIN:
        r = m[npu + ROTATION]
        m[npu + ROTATION] = (r + 1) % n
    order = 0
    for i in range(n):
        dim = (i + r) % n
        if collective == ALL_GATHER:
            dim = n - 1 - dim
        order |= dim << (2 * i)
    return order


@helper
def _add_phases(
    m: Any,
    npu: Any,
    chunk: Any,
    collective: Any,
    mask: Any,
    n_bytes: Any,
    order: Any,
) -> None:
    """Make the phases of a chunk over whole dimensions."""
    kept_apart()
    n_dims = m[N_DIMS]
    is_greedy = order >= 0
    if not is_greedy:
        order = _ascending(m, npu, collective)
    is_local = collective == ALL_REDUCE and m[LOCAL_BW_AWARE]
    n_part = 0
    for i in range(n_dims):
        n_part += (mask >> ((order >> (2 * i)) & 3)) & 1
    taken = 0
    for i in range(n_dims):
        dim = (order >> (2 * i)) & 3
        if not (mask >> dim) & 1:
            continue
        taken += 1
        if not is_local:
            n_bytes = _add_phase(m, npu, chunk, collective, collective, dim, n_bytes, COUNTER_A)
        elif is_greedy or taken < n_part:
            n_bytes = _add_phase(m, npu, chunk, REDUCE_SCATTER, collective, dim, n_bytes, COUNTER_B)
        else:
            n_bytes = _add_phase(m, npu, chunk, ALL_REDUCE, collective, dim, n_bytes, COUNTER_B)
    if not is_local:
        return
    skips = not is_greedy
    for i in range(n_dims - 1, -1, -1):
        dim = (order >> (2 * i)) & 3
        if not (mask >> dim) & 1:
            continue
        if skips:
            skips = False
            continue
        n_bytes = _add_phase(m, npu, chunk, ALL_GATHER, collective, dim, n_bytes, COUNTER_C)


@helper
def _next_queue(m: Any, npu: Any, dim: Any, counter: Any) -> tuple[Any, Any]:
    """Return the queue of a new phase within its dimension, and true if it runs backwards."""
    kept_apart()
    n_queues = m[N_QUEUES]
    half = n_queues // 2
    at = npu + counter + dim
    queue = m[at]
    following = queue + 1
    if counter == COUNTER_A:
        m[at] = 0 if following == n_queues else following
        return queue, n_queues > 1 and queue >= half
    if counter == COUNTER_B:
        m[at] = 0 if following >= half else following
        return queue, False
    m[at] = half if following == n_queues else following
    return queue, True


@helper
def _add_phase(
    m: Any,
    npu: Any,
    chunk: Any,
    phase_type: Any,
    collective: Any,
    dim: Any,
    n_bytes: Any,
    counter: Any,
) -> Any:
    """Append a phase to a chunk, and return the bytes that leave it."""
    kept_apart()
    queue, is_backward = _next_queue(m, npu, dim, counter)
    algorithm = m[ALGORITHMS + 4 * collective + dim]
    code = phase_type | (dim << CODE_DIM) | (queue << CODE_QUEUE) | (algorithm << CODE_ALGORITHM)
    if is_backward:
        code |= 1 << CODE_BACKWARD
    is_tree = algorithm % WINDOW == TREE
    if is_tree:
        at = npu + TREES + 4 * collective + dim
        code |= m[at] << CODE_TREE
        m[at] = 1 - m[at]
    _store(m, chunk, code, n_bytes)
    if is_tree:
        return n_bytes
    n = m[DIMS + dim * DIM_WORDS + DIM_N]
    if phase_type == REDUCE_SCATTER:
        return n_bytes // n
    return n_bytes * n if phase_type == ALL_GATHER else n_bytes


@inlined
def _store(m: Any, chunk: Any, code: Any, n_bytes: Any) -> None:
    at = chunk + PHASES + PHASE_WORDS * m[chunk + N_PHASES]
    m[at] = code
    m[at + 1] = n_bytes
    m[chunk + N_PHASES] += 1


@helper
def _add_group_phase(m: Any, npu: Any, chunk: Any, collective: Any, n_bytes: Any) -> None:
    """Make the one phase of a chunk over a group."""
    kept_apart()
    is_local = collective == ALL_REDUCE and m[LOCAL_BW_AWARE]
    queue, is_backward = _next_queue(m, npu, 0, COUNTER_B if is_local else COUNTER_A)
    algorithm = RING_ALGORITHM
    if m[N_DIMS] == 1:
        algorithm = m[ALGORITHMS + 4 * collective]
    code = collective | (queue << CODE_QUEUE) | (algorithm << CODE_ALGORITHM)
    if is_backward:
        code |= 1 << CODE_BACKWARD
    _store(m, chunk, code, n_bytes)
