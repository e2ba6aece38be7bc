"""Networks: routers, ports, channels and routing tables of each topology.

Names and numbers are those of BookSim 2, since the order of ports decides what an arbiter grants.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from archgym.simulators.kit import InvalidDesignError
from archgym.simulators.noc import state as st
from archgym.simulators.noc.state import Ints

ROUTINGS: Final[Mapping[str, Mapping[str, int]]] = {
    "mesh": {
        "dor": st.TABLE, "xy_yx": st.XY_YX, "adaptive_xy_yx": st.ADAPTIVE,
        "valiant": st.VALIANT, "romm": st.ROMM, "min_adapt": st.ESCAPE,
    },
    "torus": {"dim_order": st.TORUS},
    "cmesh": {"dor": st.TABLE, "dor_no_express": st.TABLE, "xy_yx_no_express": st.XY_YX},
    "fattree": {"nca": st.COMMON_ANCESTOR},
    "flatfly": {"ran_min": st.TABLE},
    "anynet": {"min": st.TABLE},
}  # fmt: skip
"""Routing functions of each topology, and what the kernel does for them."""
HALVING: Final = ("dim_order", "valiant", "romm", "xy_yx", "adaptive_xy_yx", "xy_yx_no_express")
"""Routing functions that split the VCs into halves."""
MAX_ROUTERS: Final = 4096
"""chosen: the kernel counts hops in 12 bits."""
_MOST_LATENCY: Final = 2**16
"""chosen: what is under way is kept by its cycle of arrival."""


class Graph(NamedTuple):
    """A network of one's own.

    Attributes:
      node_router: Router of each node.
      links: Directed links: from, to, latency [cycles].
    """

    node_router: tuple[int, ...]
    links: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network and its routers, by the names of BookSim 2's configuration.

    Attributes:
      graph: Routers and links where the topology is `anynet`.
      internal_speedup: Steps that a router does in a cycle.
      xr: Nodes of a router in a row, of `flatfly`.
    """

    topology: str = "mesh"
    k: int = 8
    n: int = 2
    xr: int = 1
    graph: Graph | None = None
    routing_function: str = "dor"
    num_vcs: int = 4
    vc_buf_size: int = 8
    wait_for_tail_credit: int = 0
    vc_busy_when_full: int = 0
    vc_prioritize_empty: int = 0
    vc_shuffle_requests: int = 0
    routing_delay: int = 1
    vc_alloc_delay: int = 1
    sw_alloc_delay: int = 1
    st_prepare_delay: int = 0
    st_final_delay: int = 1
    credit_delay: int = 0
    input_speedup: int = 1
    output_speedup: int = 1
    internal_speedup: float = 1.0
    output_buffer_size: int = -1
    speculative: int = 0
    spec_sw_allocator: str = "prio"
    spec_check_cred: int = 1
    spec_mask_by_reqs: int = 0
    vc_allocator: str = "islip"
    sw_allocator: str = "islip"
    priority: str = "none"
    noq: int = 0
    use_noc_latency: int = 1
    seed: int = 0
    use_read_write: int = 0
    read_reply_size: int = 1
    write_reply_size: int = 1

    def __post_init__(self) -> None:
        """Refuse what no router can do, in one line."""
        if problem := self._problem():
            raise InvalidDesignError(problem)

    def _problem(self) -> str:
        routings = ROUTINGS.get(self.topology)
        if routings is None:
            return f"`topology` must be one of {', '.join(ROUTINGS)}; got {self.topology!r}."
        if self.routing_function not in routings:
            return (
                f"`routing_function` of a {self.topology} must be one of {', '.join(routings)}; "
                f"got {self.routing_function!r}."
            )
        if (self.topology == "anynet") != (self.graph is not None):
            return "`graph` must be given for the topology anynet, and for no other."
        for name, low, high in _RANGES:
            if not low <= getattr(self, name) <= high:
                return f"`{name}` must lie in {low} to {high}; got {getattr(self, name)}."
        if self.num_vcs % self.input_speedup:
            return f"`input_speedup` must divide num_vcs, {self.num_vcs}; got {self.input_speedup}."
        if not 1 <= self.st_prepare_delay + self.st_final_delay <= 8:
            return "`st_prepare_delay` and `st_final_delay` must sum to 1 to 8."
        if self.speculative and (self.vc_alloc_delay > 1 or self.sw_alloc_delay > 1):
            return "`speculative` needs vc_alloc_delay and sw_alloc_delay 1."
        need = (2 if self.routing_function in HALVING else 1) * (1 + self.use_read_write)
        if self.num_vcs < need:
            return (
                f"`num_vcs` must be at least {need} with {self.routing_function}"
                f"{' and read and write packets' if self.use_read_write else ''}, or packets wait "
                f"for each other in a loop; got {self.num_vcs}."
            )
        for name in ("vc_allocator", "sw_allocator", "spec_sw_allocator"):
            text = getattr(self, name)
            if not (name == "spec_sw_allocator" and text == "prio"):
                allocator_of(text)
        if self.topology == "cmesh" and self.k % 2:
            return f"`k` of a cmesh must be even; got {self.k}."
        if self.priority not in st.PRIORITIES:
            return f"`priority` must be one of {', '.join(st.PRIORITIES)}; got {self.priority!r}."
        if self.noq and self.routing_delay:
            return "`noq` needs routing_delay 0."
        wires = wiring(self)
        if self.noq and self.num_vcs // (1 + self.use_read_write) < max(wires.outputs):
            return f"`noq` needs a VC for each of a router's {max(wires.outputs)} ports."
        return ""

    @property
    def node_radix(self) -> int:
        """Nodes in a row of a dimension, by which patterns count coordinates."""
        side = {"cmesh": 2, "flatfly": self.xr}.get(self.topology, 1)
        return self.k * side

    @property
    def nodes(self) -> int:
        """Nodes that send and receive."""
        return len(wiring(self).node_router)


_RANGES: Final = (
    ("k", 1, 64), ("n", 1, 8), ("xr", 1, 8), ("num_vcs", 1, 63), ("vc_buf_size", 1, 4096),
    ("routing_delay", 0, 8), ("vc_alloc_delay", 1, 8), ("sw_alloc_delay", 1, 8),
    ("st_prepare_delay", 0, 8), ("st_final_delay", 0, 8), ("credit_delay", 0, 64),
    ("input_speedup", 1, 8), ("output_speedup", 1, 8), ("internal_speedup", 1.0, 8.0),
    ("output_buffer_size", -1, 4096), ("read_reply_size", 1, 65535),
    ("write_reply_size", 1, 65535),
)  # fmt: skip


def allocator_of(text: str) -> tuple[int, int, bool]:
    """Return an allocator's kind, its iterations, and True if its arbiters are matrices.

    Args:
      text: A name, perhaps with its parameter in brackets, such as `islip(2)`.
    """
    name, _, rest = text.partition("(")
    inner = rest.removesuffix(")")
    is_separable = name.startswith("separable")
    if name not in st.ALLOCATORS or (rest and not rest.endswith(")")):
        raise InvalidDesignError(
            f"An allocator must be one of {', '.join(st.ALLOCATORS)}; got {text!r}."
        )
    kind = st.ALLOCATORS.index(name)
    if is_separable and inner in ("", "round_robin", "matrix"):
        return kind, 1, inner == "matrix"
    if not is_separable and (not inner or (inner.isdecimal() and 1 <= int(inner) <= 16)):
        return kind, int(inner or 1), False
    raise InvalidDesignError(f"An allocator's parameter is wrong; got {text!r}.")


@dataclass(frozen=True)
class Wiring:
    """Ports and channels of a network.

    Attributes:
      inputs, outputs: Ports of each router.
      node_router, node_port: Router of each node, and its port there.
      node_latency: Latency of each node's two channels [cycles].
      links: (n_links, 5): router, output, router, input, latency [cycles].
      coordinates: (n_dimensions, n_routers).
      table_x, table_y: (n_routers, n_routers) output towards a router; lowest dimension first, and
        highest dimension first.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    node_router: Ints
    node_port: Ints
    node_latency: Ints
    links: Ints
    coordinates: Ints
    table_x: Ints
    table_y: Ints
    level: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def channels(self) -> int:
        """Channels between routers."""
        return len(self.links)


def wiring(network: Network) -> Wiring:
    """Return the ports and channels of a network.

    Raises:
      InvalidDesignError: It is too large, or not connected.
    """
    if network.graph is not None:
        return _anynet(network.graph)
    express = network.routing_function == "dor"
    return _regular(
        network.topology, network.k, network.n, network.xr, bool(network.use_noc_latency), express
    )


@lru_cache(maxsize=256)
def _regular(topology: str, k: int, n: int, q: int, use_latency: bool, express: bool) -> Wiring:
    size = n * k ** (n - 1) if topology == "fattree" else k**n
    if size * q * q > MAX_ROUTERS:
        raise InvalidDesignError(
            f"A network must have at most {MAX_ROUTERS} routers and nodes; k = {k} and n = {n} "
            f"make {size * q * q}."
        )
    if topology in ("mesh", "torus"):
        return _grid(k, n, 1 if topology == "mesh" or not use_latency else 2)
    if topology == "cmesh":
        return _cmesh(k, use_latency, express)
    if topology == "fattree":
        return _fattree(k, n)
    return _flatfly(k, n, q, use_latency)


def _coordinates(k: int, n: int) -> Ints:
    return np.array([np.arange(k**n) // k**d % k for d in range(n)], dtype=np.int64)


def _dimension_order(at: Ints, ports: int, highest_first: bool) -> Ints:
    """Return outputs 2d or 2d + 1, from `ports` on, of the first dimension that differs."""
    n = len(at)
    table = np.full((at.shape[1], at.shape[1]), st.NONE, dtype=np.int64)
    for d in range(n) if highest_first else range(n - 1, -1, -1):
        here, there = at[d][:, None], at[d][None, :]
        table = np.where(here == there, table, ports + 2 * d + (there < here))
    return table


def _grid(k: int, n: int, latency: int) -> Wiring:
    at, size = _coordinates(k, n), k**n
    routers = np.arange(size)
    links = []
    for d in range(n):
        for step, out in ((1, 2 * d), (-1, 2 * d + 1)):
            near = routers + ((at[d] + step) % k - at[d]) * k**d
            into = np.full(size, out ^ 1)
            links.append(
                np.stack([routers, np.full(size, out), near, into, np.full(size, latency)], axis=1)
            )
    ports = (2 * n + 1,) * size
    return Wiring(
        ports, ports, routers, np.full(size, 2 * n), np.ones(size, np.int64),
        np.concatenate(links), at, _dimension_order(at, 0, False), _dimension_order(at, 0, True),
    )  # fmt: skip


def _cmesh(k: int, use_latency: bool, express: bool) -> Wiring:
    at, half = _coordinates(k, 2), k // 2
    near, far = (2, k) if use_latency else (1, 1)
    links = []
    for r in range(k * k):
        x, y = int(at[0, r]), int(at[1, r])
        for out, dx, dy in ((4, 1, 0), (5, -1, 0), (6, 0, 1), (7, 0, -1)):
            if 0 <= x + dx < k and 0 <= y + dy < k:
                links.append((r, out, r + dx + k * dy, out ^ 1, near))
            elif dx:
                links.append((r, out, x + k * ((y + half) % k), out, far))
            else:
                links.append((r, out, (x + half) % k + k * y, out, far))
    node = np.arange(4 * k * k)
    across, down = node % (2 * k), node // (2 * k)
    x_first, y_first = _dimension_order(at, 4, False), _dimension_order(at, 4, True)
    if express:
        x, y = at
        for r in range(k * k):
            wide = abs(x - x[r]) > half - 1
            tall = (x == x[r]) & (abs(y - y[r]) > half - 1)
            if y[r] in (0, k - 1):
                x_first[r, wide] = 7 if y[r] == 0 else 6
            if x[r] in (0, k - 1):
                x_first[r, tall] = 5 if x[r] == 0 else 4
    return Wiring(
        (8,) * (k * k), (8,) * (k * k), down // 2 * k + across // 2, 2 * (down % 2) + across % 2,
        np.ones(len(node), np.int64), np.array(links), at, x_first, y_first,
    )  # fmt: skip


def _fattree(k: int, n: int) -> Wiring:
    width = k ** (n - 1)
    per_level = 2 * k * width
    out_of, into = {}, {}

    def shuffled(p: int, j: int, group: int, part: int) -> int:
        return p // group * group * k + j * part * k + p % group % part * k + p % group // part

    for level in range(n):
        for p in range(width):
            r = level * width + p
            for j in range(k):
                if level < n - 1:
                    out_of[level * per_level + p * k + j] = (r, j)
                    number = shuffled(p, j, k ** (n - 1 - level), k ** (n - 2 - level))
                    into[(level + 1) * per_level - per_level // 2 + number] = (r, j)
                if level > 0:
                    out_of[level * per_level - per_level // 2 + p * k + j] = (r, k + j)
                    number = shuffled(p, j, k ** (n - level), k ** (n - 1 - level))
                    into[(level - 1) * per_level + number] = (r, k + j)
    links = [(*out_of[channel], *into[channel], 1) for channel in sorted(out_of)]
    ports = tuple(k if r < width else 2 * k for r in range(n * width))
    node = np.arange(k**n)
    none = np.zeros((1, 1), np.int64)
    return Wiring(
        ports, ports, (n - 1) * width + node // k, node % k, np.ones(k**n, np.int64),
        np.array(links, dtype=np.int64).reshape(-1, 5), none, none, none,
        level=np.repeat(np.arange(n), width),
    )  # fmt: skip


def _flatfly(k: int, n: int, q: int, use_latency: bool) -> Wiring:
    at, size, c = _coordinates(k, n), k**n, q * q
    latencies = _flatfly_latencies(q) if use_latency else [1] * c
    table = np.full((size, size), st.NONE, dtype=np.int64)
    for d in range(n - 1, -1, -1):
        here, there = at[d][:, None], at[d][None, :]
        table = np.where(here == there, table, c + (k - 1) * d + there - (there > here))
    links = []
    for r in range(size):
        for d in range(n):
            for value in range(k):
                away = value - int(at[d, r])
                if away:
                    other = r + away * k**d
                    row = sorted(
                        s for s in range(size) if s != other and sum(at[:, s] != at[:, other]) == 1
                    )
                    out = c + (k - 1) * d + value - (away > 0)
                    links.append(
                        (r, out, other, c + row.index(r), q * abs(away) if use_latency else 1)
                    )
    across = np.arange(c * size)
    x, y = across % (k * q), across // (k * q)
    ports = (c + n * (k - 1),) * size
    port = y % q * q + x % q
    return Wiring(
        ports, ports, y // q * k + x // q, port, np.array(latencies)[port],
        np.array(links, dtype=np.int64).reshape(-1, 5), at, table, table,
    )  # fmt: skip


def _flatfly_latencies(q: int) -> list[int]:
    """Return latencies of a router's node channels, by port."""
    low = -(q // 2)
    u = v = low
    found = []
    for _ in range(q * q):
        if u == 0 and q % 2 == 0:
            u += 1
        if v == 0 and q % 2 == 0:
            v += 1
        found.append(1 + max(abs(u) - 1, 0) + max(abs(v) - 1, 0))
        u += 1
        if u > q // 2:
            u, v = low, v + 1
    return found


@lru_cache(maxsize=64)
def _anynet(graph: Graph) -> Wiring:
    ends = {(a, b) for a, b, _ in graph.links}
    if (
        not graph.node_router or min(*graph.node_router, *(min(pair) for pair in ends), 0) < 0
        or len(ends) < len(graph.links)
        or not all(1 <= latency <= _MOST_LATENCY for *_, latency in graph.links)
    ):  # fmt: skip
        raise InvalidDesignError(
            "A graph must have nodes at routers from 0 on, and one link at most from a router to "
            f"another, of 1 to {_MOST_LATENCY} cycles."
        )
    node_router = np.array(graph.node_router, dtype=np.int64)
    size = 1 + max([*graph.node_router, *(max(a, b) for a, b, _ in graph.links)])
    if size > MAX_ROUTERS or len(node_router) > MAX_ROUTERS:
        raise InvalidDesignError(
            f"A network must have at most {MAX_ROUTERS} routers and nodes; got {size} and "
            f"{len(node_router)}."
        )
    attached = np.bincount(node_router, minlength=size)
    order = np.argsort(node_router, kind="stable")
    port = np.empty(len(node_router), dtype=np.int64)
    port[order] = np.concatenate([np.arange(count) for count in attached])
    to: list[list[tuple[int, int]]] = [[] for _ in range(size)]
    come: list[list[int]] = [[] for _ in range(size)]
    for a, b, latency in graph.links:
        to[a].append((b, latency))
        come[b].append(a)
    links = []
    for a in range(size):
        to[a].sort()
        come[a].sort()
    for a in range(size):
        for out, (b, latency) in enumerate(to[a]):
            links.append((a, attached[a] + out, b, attached[b] + come[b].index(a), latency))
    table = np.full((size, size), st.NONE, dtype=np.int64)
    for source in range(size):
        table[source] = _first_steps(source, to, int(attached[source]))
    if (table[node_router][:, node_router] == st.NONE).sum() > (
        node_router[:, None] == node_router[None, :]
    ).sum():
        raise InvalidDesignError("Links must lead from each node's router to that of every other.")
    return Wiring(
        tuple(int(attached[a]) + len(come[a]) for a in range(size)),
        tuple(int(attached[a]) + len(to[a]) for a in range(size)),
        node_router, port, np.ones(len(node_router), np.int64),
        np.array(links, dtype=np.int64).reshape(-1, 5), np.zeros((1, size), np.int64),
        table, table,
    )  # fmt: skip


def _first_steps(source: int, to: Sequence[Sequence[tuple[int, int]]], first: int) -> list[int]:
    """Return the output at a router on the shortest path to each other one (Dijkstra)."""
    distance: dict[int, int] = {source: 0}
    step = [st.NONE] * len(to)
    done = set()
    heap = [(0, source)]
    while heap:
        away, a = heapq.heappop(heap)
        if a in done:
            continue
        done.add(a)
        for out, (b, latency) in enumerate(to[a]):
            if b not in done and (b not in distance or away + latency < distance[b]):
                distance[b] = away + latency
                step[b] = first + out if a == source else step[a]
                heapq.heappush(heap, (distance[b], b))
    return step
