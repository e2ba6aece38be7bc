"""Nodes of an NPU's graph: which are issued, and what follows when one is done; compiled.

OfflineGreedy, which is Themis, puts dimensions of chunks in the order of their loads: Rashidi et
al., *Themis: A Network Bandwidth-Aware Collective Scheduling Policy for Distributed Training of DL
Models*, ISCA 2022, as ASTRA-sim 2 does it.
"""

import math
from typing import Any

from archgym.simulators.cluster.kernel import state as st
from archgym.simulators.cluster.kernel.events import (
    account,
    add_entry,
    give_back,
    log_event,
    take_block,
    take_chunk,
)
from archgym.simulators.cluster.kernel.network import post, transmit
from archgym.simulators.cluster.kernel.queues import enter, launch, queue_of
from archgym.simulators.kit.kernels import helper, inlined, kept_apart

_MIB = 1048576.0
# A smaller gap of loads keeps the ascending order: a sixteenth of a chunk.
_GAP = 16


@helper
def begin_greedy(m: Any, f: Any) -> None:
    """Forget loads when the first NPU begins a collective at another time than its last."""
    if m[st.GREEDY_TIME] != m[st.NOW]:
        m[st.GREEDY_TIME] = m[st.NOW]
        for dim in range(m[st.N_DIMS]):
            f[st.LOAD + dim] = 0.0
            m[st.GREEDY_LIST + dim] = dim


@inlined
def _n(m: Any, dim: Any) -> Any:
    return m[st.DIMS + dim * st.DIM_WORDS + st.DIM_N]


@inlined
def _takes_part(mask: Any, dim: Any) -> bool:
    return bool((mask >> dim) & 1)


@inlined
def _relative(f: Any, dim: Any) -> Any:
    """Return a dimension's bandwidth over that of the first."""
    return f[st.BANDWIDTH + dim] / f[st.BANDWIDTH]


@helper
def _sort(m: Any, f: Any, reverse: Any) -> None:
    """Sort the list by load, keeping the order of equal ones; then reverse it if asked to."""
    kept_apart()
    n = m[st.N_DIMS]
    for i in range(1, n):
        dim = m[st.GREEDY_LIST + i]
        j = i
        while j > 0 and f[st.LOAD + m[st.GREEDY_LIST + j - 1]] > f[st.LOAD + dim]:
            m[st.GREEDY_LIST + j] = m[st.GREEDY_LIST + j - 1]
            j -= 1
        m[st.GREEDY_LIST + j] = dim
    if reverse:
        _reverse(m)


@inlined
def _reverse(m: Any) -> None:
    n = m[st.N_DIMS]
    for i in range(n // 2):
        other = st.GREEDY_LIST + n - 1 - i
        m[st.GREEDY_LIST + i], m[other] = m[other], m[st.GREEDY_LIST + i]


@inlined
def _growth(m: Any, f: Any, dim: Any, x: Any, gathers: Any) -> Any:
    """Return by how much a phase of x bytes loads a dimension."""
    n = _n(m, dim)
    if gathers:
        return ((x / _MIB) * (n - 1)) / _relative(f, dim)
    return ((x / _MIB) * ((n - 1) / n)) / _relative(f, dim)


@helper
def _difference(m: Any, f: Any, mask: Any, place: Any, gathers: Any) -> Any:
    """Return the bytes that would close the gap between the first dimension and the last."""
    kept_apart()
    n_dims = m[st.N_DIMS]
    dim = m[st.GREEDY_LIST + place]
    if not gathers:
        n = _n(m, dim)
        gap = abs(f[st.LOAD + m[st.GREEDY_LIST + n_dims - 1]] - f[st.LOAD + dim])
        return math.floor(gap * _relative(f, dim) / ((n - 1) / n) * _MIB)
    last = n_dims - 1
    while not _takes_part(mask, m[st.GREEDY_LIST + last]):
        last -= 1
    far = m[st.GREEDY_LIST + last]
    gap = abs(f[st.LOAD + far] - f[st.LOAD + dim])
    difference = math.floor(gap * _relative(f, far) / (_n(m, far) - 1) * _MIB)
    for i in range(last - 1, place - 1, -1):
        other = m[st.GREEDY_LIST + i]
        if _takes_part(mask, other):
            difference = difference // _n(m, other)
    return difference


@helper
def decide(
    m: Any, f: Any, number: Any, left: Any, c: Any, mask: Any, collective: Any
) -> tuple[Any, Any]:
    """Return the bytes of a chunk and the order of its dimensions, three bits each.

    Args:
      m: Arena.
      f: Parameters.
      number: Number of the chunk, the same on all NPUs.
      left: Bytes of the collective that no chunk has yet.
      c: Bytes of a whole chunk.
      mask: Bits of the dimensions that take part.
      collective: Type; all but all-gather count as reduce-scatter.
    """
    kept_apart()
    if number >= m[st.N_DECISIONS]:
        m[st.IS_FULL] = 1
        return left, number * 0
    decision = m[st.DECISIONS] + number * st.DECISION_WORDS
    if m[decision] >= 0:
        return m[decision], m[decision + 1]
    n_dims = m[st.N_DIMS]
    gathers = collective == st.ALL_GATHER
    _sort(m, f, gathers)
    x = c
    order = 0
    is_first = True
    for i in range(n_dims):
        dim = m[st.GREEDY_LIST + i]
        if _takes_part(mask, dim):
            if is_first and _difference(m, f, mask, i, gathers) < c // _GAP:
                order = _keep_ascending(m, f, mask, c, gathers)
                break
            is_first = False
            f[st.LOAD + dim] += _growth(m, f, dim, x, gathers)
            x = x * _n(m, dim) if gathers else x // _n(m, dim)
        order |= dim << (st.DIM_BITS * i)
    m[decision] = min(left, c)
    m[decision + 1] = order
    return m[decision], order


@helper
def _keep_ascending(m: Any, f: Any, mask: Any, x: Any, gathers: Any) -> Any:
    """Load the dimensions in ascending order; of all-gathers the wrong ones (quirk)."""
    kept_apart()
    n_dims = m[st.N_DIMS]
    order = 0
    for dim in range(n_dims):
        m[st.GREEDY_LIST + dim] = dim
        order |= dim << (st.DIM_BITS * dim)
    if gathers:
        _reverse(m)
    for dim in range(n_dims):
        if _takes_part(mask, dim):
            f[st.LOAD + m[st.GREEDY_LIST + dim]] += _growth(m, f, dim, x, gathers)
            x = x * _n(m, dim) if gathers else x // _n(m, dim)
    return order


@inlined
def _state(m: Any, npu: Any, node: Any) -> Any:
    return m[npu + st.STATE_AT] + node * st.NODE_STATE_WORDS


@helper
def add_ready(m: Any, npu: Any, node: Any) -> None:
    """Insert a node into the ready ones, which are in ascending order."""
    kept_apart()
    before = st.NONE
    other = m[npu + st.READY]
    while other != st.NONE and other < node:
        before, other = other, m[_state(m, npu, other) + st.NEXT_READY]
    m[_state(m, npu, node) + st.NEXT_READY] = other
    if before == st.NONE:
        m[npu + st.READY] = node
    else:
        m[_state(m, npu, before) + st.NEXT_READY] = node


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
    npu = m[st.NPUS] + owner * st.NPU_WORDS
    account(m, npu)
    if node >= 0:
        at = m[npu + st.NODES_AT] + node * st.NODE_WORDS
        kind = w[at + st.KIND]
        if kind == st.COMPUTE:
            m[npu + st.IS_COMPUTING] = 0
        elif kind == st.RECEIVE:
            m[npu + st.N_WAITING] -= 1
        else:
            m[npu + st.N_INFLIGHT] -= 1
            m[npu + st.UNDER_WAY + w[at + st.CAUSE]] -= 1
        if m[st.N_LOG]:
            log_event(m, log, st.LOG_DONE, owner, node, st.NONE, st.NONE)
        first = w[at + st.FOLLOWING]
        for place in range(first, first + w[at + st.N_FOLLOWING]):
            following = w[place]
            state = _state(m, npu, following)
            m[state + st.N_LEFT_BEFORE] -= 1
            if m[state + st.N_LEFT_BEFORE] == 0:
                add_ready(m, npu, following)
        m[npu + st.N_LEFT] -= 1
        if m[npu + st.N_LEFT] == 0:
            m[npu + st.FINISH] = m[st.NOW]
            m[st.N_UNFINISHED] -= 1
            return
    before = st.NONE
    node = m[npu + st.READY]
    while node != st.NONE and not m[st.IS_FULL]:
        at = m[npu + st.NODES_AT] + node * st.NODE_WORDS
        following = m[_state(m, npu, node) + st.NEXT_READY]
        kind = w[at + st.KIND]
        if kind == st.COMPUTE:
            is_issued = m[npu + st.IS_COMPUTING] == 0
        else:
            is_issued = kind == st.RECEIVE or m[npu + st.N_INFLIGHT] < m[st.INFLIGHT]
        if not is_issued:
            before = node
        else:
            if before == st.NONE:
                m[npu + st.READY] = following
            else:
                m[_state(m, npu, before) + st.NEXT_READY] = following
            if m[st.N_LOG]:
                log_event(m, log, st.LOG_ISSUE, owner, node, st.NONE, st.NONE)
            if kind == st.COLLECTIVE:
                m[npu + st.N_INFLIGHT] += 1
                m[npu + st.UNDER_WAY + w[at + st.CAUSE]] += 1
                _issue_collective(m, f, w, log, owner, npu, node, at)
            else:
                _issue(m, f, w, log, owner, npu, node, at)
        node = following


@helper
def _issue(m: Any, f: Any, w: Any, log: Any, owner: Any, npu: Any, node: Any, at: Any) -> None:
    """Issue a node that is not a collective."""
    kept_apart()
    kind, amount = w[at + st.KIND], w[at + st.AMOUNT]
    if kind == st.COMPUTE:
        if m[st.HAS_SPEEDS]:
            amount = int(amount * f[st.SPEEDS + owner])
        m[npu + st.IS_COMPUTING] = 1
        m[npu + st.COMPUTE_NS] += amount
        entry = take_block(m)
        if m[st.IS_FULL]:
            return
        m[entry + st.WHAT] = st.COMPUTE_END
        m[entry + st.ENTRY_SUBJECT] = node
        add_entry(m, npu, owner, m[st.NOW] + amount, entry)
        return
    n = m[st.N_SIMULATED]
    peer = (owner + w[at + st.PEER] + n) % n
    if kind == st.RECEIVE:
        m[npu + st.N_WAITING] += 1
        post(m, peer, owner, w[at + st.TAG], amount, node)
        return
    m[npu + st.N_INFLIGHT] += 1
    m[npu + st.UNDER_WAY + w[at + st.CAUSE]] += 1
    transmit(m, f, log, owner, peer, w[at + st.TAG], amount, node, st.NONE, st.NONE)


@inlined
def chunk_bytes(collective: Any, n_bytes: Any, splits: Any, n_npus: Any) -> tuple[Any, Any]:
    """Return the bytes of a chunk of a collective, and those of the collective."""
    c = n_bytes // splits
    if collective != st.ALL_GATHER and c < n_npus:
        return n_npus, splits * n_npus
    return c, n_bytes


@helper
def _issue_collective(
    m: Any, f: Any, w: Any, log: Any, owner: Any, npu: Any, node: Any, at: Any
) -> None:
    kept_apart()
    collective = w[at + st.TYPE]
    c, left = chunk_bytes(collective, w[at + st.AMOUNT], m[st.SPLITS], m[st.N_TOTAL])
    mask, slot, counts = w[at + st.MEMBERS], st.NONE, st.NONE
    if mask < 0:
        number = -1 - mask
        counts = m[st.SLOT_COUNTS] + owner * m[st.N_SLOTS] + number
        slot = w[m[st.SLOTS] + owner] + number * st.SLOT_WORDS
        mask = (1 << m[st.N_DIMS]) - 1
    priority = m[npu + st.N_PRIORITY]
    m[npu + st.N_PRIORITY] = priority + m[st.PRIORITY_STEP]
    is_greedy = m[st.INTER] == st.OFFLINE_GREEDY
    if is_greedy and owner == 0:
        begin_greedy(m, f)
    coll = take_block(m)
    m[coll + st.COLL_NODE] = node
    m[coll + st.COLL_CHUNKS] = 0
    while left > 0:
        number = m[npu + st.N_CHUNKS]
        m[npu + st.N_CHUNKS] = number + 1
        chunk = take_chunk(m)
        if m[st.IS_FULL]:
            return
        m[coll + st.COLL_CHUNKS] += 1
        n_bytes, order = c, -1
        if m[st.IS_SANE]:
            n_bytes = min(c, left)
        if is_greedy and collective != st.ALL_TO_ALL:
            n_bytes, order = decide(m, f, number, left, c, mask, collective)
            if m[st.IS_FULL]:
                return
        left -= n_bytes
        if slot >= 0:
            number = st.GROUP_TAGS * w[slot + st.GROUP_NUMBER] + m[counts]
            m[counts] += 1
        if m[st.MATCHES_NODES]:
            number = st.NODE_TAGS * (node + 1) + m[coll + st.COLL_CHUNKS]
        m[chunk + st.CHUNK_NPU] = owner
        m[chunk + st.CHUNK_TAG] = st.TAG_OFFSET + number
        m[chunk + st.PRIORITY] = priority
        m[chunk + st.COLL] = coll
        m[chunk + st.PHASE] = 0
        m[chunk + st.N_PHASES] = 0
        m[chunk + st.IS_STARTED] = 0
        m[chunk + st.SLOT] = st.NONE
        if slot >= 0 and not w[slot + st.GROUP_IS_ALL]:
            m[chunk + st.SLOT] = slot
            _add_group_phase(m, npu, chunk, collective, n_bytes)
        else:
            _add_phases(m, npu, chunk, collective, mask, n_bytes, order)
        enter(m, w, chunk)
        launch(m, f, w, log, queue_of(m, chunk))
    if m[coll + st.COLL_CHUNKS] == 0:
        give_back(m, coll)


@helper
def _ascending(m: Any, npu: Any, collective: Any) -> Any:
    """Return the order of dimensions, three bits each, unless OfflineGreedy gave another."""
    kept_apart()
    n = m[st.N_DIMS]
    dim = 0
    if m[st.INTER] == st.ROUND_ROBIN:
        dim = m[npu + st.ROTATION]
        m[npu + st.ROTATION] = (dim + 1) % n
    order = 0
    for i in range(n):
        # No remainder here: compilers make thousands of lines of a loop of divisions.
        order |= (n - 1 - dim if collective == st.ALL_GATHER else dim) << (st.DIM_BITS * i)
        dim += 1
        if dim == n:
            dim = 0
    return order


@helper
def _add_phases(
    m: Any, npu: Any, chunk: Any, collective: Any, mask: Any, n_bytes: Any, order: Any
) -> None:
    """Make the phases of a chunk over whole dimensions."""
    kept_apart()
    is_greedy = order >= 0
    if not is_greedy:
        order = _ascending(m, npu, collective)
    # The dimensions that take part, in order, three bits each.
    part, n_part = 0, 0
    for _ in range(m[st.N_DIMS]):
        dim = order & 7
        order >>= st.DIM_BITS
        if (mask >> dim) & 1:
            part |= dim << (st.DIM_BITS * n_part)
            n_part += 1
    is_local = collective == st.ALL_REDUCE and m[st.LOCAL_BW_AWARE]
    n_phases = n_part
    if is_local:
        n_phases = 2 * n_part if is_greedy else 2 * n_part - 1
    for i in range(n_phases):
        phase_type, counter, place = collective, st.COUNTER_A, i
        if is_local:
            counter = st.COUNTER_B
            if 2 * i + 1 < n_phases:
                phase_type = st.REDUCE_SCATTER
            elif 2 * i + 1 > n_phases:
                phase_type, counter, place = st.ALL_GATHER, st.COUNTER_C, n_phases - 1 - i
        dim = (part >> (st.DIM_BITS * place)) & 7
        n_bytes = _add_phase(m, npu, chunk, phase_type, collective, dim, n_bytes, counter)


@helper
def _next_queue(m: Any, npu: Any, dim: Any, counter: Any) -> tuple[Any, Any]:
    """Return the queue of a new phase within its dimension, and true if it runs backwards."""
    kept_apart()
    n_queues = m[st.N_QUEUES]
    half = n_queues // 2
    at = npu + counter + dim
    queue = m[at]
    following = queue + 1
    if counter == st.COUNTER_A:
        m[at] = 0 if following == n_queues else following
        return queue, n_queues > 1 and queue >= half
    if counter == st.COUNTER_B:
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
    algorithm = m[st.ALGORITHMS + st.MAX_DIMS * collective + dim]
    code = (
        phase_type
        | (dim << st.CODE_DIM)
        | (queue << st.CODE_QUEUE)
        | (algorithm << st.CODE_ALGORITHM)
    )
    if is_backward:
        code |= 1 << st.CODE_BACKWARD
    is_tree = algorithm % st.WINDOW == st.TREE
    if is_tree:
        at = npu + st.TREES + st.MAX_DIMS * collective + dim
        code |= m[at] << st.CODE_TREE
        m[at] = 1 - m[at]
    _store(m, chunk, code, n_bytes)
    if is_tree:
        return n_bytes
    n = m[st.DIMS + dim * st.DIM_WORDS + st.DIM_N]
    if phase_type == st.REDUCE_SCATTER:
        return n_bytes // n
    return n_bytes * n if phase_type == st.ALL_GATHER else n_bytes


@inlined
def _store(m: Any, chunk: Any, code: Any, n_bytes: Any) -> None:
    at = chunk + st.PHASES + st.PHASE_WORDS * m[chunk + st.N_PHASES]
    m[at] = code
    m[at + 1] = n_bytes
    m[chunk + st.N_PHASES] += 1


@helper
def _add_group_phase(m: Any, npu: Any, chunk: Any, collective: Any, n_bytes: Any) -> None:
    """Make the one phase of a chunk over a group."""
    kept_apart()
    is_local = collective == st.ALL_REDUCE and m[st.LOCAL_BW_AWARE]
    first = m[chunk + st.PHASE]  # dimension 0
    queue, is_backward = _next_queue(m, npu, first, st.COUNTER_B if is_local else st.COUNTER_A)
    algorithm = st.RING_ALGORITHM
    if m[st.N_DIMS] == 1:
        algorithm = m[st.ALGORITHMS + st.MAX_DIMS * collective]
    code = collective | (queue << st.CODE_QUEUE) | (algorithm << st.CODE_ALGORITHM)
    if is_backward:
        code |= 1 << st.CODE_BACKWARD
    _store(m, chunk, code, n_bytes)
