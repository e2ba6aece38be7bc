"""The cycle of a network: nodes, channels and routers, in this order."""

from typing import Any

from archgym.simulators.kit.kernels import (
    compiled,
    entry_point,
    inlined,
    kept_apart,
    lowest_bit,
    pointer,
)
from archgym.simulators.noc import state as st
from archgym.simulators.noc.kernel.randoms import LONG, integer, refill
from archgym.simulators.noc.kernel.router import (
    accept,
    flit_of,
    hops_of,
    launch,
    packet_of,
    place_of,
    send,
    step,
    take_credits,
    take_vc,
)
from archgym.simulators.noc.kernel.routing import port_of, range_of, route

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
        if rules.generate and (
            g.packets + rules.nodes > room[0]
            or g.made_flits + rules.nodes * rules.largest > room[1]
        ):
            g.status = st.GROW
            return
        g.status = _cycle(s, v, w, x, speeds)
        if g.status != st.PAUSED:
            return
        if stop == st.UNTIL_ARRIVED and g.outstanding == 0 and g.flying == 0:
            _skip(s, speeds)


@compiled
def _pointers(a: Any) -> Any:
    return _STATE(
        pointer(a.rules), pointer(a.ports), pointer(a.routers), pointer(a.vcs), pointer(a.nodes),
        pointer(a.packets), pointer(a.order), pointer(a.coordinates), pointer(a.table_x),
        pointer(a.table_y), pointer(a.buffers), pointer(a.urgencies), pointer(a.used),
        pointer(a.carried), pointer(a.routes), pointer(a.vc_queue), pointer(a.switch_queue),
        pointer(a.crossbar), pointer(a.failed), pointer(a.winners), pointer(a.came),
        pointer(a.busy), pointer(a.arrivals), pointer(a.heads), pointer(a.sent_at),
        pointer(a.arrived_at), pointer(a.integers), pointer(a.fractions), pointer(a.totals),
        pointer(a.stalls), pointer(a.sizes), pointer(a.offsets), pointer(a.targets),
        pointer(a.pairs), pointer(a.landed),
    )  # fmt: skip


@compiled
def _matching(m: Any) -> Any:
    return st.Matching(
        m.kind, m.iterations, m.is_matrix, m.width, pointer(m.bids), pointer(m.ins),
        pointer(m.outs), pointer(m.asks), pointer(m.taken), pointer(m.hard), pointer(m.counts),
        pointer(m.diagonals), pointer(m.in_times), pointer(m.out_times), m.in_scale, m.out_scale,
    )  # fmt: skip


@inlined
def _cycle(s: Any, v: Any, w: Any, x: Any, speeds: Any) -> int:
    """Do one cycle, and return a status, PAUSED where the run goes on."""
    rules, g = s.rules[0], s.totals[0]
    t = g.time
    slot = (t & (rules.slots - 1)) * st.WAYS
    came = _deliver_flits(s, slot + st.FLIT)
    _deliver_credits(s, slot + st.TO_NODE)
    if rules.generate:
        _generate(s, speeds[2], t)
    else:
        _create(s, t)
    for n in range(rules.nodes):
        if s.nodes[n].packet != st.NONE:
            _send(s, n, t)
    for j in range(came):
        _finish(s, s.came[j], t)
    _deliver_credits(s, slot + st.TO_ROUTER)
    steps = 0
    speeds[1] += speeds[0]
    while speeds[1] >= 1.0:
        speeds[1] -= 1.0
        steps += 1
    for word in range((rules.routers + 31) >> 5):
        left = s.busy[word]
        while left:
            r = word * 32 + lowest_bit(left)
            left &= left - 1
            router = s.routers[r]
            accept(s, r, t)
            for j in range(steps):
                step(s, v, w, x, r, t, t + (j == steps - 1))
            for j in range(router.first, router.first + router.arrivals):
                g.held_max = max(g.held_max, s.ports[s.vcs[s.landed[j]].port].held)
            router.arrivals = 0
            if router.routes + router.vcs + router.switch + router.crossbar == 0:
                s.busy[word] &= ~(1 << (r & 31))
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
def _recycle(s: Any, k: int) -> int:
    """Give an arrival's record back, and return the next of its list."""
    g, a = s.totals[0], s.arrivals[k]
    following = int(a.next)
    a.next = g.unused
    g.unused = k
    g.flying -= 1
    return following


@inlined
def _deliver_flits(s: Any, slot: int) -> int:
    """Hand flits to nodes and routers; return how many nodes got one."""
    rules = s.rules[0]
    came = 0
    k = int(s.heads[slot])
    s.heads[slot] = st.NONE
    while k != st.NONE:
        v = s.arrivals[k].target
        k = _recycle(s, k)
        port = s.vcs[v].port
        if port >= rules.ports:
            s.came[came] = v
            came += 1
            continue
        r = s.ports[port].router
        router = s.routers[r]
        s.busy[r >> 5] |= 1 << (r & 31)
        j = router.first + router.arrivals
        router.arrivals += 1
        while j > router.first and s.landed[j - 1] > v:
            s.landed[j] = s.landed[j - 1]
            j -= 1
        s.landed[j] = v
    return came


@inlined
def _deliver_credits(s: Any, slot: int) -> None:
    k = int(s.heads[slot])
    s.heads[slot] = st.NONE
    while k != st.NONE:
        a = s.arrivals[k]
        take_credits(s, a.target, a.mask)
        s.totals[0].credits -= 1
        k = _recycle(s, k)


@compiled
def _due(s: Any, packet: int) -> int:
    """Return when a packet may be made, or a time after all others if it waits for another."""
    q = s.packets[packet]
    if q.waits_for == st.NONE:
        return int(q.created)
    before = s.packets[q.waits_for].tail_at
    return int(before + q.created) if before >= 0 else st.LATEST * _MILLION


@inlined
def _create(s: Any, t: int) -> None:
    """Let nodes without packet take their next reply, or the next packet of the list."""
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


@inlined
def _begin(s: Any, n: int, packet: int) -> None:
    """Put the flits of a packet into the queue of its node."""
    d, g = s.nodes[n], s.totals[0]
    d.made += 1
    s.packets[packet].sequence = d.made
    d.packet, d.flit, d.vc = packet, 0, st.NONE
    g.outstanding += 1
    g.in_flight += s.packets[packet].size


@inlined
def _generate(s: Any, rate: float, t: int) -> None:
    """Let nodes without packet draw whether they make one."""
    rules, g = s.rules[0], s.totals[0]
    drawn = g.drawn
    for n in range(rules.nodes):
        d = s.nodes[n]
        if d.packet != st.NONE:
            continue
        is_made = False
        while not is_made and d.clock <= t:
            if drawn == LONG:
                refill(s.fractions, 1, 1)
                drawn = 0
            is_made = s.fractions[drawn] < rate
            drawn += 1
            if is_made:
                _make(s, n)
            d.clock += 1
        if g.drain_time >= 0 and d.clock > g.drain_time:
            d.drained = 1
    g.drawn = drawn


@compiled
def _make(s: Any, n: int) -> None:
    """Draw a packet of a node."""
    kept_apart()
    rules, g, d = s.rules[0], s.totals[0], s.nodes[n]
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
    y = s.ports[channel]
    if d.vc == st.NONE:
        entry = d.port - s.routers[d.router].first
        first, last = range_of(rules, q.kind)
        if rules.look_two_ahead:
            q.set0, q.set1 = route(s, d.router, entry, first, packet)
            count = (last - first + 1) // s.routers[d.router].outputs
            first += port_of(q.set0) * count
            last = first + count - 1
        # The next VC behind the last one that is free and has credit.
        able = y.free & y.room & ((2 << last) - (1 << first))
        before = d.last_vc
        if not first <= before <= last:
            able &= 1 << first
        elif able >> (before + 1):
            able = able >> (before + 1) << (before + 1)
        if able == 0:
            return
        d.vc = d.last_vc = lowest_bit(able)
        take_vc(s, channel, d.vc)
        q.injected = t
        if rules.routing_delay == 0 and not rules.look_two_ahead:
            q.set0, q.set1 = route(s, d.router, entry, d.vc, packet)
    elif not y.room >> d.vc & 1:
        return
    down = d.port * rules.vcs + d.vc
    send(s, channel, d.vc, down, flit_of(packet, d.flit, q.size))
    s.sent_at[q.flit + d.flit] = t
    y.sent += 1
    launch(s, st.FLIT, t + y.latency + 1, down, 0)
    d.flit += 1
    if d.flit == q.size:
        d.packet = st.NONE


@inlined
def _finish(s: Any, v: int, t: int) -> None:
    """Return the credit of a flit that arrived at a node, and end its packet behind the tail."""
    rules, g, c = s.rules[0], s.totals[0], s.vcs[v]
    flit = s.buffers[v * rules.depth + c.head]
    c.head = c.head + 1 if c.head + 1 < rules.depth else 0
    g.credits += 1
    x = s.ports[c.port]
    back = t + x.reverse_latency + rules.credit_delay + 1
    launch(s, st.TO_ROUTER, back, x.source, 1 << c.number)
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
        d = s.nodes[c.port - rules.ports]
        s.packets[q.reply].created = t
        s.packets[q.reply].next = st.NONE
        if d.reply == st.NONE:
            d.reply = q.reply
        else:
            s.packets[d.last_reply].next = q.reply
        d.last_reply = q.reply
