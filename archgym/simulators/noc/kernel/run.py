"""The cycle of a network: nodes, channels and routers, in this order."""

from typing import Any

from archgym.runtime.kernels import compiled, entry_point, inlined, kept_apart, pointer
from archgym.simulators.noc.kernel import state as st
from archgym.simulators.noc.kernel.randoms import fraction, integer
from archgym.simulators.noc.kernel.router import (
    flit_of,
    hops_of,
    packet_of,
    place_of,
    step,
    take_credit,
    use_credit,
    vc_of,
)
from archgym.simulators.noc.kernel.routing import (
    port_of,
    range_of,
    route,
)

_MILLION = 1_000_000
_STATE: Any = st.State


@entry_point(seconds=40.0)
def advance(
    arrays: Any, vcs: Any, switch: Any, extra: Any, speeds: Any, stop: int, room: Any
) -> None:
    """Run cycles until `stop` says that the run ends, or a limit is reached.

    Args:
      arrays: `State` of arrays.
      vcs: `Matching` of arrays, of VC allocators.
      switch: `Matching` of arrays, of switch allocators.
      extra: `Matching` of arrays, of allocators of speculative requests.
      speeds: (3,) steps that a router does in a cycle, steps that it is behind, and packets that a
        node makes in a cycle by itself.
      stop: One of `UNTIL_...`.
      room: (2,) packets and flits that the arrays hold.
    """
    s = _pointers(arrays)
    v = _matching(vcs)
    w = _matching(switch)
    x = _matching(extra)
    rules, g = s.rules[0], s.totals[0]
    g.status = st.PAUSED
    while True:
        if stop == st.UNTIL_TIME and g.time >= g.until:
            return
        if stop == st.UNTIL_DRAINED and (g.recorded == 0 and _is_drained(s)):
            return
        if stop == st.UNTIL_DRAINED and g.time >= g.until:
            return
        if stop == st.UNTIL_EMPTY and g.in_flight == 0:
            return
        if stop == st.UNTIL_QUIET and g.credits == 0:
            return
        if (
            g.packets + rules.nodes > room[0]
            or g.made_flits + rules.nodes * rules.largest > room[1]
        ) and rules.generate:
            g.status = st.GROW
            return
        g.status = _cycle(s, v, w, x, speeds)
        if g.status != st.PAUSED:
            return
        if stop == st.UNTIL_ARRIVED and g.outstanding == 0 and g.moving == 0:
            _skip(s, speeds)


@compiled
def _pointers(a: Any) -> Any:
    return _STATE(
        pointer(a.rules), pointer(a.ports), pointer(a.routers), pointer(a.inputs),
        pointer(a.outputs), pointer(a.nodes), pointer(a.packets), pointer(a.order),
        pointer(a.coordinates), pointer(a.table_x), pointer(a.table_y), pointer(a.buffers),
        pointer(a.urgencies), pointer(a.flit_queues), pointer(a.credit_queues), pointer(a.routes),
        pointer(a.vc_queue), pointer(a.vc_results), pointer(a.switch_queue),
        pointer(a.switch_results), pointer(a.crossbar_flits), pointer(a.crossbar_ports),
        pointer(a.flit_slots), pointer(a.flit_targets), pointer(a.flit_counts),
        pointer(a.credit_slots), pointer(a.credit_targets), pointer(a.credit_counts),
        pointer(a.sent_at), pointer(a.arrived_at), pointer(a.came), pointer(a.integers),
        pointer(a.fractions), pointer(a.totals), pointer(a.sizes), pointer(a.offsets),
        pointer(a.targets), pointer(a.pairs),
    )  # fmt: skip


@compiled
def _matching(m: Any) -> Any:
    return st.Matching(
        m.kind, m.iterations, m.is_matrix, pointer(m.requests), pointer(m.ins), pointer(m.outs),
        pointer(m.in_list), pointer(m.out_list), pointer(m.counts), pointer(m.diagonals),
        pointer(m.in_times), pointer(m.out_times), m.in_scale, m.out_scale, pointer(m.scratch),
    )  # fmt: skip


@compiled
def _cycle(s: Any, v: Any, w: Any, x: Any, speeds: Any) -> int:
    """Do one cycle, and return a status, PAUSED where the run goes on."""
    kept_apart()
    rules, g = s.rules[0], s.totals[0]
    t = g.time
    slot = t % rules.slots
    came = _deliver_flits(s, slot)
    _deliver_credits(s, slot)
    if rules.generate:
        _generate(s, speeds[2], t)
    else:
        _create(s, t)
    for n in range(rules.nodes):
        if s.nodes[n].packet != st.NONE:
            _send(s, n, t)
    for j in range(came):
        _finish(s, s.came[j], t)
    steps = 0
    speeds[1] += speeds[0]
    while speeds[1] >= 1.0:
        speeds[1] -= 1.0
        steps += 1
    for r in range(rules.routers):
        router = s.routers[r]
        if not router.busy:
            continue
        fresh = router.arrivals
        for _ in range(steps):
            step(s, v, w, x, r, t)
        if fresh:
            for port in range(router.first, router.first + router.inputs):
                if s.ports[port].held > g.held_max:
                    g.held_max = s.ports[port].held
        if router.flits or router.credits:
            _put_out(s, router, t)
        is_working = router.routes + router.vcs + router.switch + router.crossbar
        if is_working + router.flits + router.credits == 0:
            router.busy = 0
            g.moving -= 1
    g.time = t + 1
    g.buffered_sum += g.buffered
    if came or g.outstanding == 0:
        g.idle = 0
    else:
        g.idle += 1
    if not rules.generate:
        if g.arrived == g.expected:
            return st.OK
        if g.idle >= rules.deadlock:
            return st.DEADLOCK
        if g.time >= rules.limit:
            return st.LIMIT
    return st.PAUSED


@compiled
def _skip(s: Any, speeds: Any) -> None:
    """Go on to the next packet, where nothing moves."""
    kept_apart()
    rules, g = s.rules[0], s.totals[0]
    following = rules.limit - 1
    for n in range(rules.nodes):
        d = s.nodes[n]
        if d.packet != st.NONE or d.reply != st.NONE:
            return
        if d.next < d.end:
            due = _due(s, s.order[d.next])
            if due < following:
                following = due
    if speeds[0] == 1.0:
        g.time = max(g.time, following)
    while g.time < following:
        g.time += 1
        speeds[1] += speeds[0]
        while speeds[1] >= 1.0:
            speeds[1] -= 1.0


@inlined
def _wake(s: Any, r: int) -> None:
    if not s.routers[r].busy:
        s.routers[r].busy = 1
        s.totals[0].moving += 1


@inlined
def _deliver_flits(s: Any, slot: int) -> int:
    """Hand flits to nodes and routers; return how many nodes got one."""
    rules = s.rules[0]
    came = 0
    begin = slot * (rules.ports + rules.nodes)
    for j in range(begin, begin + s.flit_counts[slot]):
        target, flit = s.flit_targets[j], s.flit_slots[j]
        if target >= 0:
            s.ports[target].arrived = flit
            r = s.ports[target].router
            s.routers[r].arrivals += 1
            _wake(s, r)
        else:
            n = -1 - target
            s.nodes[n].arrived = flit
            # Nodes in ascending order; they come nearly so.
            k = came
            while k > 0 and s.came[k - 1] > n:
                s.came[k] = s.came[k - 1]
                k -= 1
            s.came[k] = n
            came += 1
    s.totals[0].moving -= s.flit_counts[slot]
    s.flit_counts[slot] = 0
    return came


@inlined
def _deliver_credits(s: Any, slot: int) -> None:
    rules = s.rules[0]
    begin = slot * (rules.ports + rules.nodes)
    for j in range(begin, begin + s.credit_counts[slot]):
        target = s.credit_targets[j]
        if target >= rules.ports:
            take_credit(s, target, s.credit_slots[j])
        else:
            s.ports[target].returned = s.credit_slots[j]
            r = s.ports[target].router
            s.routers[r].returns = 1
            _wake(s, r)
    s.totals[0].moving -= s.credit_counts[slot]
    s.totals[0].credits -= s.credit_counts[slot]
    s.credit_counts[slot] = 0


@inlined
def _launch_flit(s: Any, target: int, flit: int, t: int, latency: int) -> None:
    rules = s.rules[0]
    slot = (t + latency + 1) % rules.slots
    j = slot * (rules.ports + rules.nodes) + s.flit_counts[slot]
    s.flit_slots[j], s.flit_targets[j] = flit, target
    s.flit_counts[slot] += 1
    s.totals[0].moving += 1


@inlined
def _launch_credit(s: Any, target: int, returned: int, t: int, latency: int) -> None:
    rules = s.rules[0]
    slot = (t + latency + 1) % rules.slots
    j = slot * (rules.ports + rules.nodes) + s.credit_counts[slot]
    s.credit_slots[j], s.credit_targets[j] = returned, target
    s.credit_counts[slot] += 1
    s.totals[0].moving += 1


@inlined
def _put_out(s: Any, router: Any, t: int) -> None:
    """Send a flit of each output queue and a message of each credit queue."""
    rules = s.rules[0]
    capacity = rules.vcs * rules.depth
    for port in range(router.first, router.first + max(router.inputs, router.outputs)):
        y = s.ports[port]
        if y.flits:
            flit = s.flit_queues[port * capacity + y.flits_head]
            y.flits_head = y.flits_head + 1 if y.flits_head + 1 < capacity else 0
            y.flits -= 1
            router.flits -= 1
            y.sent += 1
            _launch_flit(s, y.target, flit, t, y.latency)
        if y.credits:
            returned = s.credit_queues[port * capacity + y.credits_head]
            y.credits_head = y.credits_head + 1 if y.credits_head + 1 < capacity else 0
            y.credits -= 1
            router.credits -= 1
            wait = 0 if y.source >= rules.ports else rules.credit_delay
            _launch_credit(s, y.source, returned, t, y.reverse_latency + wait)


@compiled
def _due(s: Any, packet: int) -> int:
    """Return when a packet may be made, or a time after all others if it waits for another."""
    q = s.packets[packet]
    if q.waits_for == st.NONE:
        return int(q.created)
    before = s.packets[q.waits_for].tail_at
    return int(before + q.created) if before >= 0 else st.LATEST * _MILLION


@compiled
def _create(s: Any, t: int) -> None:
    """Let nodes without packet take their next reply, or the next packet of the list."""
    kept_apart()
    rules = s.rules[0]
    for n in range(rules.nodes):
        d = s.nodes[n]
        if d.packet != st.NONE:
            continue
        if d.reply != st.NONE:
            packet = d.reply
            d.reply = s.packets[packet].next
        elif d.next < d.end:
            packet = s.order[d.next]
            due = _due(s, packet)
            if due > t:
                continue
            s.packets[packet].created = due
            d.next += 1
        else:
            continue
        _begin(s, n, packet)


@compiled
def _begin(s: Any, n: int, packet: int) -> None:
    """Put the flits of a packet into the queue of its node."""
    d, g = s.nodes[n], s.totals[0]
    d.made += 1
    s.packets[packet].sequence = d.made
    d.packet, d.flit, d.vc = packet, 0, st.NONE
    g.outstanding += 1
    g.in_flight += s.packets[packet].size


@compiled
def _generate(s: Any, rate: float, t: int) -> None:
    """Let nodes without packet draw whether they make one."""
    kept_apart()
    rules, g = s.rules[0], s.totals[0]
    for n in range(rules.nodes):
        d = s.nodes[n]
        if d.packet != st.NONE:
            continue
        is_made = False
        while not is_made and d.clock <= t:
            is_made = fraction(s.fractions) < rate
            if is_made:
                k = g.packets
                q = s.packets[k]
                q.created, q.source, q.kind = d.clock, n, 0
                q.size = s.sizes[0]
                if rules.size_count > 1:
                    q.size = s.sizes[integer(s.integers, rules.size_count)]
                if rules.pattern:
                    q.target = s.targets[n]
                else:
                    q.target = integer(s.integers, rules.nodes)
                integer(s.integers, 1)
                q.flit = g.made_flits
                q.injected = q.head_at = q.tail_at = q.reply = q.waits_for = st.NONE
                q.is_recorded = g.is_recording or (g.drain_time >= 0 and d.clock < g.drain_time)
                g.packets += 1
                g.made_flits += q.size
                if q.is_recorded:
                    g.recorded += q.size
                _begin(s, n, k)
            d.clock += 1
        if g.drain_time >= 0 and d.clock > g.drain_time:
            d.drained = 1


@compiled
def _is_drained(s: Any) -> bool:
    for n in range(s.rules[0].nodes):  # noqa: SIM110 - Numba compiles no generator
        if not s.nodes[n].drained:
            return False
    return True


@inlined
def _send(s: Any, n: int, t: int) -> None:
    """Send the next flit of a node's packet, if its VC has room."""
    rules, d = s.rules[0], s.nodes[n]
    packet = d.packet
    q = s.packets[packet]
    channel = rules.ports + n
    entry = d.port - s.routers[d.router].first
    if d.vc == st.NONE:
        first, last = range_of(rules, q.kind)
        if rules.look_two_ahead:
            q.set0, q.set1 = route(s, d.router, entry, first, packet)
            count = (last - first + 1) // s.routers[d.router].outputs
            first += port_of(q.set0) * count
            last = first + count - 1
        vc = _choose(s, n, first, last)
        if vc == st.NONE:
            return
        d.vc = d.last_vc = vc
        o = s.outputs[channel * rules.vcs + vc]
        o.in_use, o.tail_sent = 1, 0
        q.injected = t
        if rules.routing_delay == 0 and not rules.look_two_ahead:
            q.set0, q.set1 = route(s, d.router, entry, vc, packet)
    elif s.outputs[channel * rules.vcs + d.vc].flits >= rules.depth:
        return
    flit = flit_of(packet, d.flit, q.size, d.vc)
    use_credit(s, channel, d.vc, flit >> 1 & 1)
    s.sent_at[q.flit + d.flit] = t
    s.ports[channel].sent += 1
    _launch_flit(s, d.port, flit, t, s.ports[channel].latency)
    d.flit += 1
    if d.flit == q.size:
        d.packet = st.NONE


@inlined
def _choose(s: Any, n: int, first: int, last: int) -> int:
    """Return the next VC behind the last one that is free and has credit, or NONE."""
    rules = s.rules[0]
    before = s.nodes[n].last_vc
    count = last - first + 1
    for i in range(1, count + 1):
        w = first
        if first <= before <= last:
            w = first + (before - first + i) % count
        o = s.outputs[(rules.ports + n) * rules.vcs + w]
        if not o.in_use and o.flits < rules.depth:
            return w
    return st.NONE


@inlined
def _finish(s: Any, n: int, t: int) -> None:
    """Return the credit of a flit that arrived at a node, and end its packet behind the tail."""
    rules, g = s.rules[0], s.totals[0]
    d = s.nodes[n]
    flit = d.arrived
    port = d.port
    g.credits += 1
    wait = s.ports[port].latency + rules.credit_delay
    _launch_credit(s, port, 1 << vc_of(flit), t, wait)
    k = packet_of(flit)
    q = s.packets[k]
    g.flits += 1
    g.in_flight -= 1
    s.arrived_at[q.flit + place_of(flit)] = t
    if q.is_recorded:
        g.recorded -= 1
    if flit & 1:
        q.head_at = t
    if not flit >> 1 & 1:
        return
    q.tail_at, q.hops = t, hops_of(flit)
    g.arrived += 1
    g.outstanding -= 1
    if q.reply != st.NONE:
        s.packets[q.reply].created = t
        s.packets[q.reply].next = st.NONE
        if d.reply == st.NONE:
            d.reply = q.reply
        else:
            s.packets[d.last_reply].next = q.reply
        d.last_reply = q.reply
