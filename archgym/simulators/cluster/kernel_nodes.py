"""Nodes of an NPU's graph: which are issued, and what follows when one is done; compiled."""

from typing import Any

from archgym.runtime.kernels import helper, inlined, kept_apart
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
    DIM_BITS,
    DIM_N,
    DIM_WORDS,
    DIMS,
    ENTRY_SUBJECT,
    FINISH,
    FOLLOWING,
    GROUP_IS_ALL,
    GROUP_NUMBER,
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
    MAX_DIMS,
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

__all__ = ["add_ready", "chunk_bytes", "node_done"]


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
    """Give a node's place back, make its successors ready, and issue what there is a place for.

    Ready nodes are issued in ascending order. This is one function, and called from one place,
    since each level of calls above `launch` costs seconds to compile.

    Args:
      m: Arena.
      f: Parameters.
      w: Graphs.
      log: Log of events.
      owner: NPU.
      node: Node that is done; -1 at the beginning.
    """
    kept_apart()
    npu = m[NPUS] + owner * NPU_WORDS
    account(m, npu)
    if node >= 0:
        at = m[npu + NODES_AT] + node * NODE_WORDS
        kind = w[at + KIND]
        if kind == COMPUTE:
            m[npu + IS_COMPUTING] = 0
        elif kind == RECEIVE:
            m[npu + N_WAITING] -= 1
        else:
            m[npu + N_INFLIGHT] -= 1
            m[npu + UNDER_WAY + w[at + CAUSE]] -= 1
        if m[N_LOG]:
            log_event(m, log, LOG_DONE, owner, node, NONE, NONE)
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
    before = NONE
    node = m[npu + READY]
    while node != NONE and not m[IS_FULL]:
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
            if m[N_LOG]:
                log_event(m, log, LOG_ISSUE, owner, node, NONE, NONE)
            if kind == COLLECTIVE:
                m[npu + N_INFLIGHT] += 1
                m[npu + UNDER_WAY + w[at + CAUSE]] += 1
                _issue_collective(m, f, w, log, owner, npu, node, at)
            else:
                _issue(m, f, w, log, owner, npu, node, at)
        node = following


@helper
def _issue(m: Any, f: Any, w: Any, log: Any, owner: Any, npu: Any, node: Any, at: Any) -> None:
    """Issue a node that is no collective."""
    kept_apart()
    kind, amount = w[at + KIND], w[at + AMOUNT]
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
    transmit(m, f, log, owner, peer, w[at + TAG], amount, node, NONE, NONE)


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


@helper
def _ascending(m: Any, npu: Any, collective: Any) -> Any:
    """Return the order of dimensions, three bits each, unless OfflineGreedy gave another."""
    kept_apart()
    n = m[N_DIMS]
    dim = 0
    if m[INTER] == ROUND_ROBIN:
        dim = m[npu + ROTATION]
        m[npu + ROTATION] = (dim + 1) % n
    order = 0
    for i in range(n):
        # No remainder here: compilers make thousands of lines of a loop of divisions.
        order |= (n - 1 - dim if collective == ALL_GATHER else dim) << (DIM_BITS * i)
        dim += 1
        if dim == n:
            dim = 0
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
    is_greedy = order >= 0
    if not is_greedy:
        order = _ascending(m, npu, collective)
    # The dimensions that take part, in order, three bits each.
    part, n_part = 0, 0
    for _ in range(m[N_DIMS]):
        dim = order & 7
        order >>= DIM_BITS
        if (mask >> dim) & 1:
            part |= dim << (DIM_BITS * n_part)
            n_part += 1
    is_local = collective == ALL_REDUCE and m[LOCAL_BW_AWARE]
    n_phases = n_part
    if is_local:
        n_phases = 2 * n_part if is_greedy else 2 * n_part - 1
    for i in range(n_phases):
        phase_type, counter, place = collective, COUNTER_A, i
        if is_local:
            counter = COUNTER_B
            if 2 * i + 1 < n_phases:
                phase_type = REDUCE_SCATTER
            elif 2 * i + 1 > n_phases:
                phase_type, counter, place = ALL_GATHER, COUNTER_C, n_phases - 1 - i
        dim = (part >> (DIM_BITS * place)) & 7
        n_bytes = _add_phase(m, npu, chunk, phase_type, collective, dim, n_bytes, counter)


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
    algorithm = m[ALGORITHMS + MAX_DIMS * collective + dim]
    code = phase_type | (dim << CODE_DIM) | (queue << CODE_QUEUE) | (algorithm << CODE_ALGORITHM)
    if is_backward:
        code |= 1 << CODE_BACKWARD
    is_tree = algorithm % WINDOW == TREE
    if is_tree:
        at = npu + TREES + MAX_DIMS * collective + dim
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
    first = m[chunk + PHASE]  # dimension 0
    queue, is_backward = _next_queue(m, npu, first, COUNTER_B if is_local else COUNTER_A)
    algorithm = RING_ALGORITHM
    if m[N_DIMS] == 1:
        algorithm = m[ALGORITHMS + MAX_DIMS * collective]
    code = collective | (queue << CODE_QUEUE) | (algorithm << CODE_ALGORITHM)
    if is_backward:
        code |= 1 << CODE_BACKWARD
    _store(m, chunk, code, n_bytes)
