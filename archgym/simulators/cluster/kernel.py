"""The event simulation of a cluster: the loop over events and its entry point; compiled."""

from typing import Any

import numpy.typing as npt

from archgym.runtime.kernels import entry_point, helper, kept_apart, pointer
from archgym.simulators.cluster.kernel_events import (
    close_bucket,
    first_bucket,
    give_back,
    log_event,
)
from archgym.simulators.cluster.kernel_network import advance, free_link, meet
from archgym.simulators.cluster.kernel_nodes import add_ready, node_done
from archgym.simulators.cluster.kernel_phases import arrived, packet_waited, phase_queue
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
    FOUND,
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
    # Before the first event, each NPU looks for nodes to issue.
    starting = m[N_EVENTS] * 0
    agenda = event = bucket = m[SPARE] * 0
    while not m[IS_FULL]:
        # What is next: an entry of the agenda at hand, else an event of the time, else a time.
        owner, node, chunk, message = starting, NONE, NONE, NONE
        if starting < m[N_SIMULATED]:
            owner = starting
            starting += 1
            node_done(m, f, w, entries, owner, NONE)
            continue
        if agenda != 0:
            entry = m[agenda + HEAD]
            if entry == 0:
                _close_agenda(m, agenda)
                agenda = entry
                continue
            owner = m[agenda + OWNER]
            m[agenda + HEAD] = m[entry + NEXT]
            node, chunk = _execute(m, f, w, entries, entry)
        else:
            if bucket == 0:
                bucket = first_bucket(m)
                if bucket == 0:
                    break
                m[NOW] = m[bucket + TIME]
            event = m[bucket + HEAD]
            if event == 0:
                close_bucket(m, bucket)
                bucket = event
                continue
            m[bucket + HEAD] = m[event + NEXT]
            m[N_EVENTS] += 1
            what = m[event + WHAT]
            if what == AGENDA:
                agenda = event
                continue
            if what == LINK_FREE:
                free_link(m, f, event)
                continue
            if what == ARRIVAL and m[event + AT] != m[event + TARGET]:
                advance(m, f, event)
                continue
            owner, node = _sender(m, entries, event)
            message = event
        # A node that is done, and what comes after it; a message has up to two nodes.
        while True:
            if node >= 0:
                node_done(m, f, w, entries, owner, node)
            if message < 0:
                break
            owner, node = _receiver(m, message)
            message = NONE
            if node < 0:
                break
        if chunk >= 0:
            _end_chunk(m, f, w, entries, chunk)
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
def _sender(m: Any, log: Any, message: Any) -> tuple[Any, Any]:
    """Return the NPU and the node that sent a message which has arrived, -1 if no node did."""
    kept_apart()
    source, tag = m[message + SOURCE], m[message + MESSAGE_TAG]
    if m[message + WHAT] == FOUND:
        return source, NONE
    if m[N_LOG]:
        log_event(m, log, LOG_ARRIVE, m[message + TARGET], source, tag, m[message + BYTES])
    return source, NONE if tag >= TAG_OFFSET else m[message + SUBJECT]


@helper
def _receiver(m: Any, message: Any) -> tuple[Any, Any]:
    """Have a chunk react to its message, or return the NPU and the node that receives it."""
    kept_apart()
    target, tag = m[message + TARGET], m[message + MESSAGE_TAG]
    is_collective = tag >= TAG_OFFSET
    receiver = m[message + SUBJECT]
    # With one NPU for its stage, the sender stands for the member that receives.
    if m[message + WHAT] == ARRIVAL and not (is_collective and m[IS_SYMMETRIC]):
        receiver = meet(m, message)
        if receiver < 0:
            return target, NONE
    give_back(m, message)
    if not is_collective:
        return target, receiver
    arrived(m, receiver)
    return target, NONE


@helper
def _execute(m: Any, f: Any, w: Any, log: Any, entry: Any) -> tuple[Any, Any]:
    """Execute an entry of an agenda.

    Returns:
      The node that is done, and the chunk that has ended its last phase; -1 where there is none.
    """
    kept_apart()
    what, subject = m[entry + WHAT], m[entry + ENTRY_SUBJECT]
    if what == COMPUTE_END:
        give_back(m, entry)
        return subject, NONE
    outcome = packet_waited(m, f, w, log, entry)
    if outcome == 0:
        return NONE, NONE
    give_back(m, entry)
    if outcome == 1:
        return NONE, NONE
    return _end_phase(m, f, w, log, subject)


@helper
def _close_agenda(m: Any, agenda: Any) -> None:
    """Remove an agenda, whose entries have all been executed."""
    kept_apart()
    npu = m[NPUS] + m[agenda + OWNER] * NPU_WORDS
    before, other = 0, m[npu + AGENDAS]
    while other != agenda and other != 0:
        before, other = other, m[other + NEXT_AGENDA]
    if before == 0:
        m[npu + AGENDAS] = m[agenda + NEXT_AGENDA]
    else:
        m[before + NEXT_AGENDA] = m[agenda + NEXT_AGENDA]
    give_back(m, agenda)


@helper
def _end_phase(m: Any, f: Any, w: Any, log: Any, chunk: Any) -> tuple[Any, Any]:
    """Take a chunk from the queue of a phase that has ended to that of the next; as `_execute`."""
    kept_apart()
    owner, phase = m[chunk + CHUNK_NPU], m[chunk + PHASE]
    if m[N_LOG]:
        place = phase_queue(m[chunk + PHASES + PHASE_WORDS * phase], m[N_QUEUES])
        tag = m[chunk + CHUNK_TAG] - TAG_OFFSET
        log_event(m, log, LOG_PHASE_END, owner, tag, phase, place)
    if phase + 1 < m[chunk + N_PHASES]:
        queue = queue_of(m, chunk)
        leave(m, queue, chunk)
        m[chunk + PHASE] = phase + 1
        enter(m, w, chunk)
        m[queue + QUEUE_RUN] -= 1
        launch(m, f, w, log, queue)
        launch(m, f, w, log, queue_of(m, chunk))
        return NONE, NONE
    coll = m[chunk + COLL]
    m[coll + COLL_CHUNKS] -= 1
    if m[coll + COLL_CHUNKS] > 0:
        return NONE, chunk
    node = m[coll + COLL_NODE]
    give_back(m, coll)
    return node, chunk


@helper
def _end_chunk(m: Any, f: Any, w: Any, log: Any, chunk: Any) -> None:
    """Take a chunk that has ended out of its queue."""
    kept_apart()
    queue = queue_of(m, chunk)
    leave(m, queue, chunk)
    m[chunk + NEXT] = m[FREE_CHUNKS]
    m[FREE_CHUNKS] = chunk
    m[queue + QUEUE_RUN] -= 1
    launch(m, f, w, log, queue)
