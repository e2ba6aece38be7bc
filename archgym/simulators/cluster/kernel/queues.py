"""Queues of an NPU's dimensions: in which order chunks start their phases; compiled."""

from typing import Any

from archgym.simulators.cluster.kernel import state as st
from archgym.simulators.cluster.kernel.phases import phase_queue, start_phase
from archgym.simulators.kit.kernels import helper, inlined, kept_apart


@inlined
def _code(m: Any, chunk: Any) -> Any:
    return m[chunk + st.PHASES + st.PHASE_WORDS * m[chunk + st.PHASE]]


@inlined
def queue_of(m: Any, chunk: Any) -> Any:
    """Return the queue that a chunk's phase belongs to."""
    n_queues = m[st.N_QUEUES]
    queue = phase_queue(_code(m, chunk), n_queues)
    return (
        m[st.QUEUES] + (m[chunk + st.CHUNK_NPU] * m[st.N_DIMS] * n_queues + queue) * st.QUEUE_WORDS
    )


@inlined
def _type(m: Any, chunk: Any) -> Any:
    """Return the type of a chunk's phase; a tree counts as an all-reduce."""
    code = _code(m, chunk)
    return st.ALL_REDUCE if (code >> st.CODE_ALGORITHM) % st.WINDOW == st.TREE else code & 3


@helper
def _largest(m: Any, w: Any, chunk: Any) -> Any:
    """Return the larger of the bytes that enter and leave a chunk's phase."""
    kept_apart()
    n_bytes = m[chunk + st.PHASES + st.PHASE_WORDS * m[chunk + st.PHASE] + 1]
    if _type(m, chunk) != st.ALL_GATHER:
        return n_bytes
    slot = m[chunk + st.SLOT]
    if slot >= 0:
        return n_bytes * w[slot + st.GROUP_SIZE]
    return n_bytes * m[st.DIMS + ((_code(m, chunk) >> st.CODE_DIM) & 7) * st.DIM_WORDS + st.DIM_N]


@inlined
def _to_follow(m: Any, chunk: Any) -> Any:
    return m[chunk + st.N_PHASES] - m[chunk + st.PHASE] - 1


@helper
def enter(m: Any, w: Any, chunk: Any) -> None:
    """Insert a chunk into the queue of its phase, behind those that go first."""
    kept_apart()
    if m[st.IS_FULL]:
        return
    queue = queue_of(m, chunk)
    before = 0
    other = m[queue + st.QUEUE_HEAD]
    intra = m[st.INTRA]
    entering = _type(m, chunk)
    if intra == st.FIFO or entering in (st.ALL_REDUCE, st.ALL_TO_ALL):
        priority = m[chunk + st.PRIORITY]
        while other != 0 and (m[other + st.IS_STARTED] or m[other + st.PRIORITY] >= priority):
            before, other = other, m[other + st.NEXT_CHUNK]
    elif intra == st.REDUCE_GATHER:
        before, other = _pass_alternating(m, chunk, other)
    elif intra == st.SMALLEST_FIRST:
        own = _largest(m, w, chunk)
        is_last = _to_follow(m, chunk) == 1 and not m[st.IS_SANE]
        while other != 0 and (m[other + st.IS_STARTED] or is_last or _largest(m, w, other) < own):
            before, other = other, m[other + st.NEXT_CHUNK]
    else:
        own = _to_follow(m, chunk)
        while other != 0 and (m[other + st.IS_STARTED] or _to_follow(m, other) < own):
            before, other = other, m[other + st.NEXT_CHUNK]
    m[chunk + st.IS_STARTED] = 0
    m[chunk + st.NEXT_CHUNK] = other
    if before == 0:
        m[queue + st.QUEUE_HEAD] = chunk
    else:
        m[before + st.NEXT_CHUNK] = chunk


@helper
def _pass_alternating(m: Any, chunk: Any, other: Any) -> tuple[Any, Any]:
    """Return between which chunks one is inserted that alternates reducing and gathering."""
    kept_apart()
    before = 0
    last = -1
    follows_started = False
    while other != 0:
        one_to_last, last = last, _type(m, other)
        if m[other + st.IS_STARTED]:
            follows_started = True
        elif follows_started:
            follows_started = False
        elif not (
            m[other + st.PRIORITY] > m[chunk + st.PRIORITY]
            or (one_to_last == st.REDUCE_SCATTER and last == st.ALL_GATHER)
            or (one_to_last == st.ALL_GATHER and last == st.REDUCE_SCATTER)
        ):
            break
        before, other = other, m[other + st.NEXT_CHUNK]
    return before, other


@helper
def leave(m: Any, queue: Any, chunk: Any) -> None:
    """Take a chunk out of a queue; those that run there are counted elsewhere."""
    kept_apart()
    before = 0
    other = m[queue + st.QUEUE_HEAD]
    while other != chunk and other != 0:
        before, other = other, m[other + st.NEXT_CHUNK]
    if before == 0:
        m[queue + st.QUEUE_HEAD] = m[chunk + st.NEXT_CHUNK]
    else:
        m[before + st.NEXT_CHUNK] = m[chunk + st.NEXT_CHUNK]
    m[chunk + st.IS_STARTED] = 0


@helper
def launch(m: Any, f: Any, w: Any, log: Any, queue: Any) -> None:
    """Start chunks of a queue as long as fewer run than may."""
    kept_apart()
    if m[queue + st.QUEUE_RUN] >= m[st.THRESHOLD] or m[st.IS_FULL]:
        return
    chunk = m[queue + st.QUEUE_HEAD]
    while chunk != 0 and m[chunk + st.IS_STARTED]:
        chunk = m[chunk + st.NEXT_CHUNK]
    while chunk != 0 and m[queue + st.QUEUE_RUN] < m[st.THRESHOLD]:
        start_phase(m, f, w, log, chunk)
        m[queue + st.QUEUE_RUN] += 1
        chunk = m[chunk + st.NEXT_CHUNK]
