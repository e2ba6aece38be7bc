"""Queues of an NPU's dimensions: in which order chunks start their phases; compiled."""

from typing import Any

from archgym.runtime.kernels import helper, inlined, kept_apart
from archgym.simulators.cluster.kernel_phases import phase_queue, start_phase
from archgym.simulators.cluster.state import (
    ALL_GATHER,
    ALL_REDUCE,
    ALL_TO_ALL,
    CHUNK_NPU,
    CODE_ALGORITHM,
    CODE_DIM,
    DIM_N,
    DIM_WORDS,
    DIMS,
    FIFO,
    GROUP_SIZE,
    INTRA,
    IS_FULL,
    IS_SANE,
    IS_STARTED,
    N_DIMS,
    N_PHASES,
    N_QUEUES,
    NEXT_CHUNK,
    PHASE,
    PHASE_WORDS,
    PHASES,
    PRIORITY,
    QUEUE_HEAD,
    QUEUE_RUN,
    QUEUE_WORDS,
    QUEUES,
    REDUCE_GATHER,
    REDUCE_SCATTER,
    SLOT,
    SMALLEST_FIRST,
    THRESHOLD,
    TREE,
    WINDOW,
)

__all__ = ["enter", "launch", "leave", "queue_of"]


@inlined
def _code(m: Any, chunk: Any) -> Any:
    return m[chunk + PHASES + PHASE_WORDS * m[chunk + PHASE]]


@inlined
def queue_of(m: Any, chunk: Any) -> Any:
    """Return the queue that a chunk's phase belongs to."""
    n_queues = m[N_QUEUES]
    queue = phase_queue(_code(m, chunk), n_queues)
    return m[QUEUES] + (m[chunk + CHUNK_NPU] * m[N_DIMS] * n_queues + queue) * QUEUE_WORDS


@inlined
def _type(m: Any, chunk: Any) -> Any:
    """Return the type of a chunk's phase; a tree counts as an all-reduce."""
    code = _code(m, chunk)
    return ALL_REDUCE if (code >> CODE_ALGORITHM) % WINDOW == TREE else code & 3


@helper
def _largest(m: Any, w: Any, chunk: Any) -> Any:
    """Return the larger of the bytes that enter and leave a chunk's phase."""
    kept_apart()
    n_bytes = m[chunk + PHASES + PHASE_WORDS * m[chunk + PHASE] + 1]
    if _type(m, chunk) != ALL_GATHER:
        return n_bytes
    slot = m[chunk + SLOT]
    if slot >= 0:
        return n_bytes * w[slot + GROUP_SIZE]
    return n_bytes * m[DIMS + ((_code(m, chunk) >> CODE_DIM) & 7) * DIM_WORDS + DIM_N]


@inlined
def _to_follow(m: Any, chunk: Any) -> Any:
    return m[chunk + N_PHASES] - m[chunk + PHASE] - 1


@helper
def enter(m: Any, w: Any, chunk: Any) -> None:
    """Insert a chunk into the queue of its phase, behind those that go first."""
    kept_apart()
    if m[IS_FULL]:
        return
    queue = queue_of(m, chunk)
    before = 0
    other = m[queue + QUEUE_HEAD]
    intra = m[INTRA]
    entering = _type(m, chunk)
    if intra == FIFO or entering in (ALL_REDUCE, ALL_TO_ALL):
        priority = m[chunk + PRIORITY]
        while other != 0 and (m[other + IS_STARTED] or m[other + PRIORITY] >= priority):
            before, other = other, m[other + NEXT_CHUNK]
    elif intra == REDUCE_GATHER:
        before, other = _pass_alternating(m, chunk, other)
    elif intra == SMALLEST_FIRST:
        own = _largest(m, w, chunk)
        is_last = _to_follow(m, chunk) == 1 and not m[IS_SANE]
        while other != 0 and (m[other + IS_STARTED] or is_last or _largest(m, w, other) < own):
            before, other = other, m[other + NEXT_CHUNK]
    else:
        own = _to_follow(m, chunk)
        while other != 0 and (m[other + IS_STARTED] or _to_follow(m, other) < own):
            before, other = other, m[other + NEXT_CHUNK]
    m[chunk + IS_STARTED] = 0
    m[chunk + NEXT_CHUNK] = other
    if before == 0:
        m[queue + QUEUE_HEAD] = chunk
    else:
        m[before + NEXT_CHUNK] = chunk


@helper
def _pass_alternating(m: Any, chunk: Any, other: Any) -> tuple[Any, Any]:
    """Return between which chunks one is inserted that alternates reducing and gathering."""
    kept_apart()
    before = 0
    last = -1
    follows_started = False
    while other != 0:
        one_to_last, last = last, _type(m, other)
        if m[other + IS_STARTED]:
            follows_started = True
        elif follows_started:
            follows_started = False
        elif not (
            m[other + PRIORITY] > m[chunk + PRIORITY]
            or (one_to_last == REDUCE_SCATTER and last == ALL_GATHER)
            or (one_to_last == ALL_GATHER and last == REDUCE_SCATTER)
        ):
            break
        before, other = other, m[other + NEXT_CHUNK]
    return before, other


@helper
def leave(m: Any, queue: Any, chunk: Any) -> None:
    """Take a chunk out of a queue; those that run there are counted elsewhere."""
    kept_apart()
    before = 0
    other = m[queue + QUEUE_HEAD]
    while other != chunk and other != 0:
        before, other = other, m[other + NEXT_CHUNK]
    if before == 0:
        m[queue + QUEUE_HEAD] = m[chunk + NEXT_CHUNK]
    else:
        m[before + NEXT_CHUNK] = m[chunk + NEXT_CHUNK]
    m[chunk + IS_STARTED] = 0


@helper
def launch(m: Any, f: Any, w: Any, log: Any, queue: Any) -> None:
    """Start chunks of a queue as long as fewer run than may."""
    kept_apart()
    if m[queue + QUEUE_RUN] >= m[THRESHOLD] or m[IS_FULL]:
        return
    chunk = m[queue + QUEUE_HEAD]
    while chunk != 0 and m[chunk + IS_STARTED]:
        chunk = m[chunk + NEXT_CHUNK]
    while chunk != 0 and m[queue + QUEUE_RUN] < m[THRESHOLD]:
        start_phase(m, f, w, log, chunk)
        m[queue + QUEUE_RUN] += 1
        chunk = m[chunk + NEXT_CHUNK]
