"""The event simulation of a cluster: the loop over events and its entry point; compiled."""

from typing import Any

import numpy.typing as npt

from archgym.simulators.cluster.kernel import state as st
from archgym.simulators.cluster.kernel.events import (
    close_bucket,
    first_bucket,
    give_back,
    log_event,
)
from archgym.simulators.cluster.kernel.network import advance, free_link, meet
from archgym.simulators.cluster.kernel.nodes import add_ready, node_done
from archgym.simulators.cluster.kernel.phases import arrived, packet_waited, phase_queue
from archgym.simulators.cluster.kernel.queues import enter, launch, leave, queue_of
from archgym.simulators.kit.kernels import entry_point, helper, kept_apart, pointer

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
      `FINISHED`, `DEADLOCK` or `ARENA_FULL`, after which a larger arena starts again.
    """
    m, f, w, entries = pointer(arena), pointer(parameters), pointer(graphs), pointer(log)
    if not _prepare(m, f, w):
        return st.ARENA_FULL
    # Before the first event, each NPU looks for nodes to issue.
    starting = m[st.N_EVENTS] * 0
    agenda = event = bucket = m[st.SPARE] * 0
    n_before = m[st.N_EVENTS] - 1
    while not m[st.IS_FULL]:
        # What is next: an entry of the agenda at hand, else an event of the time, else a time.
        owner, node, chunk, message = starting, st.NONE, st.NONE, st.NONE
        if starting < m[st.N_SIMULATED]:
            owner = starting
            starting += 1
            _launch_all(m, f, w, entries, owner)
            node_done(m, f, w, entries, owner, st.NONE)
            continue
        if agenda != 0:
            entry = m[agenda + st.HEAD]
            if entry == 0:
                _close_agenda(m, agenda)
                agenda = entry
                continue
            owner = m[agenda + st.OWNER]
            m[agenda + st.HEAD] = m[entry + st.NEXT]
            node, chunk = _execute(m, f, w, entries, entry)
        else:
            if bucket == 0:
                bucket = first_bucket(m)
                if bucket == 0:
                    # Without quirks, allow one more chunk and one more collective when all wait.
                    is_stuck = m[st.N_EVENTS] == n_before or m[st.N_UNFINISHED] == 0
                    if is_stuck or not m[st.IS_SANE]:
                        break
                    n_before = m[st.N_EVENTS]
                    m[st.THRESHOLD] += 1
                    m[st.INFLIGHT] += 1
                    starting = n_before * 0
                    continue
                m[st.NOW] = m[bucket + st.TIME]
            event = m[bucket + st.HEAD]
            if event == 0:
                close_bucket(m, bucket)
                bucket = event
                continue
            m[bucket + st.HEAD] = m[event + st.NEXT]
            m[st.N_EVENTS] += 1
            what = m[event + st.WHAT]
            if what == st.AGENDA:
                agenda = event
                continue
            if what == st.LINK_FREE:
                free_link(m, f, event)
                continue
            is_message = what == st.ARRIVAL or what == st.PART
            if is_message and m[event + st.AT] != m[event + st.TARGET]:
                advance(m, f, event)
                continue
            if what == st.PART:
                give_back(m, event)
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
            message = st.NONE
            if node < 0:
                break
        if chunk >= 0:
            _end_chunk(m, f, w, entries, chunk)
    if m[st.IS_FULL]:
        return st.ARENA_FULL
    return st.FINISHED if m[st.N_UNFINISHED] == 0 else st.DEADLOCK


@helper
def _launch_all(m: Any, f: Any, w: Any, log: Any, owner: Any) -> None:
    """Start the chunks that there are places for in all queues of an NPU."""
    kept_apart()
    n = m[st.N_DIMS] * m[st.N_QUEUES]
    for queue in range(owner * n, owner * n + n):
        launch(m, f, w, log, m[st.QUEUES] + queue * st.QUEUE_WORDS)


@helper
def _take_table(m: Any, words: Any, value: Any) -> Any:
    """Return the offset of a table, each word of which has this value."""
    kept_apart()
    at = m[st.TOP]
    if at + words > m[st.SIZE]:
        m[st.IS_FULL] = 1
        return at
    m[st.TOP] = at + words
    for i in range(at, at + words):
        m[i] = value
    return at


@helper
def _prepare(m: Any, f: Any, w: Any) -> bool:
    """Lay the tables of a run out; false if they do not fit."""
    kept_apart()
    n, n_dims, n_queues = m[st.N_SIMULATED], m[st.N_DIMS], m[st.N_QUEUES]
    m[st.TOP] = st.TABLES
    m[st.IS_FULL] = 0
    for i in range(st.BUCKETS, st.BUCKETS + st.N_BUCKETS):
        m[i] = 0
    m[st.SPARE] = _take_table(m, st.BLOCK_WORDS, 0)
    m[st.NPUS] = _take_table(m, n * st.NPU_WORDS, 0)
    m[st.QUEUES] = _take_table(m, n * n_dims * n_queues * st.QUEUE_WORDS, 0)
    m[st.HASH] = _take_table(m, m[st.N_HASH], 0)
    m[st.SLOT_COUNTS] = _take_table(m, n * m[st.N_SLOTS], 0)
    m[st.DECISIONS] = _take_table(m, m[st.N_DECISIONS] * st.DECISION_WORDS, -1)
    for dim in range(st.MAX_DIMS):
        f[st.LOAD + dim] = 0.0
        m[st.GREEDY_LIST + dim] = dim
    m[st.LINKS] = m[st.TOP]
    if m[st.IS_AWARE]:
        _take_table(m, m[st.N_LINKS] * st.LINK_WORDS, 0)
    for i in range(m[st.LINK_TIMES], m[st.LINK_TIMES] + 2 * m[st.N_LINKS]):
        f[i] = 0.0
    if m[st.IS_FULL]:
        return False
    m[st.N_UNFINISHED] = n
    for owner in range(n):
        npu = m[st.NPUS] + owner * st.NPU_WORDS
        graph = m[st.GRAPHS] + 2 * w[m[st.GRAPH_OF] + owner]
        first, n_nodes = w[graph], w[graph + 1]
        m[npu + st.NODES_AT] = m[st.NODES] + first * st.NODE_WORDS
        m[npu + st.STATE_AT] = _take_table(m, n_nodes * st.NODE_STATE_WORDS, 0)
        if m[st.IS_FULL]:
            return False
        m[npu + st.READY] = st.NONE
        m[npu + st.N_LEFT] = n_nodes
        if n_nodes == 0:
            m[st.N_UNFINISHED] -= 1
        for dim in range(n_dims):
            m[npu + st.COORDINATE + dim] = w[m[st.COORDINATES] + owner * st.MAX_DIMS + dim]
            m[npu + st.COUNTER_C + dim] = n_queues // 2
        for node in range(n_nodes - 1, -1, -1):
            n_before = w[m[npu + st.NODES_AT] + node * st.NODE_WORDS + st.N_BEFORE]
            m[m[npu + st.STATE_AT] + node * st.NODE_STATE_WORDS + st.N_LEFT_BEFORE] = n_before
            if n_before == 0:
                add_ready(m, npu, node)
    return True


@helper
def _sender(m: Any, log: Any, message: Any) -> tuple[Any, Any]:
    """Return the NPU and the node that sent a message which has arrived, -1 if no node did."""
    kept_apart()
    source, tag = m[message + st.SOURCE], m[message + st.MESSAGE_TAG]
    if m[message + st.WHAT] == st.FOUND:
        return source, st.NONE
    if m[st.N_LOG]:
        log_event(m, log, st.LOG_ARRIVE, m[message + st.TARGET], source, tag, m[message + st.BYTES])
    return source, st.NONE if tag >= st.TAG_OFFSET else m[message + st.SUBJECT]


@helper
def _receiver(m: Any, message: Any) -> tuple[Any, Any]:
    """Have a chunk react to its message, or return the NPU and the node that receives it."""
    kept_apart()
    target, tag = m[message + st.TARGET], m[message + st.MESSAGE_TAG]
    is_collective = tag >= st.TAG_OFFSET
    receiver = m[message + st.SUBJECT]
    # An NPU that stands for others along a dimension sends to itself, and names its chunk.
    if m[message + st.WHAT] == st.ARRIVAL and not (is_collective and receiver >= 0):
        receiver = meet(m, message)
        if receiver < 0:
            return target, st.NONE
    give_back(m, message)
    if not is_collective:
        return target, receiver
    arrived(m, receiver)
    return target, st.NONE


@helper
def _execute(m: Any, f: Any, w: Any, log: Any, entry: Any) -> tuple[Any, Any]:
    """Execute an entry of an agenda.

    Returns:
      The node that is done, and the chunk that has ended its last phase; -1 without one.
    """
    kept_apart()
    what, subject = m[entry + st.WHAT], m[entry + st.ENTRY_SUBJECT]
    if what == st.COMPUTE_END:
        give_back(m, entry)
        return subject, st.NONE
    outcome = packet_waited(m, f, w, log, entry)
    if outcome == 0:
        return st.NONE, st.NONE
    give_back(m, entry)
    if outcome == 1:
        return st.NONE, st.NONE
    return _end_phase(m, f, w, log, subject)


@helper
def _close_agenda(m: Any, agenda: Any) -> None:
    """Remove an agenda, whose entries have all been executed."""
    kept_apart()
    npu = m[st.NPUS] + m[agenda + st.OWNER] * st.NPU_WORDS
    before, other = 0, m[npu + st.AGENDAS]
    while other != agenda and other != 0:
        before, other = other, m[other + st.NEXT_AGENDA]
    if before == 0:
        m[npu + st.AGENDAS] = m[agenda + st.NEXT_AGENDA]
    else:
        m[before + st.NEXT_AGENDA] = m[agenda + st.NEXT_AGENDA]
    give_back(m, agenda)


@helper
def _end_phase(m: Any, f: Any, w: Any, log: Any, chunk: Any) -> tuple[Any, Any]:
    """Take a chunk from the queue of a phase that has ended to that of the next; as `_execute`."""
    kept_apart()
    owner, phase = m[chunk + st.CHUNK_NPU], m[chunk + st.PHASE]
    if m[st.N_LOG]:
        place = phase_queue(m[chunk + st.PHASES + st.PHASE_WORDS * phase], m[st.N_QUEUES])
        tag = m[chunk + st.CHUNK_TAG] - st.TAG_OFFSET
        log_event(m, log, st.LOG_PHASE_END, owner, tag, phase, place)
    if phase + 1 < m[chunk + st.N_PHASES]:
        queue = queue_of(m, chunk)
        leave(m, queue, chunk)
        m[chunk + st.PHASE] = phase + 1
        enter(m, w, chunk)
        m[queue + st.QUEUE_RUN] -= 1
        launch(m, f, w, log, queue)
        launch(m, f, w, log, queue_of(m, chunk))
        return st.NONE, st.NONE
    coll = m[chunk + st.COLL]
    m[coll + st.COLL_CHUNKS] -= 1
    if m[coll + st.COLL_CHUNKS] > 0:
        return st.NONE, chunk
    node = m[coll + st.COLL_NODE]
    give_back(m, coll)
    return node, chunk


@helper
def _end_chunk(m: Any, f: Any, w: Any, log: Any, chunk: Any) -> None:
    """Take a chunk that has ended out of its queue."""
    kept_apart()
    queue = queue_of(m, chunk)
    leave(m, queue, chunk)
    m[chunk + st.NEXT] = m[st.FREE_CHUNKS]
    m[st.FREE_CHUNKS] = chunk
    m[queue + st.QUEUE_RUN] -= 1
    launch(m, f, w, log, queue)
