"""Routing: ports and VCs that a packet may take at a router."""

from typing import Any

from archgym.simulators.kit.kernels import compiled, kept_apart
from archgym.simulators.noc import state as st
from archgym.simulators.noc.kernel.randoms import integer


@compiled
def element(port: int, first: int, last: int, preference: int) -> int:
    """Return a port and a range of VCs as one number."""
    return port << 24 | first << 16 | last << 8 | preference


@compiled
def port_of(e: int) -> int:
    """Return the port of an element."""
    return e >> 24


@compiled
def first_of(e: int) -> int:
    """Return the first VC of an element."""
    return e >> 16 & 255


@compiled
def last_of(e: int) -> int:
    """Return the last VC of an element."""
    return e >> 8 & 255


@compiled
def range_of(rules: Any, kind: int) -> tuple[int, int]:
    """Return the first and the last VC of a kind of packets."""
    if not rules.read_write:
        return 0, rules.vcs - 1
    if kind <= 2:
        return 0, rules.vcs // 2 - 1
    return rules.vcs // 2, rules.vcs - 1


@compiled
def route(s: Any, r: int, port: int, vc: int, packet: int) -> tuple[int, int]:
    """Return the route set of a packet: one or two elements, the preferred one first.

    Args:
      s: `State`.
      r: Router that the packet is to leave.
      port: Input port by which it comes, of the router.
      vc: VC in which it comes.
      packet: The packet, whose phase and intermediate node may change.
    """
    kept_apart()
    rules, q = s.rules[0], s.packets[packet]
    begin, end = range_of(rules, q.kind)
    target = s.nodes[q.target]
    home = target.router
    # Where halves of an odd number of VCs overlap, they share the middle one.
    low, high = end - (end - begin + 1) // 2, begin + (end - begin + 1) // 2
    here = r * rules.routers
    is_new = s.ports[s.routers[r].first + port].source >= rules.ports
    kind = rules.routing
    if kind == st.VALIANT or kind == st.ROMM:
        if is_new:
            q.phase, q.via = 0, _intermediate(s, r, home)
        if q.phase == 0 and q.via == r:
            q.phase = 1
        if q.phase == 1 and r == home:
            return element(target.port - s.routers[r].first, begin, end, 0), st.NONE
        out = s.table_x[here + (home if q.phase else q.via)]
        if r == home:
            return element(out, begin, end, 0), st.NONE
        if q.phase:
            return element(out, high, end, 0), st.NONE
        return element(out, begin, low, 0), st.NONE
    if r == home:
        return element(target.port - s.routers[r].first, begin, end, 0), st.NONE
    if kind == st.TABLE:
        return element(s.table_x[here + home], begin, end, 0), st.NONE
    if kind == st.TORUS:
        out = _torus(s, r, home, port, q)
        if q.phase:
            return element(out, high, end, 0), st.NONE
        return element(out, begin, low, 0), st.NONE
    if kind == st.ESCAPE:
        out = s.table_x[here + home]
        escape = element(out, begin, begin, begin)
        if (end if is_new else vc) == begin:
            return escape, st.NONE
        return element(out, begin + 1, end, 1), escape
    if kind == st.COMMON_ANCESTOR:
        return element(_ancestor(s, r, q.target), begin, end, 0), st.NONE
    x_first = vc < high
    if is_new:
        x_first = _is_x_first(s, r, home, kind)
    if x_first:
        return element(s.table_x[here + home], begin, low, 0), st.NONE
    return element(s.table_y[here + home], high, end, 0), st.NONE


@compiled
def _is_x_first(s: Any, r: int, home: int, kind: int) -> bool:
    """Return True if a packet's first dimension is the lower one, drawn or by occupancy."""
    if kind == st.ADAPTIVE:
        first = s.routers[r].first
        here = r * s.rules[0].routers
        more = s.ports[first + s.table_x[here + home]].total
        more -= s.ports[first + s.table_y[here + home]].total
        if more != 0:
            return bool(more < 0)
    return integer(s.integers, 2) == 1


@compiled
def _intermediate(s: Any, r: int, home: int) -> int:
    """Return a random router on the way."""
    rules = s.rules[0]
    if rules.routing == st.VALIANT:
        return integer(s.integers, rules.nodes)
    found, scale = 0, 1
    for d in range(rules.dimensions):
        a, b = s.coordinates[d * rules.routers + r], s.coordinates[d * rules.routers + home]
        found += scale * (min(a, b) + integer(s.integers, abs(a - b) + 1))
        scale *= rules.radix
    return found


@compiled
def _torus(s: Any, r: int, home: int, port: int, q: Any) -> int:
    """Return the output of the shorter direction; the phase tells packets that wrap around."""
    rules = s.rules[0]
    d = 0
    while s.coordinates[d * rules.routers + r] == s.coordinates[d * rules.routers + home]:
        d += 1
    if port // 2 == d:
        return port ^ 1
    here, there = s.coordinates[d * rules.routers + r], s.coordinates[d * rules.routers + home]
    shorter = rules.radix - 2 * ((there - here) % rules.radix)
    is_up = shorter > 0
    if shorter == 0:
        is_up = integer(s.integers, 2) == 1
    q.phase = 1 if (is_up and here > there) or (not is_up and there < here) else 0
    return 2 * d if is_up else 2 * d + 1


@compiled
def _ancestor(s: Any, r: int, target: int) -> int:
    """Return a port down a fat tree, if the node is below, else a random one up."""
    rules, router = s.rules[0], s.routers[r]
    below = 1
    for _ in range(rules.dimensions - 1 - router.level):
        below *= rules.radix
    first = router.position // below * below * rules.radix
    if first <= target < first + below * rules.radix:
        return int((target - first) // below)
    return int(rules.radix) + integer(s.integers, rules.radix)
