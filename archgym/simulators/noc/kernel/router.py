"""One internal step of a router: its stages, their queues, and its credits."""

from typing import Any

from archgym.runtime.kernels import compiled, inlined, kept_apart
from archgym.simulators.noc.kernel import allocators as al
from archgym.simulators.noc.kernel import state as st
from archgym.simulators.noc.kernel.routing import (
    element,
    first_of,
    last_of,
    port_of,
    route,
)

# A flit is a number: its packet, its place in the packet, hops, VC, and if it is tail and head.
_HOP = 1 << 8


@compiled
def flit_of(packet: int, place: int, size: int, vc: int) -> int:
    """Return a flit as one number."""
    return packet << 36 | place << 20 | vc << 2 | (place == size - 1) << 1 | (place == 0)


@compiled
def packet_of(flit: int) -> int:
    """Return the packet of a flit."""
    return flit >> 36


@compiled
def place_of(flit: int) -> int:
    """Return the place of a flit in its packet."""
    return flit >> 20 & 0xFFFF


@compiled
def hops_of(flit: int) -> int:
    """Return the routers that a flit has passed."""
    return flit >> 8 & 0xFFF


@compiled
def vc_of(flit: int) -> int:
    """Return the VC in which a flit comes."""
    return flit >> 2 & 63


@inlined
def step(s: Any, vcs: Any, switch: Any, extra: Any, r: int, t: int) -> None:
    """Do one internal step of a router.

    Args:
      s: `State`.
      vcs: `Matching` of the VC allocator.
      switch: `Matching` of the switch allocator.
      extra: `Matching` of the allocator of speculative requests.
      r: The router.
      t: The cycle.
    """
    rules, router = s.rules[0], s.routers[r]
    if router.arrivals:
        _accept(s, r, t)
    if router.returns:
        for port in range(router.first, router.first + router.outputs):
            if s.ports[port].returned:
                take_credit(s, port, s.ports[port].returned)
                s.ports[port].returned = 0
        router.returns = 0
    if router.routes and not router.routes_started:
        router.routes_started, router.routes_due = router.routes, t + rules.routing_delay - 1
    if router.vcs:
        _start_vcs(s, vcs, r, t)
    if router.switch:
        _start_switch(s, switch, extra, r, t)
    if router.crossbar and not router.crossbar_started:
        router.crossbar_started = router.crossbar
        router.crossbar_due = t + rules.crossbar_delay - 1
    if router.routes_started and router.routes_due <= t:
        _finish_routes(s, r)
    if router.vcs_started and router.vcs_due <= t:
        _finish_vcs(s, r)
    if router.switch_started and router.switch_due <= t:
        _finish_switch(s, r, t)
    if router.crossbar_started and router.crossbar_due <= t:
        _finish_crossbar(s, r)


@compiled
def take_credit(s: Any, port: int, returned: int) -> None:
    """Give credits back to VCs of an output port, or of a node's injection channel."""
    rules, first = s.rules[0], port * s.rules[0].vcs
    w = 0
    while returned:
        if returned & 1:
            o = s.outputs[first + w]
            o.flits -= 1
            s.ports[port].total -= 1
            if rules.wait_for_tail and o.flits == 0 and o.tail_sent:
                o.in_use = 0
        returned >>= 1
        w += 1


@inlined
def use_credit(s: Any, port: int, vc: int, is_tail: int) -> None:
    """Count a flit that is sent over an output port, and free the VC behind a tail."""
    o = s.outputs[port * s.rules[0].vcs + vc]
    o.flits += 1
    s.ports[port].total += 1
    if is_tail:
        o.tail_sent = 1
        if not s.rules[0].wait_for_tail:
            o.in_use = 0


@inlined
def _push(queue: Any, first: int, size: int, place: int, value: int) -> None:
    queue[first + (place - size if place >= size else place)] = value


@inlined
def _enter_routes(s: Any, router: Any, v: int) -> None:
    size = router.inputs * s.rules[0].vcs
    first = router.first * s.rules[0].vcs
    _push(s.routes, first, size, router.routes_head + router.routes, v)
    router.routes += 1


@inlined
def _enter_vcs(s: Any, router: Any, v: int) -> None:
    size = router.inputs * s.rules[0].vcs
    first = router.first * s.rules[0].vcs
    _push(s.vc_queue, first, size, router.vcs_head + router.vcs, v)
    router.vcs += 1


@inlined
def _enter_switch(s: Any, router: Any, v: int) -> None:
    size = router.inputs * s.rules[0].vcs
    first = router.first * s.rules[0].vcs
    _push(s.switch_queue, first, size, router.switch_head + router.switch, v)
    router.switch += 1


@inlined
def _accept(s: Any, r: int, t: int) -> None:
    """Put flits that arrived into their VCs."""
    rules, router = s.rules[0], s.routers[r]
    for port in range(router.first, router.first + router.inputs):
        flit = s.ports[port].arrived
        if flit == st.NONE:
            continue
        s.ports[port].arrived = st.NONE
        s.ports[port].held += 1
        s.totals[0].buffered += 1
        v = port * rules.vcs + vc_of(flit)
        c = s.inputs[v]
        place = c.head + c.flits
        if place >= rules.depth:
            place -= rules.depth
        s.buffers[v * rules.depth + place] = flit
        c.flits += 1
        if rules.priority != st.UNORDERED:
            s.urgencies[v * rules.depth + place] = _urgency(s, flit, t)
            _update_priority(s, v)
        if c.state == st.IDLE:
            _start_head(s, router, v, flit)
        elif c.state == st.ACTIVE and c.flits == 1:
            _enter_switch(s, router, v)
    router.arrivals = 0


@compiled
def _urgency(s: Any, flit: int, t: int) -> int:
    """Return the priority of a flit that enters a buffer."""
    kind, q = s.rules[0].priority, s.packets[packet_of(flit)]
    if kind == st.AGE:
        return int(st.LATEST - q.created)
    if kind == st.NETWORK_AGE:
        return int(st.LATEST - s.sent_at[q.flit + place_of(flit)])
    if kind == st.SEQUENCE:
        return int(st.LATEST - q.sequence)
    if kind == st.LOCAL_AGE:
        return st.LATEST - t
    return hops_of(flit)


@inlined
def _update_priority(s: Any, v: int) -> None:
    """Set a VC's priority to that of its front flit; an empty VC keeps it."""
    c = s.inputs[v]
    if c.flits:
        if s.rules[0].priority == st.QUEUE_LENGTH:
            c.priority = c.flits
        else:
            c.priority = s.urgencies[v * s.rules[0].depth + c.head]


@compiled
def _start_head(s: Any, router: Any, v: int, flit: int) -> None:
    """Start routing, or VC allocation, of a head that became the front of its VC."""
    kept_apart()
    rules, c = s.rules[0], s.inputs[v]
    if rules.routing_delay:
        c.state = st.ROUTING
        _enter_routes(s, router, v)
        return
    q = s.packets[packet_of(flit)]
    c.set0, c.set1 = q.set0, q.set1
    if rules.look_two_ahead:
        _look_ahead(s, router, v, flit)
    c.state = st.WAITING
    _enter_vcs(s, router, v)
    if rules.speculative:
        _enter_switch(s, router, v)


@compiled
def _look_ahead(s: Any, router: Any, v: int, flit: int) -> None:
    """Narrow a head's VCs to those of the port that it takes at the next router."""
    c = s.inputs[v]
    port = port_of(c.set0)
    target = s.ports[router.first + port].target
    if target < 0:
        return
    following = s.ports[target].router
    place = target - s.routers[following].first
    found, _ = route(s, following, place, vc_of(flit), packet_of(flit))
    begin, onward = first_of(found), port_of(found)
    count = (last_of(found) - begin + 1) // s.routers[following].outputs
    first, last = begin + onward * count, begin + (onward + 1) * count - 1
    c.carried = element(onward, first, last, 0)
    c.set0 = element(port, first, last, 0)


@inlined
def _start_vcs(s: Any, m: Any, r: int, t: int) -> None:
    """Request output VCs for all entries, and grant them."""
    rules, router = s.rules[0], s.routers[r]
    vcs = rules.vcs
    first, size = router.first * vcs, router.inputs * vcs
    out_size = router.outputs * vcs
    al.clear(m, first, first)
    started = 0
    if not router.vcs_started:
        started = router.vcs
        router.vcs_started, router.vcs_due = started, t + rules.vc_delay - 1
    for j in range(started):
        at = router.vcs_head + j
        if at >= size:
            at -= size
        v = s.vc_queue[first + at]
        s.vc_results[first + at] = _request_vcs(s, m, router, v)
    al.allocate(m, r, first, first, size, out_size)
    for j in range(started):
        at = router.vcs_head + j
        if at >= size:
            at -= size
        if s.vc_results[first + at] == st.PENDING:
            v = s.vc_queue[first + at]
            k = m.ins[first + _requester(rules, router, v)].match
            if k == st.NONE:
                s.vc_results[first + at] = st.CONFLICT
            else:
                s.vc_results[first + at] = m.requests[k].output
                s.inputs[v].grant = m.requests[k].output
    if rules.vc_delay > 1 and rules.busy_when_full and router.vcs_due <= t:
        for j in range(router.vcs_started):
            at = router.vcs_head + j
            if at >= size:
                at -= size
            o = s.vc_results[first + at]
            if o >= 0 and s.outputs[first + o].flits >= rules.depth:
                s.vc_results[first + at] = _full(s, router.first + o // vcs)


@inlined
def _requester(rules: Any, router: Any, v: int) -> int:
    """Return the number by which a VC asks its router's allocator."""
    own = v - router.first * rules.vcs
    if rules.shuffle:
        return int(own % rules.vcs * router.inputs + own // rules.vcs)
    return int(own)


@inlined
def _full(s: Any, port: int) -> int:
    """Return why a VC without credit fails: all of its port is full, or its own share."""
    rules = s.rules[0]
    return st.FULL if s.ports[port].total == rules.vcs * rules.depth else st.RESERVED


@inlined
def _request_vcs(s: Any, m: Any, router: Any, v: int) -> int:
    """Request all free VCs of an entry's route set; return why it failed, or PENDING."""
    rules, c = s.rules[0], s.inputs[v]
    first = router.first * rules.vcs
    requester = _requester(rules, router, v)
    is_any = is_asked = is_reserved = False
    e = c.set0
    while e != st.NONE:
        port = router.first + port_of(e)
        preference = e & 255
        for w in range(first_of(e), last_of(e) + 1):
            o = s.outputs[port * rules.vcs + w]
            if o.in_use:
                continue
            is_any = True
            if rules.busy_when_full and o.flits >= rules.depth:
                if s.ports[port].total < rules.vcs * rules.depth:
                    is_reserved = True
                continue
            is_asked = True
            by_in = preference
            if rules.prefer_empty and o.flits > 0:
                by_in -= st.LOWER
            resource = port * rules.vcs + w - first
            al.request(m, first, first, requester, resource, by_in, c.priority, 0)
        e = c.set1 if e == c.set0 else st.NONE
    if not is_any:
        return st.BUSY
    if not is_asked:
        return st.RESERVED if is_reserved else st.FULL
    return st.PENDING


@inlined
def _start_switch(s: Any, m: Any, extra: Any, r: int, t: int) -> None:
    """Request crossbar outputs for all entries, and choose the winners."""
    rules, router = s.rules[0], s.routers[r]
    size, first = router.inputs * rules.vcs, router.first * rules.vcs
    first_in, first_out = router.first * rules.input_speedup, router.first * rules.output_speedup
    n_in, n_out = router.inputs * rules.input_speedup, router.outputs * rules.output_speedup
    al.clear(m, first_in, first_out)
    if rules.own_allocator:
        al.clear(extra, first_in, first_out)
    started = 0
    if not router.switch_started:
        started = router.switch
        router.switch_started, router.switch_due = started, t + rules.switch_delay - 1
    for j in range(started):
        at = router.switch_head + j
        if at >= size:
            at -= size
        v = s.switch_queue[first + at]
        if s.inputs[v].state == st.ACTIVE:
            s.switch_results[first + at] = _request_active(s, m, router, v)
        elif rules.own_allocator:
            s.switch_results[first + at] = _request_early(s, extra, router, v)
        else:
            s.switch_results[first + at] = _request_early(s, m, router, v)
    al.allocate(m, r, first_in, first_out, n_in, n_out)
    if rules.own_allocator:
        al.allocate(extra, r, first_in, first_out, n_in, n_out)
    for j in range(started):
        at = router.switch_head + j
        if at >= size:
            at -= size
        if s.switch_results[first + at] == st.PENDING:
            v = s.switch_queue[first + at]
            s.switch_results[first + at] = _won(s, m, extra, first_in, first_out, v)
    if (rules.speculative or rules.switch_delay > 1) and router.switch_due <= t:
        for j in range(router.switch_started):
            at = router.switch_head + j
            if at >= size:
                at -= size
            won = s.switch_results[first + at]
            if won >= 0:
                v = s.switch_queue[first + at]
                s.switch_results[first + at] = _checked(s, router, v, won)


@inlined
def _request_active(s: Any, m: Any, router: Any, v: int) -> int:
    """Request the output of a VC that has one; return why it failed, or PENDING."""
    rules, c = s.rules[0], s.inputs[v]
    port = router.first + c.out
    if s.outputs[port * rules.vcs + c.out_vc].flits >= rules.depth or (
        rules.output_room >= 0 and s.ports[port].flits >= rules.output_room
    ):
        return _full(s, port)
    _request_switch(s, m, router, v, c.out, c.priority)
    return st.PENDING


@compiled
def _request_early(s: Any, m: Any, router: Any, v: int) -> int:
    """Request the outputs of a VC that waits for an output VC in the same step."""
    rules, c = s.rules[0], s.inputs[v]
    result = st.PENDING
    e = c.set0
    while e != st.NONE:
        port = router.first + port_of(e)
        is_free = has_credit = False
        for w in range(first_of(e), last_of(e) + 1):
            o = s.outputs[port * rules.vcs + w]
            if not o.in_use:
                is_free = True
                if o.flits < rules.depth:
                    has_credit = True
        if not is_free or (rules.output_room >= 0 and s.ports[port].flits >= rules.output_room):
            result = st.BUSY
        elif rules.check_credit and not has_credit:
            result = _full(s, port)
        else:
            lower = 0 if rules.own_allocator else st.LOWER
            _request_switch(s, m, router, v, port_of(e), c.priority - lower)
        e = c.set1 if e == c.set0 else st.NONE
    return result


@inlined
def _request_switch(s: Any, m: Any, router: Any, v: int, out: int, priority: int) -> None:
    """Add a request for the crossbar, one at most for each of its inputs and outputs."""
    rules = s.rules[0]
    vc = v % rules.vcs
    own = v // rules.vcs - router.first
    i = own * rules.input_speedup + vc % rules.input_speedup
    o = out * rules.output_speedup + own % rules.output_speedup
    first_in, first_out = router.first * rules.input_speedup, router.first * rules.output_speedup
    k = al.find(m, first_in, i, o)
    if k == st.NONE:
        al.request(m, first_in, first_out, i, o, priority, priority, vc)
        return
    q = m.requests[k]
    offset = s.offsets[first_in + i]
    if q.input_priority < priority or (
        q.input_priority == priority and (vc - offset) % rules.vcs < (q.label - offset) % rules.vcs
    ):
        q.input_priority = q.output_priority = priority
        q.label = vc


@inlined
def _won(s: Any, m: Any, extra: Any, first_in: int, first_out: int, v: int) -> int:
    """Return the crossbar output that an entry won, or CROSSBAR."""
    rules = s.rules[0]
    vc = v % rules.vcs
    x = v // rules.vcs * rules.input_speedup + vc % rules.input_speedup
    k = m.ins[x].match
    won = st.NONE
    if k != st.NONE:
        if m.requests[k].label == vc:
            won = m.requests[k].output
    elif rules.own_allocator:
        k = extra.ins[x].match
        if k != st.NONE and extra.requests[k].label == vc:
            o = extra.requests[k].output
            y = m.outs[first_out + o]
            taken = y.head != st.NONE if rules.mask_by_requests else _is_matched(m, first_in, y)
            if not taken:
                won = o
    if won == st.NONE:
        return st.CROSSBAR
    s.offsets[x] = (vc + rules.input_speedup) % rules.vcs
    return int(won)


@compiled
def _is_matched(m: Any, first_in: int, y: Any) -> bool:
    """Return True if an output is granted to an input that took it."""
    return bool(y.match != st.NONE and m.ins[first_in + m.requests[y.match].input].match == y.match)


@inlined
def _checked(s: Any, router: Any, v: int, won: int) -> int:
    """Return `won`, or why an entry that won the crossbar may not use it."""
    rules, c = s.rules[0], s.inputs[v]
    port, vc = c.out, c.out_vc
    if c.state == st.WAITING:
        if c.grant == st.NONE:
            return st.UNCOUNTED
        port, vc = c.grant // rules.vcs, c.grant % rules.vcs
        if port != won // rules.output_speedup:
            return st.CONFLICT
    if s.outputs[(router.first + port) * rules.vcs + vc].flits >= rules.depth:
        return _full(s, router.first + port)
    return won


@inlined
def _finish_routes(s: Any, r: int) -> None:
    """Compute route sets, and let their VCs wait for an output VC."""
    rules, router = s.rules[0], s.routers[r]
    size, first = router.inputs * rules.vcs, router.first * rules.vcs
    for _ in range(router.routes_started):
        v = s.routes[first + router.routes_head]
        router.routes_head = router.routes_head + 1 if router.routes_head + 1 < size else 0
        router.routes -= 1
        c = s.inputs[v]
        packet = packet_of(s.buffers[v * rules.depth + c.head])
        port = v // rules.vcs - router.first
        c.set0, c.set1 = route(s, r, port, v % rules.vcs, packet)
        c.state = st.WAITING
        _enter_vcs(s, router, v)
        if rules.speculative:
            _enter_switch(s, router, v)
    router.routes_started = 0


@inlined
def _count_stall(s: Any, result: int, is_vcs: bool) -> None:
    g = s.totals[0]
    if result == st.BUSY:
        g.busy += 1
    elif result == st.CONFLICT:
        g.conflict += 1
    elif is_vcs:
        return
    elif result == st.FULL:
        g.full += 1
    elif result == st.RESERVED:
        g.reserved += 1
    elif result == st.CROSSBAR:
        g.crossbar += 1


@inlined
def _finish_vcs(s: Any, r: int) -> None:
    """Take the output VCs that were granted; all others ask again."""
    rules, router = s.rules[0], s.routers[r]
    size, first = router.inputs * rules.vcs, router.first * rules.vcs
    for _ in range(router.vcs_started):
        v = s.vc_queue[first + router.vcs_head]
        result = s.vc_results[first + router.vcs_head]
        router.vcs_head = router.vcs_head + 1 if router.vcs_head + 1 < size else 0
        router.vcs -= 1
        c = s.inputs[v]
        c.grant = st.NONE
        if result < 0:
            _count_stall(s, result, True)
            _enter_vcs(s, router, v)
            continue
        o = s.outputs[first + result]
        o.in_use, o.tail_sent = 1, 0
        c.out, c.out_vc = result // rules.vcs, result % rules.vcs
        c.state = st.ACTIVE
        if not rules.speculative:
            _enter_switch(s, router, v)
    router.vcs_started = 0


@inlined
def _finish_switch(s: Any, r: int, t: int) -> None:
    """Move the front flits of the winners to the crossbar, and let all others ask again."""
    rules, router = s.rules[0], s.routers[r]
    size, first = router.inputs * rules.vcs, router.first * rules.vcs
    for _ in range(router.switch_started):
        v = s.switch_queue[first + router.switch_head]
        result = s.switch_results[first + router.switch_head]
        router.switch_head = router.switch_head + 1 if router.switch_head + 1 < size else 0
        router.switch -= 1
        if result < 0:
            _count_stall(s, result, False)
            _enter_switch(s, router, v)
        else:
            _cross(s, router, v)
    router.switch_started = 0
    for port in range(router.first, router.first + router.inputs):
        x = s.ports[port]
        if x.message:
            capacity = rules.vcs * rules.depth
            place = x.credits_head + x.credits
            if place >= capacity:
                place -= capacity
            s.credit_queues[port * capacity + place] = x.message
            x.credits += 1
            router.credits += 1
            s.totals[0].credits += 1
            x.message = 0


@inlined
def _cross(s: Any, router: Any, v: int) -> None:
    """Take the front flit of a VC out of its buffer, and start what comes behind it."""
    rules, c = s.rules[0], s.inputs[v]
    flit = s.buffers[v * rules.depth + c.head]
    is_tail = flit >> 1 & 1
    c.head = c.head + 1 if c.head + 1 < rules.depth else 0
    c.flits -= 1
    s.totals[0].buffered -= 1
    port = v // rules.vcs
    s.ports[port].held -= 1
    if rules.priority != st.UNORDERED:
        _update_priority(s, v)
    # One more hop, and the VC of the output.
    flit = (flit & ~(63 << 2)) + _HOP + (c.out_vc << 2)
    out = router.first + c.out
    target = s.ports[out].target
    if rules.routing_delay == 0 and flit & 1 and target >= 0:
        q = s.packets[packet_of(flit)]
        if rules.look_two_ahead:
            q.set0, q.set1 = c.carried, st.NONE
        else:
            following = s.ports[target].router
            place = target - s.routers[following].first
            q.set0, q.set1 = route(s, following, place, c.out_vc, packet_of(flit))
    use_credit(s, out, c.out_vc, is_tail)
    s.pairs[port * rules.widest + c.out] += 1
    capacity = router.outputs * rules.vcs * rules.depth
    place = router.crossbar_head + router.crossbar
    begin = router.first * rules.vcs * rules.depth
    _push(s.crossbar_flits, begin, capacity, place, flit)
    _push(s.crossbar_ports, begin, capacity, place, out)
    router.crossbar += 1
    s.ports[port].message |= 1 << v % rules.vcs
    if c.flits == 0:
        if is_tail:
            c.state = st.IDLE
    elif is_tail:
        _start_head(s, router, v, s.buffers[v * rules.depth + c.head])
    else:
        _enter_switch(s, router, v)


@inlined
def _leave(s: Any, router: Any, out: int, flit: int) -> None:
    """Put a flit into the queue of its output port."""
    y = s.ports[out]
    capacity = s.rules[0].vcs * s.rules[0].depth
    _push(s.flit_queues, out * capacity, capacity, y.flits_head + y.flits, flit)
    y.flits += 1
    router.flits += 1


@inlined
def _finish_crossbar(s: Any, r: int) -> None:
    rules, router = s.rules[0], s.routers[r]
    capacity = router.outputs * rules.vcs * rules.depth
    begin = router.first * rules.vcs * rules.depth
    for _ in range(router.crossbar_started):
        at = begin + router.crossbar_head
        _leave(s, router, s.crossbar_ports[at], s.crossbar_flits[at])
        router.crossbar_head = router.crossbar_head + 1
        if router.crossbar_head == capacity:
            router.crossbar_head = 0
        router.crossbar -= 1
    router.crossbar_started = 0
