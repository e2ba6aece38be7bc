"""Allocators: which requests of inputs for outputs are granted.

Requests are listed, not held in a matrix, since most inputs ask for few outputs. A matrix arbiter
is kept as the time of each requester's last win: the one that won longest ago comes first.
"""

from typing import Any

from archgym.runtime.kernels import compiled, inlined, kept_apart
from archgym.simulators.noc.kernel import state as st


@compiled
def request(
    m: Any, first_in: int, first_out: int, i: int, o: int, by_in: int, by_out: int, label: int
) -> None:
    """Add a request.

    Args:
      m: `Matching`.
      first_in: Number of the router's first input among those of all routers.
      first_out: As `first_in`, of outputs.
      i: Input that asks.
      o: Output that it asks for.
      by_in: Priority among the requests of the input.
      by_out: Priority among the requests for the output.
      label: What is granted, of several that share the input.
    """
    kept_apart()
    k = m.counts[0]
    m.counts[0] = k + 1
    q, x, y = m.requests[k], m.ins[first_in + i], m.outs[first_out + o]
    q.input, q.output, q.label = i, o, label
    q.input_priority, q.output_priority = by_in, by_out
    q.next_in, q.next_out = x.head, y.head
    if x.head == st.NONE:
        m.in_list[m.counts[1]] = i
        m.counts[1] += 1
    if y.head == st.NONE:
        m.out_list[m.counts[2]] = o
        m.counts[2] += 1
    x.head = k
    y.head = k


@inlined
def find(m: Any, first_in: int, i: int, o: int) -> int:
    """Return the number of the request of an input for an output, or NONE."""
    k = m.ins[first_in + i].head
    while k != st.NONE and m.requests[k].output != o:
        k = m.requests[k].next_in
    return int(k)


@inlined
def clear(m: Any, first_in: int, first_out: int) -> None:
    """Forget all requests and matches, which may be another router's, before new ones are added.

    Args:
      m: `Matching`.
      first_in: Number of the first input of the router that requests next.
      first_out: As `first_in`, of outputs.
    """
    for j in range(m.counts[1]):
        x = m.ins[m.counts[4] + m.in_list[j]]
        x.head = x.match = x.grant = st.NONE
    for j in range(m.counts[2]):
        y = m.outs[m.counts[5] + m.out_list[j]]
        y.head = y.match = y.grant = st.NONE
    m.counts[0] = m.counts[1] = m.counts[2] = 0
    m.counts[4], m.counts[5] = first_in, first_out


@compiled
def allocate(m: Any, router: int, first_in: int, first_out: int, n_in: int, n_out: int) -> None:
    """Match inputs with outputs: `match` of both is then a request, or NONE.

    Args:
      m: `Matching`, with the requests of one router.
      router: The router.
      first_in: Number of its first input.
      first_out: Number of its first output.
      n_in: Its inputs.
      n_out: Its outputs.
    """
    if m.kind == st.MAX_SIZE:
        _max_size(m, router, first_in, first_out, n_in)
    elif m.counts[0] == 0:
        return
    elif m.kind == st.ISLIP:
        _islip(m, first_in, first_out, n_in, n_out)
    elif m.kind == st.SELECT:
        _select(m, first_in, first_out, n_in, n_out)
    elif m.kind == st.INPUT_FIRST:
        _input_first(m, first_in, first_out, n_in, n_out)
    elif m.kind == st.OUTPUT_FIRST:
        _output_first(m, first_in, first_out, n_in, n_out)
    elif m.kind == st.LOA:
        _loa(m, first_in, first_out, n_in, n_out)
    else:
        _wavefront(m, router, first_in, first_out, n_in, n_out)


@inlined
def _from(number: int, pointer: int, size: int) -> int:
    """Return how far a number lies behind a pointer, cyclically."""
    return number - pointer if number >= pointer else number - pointer + size


@compiled
def _islip(m: Any, first_in: int, first_out: int, n_in: int, n_out: int) -> None:
    for iteration in range(m.iterations):
        for j in range(m.counts[2]):
            o = m.out_list[j]
            y = m.outs[first_out + o]
            y.grant = st.NONE
            if y.match != st.NONE:
                continue
            best = n_in
            k = y.head
            while k != st.NONE:
                q = m.requests[k]
                away = _from(q.input, y.pointer, n_in)
                if away < best and m.ins[first_in + q.input].match == st.NONE:
                    best, y.grant = away, k
                k = q.next_out
            if y.grant != st.NONE:
                x = m.ins[first_in + m.requests[y.grant].input]
                if x.grant == st.NONE or _from(o, x.pointer, n_out) < _from(
                    m.requests[x.grant].output, x.pointer, n_out
                ):
                    x.grant = y.grant
        for j in range(m.counts[1]):
            i = m.in_list[j]
            x = m.ins[first_in + i]
            if x.grant == st.NONE:
                continue
            o = m.requests[x.grant].output
            y = m.outs[first_out + o]
            x.match = y.match = x.grant
            x.grant = st.NONE
            if iteration == 0:
                y.pointer = i + 1 if i + 1 < n_in else 0
                x.pointer = o + 1 if o + 1 < n_out else 0


@compiled
def _select(m: Any, first_in: int, first_out: int, n_in: int, n_out: int) -> None:
    kept_apart()
    for iteration in range(m.iterations):
        for j in range(m.counts[2]):
            y = m.outs[first_out + m.out_list[j]]
            if y.match != st.NONE:
                continue
            best, first = n_in, st.NONE
            k = y.head
            while k != st.NONE:
                q = m.requests[k]
                if m.ins[first_in + q.input].match == st.NONE:
                    away = _from(q.input, y.pointer, n_in)
                    more = 1
                    if first != st.NONE:
                        more = q.output_priority - m.requests[first].output_priority
                    if more > 0 or (more == 0 and away < best):
                        best, first = away, k
                k = q.next_out
            # A grant of an earlier iteration stays where there is no new one.
            if first != st.NONE:
                y.grant = first
        for j in range(m.counts[1]):
            i = m.in_list[j]
            x = m.ins[first_in + i]
            best, first = n_out, st.NONE
            k = x.head
            while k != st.NONE:
                q = m.requests[k]
                if m.outs[first_out + q.output].grant == k:
                    away = _from(q.output, x.pointer, n_out)
                    more = 1
                    if first != st.NONE:
                        more = q.input_priority - m.requests[first].input_priority
                    if more > 0 or (more == 0 and away < best):
                        best, first = away, k
                k = q.next_in
            if first != st.NONE:
                o = m.requests[first].output
                y = m.outs[first_out + o]
                x.match = y.match = first
                if iteration == 0:
                    y.pointer = i + 1 if i + 1 < n_in else 0
                    x.pointer = o + 1 if o + 1 < n_out else 0


@compiled
def _stamp(times: Any, scale: int, arbiter: int, number: int) -> int:
    """Return when a requester of a matrix arbiter last won; before that, the larger goes first."""
    won = int(times[arbiter * scale + number])
    return won if won else -1 - number


@compiled
def _arbitrate_input(m: Any, first_in: int, i: int, n_out: int) -> int:
    """Return the request that an input prefers, of those for outputs that chose it if any must."""
    x = m.ins[first_in + i]
    best, first = 0, st.NONE
    k = x.head
    while k != st.NONE:
        q = m.requests[k]
        if m.is_matrix:
            away = _stamp(m.in_times, m.in_scale, first_in + i, q.output)
        else:
            away = _from(q.output, x.pointer, n_out)
        more = 1
        if first != st.NONE:
            more = q.input_priority - m.requests[first].input_priority
        if more > 0 or (more == 0 and away < best):
            best, first = away, k
        k = q.next_in
    return first


@compiled
def _input_first(m: Any, first_in: int, first_out: int, n_in: int, n_out: int) -> None:
    kept_apart()
    for j in range(m.counts[1]):
        i = m.in_list[j]
        k = _arbitrate_input(m, first_in, i, n_out)
        q = m.requests[k]
        y = m.outs[first_out + q.output]
        if y.grant == st.NONE or _is_before_in(m, first_out + q.output, k, y.grant, n_in):
            y.grant = k
    for j in range(m.counts[2]):
        y = m.outs[first_out + m.out_list[j]]
        if y.grant != st.NONE:
            _match(m, first_in, first_out, y.grant, n_in, n_out)


@compiled
def _is_before_in(m: Any, o: int, k: int, other: int, n_in: int) -> bool:
    """Return True if an output's arbiter prefers request `k` to another."""
    q, r, y = m.requests[k], m.requests[other], m.outs[o]
    if q.output_priority != r.output_priority:
        return bool(q.output_priority > r.output_priority)
    if m.is_matrix:
        here = _stamp(m.out_times, m.out_scale, o, q.input)
        return bool(here < _stamp(m.out_times, m.out_scale, o, r.input))
    return bool(_from(q.input, y.pointer, n_in) < _from(r.input, y.pointer, n_in))


@compiled
def _is_before_out(m: Any, i: int, k: int, other: int, n_out: int) -> bool:
    """Return True if an input's arbiter prefers request `k` to another."""
    q, r, x = m.requests[k], m.requests[other], m.ins[i]
    if q.input_priority != r.input_priority:
        return bool(q.input_priority > r.input_priority)
    if m.is_matrix:
        here = _stamp(m.in_times, m.in_scale, i, q.output)
        return bool(here < _stamp(m.in_times, m.in_scale, i, r.output))
    return bool(_from(q.output, x.pointer, n_out) < _from(r.output, x.pointer, n_out))


@compiled
def _match(m: Any, first_in: int, first_out: int, k: int, n_in: int, n_out: int) -> None:
    """Grant a request, and update both arbiters."""
    i, o = m.requests[k].input, m.requests[k].output
    x, y = m.ins[first_in + i], m.outs[first_out + o]
    x.match = y.match = k
    if m.is_matrix:
        # Wins of one arbiter are ordered; they need not be consecutive.
        m.counts[3] += 1
        m.in_times[(first_in + i) * m.in_scale + o] = m.counts[3]
        m.out_times[(first_out + o) * m.out_scale + i] = m.counts[3]
    else:
        x.pointer = o + 1 if o + 1 < n_out else 0
        y.pointer = i + 1 if i + 1 < n_in else 0


@compiled
def _output_first(m: Any, first_in: int, first_out: int, n_in: int, n_out: int) -> None:
    kept_apart()
    for j in range(m.counts[2]):
        o = m.out_list[j]
        k = m.outs[first_out + o].head
        first = k
        while k != st.NONE:
            if k != first and _is_before_in(m, first_out + o, k, first, n_in):
                first = k
            k = m.requests[k].next_out
        i = first_in + m.requests[first].input
        x = m.ins[i]
        if x.grant == st.NONE or _is_before_out(m, i, first, x.grant, n_out):
            x.grant = first
    for j in range(m.counts[1]):
        x = m.ins[first_in + m.in_list[j]]
        if x.grant != st.NONE:
            _match(m, first_in, first_out, x.grant, n_in, n_out)


@compiled
def _loa(m: Any, first_in: int, first_out: int, n_in: int, n_out: int) -> None:
    kept_apart()
    for j in range(m.counts[2]):
        y = m.outs[first_out + m.out_list[j]]
        y.count = 0
        k = y.head
        while k != st.NONE:
            y.count += 1
            k = m.requests[k].next_out
    for j in range(m.counts[1]):
        x = m.ins[first_in + m.in_list[j]]
        first = k = x.head
        while k != st.NONE:
            o, p = m.requests[k].output, m.requests[first].output
            more = m.outs[first_out + o].count - m.outs[first_out + p].count
            if more < 0 or (more == 0 and _from(o, x.pointer, n_out) < _from(p, x.pointer, n_out)):
                first = k
            k = m.requests[k].next_in
        x.chosen = first
    for j in range(m.counts[1]):
        i = m.in_list[j]
        k = m.ins[first_in + i].chosen
        y = m.outs[first_out + m.requests[k].output]
        if y.grant == st.NONE or _from(i, y.pointer, n_in) < _from(
            m.requests[y.grant].input, y.pointer, n_in
        ):
            y.grant = k
    for j in range(m.counts[2]):
        y = m.outs[first_out + m.out_list[j]]
        if y.grant != st.NONE:
            x = m.ins[first_in + m.requests[y.grant].input]
            x.match = y.match = y.grant
            x.pointer = x.pointer + 1 if x.pointer + 1 < n_out else 0
            y.pointer = y.pointer + 1 if y.pointer + 1 < n_in else 0


@compiled
def _wavefront(m: Any, router: int, first_in: int, first_out: int, n_in: int, n_out: int) -> None:
    kept_apart()
    size = max(n_in, n_out)
    diagonal = m.diagonals[router]
    n = m.counts[0]
    # The order of diagonals within a priority, and of outputs within a diagonal.
    for k in range(n):
        q = m.requests[k]
        away = (q.input + q.output - diagonal) % size
        m.scratch[n + k] = away * n_out + q.output
        m.scratch[k] = k
    gap = n // 2
    while gap > 0:
        for k in range(gap, n):
            moved = m.scratch[k]
            j = k
            while j >= gap and _is_later(m, n, m.scratch[j - gap], moved):
                m.scratch[j] = m.scratch[j - gap]
                j -= gap
            m.scratch[j] = moved
        gap //= 2
    first = st.NONE
    for j in range(n):
        k = m.scratch[j]
        q = m.requests[k]
        x, y = m.ins[first_in + q.input], m.outs[first_out + q.output]
        if x.match == st.NONE and y.match == st.NONE:
            x.match = y.match = k
            if first == st.NONE:
                first = q.input + q.output
    if m.kind == st.WAVEFRONT:
        m.diagonals[router] = (diagonal + 1) % size
    else:
        m.diagonals[router] = 1 + first % size


@compiled
def _is_later(m: Any, n: int, k: int, other: int) -> bool:
    q, r = m.requests[k], m.requests[other]
    if q.output_priority != r.output_priority:
        return bool(q.output_priority < r.output_priority)
    if q.input_priority != r.input_priority:
        return bool(q.input_priority < r.input_priority)
    return bool(m.scratch[n + k] > m.scratch[n + other])


@compiled
def _max_size(m: Any, router: int, first_in: int, first_out: int, n_in: int) -> None:
    kept_apart()
    start = m.diagonals[router]
    while m.counts[0] > 0 and _augment(m, first_in, first_out, n_in, start):
        pass
    m.diagonals[router] = (start + 1) % n_in


@compiled
def _augment(m: Any, first_in: int, first_out: int, n_in: int, start: int) -> bool:
    """Lengthen the matching by one along the first path that a breadth-first search finds."""
    kept_apart()
    for j in range(m.counts[2]):
        m.outs[first_out + m.out_list[j]].mark = st.NONE
    head = tail = 0
    for j in range(n_in):
        i = (start + j) % n_in
        x = m.ins[first_in + i]
        if x.head != st.NONE and x.match == st.NONE:
            m.scratch[tail] = i
            tail += 1
    while head < tail:
        i = m.scratch[head]
        head += 1
        last = st.NONE
        while True:
            # The next output, ascending, that the input asks for.
            k, best = m.ins[first_in + i].head, st.NONE
            while k != st.NONE:
                o = m.requests[k].output
                if o > last and (best == st.NONE or o < m.requests[best].output):
                    best = k
                k = m.requests[k].next_in
            if best == st.NONE:
                break
            last = m.requests[best].output
            y = m.outs[first_out + last]
            if y.mark != st.NONE or m.ins[first_in + i].match == best:
                continue
            y.mark = best
            if y.match != st.NONE:
                m.scratch[tail] = m.requests[y.match].input
                tail += 1
                continue
            k = best
            while k != st.NONE:
                x = m.ins[first_in + m.requests[k].input]
                m.outs[first_out + m.requests[k].output].match = k
                before, x.match = x.match, k
                k = st.NONE
                if before != st.NONE:
                    k = m.outs[first_out + m.requests[before].output].mark
            return True
    return False
