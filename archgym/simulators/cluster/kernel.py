"""The event simulation of a cluster: the loop over events and its entry point; compiled."""

from typing import Any

import numpy.typing as npt

from archgym.kernels import entry_point, helper, kept_apart, pointer
from archgym.simulators.cluster.kernel_events import (
    close_bucket,
    first_bucket,
    give_back,
    log_event,
)
from archgym.simulators.cluster.kernel_network import advance, free_link, meet
from archgym.simulators.cluster.kernel_nodes import add_ready, look, node_done
from archgym.simulators.cluster.kernel_phases import arrived, packet_waited, tree_waited
from archgym.simulators.cluster.kernel_queues import enter, launch, leave, queue_of
from archgym.simulators.cluster.state import (
    AGENDA,
    AGENDAS,
    ARENA_FULL,
    ARRIVAL,
    AT,
    BLOCK_WORDS,
    BUCKETS,
    BYTES,
    CHUNK_NPU,
    CHUNK_TAG,
    CODE_QUEUE,
    COLL,
    COLL_CHUNKS,
    COLL_NODE,
    COMPUTE_END,
    COORDINATE,
    COORDINATES,
    COUNTER_C,
    DEADLOCK,
    DECISION_WORDS,
    DECISIONS,
    DIM_LINKS,
    DIM_N,
    DIM_TOPOLOGY,
    DIM_WORDS,
    DIMS,
    ENTRY_SUBJECT,
    FINISHED,
    FREE_CHUNKS,
    FULLY_CONNECTED,
    GRAPH_OF,
    GRAPHS,
    GREEDY_LIST,
    HASH,
    HEAD,
    IS_AWARE,
    IS_FULL,
    IS_SYMMETRIC,
    LINK_FREE,
    LINK_WORDS,
    LINKS,
    LOAD,
    LOG_ARRIVE,
    LOG_PHASE_END,
    MAX_DIMS,
    MESSAGE_TAG,
    N_BEFORE,
    N_BUCKETS,
    N_DECISIONS,
    N_DIMS,
    N_EVENTS,
    N_HASH,
    N_LEFT,
    N_LEFT_BEFORE,
    N_LINKS,
    N_LOG,
    N_PHASES,
    N_QUEUES,
    N_SIMULATED,
    N_SLOTS,
    N_TOTAL,
    N_UNFINISHED,
    NEXT,
    NEXT_AGENDA,
    NODE_STATE_WORDS,
    NODE_WORDS,
    NODES,
    NODES_AT,
    NONE,
    NOW,
    NPU_WORDS,
    NPUS,
    OWNER,
    PACKET,
    PHASE,
    PHASE_WORDS,
    PHASES,
    QUEUE_RUN,
    QUEUE_WORDS,
    QUEUES,
    READY,
    SIZE,
    SLOT_COUNTS,
    SOURCE,
    SPARE,
    STATE_AT,
    SUBJECT,
    SWITCH,
    TABLES,
    TAG_OFFSET,
    TARGET,
    TIME,
    TOP,
    WHAT,
)

__all__ = ["run"]

Array = npt.NDArray[Any]


@entry_point(seconds=25)
def run(arena: Array, parameters: Array, graphs: Array, log: Array) -> int:
    """Simulate until nothing is left to happen.

    Args:
      arena: int64, its header filled in; see `state`.
      parameters: float64, by `state`.
      graphs: int64, nodes, graphs, groups and coordinates, at the offsets that the header names.
      log: int64, room for the log.

    Returns:
      `FINISHED`, `DEADLOCK` or `ARENA_FULL`, after which a larger arena starts anew.
    """
    m, f, w, entries = pointer(arena), pointer(parameters), pointer(graphs), pointer(log)
    if not _prepare(m, f, w):
        return ARENA_FULL
    for owner in range(m[N_SIMULATED]):
        look(m, f, w, entries, owner)
    while not m[IS_FULL]:
        bucket = first_bucket(m)
        if bucket == 0:
            break
        m[NOW] = m[bucket + TIME]
        event = m[bucket + HEAD]
        while event != 0:
            m[bucket + HEAD] = m[event + NEXT]
            m[N_EVENTS] += 1
            _process(m, f, w, entries, event)
            if m[IS_FULL]:
                return ARENA_FULL
            event = m[bucket + HEAD]
        close_bucket(m, bucket)
    if m[IS_FULL]:
        return ARENA_FULL
    return FINISHED if m[N_UNFINISHED] == 0 else DEADLOCK


@helper
def _take_table(m: Any, words: Any, value: Any) -> Any:
    """Return the offset of a table, each word of which has this value."""
    kept_apart()
    at = m[TOP]
    if at + words > m[SIZE]:
        m[IS_FULL] = 1
        return at
    m[TOP] = at + words
    for i in range(at, at + words):
        m[i] = value
    return at


@helper
def _prepare(m: Any, f: Any, w: Any) -> bool:
    """Lay the tables of a run out; false if they do not fit."""
    kept_apart()
    n, n_dims, n_queues = m[N_SIMULATED], m[N_DIMS], m[N_QUEUES]
    m[TOP] = TABLES
    m[IS_FULL] = 0
    for i in range(BUCKETS, BUCKETS + N_BUCKETS):
        m[i] = 0
    m[SPARE] = _take_table(m, BLOCK_WORDS, 0)
    m[NPUS] = _take_table(m, n * NPU_WORDS, 0)
    m[QUEUES] = _take_table(m, n * n_dims * n_queues * QUEUE_WORDS, 0)
    m[HASH] = _take_table(m, m[N_HASH], 0)
    m[SLOT_COUNTS] = _take_table(m, n * m[N_SLOTS], 0)
    m[DECISIONS] = _take_table(m, m[N_DECISIONS] * DECISION_WORDS, -1)
    for dim in range(MAX_DIMS):
        f[LOAD + dim] = 0.0
        m[GREEDY_LIST + dim] = dim
    m[LINKS] = m[TOP]
    if m[IS_AWARE]:
        m[N_LINKS] = 0
        for dim in range(n_dims):
            at = DIMS + dim * DIM_WORDS
            m[at + DIM_LINKS] = m[N_LINKS]
            is_mesh = m[at + DIM_TOPOLOGY] == FULLY_CONNECTED
            m[N_LINKS] += m[N_TOTAL] * (m[at + DIM_N] if is_mesh else 2)
        _take_table(m, m[N_LINKS] * LINK_WORDS, 0)
    if m[IS_FULL]:
        return False
    m[N_UNFINISHED] = n
    for owner in range(n):
        npu = m[NPUS] + owner * NPU_WORDS
        graph = m[GRAPHS] + 2 * w[m[GRAPH_OF] + owner]
        first, n_nodes = w[graph], w[graph + 1]
        m[npu + NODES_AT] = m[NODES] + first * NODE_WORDS
        m[npu + STATE_AT] = _take_table(m, n_nodes * NODE_STATE_WORDS, 0)
        if m[IS_FULL]:
            return False
        m[npu + READY] = NONE
        m[npu + N_LEFT] = n_nodes
        if n_nodes == 0:
            m[N_UNFINISHED] -= 1
        for dim in range(n_dims):
            m[npu + COORDINATE + dim] = w[m[COORDINATES] + owner * MAX_DIMS + dim]
            m[npu + COUNTER_C + dim] = n_queues // 2
        for node in range(n_nodes - 1, -1, -1):
            n_before = w[m[npu + NODES_AT] + node * NODE_WORDS + N_BEFORE]
            m[m[npu + STATE_AT] + node * NODE_STATE_WORDS + N_LEFT_BEFORE] = n_before
            if n_before == 0:
                add_ready(m, npu, node)
    return True


@helper
def _process(m: Any, f: Any, w: Any, log: Any, event: Any) -> None:
    kept_apart()
    what = m[event + WHAT]
    if what == AGENDA:
        _execute(m, f, w, log, event)
    elif what == ARRIVAL:
        if m[event + AT] != m[event + TARGET]:
            advance(m, f, event)
        else:
            _arrive(m, f, w, log, event)
    elif what == LINK_FREE:
        free_link(m, f, event)
    else:
        _react(m, f, w, log, event, m[event + SUBJECT])


@helper
def _arrive(m: Any, f: Any, w: Any, log: Any, message: Any) -> None:
    """Process a message that has arrived: first its sender's reaction, then its receiver's."""
    kept_apart()
    sender = m[message + SUBJECT]
    is_collective = m[message + MESSAGE_TAG] >= TAG_OFFSET
    if is_collective and m[IS_SYMMETRIC]:
        # The sender stands for the member that receives, whose receive is posted.
        _react(m, f, w, log, message, sender)
        return
    if sender >= 0:
        node_done(m, f, w, log, m[message + SOURCE], sender)
    receiver = meet(m, message)
    if receiver >= 0:
        _react(m, f, w, log, message, receiver)


@helper
def _react(m: Any, f: Any, w: Any, log: Any, message: Any, receiver: Any) -> None:
    """Have a chunk or a receive node react to its message."""
    kept_apart()
    target, tag = m[message + TARGET], m[message + MESSAGE_TAG]
    if m[N_LOG]:
        log_event(m, log, LOG_ARRIVE, target, m[message + SOURCE], tag, m[message + BYTES])
    give_back(m, message)
    if tag >= TAG_OFFSET:
        arrived(m, receiver)
    else:
        node_done(m, f, w, log, target, receiver)


@helper
def _execute(m: Any, f: Any, w: Any, log: Any, agenda: Any) -> None:
    """Execute the entries of an agenda, with those that are added meanwhile."""
    kept_apart()
    owner = m[agenda + OWNER]
    entry = m[agenda + HEAD]
    while entry != 0 and not m[IS_FULL]:
        m[agenda + HEAD] = m[entry + NEXT]
        what = m[entry + WHAT]
        if what == COMPUTE_END:
            node = m[entry + ENTRY_SUBJECT]
            give_back(m, entry)
            node_done(m, f, w, log, owner, node)
        else:
            if what == PACKET:
                outcome = packet_waited(m, f, w, log, entry)
            else:
                outcome = tree_waited(m, f, w, log, entry)
            if outcome > 0:
                chunk = m[entry + ENTRY_SUBJECT]
                give_back(m, entry)
                if outcome > 1:
                    _end_phase(m, f, w, log, chunk)
        entry = m[agenda + HEAD]
    npu = m[NPUS] + owner * NPU_WORDS
    before, other = 0, m[npu + AGENDAS]
    while other != agenda and other != 0:
        before, other = other, m[other + NEXT_AGENDA]
    if before == 0:
        m[npu + AGENDAS] = m[agenda + NEXT_AGENDA]
    else:
        m[before + NEXT_AGENDA] = m[agenda + NEXT_AGENDA]
    give_back(m, agenda)


@helper
def _end_phase(m: Any, f: Any, w: Any, log: Any, chunk: Any) -> None:
    """Take a chunk from the queue of a phase that has ended to that of the next."""
    kept_apart()
    owner, phase = m[chunk + CHUNK_NPU], m[chunk + PHASE]
    queue = queue_of(m, chunk)
    if m[N_LOG]:
        place = (m[chunk + PHASES + PHASE_WORDS * phase] >> CODE_QUEUE) & 0x3FFFFFF
        tag = m[chunk + CHUNK_TAG] - TAG_OFFSET
        log_event(m, log, LOG_PHASE_END, owner, tag, phase, place)
    if phase + 1 < m[chunk + N_PHASES]:
        leave(m, queue, chunk)
        m[chunk + PHASE] = phase + 1
        enter(m, w, chunk)
        m[queue + QUEUE_RUN] -= 1
        launch(m, f, w, log, queue)
        following = queue_of(m, chunk)
        launch(m, f, w, log, following)
        return
    coll = m[chunk + COLL]
    m[coll + COLL_CHUNKS] -= 1
    if m[coll + COLL_CHUNKS] == 0:
        node = m[coll + COLL_NODE]
        give_back(m, coll)
        node_done(m, f, w, log, owner, node)
    leave(m, queue, chunk)
    m[chunk + NEXT] = m[FREE_CHUNKS]
    m[FREE_CHUNKS] = chunk
    m[queue + QUEUE_RUN] -= 1
    launch(m, f, w, log, queue)
