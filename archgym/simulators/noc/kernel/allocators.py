"""Allocators: which bids of inputs for outputs are granted.

A bid asks for any of some outputs of a port, which are a mask, since a packet asks for all free VCs
of a port at once. A bid that nobody contests is granted by itself, whatever the others do; most
are. A matrix arbiter is kept as the time of each requester's last win: the one that won longest
ago comes first.
"""

from typing import Any

from archgym.simulators.kit.kernels import compiled, inlined, kept_apart, lowest_bit
from archgym.simulators.noc import state as st


@inlined
def bid(m: Any, i: int, port: int, mask: int, by_in: int, by_out: int, label: int) -> None:
    """Ask for one of some outputs of a port.

    Args:
      m: `Matching`.
      i: Input that asks.
      port: Port of the outputs; the first is its number times the outputs of a port.
      mask: Outputs of the port.
      by_in: Priority among the bids of the input.
      by_out: Priority among the bids for an output.
      label: What is granted, of several that share the input.
    """
    k = m.counts[0]
    m.counts[0] = k + 1
    q, x = m.bids[k], m.ins[i]
    q.input, q.port, q.mask, q.label = i, port, mask, label
    q.by_in, q.by_out = by_in, by_out
    q.next = x.head
    x.head = k
    m.asks[port] += 1


@inlined
def find(m: Any, i: int, port: int) -> int:
    """Return the number of the bid of an input for a port, or NONE."""
    k = m.ins[i].head
    while k != st.NONE and m.bids[k].port != port:
        k = m.bids[k].next
    return int(k)


@inlined
def clear(m: Any) -> None:
    """Forget all bids and matches."""
    for j in range(m.counts[1]):
        q = m.bids[m.hard[j]]
        m.taken[q.port] = 0
        left = q.mask
        while left:
            y = m.outs[q.port * m.width + lowest_bit(left)]
            left &= left - 1
            y.grant = y.match = st.NONE
            y.stamp = y.count = 0
    for k in range(m.counts[0]):
        q = m.bids[k]
        x = m.ins[q.input]
        if x.match != st.NONE:
            m.outs[x.match].match = st.NONE
        x.head = x.match = x.grant = x.chosen = st.NONE
        m.asks[q.port] = 0
    m.counts[0] = m.counts[1] = 0


@inlined
def allocate(m: Any, router: int, first_in: int, first_out: int, n_in: int, n_out: int) -> None:
    """Match inputs with outputs: `match` and `bid` of an input are then set, or `match` is NONE.

    Args:
      m: `Matching`, with the bids of one router.
      router: The router.
      first_in: Number of its first input.
      first_out: Number of its first output.
      n_in: Its inputs.
      n_out: Its outputs.
    """
    n = m.counts[0]
    # An input of select may accept again, another output, in each iteration.
    can_part = (m.kind < st.RR_WAVEFRONT and m.iterations == 1) or m.kind <= st.ISLIP
    can_part = can_part or m.kind == st.LOA
    hard = 0
    for k in range(n):
        q = m.bids[k]
        x = m.ins[q.input]
        if can_part and m.asks[q.port] == 1 and x.head == k and q.next == st.NONE:
            base = q.port * m.width
            pivot = x.pointer
            if m.kind == st.WAVEFRONT:
                size = max(n_in, n_out)
                pivot = m.diagonals[router] - (q.input - first_in)
                pivot = first_out + (pivot if pivot >= 0 else pivot + size)
            o = base + _first(q.mask, pivot - base)
            if m.is_matrix:
                o = _longest_ago(m, k, first_in, first_out)
            _settle(m, k, o, first_in, first_out, n_in, n_out, True)
        else:
            m.hard[hard] = k
            hard += 1
    m.counts[1] = hard
    if hard or m.kind == st.MAX_SIZE:
        _contested(m, router, first_in, first_out, n_in, n_out)
    if m.kind == st.WAVEFRONT and n:
        q = m.diagonals[router] + 1
        m.diagonals[router] = q if q < max(n_in, n_out) else 0


@compiled
def _contested(m: Any, router: int, first_in: int, first_out: int, n_in: int, n_out: int) -> None:
    kept_apart()
    if m.kind == st.MAX_SIZE:
        _max_size(m, router, first_in, n_in)
    elif m.kind == st.INPUT_FIRST or m.kind == st.LOA:
        _choose_first(m, first_in, first_out, n_in, n_out)
    elif m.kind == st.WAVEFRONT or m.kind == st.RR_WAVEFRONT:
        _wavefront(m, router, first_in, first_out, n_in, n_out)
    else:
        _grant_first(m, first_in, first_out, n_in, n_out)


@inlined
def _first(mask: int, pointer: int) -> int:
    """Return the first bit at or after a pointer, cyclically; the pointer may be outside."""
    if 0 <= pointer < 63:
        later = mask >> pointer
        if later:
            return pointer + lowest_bit(later)
    return lowest_bit(mask)


@inlined
def _from(number: int, pointer: int, size: int) -> int:
    """Return how far a number lies behind a pointer, cyclically."""
    return number - pointer if number >= pointer else number - pointer + size


@inlined
def _settle(
    m: Any, k: int, o: int, first_in: int, first_out: int, n_in: int, n_out: int, moves: bool
) -> None:
    """Match a bid with an output, and update the arbiters of both."""
    i = m.bids[k].input
    x, y = m.ins[i], m.outs[o]
    x.match, x.bid, y.match = o, k, k
    if not moves or m.kind == st.WAVEFRONT or m.kind == st.RR_WAVEFRONT:
        return
    if m.is_matrix:
        # Wins of one arbiter are ordered; they need not be consecutive.
        m.counts[2] += 1
        m.in_times[i * m.in_scale + o - first_out] = m.counts[2]
        m.out_times[o * m.out_scale + i - first_in] = m.counts[2]
        return
    if m.kind == st.LOA:
        o, i = x.pointer, y.pointer
    x.pointer = o + 1 if o + 1 < first_out + n_out else first_out
    y.pointer = i + 1 if i + 1 < first_in + n_in else first_in


@compiled
def _stamp(times: Any, scale: int, arbiter: int, number: int) -> int:
    """Return when a requester of a matrix arbiter last won; before that, the larger goes first."""
    won = int(times[arbiter * scale + number])
    return won if won else -1 - number


@compiled
def _longest_ago(m: Any, k: int, first_in: int, first_out: int) -> int:
    """Return the output of a bid that won longest ago at its input's matrix arbiter."""
    q = m.bids[k]
    best, first = 0, st.NONE
    left = q.mask
    while left:
        o = q.port * m.width + lowest_bit(left)
        left &= left - 1
        away = _stamp(m.in_times, m.in_scale, q.input, o - first_out)
        if first == st.NONE or away < best:
            best, first = away, o
    return first


@compiled
def _is_better_input(m: Any, o: int, k: int, other: int, first_in: int, n_in: int) -> bool:
    """Return True if an output's arbiter prefers bid `k` to another."""
    q, r, y = m.bids[k], m.bids[other], m.outs[o]
    if q.by_out != r.by_out and m.kind != st.ISLIP and m.kind != st.LOA:
        return bool(q.by_out > r.by_out)
    if m.is_matrix:
        here = _stamp(m.out_times, m.out_scale, o, q.input - first_in)
        return here < _stamp(m.out_times, m.out_scale, o, r.input - first_in)
    return _from(q.input, y.pointer, n_in) < _from(r.input, y.pointer, n_in)


@compiled
def _is_better_output(m: Any, k: int, o: int, first_out: int, n_out: int) -> bool:
    """Return True if an input's arbiter prefers output `o` by bid `k` to the one it has chosen."""
    q = m.bids[k]
    x = m.ins[q.input]
    if x.chosen == st.NONE:
        return True
    p = x.chosen
    if m.kind == st.LOA:
        if m.outs[o].count != m.outs[p].count:
            return bool(m.outs[o].count < m.outs[p].count)
    elif m.kind != st.ISLIP and q.by_in != m.bids[x.grant].by_in:
        return bool(q.by_in > m.bids[x.grant].by_in)
    if m.is_matrix:
        here = _stamp(m.in_times, m.in_scale, q.input, o - first_out)
        return here < _stamp(m.in_times, m.in_scale, q.input, p - first_out)
    return _from(o, x.pointer, n_out) < _from(p, x.pointer, n_out)


@inlined
def _grant_first(m: Any, first_in: int, first_out: int, n_in: int, n_out: int) -> None:
    """Let outputs grant, then inputs accept: islip, select and separable_output_first."""
    for iteration in range(m.iterations):
        for j in range(m.counts[1]):
            k = m.hard[j]
            q = m.bids[k]
            left = q.mask if m.ins[q.input].match == st.NONE else 0
            while left:
                o = q.port * m.width + lowest_bit(left)
                left &= left - 1
                y = m.outs[o]
                if y.match == st.NONE and (
                    y.stamp != iteration + 1 or _is_better_input(m, o, k, y.grant, first_in, n_in)
                ):
                    y.stamp, y.grant = iteration + 1, k
        for j in range(m.counts[1]):
            k = m.hard[j]
            q = m.bids[k]
            x = m.ins[q.input]
            left = q.mask
            while left:
                o = q.port * m.width + lowest_bit(left)
                left &= left - 1
                y = m.outs[o]
                # With select, a grant of an earlier iteration stays where there is no new one.
                is_new = y.stamp == iteration + 1 or m.kind == st.SELECT
                if y.grant == k and is_new and _is_better_output(m, k, o, first_out, n_out):
                    x.chosen, x.grant = o, k
        for j in range(m.counts[1]):
            k = m.hard[j]
            x = m.ins[m.bids[k].input]
            if x.grant == k:
                _settle(m, k, x.chosen, first_in, first_out, n_in, n_out, iteration == 0)
                x.grant = x.chosen = st.NONE


@inlined
def _choose_first(m: Any, first_in: int, first_out: int, n_in: int, n_out: int) -> None:
    """Let inputs choose, then outputs grant: separable_input_first and loa."""
    if m.kind == st.LOA:
        for j in range(m.counts[1]):
            q = m.bids[m.hard[j]]
            left = q.mask
            while left:
                m.outs[q.port * m.width + lowest_bit(left)].count += 1
                left &= left - 1
    for j in range(m.counts[1]):
        k = m.hard[j]
        q = m.bids[k]
        x = m.ins[q.input]
        left = q.mask
        while left:
            o = q.port * m.width + lowest_bit(left)
            left &= left - 1
            if _is_better_output(m, k, o, first_out, n_out):
                x.chosen, x.grant = o, k
    for j in range(m.counts[1]):
        k = m.hard[j]
        x = m.ins[m.bids[k].input]
        if x.grant == k:
            y = m.outs[x.chosen]
            if y.grant == st.NONE or _is_better_input(m, x.chosen, k, y.grant, first_in, n_in):
                y.grant = k
    for j in range(m.counts[1]):
        k = m.hard[j]
        x = m.ins[m.bids[k].input]
        if x.grant == k and m.outs[x.chosen].grant == k:
            _settle(m, k, x.chosen, first_in, first_out, n_in, n_out, True)


@inlined
def _wavefront(m: Any, router: int, first_in: int, first_out: int, n_in: int, n_out: int) -> None:
    size = max(n_in, n_out)
    diagonal = m.diagonals[router]
    start = st.NONE
    while True:
        # The first of what is left: by priorities, by diagonal, and by output on a diagonal.
        best = won = st.NONE
        order = 0
        for j in range(m.counts[1]):
            k = m.hard[j]
            q = m.bids[k]
            left = q.mask & ~m.taken[q.port]
            if left == 0 or m.ins[q.input].match != st.NONE:
                continue
            pivot = (diagonal - (q.input - first_in)) % size
            base = q.port * m.width - first_out
            o = base + _first(left, pivot - base)
            away = _from(o, pivot, size) * n_out + o
            if best != st.NONE:
                more = q.by_out - m.bids[best].by_out
                if more == 0:
                    more = q.by_in - m.bids[best].by_in
                if more < 0 or (more == 0 and away > order):
                    continue
            best, won, order = k, o, away
        if best == st.NONE:
            break
        q = m.bids[best]
        if start == st.NONE:
            start = q.input - first_in + won
        m.taken[q.port] |= 1 << (won + first_out - q.port * m.width)
        _settle(m, best, won + first_out, first_in, first_out, n_in, n_out, False)
    if m.kind == st.RR_WAVEFRONT:
        m.diagonals[router] = 1 + start % size


@inlined
def _max_size(m: Any, router: int, first_in: int, n_in: int) -> None:
    start = m.diagonals[router]
    while m.counts[0] > 0 and _augment(m, first_in, n_in, start):
        pass
    m.diagonals[router] = (start + 1) % n_in


@compiled
def _augment(m: Any, first_in: int, n_in: int, start: int) -> bool:
    """Lengthen the matching by one along the first path that a breadth-first search finds."""
    kept_apart()
    for j in range(m.counts[1]):
        q = m.bids[m.hard[j]]
        left = q.mask
        while left:
            m.outs[q.port * m.width + lowest_bit(left)].grant = st.NONE
            left &= left - 1
    # Inputs that are reached are chained by `grant`.
    head = tail = st.NONE
    for j in range(n_in):
        i = first_in + (start + j) % n_in
        if m.ins[i].head != st.NONE and m.ins[i].match == st.NONE:
            head, tail = _behind(m, head, tail, i)
    while head != st.NONE:
        i = head
        head = m.ins[i].grant
        last = st.NONE
        while True:
            # The next output, ascending, that the input asks for.
            best, o = st.NONE, 0
            k = m.ins[i].head
            while k != st.NONE:
                base = m.bids[k].port * m.width
                left = m.bids[k].mask
                if last >= base:
                    left = left >> (last - base + 1) << (last - base + 1) if last < base + 63 else 0
                if left and (best == st.NONE or base + lowest_bit(left) < o):
                    best, o = k, base + lowest_bit(left)
                k = m.bids[k].next
            if best == st.NONE:
                break
            last = o
            y = m.outs[o]
            if y.grant != st.NONE or m.ins[i].match == o:
                continue
            y.grant = best
            if y.match != st.NONE:
                head, tail = _behind(m, head, tail, m.bids[y.match].input)
                continue
            while best != st.NONE:
                x = m.ins[m.bids[best].input]
                m.outs[o].match = best
                o, x.match, x.bid = x.match, o, best
                best = m.outs[o].grant if o != st.NONE else st.NONE
            return True
    return False


@inlined
def _behind(m: Any, head: int, tail: int, i: int) -> tuple[int, int]:
    """Return the head and tail of a chain of inputs to which one is added."""
    m.ins[i].grant = st.NONE
    if head == st.NONE:
        return i, i
    m.ins[tail].grant = i
    return head, i
