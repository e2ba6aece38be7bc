"""Runs of a network: the kernel's arrays, filled from a network and a list of packets."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np

from archgym.simulators.kit import InvalidArgumentError
from archgym.simulators.noc import state as st
from archgym.simulators.noc.energy import power
from archgym.simulators.noc.machine import ROUTINGS, Network, Wiring, allocator_of, wiring
from archgym.simulators.noc.state import Generator, Ints

NEVER: Final = 2**60
READ: Final = 1
WRITE: Final = 2


@dataclass(frozen=True)
class Packets:
    """Packets in the order in which each node makes its own.

    Attributes:
      time: (n,) cycle of creation; where a packet waits for another, cycles after its arrival.
      source, target: (n,) nodes.
      size: (n,) flits, at least 1.
      kind: (n,) 0 plain, 1 read, 2 write.
      waits_for: (n,) an earlier packet, or -1.
    """

    time: Ints
    source: Ints
    target: Ints
    size: Ints
    kind: Ints
    waits_for: Ints

    @staticmethod
    def of(
        time: Any, source: Any, target: Any, size: Any, kind: Any = 0, waits_for: Any = -1
    ) -> "Packets":
        """Return packets from columns; a single number holds for all."""
        columns = (time, source, target, size, kind, waits_for)
        full = np.broadcast_arrays(*(np.asarray(column, dtype=np.int64) for column in columns))
        return Packets(*(np.ascontiguousarray(np.atleast_1d(column)) for column in full))

    def __len__(self) -> int:
        return len(self.time)


class Result(NamedTuple):
    """What a run leaves: counters, and the times of packets, replies last.

    Attributes:
      status: One of `STATUSES`.
      totals: Counters by name, `TOTALS` of the kernel.
      packets: (n,) records, `PACKET` of the kernel.
      sent: (n_ports + n_nodes,) flits that each channel carried.
      sent_at, arrived_at: (n_flits,) cycles; -1 for never.
    """

    status: str
    totals: dict[str, int]
    packets: np.ndarray
    sent: Ints
    sent_at: Ints
    arrived_at: Ints


class Run:
    """A network in a state between two cycles.

    Example:
      >>> run = Run(Network(k=2), Packets.of([0], [0], [3], [1]))
      >>> run.finish().totals["time"]
      14
    """

    def __init__(
        self,
        network: Network,
        packets: Packets,
        limit: int = NEVER,
        deadlock: int = 1000,
        generator: Generator | None = None,
    ) -> None:
        """Put a network into its first state.

        Args:
          network: The network.
          packets: Packets to send; none where nodes make their own.
          limit: Cycles after which a run stops.
          deadlock: Cycles without an arrival after which a run stops.
          generator: Traffic that nodes make by themselves.
        """
        self.wiring = wires = wiring(network)
        ports = _ports(wires)
        n_ports, _n_nodes = len(ports) - len(wires.node_router), len(wires.node_router)
        self.network, self.n_ports = network, n_ports
        self._generator = generator
        self.rules = _rules(network, wires, n_ports, int(ports["latency"].max()), limit, deadlock)
        self.arrays = self._arrays(ports, packets)
        self._matchings = _matchings(network, wires, n_ports)
        rate = generator.rate if generator else 0.0
        self._speeds = np.array([network.internal_speedup, 0.0, rate])

    def _arrays(self, ports: np.ndarray, packets: Packets) -> dict[str, Any]:
        network, wires, rules = self.network, self.wiring, self.rules
        vcs, depth = network.num_vcs, network.vc_buf_size
        n_ports, n_nodes = self.n_ports, len(wires.node_router)
        routers = np.zeros(len(wires.inputs), st.ROUTER)
        widths = np.maximum(wires.inputs, wires.outputs)
        routers["first"] = np.cumsum(widths) - widths
        routers["inputs"], routers["outputs"] = wires.inputs, wires.outputs
        if len(wires.level):
            routers["level"] = wires.level
            routers["position"] = np.arange(len(routers)) % (wires.level == 0).sum()
        channels = np.zeros(len(ports) * vcs, st.VC)
        for name in ("grant", "set0", "set1"):
            channels[name] = st.NONE
        channels["port"], channels["number"] = np.divmod(np.arange(len(channels)), vcs)
        speedup = network.input_speedup
        channels["crossbar"] = channels["port"] * speedup + channels["number"] % speedup
        ports["free"] = ports["room"] = (1 << vcs) - 1
        nodes = np.zeros(n_nodes, st.NODE)
        for name in ("packet", "vc", "last_vc", "reply", "last_reply"):
            nodes[name] = st.NONE
        nodes["router"] = wires.node_router
        nodes["port"] = routers["first"][wires.node_router] + wires.node_port
        order = np.argsort(packets.source, kind="stable").astype(np.int64)
        counts = np.bincount(packets.source, minlength=n_nodes) if len(packets) else nodes["next"]
        nodes["end"] = np.cumsum(counts)
        nodes["next"] = nodes["end"] - counts
        made = _packets(network, packets)
        flits = int(made["size"].sum())
        generator = self._generator
        if generator:
            rules["generate"], rules["size_count"] = 1, len(generator.sizes)
            rules["largest"], rules["pattern"] = max(generator.sizes), len(generator.targets) > 0
            made = np.zeros(64 * n_nodes, st.PACKET)
            flits = 64 * n_nodes * int(max(generator.sizes))
        totals = np.zeros(1, st.TOTALS)
        totals["expected"], totals["drain_time"] = (-1 if generator else len(made)), st.NONE
        # All flits and messages of credits that there can be at once.
        space = len(ports) * vcs * depth
        arrivals = np.zeros(2 * space + 2, st.ARRIVAL)
        arrivals["next"] = np.arange(1, len(arrivals) + 1)
        entries = n_ports * vcs
        empty = np.zeros(1, np.int64)

        def zeros(n: int, kind: Any = np.int32) -> Any:
            return np.zeros(max(1, n), kind)

        return {
            "rules": rules, "ports": ports, "routers": routers, "vcs": channels, "nodes": nodes,
            "packets": made, "order": order if len(order) else empty,
            "coordinates": np.ascontiguousarray(wires.coordinates).ravel(),
            "table_x": np.ascontiguousarray(wires.table_x).ravel(),
            "table_y": np.ascontiguousarray(wires.table_y).ravel(),
            "buffers": zeros(space, np.int64),
            "urgencies": zeros(space if network.priority != "none" else 1, np.int64),
            "used": zeros(len(channels)), "carried": zeros(entries if network.noq else 1, np.int64),
            "routes": zeros(entries), "vc_queue": zeros(entries), "switch_queue": zeros(entries),
            "crossbar": zeros(space), "failed": zeros(entries), "winners": zeros(entries),
            "came": zeros(n_nodes), "busy": zeros(len(routers) // 32 + 1, np.int64),
            "arrivals": arrivals, "heads": zeros(st.WAYS * int(rules["slots"][0])) - 1,
            "sent_at": zeros(flits, np.int64) - 1, "arrived_at": zeros(flits, np.int64) - 1,
            "integers": _integers(network.seed).copy(),
            "fractions": (_fractions(network.seed) if generator else np.zeros(1)).copy(),
            "totals": totals, "stalls": zeros(len(st.STALLS), np.int64),
            "sizes": generator.sizes if generator else empty,
            "offsets": np.tile(np.arange(speedup, dtype=np.int32), n_ports),
            "targets": generator.targets if generator and len(generator.targets) else empty,
            "pairs": zeros(n_ports * int(rules["widest"][0]), np.int64), "landed": zeros(n_ports),
        }  # fmt: skip

    @property
    def time(self) -> int:
        """Cycles that are done."""
        return int(self.arrays["totals"]["time"][0])

    def advance(self, stop: int = st.UNTIL_ARRIVED, until: int = NEVER) -> str:
        """Run until `stop` holds or a limit is reached, and return a status of `STATUSES`.

        Args:
          stop: One of `UNTIL_...` of the kernel.
          until: Cycle before which `UNTIL_TIME` and `UNTIL_DRAINED` stop.
        """
        # Numba is slow to import, and describing needs no kernel.
        from archgym.simulators.noc.kernel.run import advance

        while True:
            self.arrays["totals"]["until"] = until
            room = np.array([len(self.arrays["packets"]), len(self.arrays["sent_at"])])
            advance(st.State(**self.arrays), *self._matchings, self._speeds, stop, room)
            status = st.STATUSES[int(self.arrays["totals"]["status"][0])]
            if status != "grow":
                return status
            for name, empty in (("packets", 0), ("sent_at", -1), ("arrived_at", -1)):
                old = self.arrays[name]
                new = np.zeros(2 * len(old), old.dtype)
                if empty:
                    new[:] = empty
                new[: len(old)] = old
                self.arrays[name] = new

    def copy(self) -> "Run":
        """Return a run in the same state, which goes on by itself."""
        return deepcopy(self)

    def finish(self) -> Result:
        """Run to the end of the list, and return what there is to know."""
        return self.result(self.advance())

    def powers(self, bits: int, words: int = 0) -> Mapping[str, float]:
        """Return powers and areas over the cycles that are done; see `energy.power`.

        Args:
          bits: Width of a channel [bit].
          words: Flits that an input port holds; 0 for those of the network.
        """
        routers, widest = self.arrays["routers"], int(self.rules["widest"][0])
        pairs = np.zeros((len(routers), widest, widest), np.int64)
        table = self.arrays["pairs"].reshape(-1, widest)
        for r, (first, inputs) in enumerate(zip(routers["first"], routers["inputs"], strict=True)):
            pairs[r, :inputs] = table[first : first + inputs]
        ports = self.arrays["ports"]
        is_used = ports["latency"] > 0
        words = words or self.network.num_vcs * self.network.vc_buf_size
        widths = np.maximum(routers["inputs"], routers["outputs"])
        return power(
            widths, pairs, ports["sent"][is_used], ports["latency"][is_used], bits, words,
            max(1, self.time),
        )  # fmt: skip

    def result(self, status: str) -> Result:
        """Return counters and times as they are."""
        totals = self.arrays["totals"][0]
        found = {name: int(totals[name]) for name in totals.dtype.names}
        found |= dict(zip(st.STALLS, self.arrays["stalls"].tolist(), strict=True))
        packets = self.arrays["packets"]
        if self._generator:
            packets = packets[: found["packets"]]
        ports = self.arrays["ports"]
        # What won the crossbar departs later, and was counted then.
        sent = ports["sent"] - np.maximum(0, ports["departs"] + 1 - self.time)
        return Result(
            status, found, packets, sent, self.arrays["sent_at"], self.arrays["arrived_at"]
        )


@lru_cache(maxsize=32)
def _integers(seed: int) -> Any:
    # Numba takes a while to import, which listing and describing should not wait for.
    from archgym.simulators.noc.kernel.randoms import integers

    return integers(seed)


@lru_cache(maxsize=32)
def _fractions(seed: int) -> Any:
    from archgym.simulators.noc.kernel.randoms import fractions

    return fractions(seed)


def _packets(network: Network, packets: Packets) -> np.ndarray:
    """Return records of packets, and of the replies to reads and writes behind them."""
    asks = np.flatnonzero(packets.kind > 0) if network.use_read_write else np.zeros(0, np.int64)
    n = len(packets)
    made = np.zeros(n + len(asks), st.PACKET)
    for name in ("injected", "head_at", "tail_at", "reply", "waits_for", "next"):
        made[name] = st.NONE
    made["created"][:n], made["source"][:n] = packets.time, packets.source
    made["target"][:n], made["size"][:n] = packets.target, packets.size
    made["kind"][:n], made["waits_for"][:n] = packets.kind, packets.waits_for
    made["reply"][asks] = n + np.arange(len(asks))
    made["source"][n:], made["target"][n:] = packets.target[asks], packets.source[asks]
    is_read = packets.kind[asks] == READ
    made["size"][n:] = np.where(is_read, network.read_reply_size, network.write_reply_size)
    made["kind"][n:] = np.where(is_read, 3, 4)
    made["flit"] = np.cumsum(made["size"]) - made["size"]
    return made


def _ports(wires: Wiring) -> np.ndarray:
    """Return records of all ports, and of the injection channels of nodes behind them."""
    widths = np.maximum(wires.inputs, wires.outputs)
    first = np.cumsum(widths) - widths
    n, nodes = int(widths.sum()), len(wires.node_router)
    ports = np.zeros(n + nodes, st.PORT)
    ports["departs"] = ports["returns"] = st.NONE
    ports["router"][:n] = np.repeat(np.arange(len(widths)), widths)
    at, ends = first[wires.node_router] + wires.node_port, n + np.arange(nodes)
    for here, there in ((at, ends), (ends, at)):
        ports["target"][here] = ports["source"][here] = there
        ports["latency"][here] = ports["reverse_latency"][here] = wires.node_latency
    if len(wires.links):
        a, out, b, into, latency = wires.links.T
        ports["target"][first[a] + out], ports["latency"][first[a] + out] = first[b] + into, latency
        ports["source"][first[b] + into] = first[a] + out
        ports["reverse_latency"][first[b] + into] = latency
    return ports


def _rules(
    network: Network, wires: Wiring, ports: int, latency: int, limit: int, deadlock: int
) -> np.ndarray:
    """Return what the kernel reads of a network."""
    own = network.speculative and network.spec_sw_allocator != "prio"
    longest = network.num_vcs * network.vc_buf_size
    given = {
        "vcs": network.num_vcs, "depth": network.vc_buf_size, "nodes": len(wires.node_router),
        "routers": len(wires.inputs), "ports": ports,
        "routing": ROUTINGS[network.topology][network.routing_function],
        "dimensions": network.n, "radix": network.k, "read_write": network.use_read_write,
        "routing_delay": network.routing_delay, "vc_delay": network.vc_alloc_delay,
        "switch_delay": network.sw_alloc_delay,
        "crossbar_delay": network.st_prepare_delay + network.st_final_delay,
        "credit_delay": network.credit_delay, "input_speedup": network.input_speedup,
        "output_speedup": network.output_speedup, "output_room": network.output_buffer_size,
        "wait_for_tail": network.wait_for_tail_credit, "busy_when_full": network.vc_busy_when_full,
        "prefer_empty": network.vc_prioritize_empty, "shuffle": network.vc_shuffle_requests,
        "speculative": network.speculative, "own_allocator": own,
        "check_credit": network.spec_check_cred, "mask_by_requests": network.spec_mask_by_reqs,
        "priority": st.PRIORITIES.index(network.priority), "look_two_ahead": network.noq,
        "slots": 1 << (latency + network.credit_delay + 4 + longest).bit_length(),
        "limit": limit, "deadlock": deadlock,
        "largest": 1, "widest": max(*wires.inputs, *wires.outputs),
    }  # fmt: skip
    rules = np.zeros(1, st.RULES)
    for name, value in given.items():
        rules[name] = value
    return rules


def _matchings(network: Network, wires: Wiring, ports: int) -> tuple[Any, Any, Any]:
    """Return the allocators of VCs, of the switch, and of speculative requests."""
    vcs, routers = network.num_vcs, len(wires.inputs)
    widths = np.maximum(wires.inputs, wires.outputs)
    widest = int(widths.max())
    first = np.repeat(np.cumsum(widths) - widths, widths)

    def made(text: str, per_in: int, per_out: int, width: int) -> Any:
        kind, iterations, is_matrix = allocator_of(text)
        n_in, n_out = ports * per_in, ports * per_out
        sides = [np.zeros(n, st.SIDE) for n in (n_in, n_out)]
        for side, per, other in zip(sides, (per_in, per_out), (per_out, per_in), strict=True):
            for name in ("head", "match", "chosen", "grant"):
                side[name] = st.NONE
            # A pointer is the number of the first one on the other side.
            side["pointer"] = first[np.arange(len(side)) // per] * other
        in_scale, out_scale = (widest * per_out, widest * per_in) if is_matrix else (0, 0)
        if n_in * in_scale > _MOST_ENTRIES:
            raise InvalidArgumentError(
                f"Matrix arbiters of {widest} ports with {vcs} VCs are too large; choose another."
            )
        bids = widest * vcs * 4
        return st.Matching(
            kind, iterations, is_matrix, width, np.zeros(bids, st.BID), *sides,
            np.zeros(n_out // width, np.int32), np.zeros(n_out // width, np.int64),
            np.zeros(bids, np.int32), np.zeros(3, np.int64), np.zeros(routers, np.int64),
            np.zeros(max(1, n_in * in_scale), np.int64),
            np.zeros(max(1, n_out * out_scale), np.int64), in_scale, out_scale,
        )  # fmt: skip

    own = network.speculative and network.spec_sw_allocator != "prio"
    extra = network.spec_sw_allocator if own else "islip"
    speedups = (network.input_speedup, network.output_speedup)
    return (
        made(network.vc_allocator, vcs, vcs, vcs),
        made(network.sw_allocator, *speedups, 1),
        made(extra, *(speedups if own else (1, 1)), 1),
    )


# chosen: 512 MiB of matrix arbiters.
_MOST_ENTRIES: Final = 2**26
