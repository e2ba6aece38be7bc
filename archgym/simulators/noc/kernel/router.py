"""One internal step of a router: its stages, their queues, and its credits."""

from typing import Any

from archgym.simulators.kit.kernels import compiled, inlined, kept_apart, lowest_bit
from archgym.simulators.noc import state as st
from archgym.simulators.noc.kernel import allocators as al
from archgym.simulators.noc.kernel.routing import element, first_of, last_of, port_of, route

# A flit is a number: its packet, its place in the packet, hops, and if it is tail and head. It is
# put into the buffer downstream when it wins the switch, since credit keeps a place for it there.
_HOP = 1 << 8


@inlined
def flit_of(packet: int, place: int, size: int) -> int:
    """Return a flit as one number."""
    return packet << 36 | place << 20 | (place == size - 1) << 1 | (place == 0)


@inlined
def packet_of(flit: int) -> int:
    """Return the packet of a flit."""
    return flit >> 36


@inlined
def place_of(flit: int) -> int:
    """Return the place of a flit in its packet."""
    return flit >> 20 & 0xFFFF


@inlined
def hops_of(flit: int) -> int:
    """Return the routers that a flit has passed."""
    return flit >> 8 & 0xFFF


@inlined
def step(s: Any, vcs: Any, switch: Any, extra: Any, r: int, t: int, following: int) -> None:
    """Do one internal step of a router.

    Args:
      s: `State`.
      vcs: `Matching` of the VC allocator.
      switch: `Matching` of the switch allocator.
      extra: `Matching` of the allocator of speculative requests.
      r: The router.
      t: The cycle.
      following: The cycle of the next step.
    """
    rules, router = s.rules[0], s.routers[r]
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
        _finish_switch(s, r, t, following)
    if router.crossbar_started and router.crossbar_due <= t:
        _finish_crossbar(s, r, t)


@inlined
def launch(s: Any, way: int, time: int, target: int, mask: int) -> None:
    """Let a flit or credits arrive in a cycle to come; see `ARRIVAL`."""
    g = s.totals[0]
    slot = (time & (s.rules[0].slots - 1)) * st.WAYS + way
    k = g.unused
    a = s.arrivals[k]
    g.unused = a.next
    a.target, a.mask, a.next = target, mask, s.heads[slot]
    s.heads[slot] = k
    g.flying += 1


@inlined
def take_credits(s: Any, port: int, mask: int) -> None:
    """Give credits back to VCs of an output port, or of a node's injection channel."""
    rules, y = s.rules[0], s.ports[port]
    y.room |= mask
    while mask:
        w = lowest_bit(mask)
        mask &= mask - 1
        y.total -= 1
        left = s.used[port * rules.vcs + w] - 1
        s.used[port * rules.vcs + w] = left
        if left == 0:
            y.filled &= ~(1 << w)
            if rules.wait_for_tail:
                y.free |= y.tails & 1 << w


@inlined
def take_vc(s: Any, port: int, w: int) -> None:
    """Give a VC of an output port to a packet."""
    y = s.ports[port]
    y.free &= ~(1 << w)
    y.tails &= ~(1 << w)


@inlined
def send(s: Any, port: int, w: int, down: int, flit: int) -> None:
    """Put a flit into the VC downstream, and free the VC behind a tail."""
    rules, y, c = s.rules[0], s.ports[port], s.vcs[down]
    used = s.used[port * rules.vcs + w] + 1
    s.used[port * rules.vcs + w] = used
    y.total += 1
    y.filled |= 1 << w
    if used >= rules.depth:
        y.room &= ~(1 << w)
    if flit >> 1 & 1:
        y.tails |= 1 << w
        if not rules.wait_for_tail:
            y.free |= 1 << w
    s.buffers[down * rules.depth + c.tail] = flit
    c.tail = c.tail + 1 if c.tail + 1 < rules.depth else 0


@inlined
def _enter_vcs(s: Any, router: Any, v: int) -> None:
    s.vc_queue[router.first * s.rules[0].vcs + router.vcs] = v
    router.vcs += 1


@inlined
def _enter_switch(s: Any, router: Any, v: int) -> None:
    s.switch_queue[router.first * s.rules[0].vcs + router.switch] = v
    router.switch += 1


@inlined
def accept(s: Any, r: int, t: int) -> None:
    """Let flits that arrived be in their VCs, by ascending port."""
    rules, router = s.rules[0], s.routers[r]
    for j in range(router.first, router.first + router.arrivals):
        v = s.landed[j]
        c = s.vcs[v]
        s.ports[c.port].held += 1
        c.flits += 1
        if rules.priority != st.UNORDERED:
            place = c.head + c.flits - 1
            if place >= rules.depth:
                place -= rules.depth
            flit = s.buffers[v * rules.depth + place]
            s.urgencies[v * rules.depth + place] = _urgency(s, flit, t)
            _update_priority(s, v)
        asks = c.state == st.ACTIVE and c.flits == 1
        if c.state == st.IDLE:
            asks = _start_head(s, router, v)
        if asks:
            _enter_switch(s, router, v)
    s.totals[0].buffered += router.arrivals


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
    c = s.vcs[v]
    if c.flits:
        if s.rules[0].priority == st.QUEUE_LENGTH:
            c.priority = c.flits
        else:
            c.priority = s.urgencies[v * s.rules[0].depth + c.head]


@inlined
def _start_head(s: Any, router: Any, v: int) -> bool:
    """Start routing, or VC allocation, of a new front head; return True if it asks the switch."""
    rules, c = s.rules[0], s.vcs[v]
    if rules.routing_delay:
        c.state = st.ROUTING
        s.routes[router.first * rules.vcs + router.routes] = v
        router.routes += 1
        return False
    packet = packet_of(s.buffers[v * rules.depth + c.head])
    c.set0, c.set1 = s.packets[packet].set0, s.packets[packet].set1
    if rules.look_two_ahead:
        _look_ahead(s, router, v, packet)
    c.state = st.WAITING
    _enter_vcs(s, router, v)
    return bool(rules.speculative)


@compiled
def _look_ahead(s: Any, router: Any, v: int, packet: int) -> None:
    """Narrow a head's VCs to those of the port that it takes at the next router."""
    kept_apart()
    c = s.vcs[v]
    port = port_of(c.set0)
    target = s.ports[router.first + port].target
    if target >= s.rules[0].ports:
        return
    following = s.ports[target].router
    place = target - s.routers[following].first
    found, _ = route(s, following, place, int(c.number), packet)
    begin, onward = first_of(found), port_of(found)
    count = (last_of(found) - begin + 1) // s.routers[following].outputs
    first, last = begin + onward * count, begin + (onward + 1) * count - 1
    s.carried[v] = element(onward, first, last, 0)
    c.set0 = element(port, first, last, 0)


@inlined
def range_mask(e: int) -> int:
    """Return the VCs of an element."""
    return (2 << last_of(e)) - (1 << first_of(e))


@inlined
def _start_vcs(s: Any, m: Any, r: int, t: int) -> None:
    """Request output VCs for all entries, and grant them."""
    rules, router = s.rules[0], s.routers[r]
    first, started = router.first * rules.vcs, 0
    if not router.vcs_started:
        started = router.vcs
        router.vcs_started, router.vcs_due = started, t + rules.vc_delay - 1
    for j in range(first, first + started):
        v = s.vc_queue[j]
        s.vcs[v].grant = _bid_vcs(s, m, router, v)
    if m.counts[0] or m.kind == st.MAX_SIZE:
        al.allocate(m, r, first, first, router.inputs * rules.vcs, router.outputs * rules.vcs)
        for j in range(first, first + started):
            v = s.vc_queue[j]
            c = s.vcs[v]
            if c.grant == st.PENDING:
                won = m.ins[_requester(rules, router, v)].match
                c.grant = won if won != st.NONE else st.CONFLICT
        al.clear(m)
    if rules.vc_delay > 1 and rules.busy_when_full and router.vcs_due <= t:
        for j in range(first, first + router.vcs_started):
            c = s.vcs[s.vc_queue[j]]
            if c.grant >= 0:
                port = c.grant // rules.vcs
                if not s.ports[port].room >> (c.grant - port * rules.vcs) & 1:
                    c.grant = st.FULL


@inlined
def _requester(rules: Any, router: Any, v: int) -> int:
    """Return the number by which a VC asks its router's allocator."""
    if rules.shuffle:
        own = v - router.first * rules.vcs
        v += own % rules.vcs * router.inputs + own // rules.vcs - own
    return v


@inlined
def _full(s: Any, port: int) -> int:
    """Return why a VC without credit fails: all of its port is full, or its own share."""
    rules = s.rules[0]
    return st.FULL if s.ports[port].total == rules.vcs * rules.depth else st.RESERVED


@inlined
def _bid_vcs(s: Any, m: Any, router: Any, v: int) -> int:
    """Bid for all free VCs of an entry's route set; return why it failed, or PENDING."""
    rules, c = s.rules[0], s.vcs[v]
    found = st.BUSY
    e = c.set0
    while e != st.NONE:
        port = router.first + port_of(e)
        y = s.ports[port]
        free = y.free & range_mask(e)
        if rules.busy_when_full and free:
            free &= y.room
            found = st.FULL if found == st.BUSY else found
        if free:
            found = st.PENDING
            requester = _requester(rules, router, v)
            if rules.prefer_empty:
                if free & y.filled:
                    low = (e & 255) - st.LOWER
                    al.bid(m, requester, port, free & y.filled, low, c.priority, 0)
                free &= ~y.filled
            if free:
                al.bid(m, requester, port, free, e & 255, c.priority, 0)
        e = c.set1 if e == c.set0 else st.NONE
    return found


@inlined
def _start_switch(s: Any, m: Any, extra: Any, r: int, t: int) -> None:
    """Request crossbar outputs for all entries, and choose the winners."""
    rules, router = s.rules[0], s.routers[r]
    first = router.first * rules.vcs
    first_in, first_out = router.first * rules.input_speedup, router.first * rules.output_speedup
    n_in, n_out = router.inputs * rules.input_speedup, router.outputs * rules.output_speedup
    started = 0
    if not router.switch_started:
        started = router.switch
        router.switch_started, router.switch_due = started, t + rules.switch_delay - 1
    for j in range(first, first + started):
        v = s.switch_queue[j]
        c = s.vcs[v]
        if c.state == st.ACTIVE:
            if s.ports[c.out].room >> c.out_vc & 1 and _has_space(s, c.out, t):
                c.won = st.PENDING
                _bid_switch(s, m, router, v, c.out, c.priority)
            else:
                c.won = _full(s, c.out)
        elif rules.own_allocator:
            _bid_early(s, extra, router, v, t)
        else:
            _bid_early(s, m, router, v, t)
    if m.counts[0] or m.kind == st.MAX_SIZE:
        al.allocate(m, r, first_in, first_out, n_in, n_out)
    if rules.own_allocator and (extra.counts[0] or extra.kind == st.MAX_SIZE):
        al.allocate(extra, r, first_in, first_out, n_in, n_out)
    for j in range(first, first + started):
        v = s.switch_queue[j]
        if s.vcs[v].won == st.PENDING:
            s.vcs[v].won = _won(s, m, extra, v)
    al.clear(m)
    if rules.own_allocator:
        al.clear(extra)
    if (rules.speculative or rules.switch_delay > 1) and router.switch_due <= t:
        for j in range(first, first + router.switch_started):
            v = s.switch_queue[j]
            if s.vcs[v].won >= 0:
                s.vcs[v].won = _checked(s, v)


@inlined
def _has_space(s: Any, port: int, t: int) -> bool:
    """Return True if the output queue of a port may take a flit."""
    room = s.rules[0].output_room
    return bool(room < 0 or max(0, s.ports[port].departs + 1 - t) < room)


@compiled
def _bid_early(s: Any, m: Any, router: Any, v: int, t: int) -> None:
    """Bid for the outputs of a VC that waits for an output VC in the same step."""
    rules, c = s.rules[0], s.vcs[v]
    c.won = st.PENDING
    e = c.set0
    while e != st.NONE:
        port = router.first + port_of(e)
        y = s.ports[port]
        free = y.free & range_mask(e)
        if not free or not _has_space(s, port, t):
            c.won = st.BUSY
        elif rules.check_credit and not free & y.room:
            c.won = _full(s, port)
        else:
            lower = 0 if rules.own_allocator else st.LOWER
            _bid_switch(s, m, router, v, port, c.priority - lower)
        e = c.set1 if e == c.set0 else st.NONE


@inlined
def _bid_switch(s: Any, m: Any, router: Any, v: int, port: int, priority: int) -> None:
    """Bid for the crossbar, once at most for each of its inputs and outputs."""
    rules, c = s.rules[0], s.vcs[v]
    if rules.output_speedup > 1:
        port = port * rules.output_speedup + (c.port - router.first) % rules.output_speedup
    k = al.find(m, c.crossbar, port)
    if k == st.NONE:
        al.bid(m, c.crossbar, port, 1, priority, priority, c.number)
        return
    q = m.bids[k]
    if q.by_in <= priority:
        offset, w = s.offsets[c.crossbar], int(c.number)
        here, there = w - offset, q.label - offset
        here, there = here + (here < 0) * rules.vcs, there + (there < 0) * rules.vcs
        if q.by_in < priority or here < there:
            q.by_in = q.by_out = priority
            q.label = w


@inlined
def _won(s: Any, m: Any, extra: Any, v: int) -> int:
    """Return the crossbar output that an entry won, or CROSSBAR."""
    rules, c = s.rules[0], s.vcs[v]
    x = m.ins[c.crossbar]
    won = st.CROSSBAR
    if x.match != st.NONE:
        if m.bids[x.bid].label == c.number:
            won = x.match
    elif rules.own_allocator:
        x = extra.ins[c.crossbar]
        if x.match != st.NONE and extra.bids[x.bid].label == c.number:
            # With select, an output that its input gave up for another stays granted.
            granted = m.outs[x.match].match != st.NONE
            taken = m.asks[x.match] > 0 if rules.mask_by_requests else granted
            if not taken:
                won = x.match
    if won >= 0:
        following = c.number + rules.input_speedup
        s.offsets[c.crossbar] = following if following < rules.vcs else following - rules.vcs
    return won


@inlined
def _checked(s: Any, v: int) -> int:
    """Return the output that an entry won, or why it may not use the crossbar."""
    rules, c = s.rules[0], s.vcs[v]
    port, vc = int(c.out), int(c.out_vc)
    if c.state == st.WAITING:
        if c.grant < 0:
            return st.UNCOUNTED
        port = c.grant // rules.vcs
        vc = c.grant - port * rules.vcs
        if port != c.won // rules.output_speedup:
            return st.CONFLICT
    return int(c.won) if s.ports[port].room >> vc & 1 else _full(s, port)


@inlined
def _finish_routes(s: Any, r: int) -> None:
    """Compute route sets, and let their VCs wait for an output VC."""
    rules, router = s.rules[0], s.routers[r]
    first, n = router.first * rules.vcs, router.routes_started
    for j in range(first, first + n):
        v = s.routes[j]
        c = s.vcs[v]
        packet = packet_of(s.buffers[v * rules.depth + c.head])
        c.set0, c.set1 = route(s, r, c.port - router.first, c.number, packet)
        c.state = st.WAITING
        _enter_vcs(s, router, v)
        if rules.speculative:
            _enter_switch(s, router, v)
    router.routes_started = 0
    router.routes -= n
    _move(s.routes, first, n, router.routes)


@inlined
def _move(queue: Any, first: int, n: int, rest: int) -> None:
    """Move the rest of a queue to its front."""
    for j in range(first, first + rest):
        queue[j] = queue[j + n]


@inlined
def _finish_vcs(s: Any, r: int) -> None:
    """Take the output VCs that were granted; all others ask again, behind the rest."""
    rules, router = s.rules[0], s.routers[r]
    first, n = router.first * rules.vcs, router.vcs_started
    failed = 0
    for j in range(first, first + n):
        v = s.vc_queue[j]
        c = s.vcs[v]
        if c.grant < 0:
            if c.grant == st.BUSY or c.grant == st.CONFLICT:
                s.stalls[-2 - c.grant] += 1
            s.failed[failed] = v
            failed += 1
        else:
            c.out = c.grant // rules.vcs
            c.out_vc = c.grant - c.out * rules.vcs
            c.down = s.ports[c.out].target * rules.vcs + c.out_vc
            c.state = st.ACTIVE
            take_vc(s, c.out, c.out_vc)
            if not rules.speculative:
                _enter_switch(s, router, v)
        c.grant = st.NONE
    router.vcs_started = 0
    router.vcs -= n
    _move(s.vc_queue, first, n, router.vcs)
    for j in range(failed):
        _enter_vcs(s, router, s.failed[j])


@inlined
def _finish_switch(s: Any, r: int, t: int, following: int) -> None:
    """Move the front flits of the winners to the crossbar, and let all others ask again."""
    rules, router = s.rules[0], s.routers[r]
    first, n = router.first * rules.vcs, router.switch_started
    winners = again = 0
    # Entries that ask again come behind the rest, in the order in which they are done.
    for j in range(first, first + n):
        v = s.switch_queue[j]
        c = s.vcs[v]
        is_again = c.won < 0
        if is_again:
            if c.won != st.UNCOUNTED:
                s.stalls[-2 - c.won] += 1
        else:
            s.winners[winners] = c.port
            winners += 1
            is_tail = _cross(s, router, v, following)
            if c.flits == 0:
                if is_tail:
                    c.state = st.IDLE
            else:
                is_again = _start_head(s, router, v) if is_tail else True
        if is_again:
            s.failed[again] = v
            again += 1
    router.switch_started = 0
    router.switch -= n
    _move(s.switch_queue, first, n, router.switch)
    for j in range(again):
        _enter_switch(s, router, s.failed[j])
    for j in range(winners):
        x = s.ports[s.winners[j]]
        if x.message:
            leaves = max(t, x.returns + 1)
            x.returns = leaves
            way, wait = st.TO_NODE, 0
            if x.source < rules.ports:
                way, wait = st.TO_ROUTER, rules.credit_delay
            launch(s, way, leaves + x.reverse_latency + 1 + wait, x.source, x.message)
            s.totals[0].credits += 1
            x.message = 0


@inlined
def _cross(s: Any, router: Any, v: int, following: int) -> bool:
    """Take the front flit of a VC out of its buffer, and return True if it is a tail."""
    rules, c = s.rules[0], s.vcs[v]
    flit = s.buffers[v * rules.depth + c.head] + _HOP
    c.head = c.head + 1 if c.head + 1 < rules.depth else 0
    c.flits -= 1
    s.totals[0].buffered -= 1
    x = s.ports[c.port]
    x.held -= 1
    x.message |= 1 << c.number
    if rules.priority != st.UNORDERED:
        _update_priority(s, v)
    target = s.ports[c.out].target
    if rules.routing_delay == 0 and flit & 1 and target < rules.ports:
        q = s.packets[packet_of(flit)]
        if rules.look_two_ahead:
            q.set0, q.set1 = s.carried[v], st.NONE
        else:
            onward = s.ports[target].router
            place = target - s.routers[onward].first
            q.set0, q.set1 = route(s, onward, place, int(c.out_vc), packet_of(flit))
    send(s, c.out, c.out_vc, c.down, flit)
    s.pairs[c.port * rules.widest + c.out - router.first] += 1
    if rules.crossbar_delay == 1 and rules.output_room < 0:
        _depart(s, c.out, c.down, following)
    else:
        s.crossbar[router.first * rules.vcs * rules.depth + router.crossbar] = c.down
        router.crossbar += 1
    return bool(flit >> 1 & 1)


@inlined
def _depart(s: Any, out: int, down: int, t: int) -> None:
    """Send a flit that enters an output queue in a cycle, behind those in front of it."""
    y = s.ports[out]
    leaves = max(t, y.departs + 1)
    y.departs = leaves
    y.sent += 1
    launch(s, st.FLIT, leaves + y.latency + 1, down, 0)


@inlined
def _finish_crossbar(s: Any, r: int, t: int) -> None:
    rules, router = s.rules[0], s.routers[r]
    begin, n = router.first * rules.vcs * rules.depth, router.crossbar_started
    for j in range(begin, begin + n):
        down = s.crossbar[j]
        _depart(s, s.ports[s.vcs[down].port].source, down, t)
    router.crossbar_started = 0
    router.crossbar -= n
    _move(s.crossbar, begin, n, router.crossbar)
