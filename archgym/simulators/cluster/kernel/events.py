"""Memory of a run, its queue of events, its log and its account of what is under way; compiled.

Events of equal time are processed in the order in which they were scheduled. A bucket holds the
events of one time. A heap orders buckets by time, then by the order of their making. A bucket is
found again through a table that forgets; a second bucket of the same time comes after the first.
"""

from typing import Any

from archgym.simulators.cluster.kernel import state as st
from archgym.simulators.kit.kernels import helper, inlined, kept_apart

# Knuth's multiplicative hash of times; the table has 2^10 places.
_MULTIPLIER = 0x9E3779B97F4A7C1
_SHIFT = 40


@inlined
def take_block(m: Any) -> Any:
    """Return a block of eight words; a spare one, with `IS_FULL` set, if the arena is full."""
    block = m[st.FREE_BLOCKS]
    if block != 0:
        m[st.FREE_BLOCKS] = m[block + st.NEXT]
        return block
    block = m[st.TOP]
    if block + st.BLOCK_WORDS > m[st.SIZE] - 2 * m[st.N_HEAP]:
        m[st.IS_FULL] = 1
        return m[st.SPARE]
    m[st.TOP] = block + st.BLOCK_WORDS
    return block


@inlined
def give_back(m: Any, block: Any) -> None:
    """Put a block back on the list of free ones."""
    m[block + st.NEXT] = m[st.FREE_BLOCKS]
    m[st.FREE_BLOCKS] = block


@inlined
def take_chunk(m: Any) -> Any:
    """Return room for a chunk; 0, with `IS_FULL` set, if the arena is full."""
    chunk = m[st.FREE_CHUNKS]
    if chunk != 0:
        m[st.FREE_CHUNKS] = m[chunk + st.NEXT]
        return chunk
    chunk = m[st.TOP]
    if chunk + st.CHUNK_WORDS > m[st.SIZE] - 2 * m[st.N_HEAP]:
        m[st.IS_FULL] = 1
        return 0
    m[st.TOP] = chunk + st.CHUNK_WORDS
    return chunk


@inlined
def _is_before(m: Any, a: Any, b: Any) -> bool:
    """Return true if heap entry a comes before entry b; entries are offsets of two words."""
    if m[a] != m[b]:
        return bool(m[a] < m[b])
    return bool(m[m[a + 1] + st.ORDER] < m[m[b + 1] + st.ORDER])


@inlined
def _swap(m: Any, a: Any, b: Any) -> None:
    m[a], m[b] = m[b], m[a]
    m[a + 1], m[b + 1] = m[b + 1], m[a + 1]


@helper
def _push(m: Any, time: Any, bucket: Any) -> None:
    """Put a bucket on the heap, which grows down from the end of the arena."""
    kept_apart()
    place = m[st.N_HEAP]
    end = m[st.SIZE] - 2
    if m[st.TOP] > end - 2 * place:
        m[st.IS_FULL] = 1
        return
    m[st.N_HEAP] = place + 1
    m[end - 2 * place] = time
    m[end - 2 * place + 1] = bucket
    while place > 0:
        parent = (place - 1) >> 1
        if not _is_before(m, end - 2 * place, end - 2 * parent):
            break
        _swap(m, end - 2 * place, end - 2 * parent)
        place = parent


@helper
def _pop(m: Any) -> None:
    """Take the first bucket off the heap."""
    kept_apart()
    n = m[st.N_HEAP] - 1
    m[st.N_HEAP] = n
    end = m[st.SIZE] - 2
    if n == 0:
        return
    _swap(m, end, end - 2 * n)
    place = 0
    while True:
        child = 2 * place + 1
        if child >= n:
            break
        if child + 1 < n and _is_before(m, end - 2 * (child + 1), end - 2 * child):
            child += 1
        if not _is_before(m, end - 2 * child, end - 2 * place):
            break
        _swap(m, end - 2 * place, end - 2 * child)
        place = child


@inlined
def _bucket_place(time: Any) -> Any:
    return st.BUCKETS + (((time * _MULTIPLIER) >> _SHIFT) & (st.N_BUCKETS - 1))


@helper
def schedule(m: Any, time: Any, event: Any) -> None:
    """Append an event to those of its time."""
    kept_apart()
    if m[st.IS_FULL]:
        return
    m[event + st.NEXT] = 0
    place = _bucket_place(time)
    bucket = m[place]
    if bucket != 0 and m[bucket + st.TIME] == time:
        if m[bucket + st.HEAD] == 0:
            m[bucket + st.HEAD] = event
        else:
            m[m[bucket + st.TAIL] + st.NEXT] = event
        m[bucket + st.TAIL] = event
        return
    bucket = take_block(m)
    m[bucket + st.TIME] = time
    m[bucket + st.ORDER] = m[st.SEQUENCE]
    m[st.SEQUENCE] += 1
    m[bucket + st.HEAD] = event
    m[bucket + st.TAIL] = event
    m[place] = bucket
    _push(m, time, bucket)


@inlined
def first_bucket(m: Any) -> Any:
    """Return the bucket of the events that come next; 0 without events."""
    if m[st.N_HEAP] == 0:
        return 0
    return m[m[st.SIZE] - 1]


@helper
def close_bucket(m: Any, bucket: Any) -> None:
    """Remove the first bucket, whose events have all been processed."""
    kept_apart()
    place = _bucket_place(m[bucket + st.TIME])
    if m[place] == bucket:
        m[place] = 0
    _pop(m)
    give_back(m, bucket)


@helper
def add_entry(m: Any, npu: Any, owner: Any, time: Any, entry: Any) -> None:
    """Append an entry to an NPU's agenda of a time.

    Args:
      m: Arena.
      npu: Offset of the NPU.
      owner: Its number.
      time: When the entry is due [ns].
      entry: Block of the entry.
    """
    kept_apart()
    if m[st.IS_FULL]:
        return
    m[entry + st.NEXT] = 0
    agenda = m[npu + st.AGENDAS]
    while agenda != 0:
        if m[agenda + st.TIME] == time:
            if m[agenda + st.HEAD] == 0:
                m[agenda + st.HEAD] = entry
            else:
                m[m[agenda + st.TAIL] + st.NEXT] = entry
            m[agenda + st.TAIL] = entry
            return
        agenda = m[agenda + st.NEXT_AGENDA]
    agenda = take_block(m)
    if m[st.IS_FULL]:
        return
    m[agenda + st.WHAT] = st.AGENDA
    m[agenda + st.OWNER] = owner
    m[agenda + st.TIME] = time
    m[agenda + st.HEAD] = entry
    m[agenda + st.TAIL] = entry
    m[agenda + st.NEXT_AGENDA] = m[npu + st.AGENDAS]
    m[npu + st.AGENDAS] = agenda
    schedule(m, time, agenda)


@helper
def log_event(m: Any, log: Any, what: Any, npu: Any, a: Any, b: Any, c: Any) -> None:
    """Write an event into the log if it has room; it is counted in any case."""
    kept_apart()
    n = m[st.N_LOGGED]
    m[st.N_LOGGED] = n + 1
    if n < m[st.N_LOG]:
        entry = n * st.LOG_WORDS
        log[entry] = m[st.NOW]
        log[entry + 1] = what
        log[entry + 2] = npu
        log[entry + 3] = a
        log[entry + 4] = b
        log[entry + 5] = c


@helper
def account(m: Any, npu: Any) -> None:
    """Charge the time since the last change of an NPU to what kept it from computing.

    Communication under way is charged by cause in the order tensor, expert, data, pipeline; an
    NPU that only waits to receive is in a pipeline's bubble.
    """
    kept_apart()
    elapsed = m[st.NOW] - m[npu + st.SINCE]
    m[npu + st.SINCE] = m[st.NOW]
    if elapsed == 0 or m[npu + st.IS_COMPUTING]:
        return
    for cause in range(st.N_CAUSES):
        if m[npu + st.UNDER_WAY + cause] > 0:
            m[npu + st.EXPOSED + cause] += elapsed
            return
    if m[npu + st.N_WAITING] > 0:
        m[npu + st.BUBBLE] += elapsed
