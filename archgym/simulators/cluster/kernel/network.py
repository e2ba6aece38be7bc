"""Messages: their way over the links, and their meeting with receives; compiled."""

import math
from typing import Any

from archgym.simulators.cluster.kernel import state as st
from archgym.simulators.cluster.kernel.events import give_back, log_event, schedule, take_block
from archgym.simulators.kit.kernels import helper, inlined, kept_apart


@inlined
def ring_hops(distance: Any, n: Any) -> Any:
    """Return the links of the shorter way round a ring of n."""
    if distance < 0:
        distance = -distance
    return min(distance, n - distance)


@inlined
def _place(m: Any, npu: Any, dim: Any) -> Any:
    return m[m[st.NPUS] + npu * st.NPU_WORDS + st.COORDINATE + dim]


@inlined
def _take(m: Any, f: Any, link: Any, head: Any, ns: Any) -> Any:
    """Return when a message starts on a link, which is then busy for so long."""
    at = m[st.LINK_TIMES] + 2 * link
    start = head
    if m[st.IS_SHARED]:
        start = max(head, f[at])
        f[at] = start + ns
    f[at + 1] += ns
    return start


@helper
def _cross(
    m: Any, f: Any, source: Any, to: Any, dim: Any, distance: Any, ns: Any, head: Any, halves: Any
) -> Any:
    """Take the links of a dimension for a message, and return when it has crossed it.

    Within a dimension its head does not wait for its tail. Where an NPU stands for all along a
    ring, its links stand for those of the others, each for one place of the ring if their loads
    differ.

    Args:
      m: Arena.
      f: Parameters.
      source: Sender.
      to: Receiver, or the sender where it stands for all along the dimension.
      dim: Dimension.
      distance: Difference of their addresses in it.
      ns: Time that the message takes on a link.
      head: When it may start.
      halves: True where half of the NPUs along a ring send each way round.
    """
    kept_apart()
    at = st.DIMS + dim * st.DIM_WORDS
    n, step, topology = m[at + st.DIM_N], m[at + st.DIM_STEP], m[at + st.DIM_TOPOLOGY]
    first, latency = m[at + st.DIM_LINKS], f[st.LATENCY + dim]
    if topology == st.SWITCH:
        start = _take(m, f, first + 2 * source, head, ns)
        start = _take(m, f, first + 2 * to + 1, start + latency, ns)
        return start + latency + ns
    here = _place(m, source, dim)
    clockwise = (distance + n) % n
    if topology == st.FULLY_CONNECTED:
        return _take(m, f, first + source * n + (here + clockwise) % n, head, ns) + latency + ns
    hops, way, turn = clockwise, 1, 0
    if 2 * clockwise > n:
        hops, way, turn = n - clockwise, n - 1, 1
    if step == 0:
        # Half a ring away, all go clockwise. Nearer, NPUs of each pair of blocks exchange: all
        # messages pass the link between the blocks, and fewer of them the others.
        is_uneven = halves and 2 * hops < n
        width = m[at + st.DIM_WIDTH] >> 1
        first += 2 * width * source
        last = first + (2 if is_uneven else turn + 1) * width
        begun, end, load = head, head, hops
        for link in range(first if is_uneven else last - width, last):
            if is_uneven:
                within = (link - first) % (2 * hops)
                load = min(within + 1, 2 * hops - 1 - within)
            if load > 0:
                start = _take(m, f, link, head, load * ns)
                begun, end = max(begun, start), max(end, start + load * ns)
        return max(begun + hops * latency + ns, end + latency)
    for hop in range(hops):
        link = first + 2 * (source + ((here + hop * way) % n - here) * step) + turn
        head = _take(m, f, link, head, ns) + latency
    return head + ns


@helper
def transmit(
    m: Any,
    f: Any,
    log: Any,
    source: Any,
    target: Any,
    tag: Any,
    n_bytes: Any,
    subject: Any,
    dim: Any,
    distance: Any,
) -> None:
    """Send a message.

    Args:
      m: Arena.
      f: Parameters.
      log: Log of events.
      source: Sender.
      target: Receiver.
      tag: Tag.
      n_bytes: Size [bytes].
      subject: Send node, which is done on arrival, or -1; with one NPU for a whole stage, the
        chunk that the message is of.
      dim: Dimension of the message; -1 if it crosses all in which the two differ.
      distance: Difference of their addresses in `dim`.
    """
    kept_apart()
    message = take_block(m)
    if m[st.IS_FULL]:
        return
    m[st.N_MESSAGES] += 1
    if m[st.N_LOG]:
        log_event(m, log, st.LOG_SEND, source, target, tag, n_bytes)
    m[message + st.WHAT] = st.ARRIVAL
    m[message + st.SOURCE] = source
    m[message + st.TARGET] = target
    m[message + st.MESSAGE_TAG] = tag
    m[message + st.BYTES] = n_bytes
    m[message + st.SUBJECT] = subject
    if m[st.IS_AWARE] and source != target:
        for _ in range(1, m[st.PACKETS]):
            part = take_block(m)
            if m[st.IS_FULL]:
                return
            m[part + st.WHAT] = st.PART
            m[part + st.TARGET] = target
            m[part + st.BYTES] = n_bytes
            m[part + st.AT] = source
            advance(m, f, part)
        m[message + st.AT] = source
        advance(m, f, message)
        return
    m[message + st.AT] = target
    is_collective = dim >= 0 and subject >= 0
    halves = is_collective and m[subject + st.ALGORITHM] == st.HALVING_DOUBLING
    after = _way_ns(m, f, source, target, n_bytes, dim, distance, halves)
    schedule(m, m[st.NOW] + after, message)


@helper
def transmit_to_all(m: Any, f: Any, chunk: Any) -> None:
    """Send a message to all others along a dimension, from an NPU that stands for them.

    Only the last arrival is an event; `FREE` of the chunk is when the first one may be reduced.
    """
    kept_apart()
    message = take_block(m)
    if m[st.IS_FULL]:
        return
    npu, dim, n_bytes = m[chunk + st.CHUNK_NPU], m[chunk + st.DIM], m[chunk + st.MESSAGE]
    n, step = m[chunk + st.N], m[chunk + st.DIRECTION]
    first = last = _way_ns(m, f, npu, npu, n_bytes, dim, (step + n) % n, False)
    for k in range(2, n):
        after = _way_ns(m, f, npu, npu, n_bytes, dim, (k * step + n) % n, False)
        first, last = min(first, after), max(last, after)
    m[st.N_MESSAGES] += n - 1
    m[chunk + st.FREE] = m[st.NOW] + first + m[chunk + st.DELAY]
    m[message + st.WHAT] = st.ARRIVAL
    m[message + st.SOURCE] = m[message + st.TARGET] = m[message + st.AT] = npu
    m[message + st.MESSAGE_TAG] = m[chunk + st.CHUNK_TAG]
    m[message + st.SUBJECT] = chunk
    schedule(m, m[st.NOW] + last, message)


@helper
def _way_ns(
    m: Any, f: Any, source: Any, target: Any, n_bytes: Any, dim: Any, distance: Any, halves: Any
) -> Any:
    """Take the links of a message's way, and return how long it is under way; see `transmit`."""
    kept_apart()
    first, end = dim, dim + 1
    if dim < 0:
        first, end = dim + 1, m[st.N_DIMS]
    time = st.NONE
    head = f[st.LATENCY] * 0.0 + m[st.NOW]
    at = source
    for d in range(first, end):
        place = _place(m, source, d)
        if dim < 0:
            distance = _place(m, target, d) - place
            if distance == 0:
                continue
        word = st.DIMS + d * st.DIM_WORDS
        m[word + st.DIM_BYTES] += n_bytes
        taken = n_bytes / f[st.BYTES_PER_NS + d]
        step = m[word + st.DIM_STEP]
        head = _cross(m, f, at, at + distance * step, d, distance, taken, head, halves)
        at += distance * step
        if time < 0:
            # Without congestion, only the first dimension is paid for.
            hops = 1
            if m[word + st.DIM_TOPOLOGY] == st.RING:
                hops = ring_hops(distance, m[word + st.DIM_N])
            elif m[word + st.DIM_TOPOLOGY] == st.SWITCH:
                hops = 2
            time = math.floor(hops * f[st.LATENCY + d] + taken)
    if m[st.IS_SHARED]:
        time = math.floor(head) - m[st.NOW]
    # A stage of one NPU sends to itself, over no link.
    return max(time, 0)


@inlined
def _is_within(m: Any, at: Any, target: Any, dim: Any) -> bool:
    """Return true if a message has further links to take in a dimension."""
    d = st.DIMS + dim * st.DIM_WORDS
    stride, n = m[d + st.DIM_STRIDE], m[d + st.DIM_N]
    return bool(at >= m[st.N_TOTAL] or (at // stride) % n != (target // stride) % n)


@helper
def _start(m: Any, f: Any, message: Any, link: Any, dim: Any, free: Any) -> None:
    """Start a message on a link; `free` is the block of the event that ends it."""
    kept_apart()
    time = m[message + st.BYTES] / (m[st.PACKETS] * f[st.BYTES_PER_NS + dim])
    f[m[st.LINK_TIMES] + (link - m[st.LINKS]) // 2 + 1] += time
    arrives, ends = math.floor(f[st.LATENCY + dim] + time), math.floor(time)
    if m[st.IS_SHARED]:
        ends = math.ceil(time)
        if _is_within(m, m[message + st.AT], m[message + st.TARGET], dim):
            arrives = math.floor(f[st.LATENCY + dim])
    schedule(m, m[st.NOW] + arrives, message)
    m[free + st.WHAT] = st.LINK_FREE
    m[free + st.FREE_LINK] = link
    m[free + st.FREE_DIM] = dim
    schedule(m, m[st.NOW] + ends, free)


@helper
def advance(m: Any, f: Any, message: Any) -> None:
    """Take a message, which is not where it goes, to the next link of its way.

    `AT` is an NPU, or N times (1 + dimension) more for the switch of the NPU's group.
    """
    kept_apart()
    n_total = m[st.N_TOTAL]
    at = m[message + st.AT]
    target = m[message + st.TARGET]
    dim = at // n_total - 1
    if dim >= 0:
        at -= (dim + 1) * n_total
        d = st.DIMS + dim * st.DIM_WORDS
        stride, n = m[d + st.DIM_STRIDE], m[d + st.DIM_N]
        following = at + ((target // stride) % n - (at // stride) % n) * stride
        link = m[d + st.DIM_LINKS] + 2 * following + 1
    else:
        dim = 0
        while True:
            d = st.DIMS + dim * st.DIM_WORDS
            stride, n = m[d + st.DIM_STRIDE], m[d + st.DIM_N]
            here, there = (at // stride) % n, (target // stride) % n
            if here != there:
                break
            dim += 1
        topology = m[d + st.DIM_TOPOLOGY]
        if m[message + st.WHAT] == st.ARRIVAL:
            m[d + st.DIM_BYTES] += m[message + st.BYTES]
        if topology == st.SWITCH:
            following = at + (dim + 1) * n_total
            link = m[d + st.DIM_LINKS] + 2 * at
        elif topology == st.FULLY_CONNECTED:
            following = at + (there - here) * stride
            link = m[d + st.DIM_LINKS] + at * n + there
        else:
            clockwise = (there - here + n) % n
            if 2 * clockwise <= n:
                step, link = 1, m[d + st.DIM_LINKS] + 2 * at
            else:
                step, link = n - 1, m[d + st.DIM_LINKS] + 2 * at + 1
            following = at + ((here + step) % n - here) * stride
    m[message + st.AT] = following
    link = m[st.LINKS] + link * st.LINK_WORDS
    if m[link + st.LINK_BUSY]:
        m[message + st.NEXT] = 0
        # The dimension is kept where the message's kind is, until it starts.
        if m[link + st.LINK_HEAD] == 0:
            m[link + st.LINK_HEAD] = message
        else:
            m[m[link + st.LINK_TAIL] + st.NEXT] = message
        m[link + st.LINK_TAIL] = message
        return
    m[link + st.LINK_BUSY] = 1
    free = take_block(m)
    if m[st.IS_FULL]:
        return
    _start(m, f, message, link, dim, free)


@helper
def free_link(m: Any, f: Any, event: Any) -> None:
    """Start the first message that waits for a link, if there is one."""
    kept_apart()
    link, dim = m[event + st.FREE_LINK], m[event + st.FREE_DIM]
    message = m[link + st.LINK_HEAD]
    if message == 0:
        m[link + st.LINK_BUSY] = 0
        give_back(m, event)
        return
    m[link + st.LINK_HEAD] = m[message + st.NEXT]
    _start(m, f, message, link, dim, event)


# Matching.


@inlined
def _chain(m: Any, source: Any, target: Any, tag: Any, n_bytes: Any) -> Any:
    """Return the offset of the list that holds messages and receives of this kind."""
    key = tag * 0x2545F491 + source * 0x9E3779B1 + target * 0x85EBCA77 + n_bytes * 0xC2B2AE3D
    return m[st.HASH] + ((key ^ (key >> 17)) & (m[st.N_HASH] - 1))


@helper
def _find(
    m: Any, chain: Any, what: Any, source: Any, target: Any, tag: Any, n_bytes: Any
) -> tuple[Any, Any]:
    """Return the first block of a kind in a chain and the one before it, 0 without one.

    Without a block of the kind, the second is the last block of the chain.
    """
    kept_apart()
    before = 0
    block = m[chain]
    while block != 0:
        if (
            m[block + st.WHAT] == what
            and m[block + st.TARGET] == target
            and m[block + st.SOURCE] == source
            and m[block + st.MESSAGE_TAG] == tag
            and m[block + st.BYTES] == n_bytes
        ):
            return block, before
        before = block
        block = m[block + st.NEXT]
    return block, before


@inlined
def _remove(m: Any, chain: Any, block: Any, before: Any) -> None:
    if before == 0:
        m[chain] = m[block + st.NEXT]
    else:
        m[before + st.NEXT] = m[block + st.NEXT]


@inlined
def _append(m: Any, chain: Any, block: Any, last: Any) -> None:
    m[block + st.NEXT] = 0
    if last == 0:
        m[chain] = block
    else:
        m[last + st.NEXT] = block


@helper
def post(m: Any, source: Any, target: Any, tag: Any, n_bytes: Any, subject: Any) -> None:
    """Post a receive; if its message waits already, an event at the present time finds it.

    Args:
      m: Arena.
      source: Sender.
      target: Receiver.
      tag: Tag.
      n_bytes: Size [bytes].
      subject: Chunk or node that receives.
    """
    kept_apart()
    if m[st.IS_FULL]:
        return
    chain = _chain(m, source, target, tag, n_bytes)
    block, before = _find(m, chain, st.WAITING, source, target, tag, n_bytes)
    if block != 0:
        _remove(m, chain, block, before)
        m[block + st.WHAT] = st.FOUND
        m[block + st.SUBJECT] = subject
        schedule(m, m[st.NOW], block)
        return
    block = take_block(m)
    if m[st.IS_FULL]:
        return
    m[block + st.WHAT] = st.POSTED
    m[block + st.SOURCE] = source
    m[block + st.TARGET] = target
    m[block + st.MESSAGE_TAG] = tag
    m[block + st.BYTES] = n_bytes
    m[block + st.SUBJECT] = subject
    _append(m, chain, block, before)


@helper
def meet(m: Any, message: Any) -> Any:
    """Return who receives a message that has arrived; -1 if no receive is posted yet."""
    kept_apart()
    source, target = m[message + st.SOURCE], m[message + st.TARGET]
    tag, n_bytes = m[message + st.MESSAGE_TAG], m[message + st.BYTES]
    chain = _chain(m, source, target, tag, n_bytes)
    block, before = _find(m, chain, st.POSTED, source, target, tag, n_bytes)
    if block == 0:
        m[message + st.WHAT] = st.WAITING
        _append(m, chain, message, before)
        return -1
    _remove(m, chain, block, before)
    subject = m[block + st.SUBJECT]
    give_back(m, block)
    return subject
