"""The simulator of networks on chip: designs of a space carry a load or a list of packets."""

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Final, final

import numpy as np

from archgym.simulators.kit import (
    Columns,
    Files,
    InvalidDesignError,
    Laws,
    Option,
    RowSimulator,
    SimulatorSpec,
    Workload,
    declared,
    unknown_name,
)
from archgym.simulators.kit.exports import stated
from archgym.simulators.noc.bounds import completions, least_area, least_cycles
from archgym.simulators.noc.export import booksim_files, booksim_settings
from archgym.simulators.noc.machine import HALVING, Network
from archgym.simulators.noc.metrics import METRICS, OBJECTIVES, SATURATION, measure
from archgym.simulators.noc.runs import READ, Packets, Run
from archgym.simulators.noc.sampling import Load, measured, targets
from archgym.simulators.noc.space import GROUPS, SPACE_NAMES, machine_of, noc_space
from archgym.simulators.noc.workloads import (
    LISTS,
    LOADS,
    WIDTH_BITS,
    Traffic,
    listed,
    read_packets,
    shipped,
)

_REASONS: Final = (
    "The network deadlocks: packets wait for each other.",
    "The network is saturated by this load.",
    "The list of packets takes more than 2,000,000 cycles; let it begin at 0, or shorten it.",
)
_NODES: Final = {"default": 64, "mesh": 16, "chiplets": 74}
_MOST_CYCLES: Final = 2_000_000
# chosen: no packet waits as long in a network that moves.
_DEADLOCK: Final = 2_000
_BISECTIONS: Final = 6
_SHORT_BITS, _LONG_BITS = 128, 640
"""chosen: a request, and a line of 64 bytes with its head [bit]: 1 and 5 flits of 128 bits."""


@final
class NocSimulator(RowSimulator):
    """Networks on chip, flit by flit, of routers with virtual channels.

    A design is topology, routing, channels, buffers and allocators. A workload is a load that nodes
    make by themselves, or a list of packets, which may wait for each other.
    """

    spec = SimulatorSpec(
        name="noc",
        title="Network on chip",
        compared=(
            "cycles, latencies and flits of channels equal BookSim 2 on all recorded rows, powers "
            "its power model; not compared with silicon"
        ),
        version=0,
        evaluation_s=0.05,
        space_names=SPACE_NAMES,
        table_space="mesh",
        default_workload="uniform",
        default_objective="low-latency",
        objectives=OBJECTIVES,
        model_reasons=_REASONS,
        groups=GROUPS,
        costs={
            "routing": "cycles of routing",
            "allocation": "a second step of allocators in each cycle",
            "serialisation": "flits as long as packets",
            "buffers": "buffers that hold whole packets, many times over",
        },
        relief={
            "routing": ("routing_delay", "topology"),
            "allocation": ("internal_speedup", "speculative", "input_speedup", "vc_allocator"),
            "serialisation": ("channel_width",),
            "buffers": ("vc_buf_size", "num_vcs"),
        },
        exports={"booksim": "BookSim 2: configuration, and the graph of an own network."},
    )

    @declared
    def __init__(
        self,
        space: str = "default",
        load: Annotated[
            float,
            Option(
                "Load of each node, in flits of 128 bits a cycle, of workloads that are loads.",
                low=0.001,
                high=1.0,
            ),
        ] = 0.1,
        clock_ghz: Annotated[
            float, Option("Clock of the network.", low=0.05, high=10.0, unit="GHz")
        ] = 1.0,
        seed: Annotated[int, Option("Random seed of loads and of routing.", high=2**30 - 1)] = 0,
        saturation: Annotated[
            bool, Option("Also search the load at which latency doubles, for loads.")
        ] = False,
    ) -> None:
        """Make the simulator of one space, load and clock."""
        self._load, self._clock, self._seed, self._saturation = load, clock_ghz, seed, saturation
        metrics = (*METRICS, SATURATION) if saturation else METRICS
        self.spec = self.spec.completed(space=noc_space(space), metrics=metrics)

    @property
    def nodes(self) -> int:
        """Nodes of every network of the space."""
        return _NODES[self.space.name]

    def workload_names(self) -> tuple[str, ...]:
        """Return loads and lists of packets that ship for the space's number of nodes."""
        if self.nodes == 64:
            return (*LOADS, *LISTS)
        return LOADS if self.nodes == 16 else ("uniform",)

    def workload(self, name: str | Path) -> Workload:
        """Return a workload that ships, or the packets of a CSV file.

        Raises:
          UnknownNameError: Neither a shipped workload nor a file.
          FileFormatError: The file is not a list of packets.
        """
        if str(name) in self.workload_names():
            traffic = shipped(str(name), self.nodes)
        elif Path(name).is_file():
            traffic = listed(Path(name).stem, read_packets(Path(name), self.nodes))
        else:
            raise unknown_name("workload", str(name), self.workload_names())
        return Workload(traffic.name, traffic.digest, traffic)

    def network(self, indices: np.ndarray) -> tuple[Network, int]:
        """Return the network of a design, and the width of its flits [bit]."""
        return machine_of(self.space.name, self.space.design_at(indices), self._seed)

    def load_of(self, traffic: Traffic, bits: int, scale: float = 1.0) -> Load:
        """Return a load in flits of some width.

        Args:
          traffic: A load.
          bits: Width of a flit [bit].
          scale: Load over that of the option.
        """
        sizes = (ceil(_SHORT_BITS / bits), ceil(_LONG_BITS / bits))
        mean = sum(sizes) / 2.0
        flits = self._load * scale * WIDTH_BITS / ((_SHORT_BITS + _LONG_BITS) / 2.0)
        return Load(
            pattern=traffic.pattern, packet_size=sizes if sizes[0] != sizes[1] else sizes[:1],
            injection_rate=flits, in_flits=False, sample_period=500,
            latency_thres=500.0 * mean / 3.0,
        )  # fmt: skip

    def measure(self, indices: np.ndarray, opened: Traffic, cost: str | None) -> np.ndarray | str:
        """Return the metrics of one design, or why it has none."""
        real, bits = self.network(indices)
        network, width = _relieved(real, bits, cost)
        words = real.num_vcs * real.vc_buf_size
        if opened.packets is None:
            stats, run = measured(network, self.load_of(opened, width))
            if stats["status"] != "ok":
                return _REASONS[1]
        else:
            found = _run_list(network, opened.packets, width)
            if isinstance(found, str):
                return found
            run = found
        values = measure(run, bits, width, words, self._clock, opened.packets is None)
        if self._saturation:
            # A list of packets has no load.
            most = 0.0 if opened.packets else self._saturated(network, opened, width)
            values = np.append(values, most)
        return values

    def _saturated(self, network: Network, traffic: Traffic, bits: int) -> float:
        """Return the load at which the mean latency is twice that of a hundredth of it [GB/s]."""

        def latency(load: float) -> float:
            stats, _ = measured(network, self.load_of(traffic, bits, load / self._load))
            return float(stats["plat_avg"]) if stats["status"] == "ok" else np.inf

        idle = latency(0.01)
        low, high = 0.01, 1.0
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            if latency(middle) <= 2.0 * idle:
                low = middle
            else:
                high = middle
        return low * self.nodes * WIDTH_BITS / 8.0 * self._clock

    def laws(self, indices: np.ndarray, column: Columns, workload: Workload) -> Laws:
        """Return laws of conservation for evaluated designs; see `Lawful`."""
        traffic: Traffic = workload.content
        least, into = np.zeros(len(indices)), np.zeros(len(indices))
        for row, (network, bits) in enumerate(map(self.network, indices)):
            least[row] = self._least(network, bits, traffic, traffic.packets)
            if traffic.packets is not None:
                flits = -(-traffic.packets.size * WIDTH_BITS // bits)
                into[row] = np.bincount(traffic.packets.target, flits).max()
        ns = 1.0 / self._clock
        busiest = column["busiest_channel_percent"]
        return {
            "latency is that of idle routers": (column["mean_latency_ns"], least * ns),
            "a node takes a flit in a cycle": (column["total_time_ns"], into * ns),
            "a channel sends a flit in a cycle": (np.full(len(into), 100.0), busiest),
        }

    def bounds(self, partial: np.ndarray, workload: Workload) -> np.ndarray:
        """Return least latencies and areas: the shortest way through idle routers."""
        found = np.full((len(partial), len(self.metrics)), np.nan)
        names = [spec.name for spec in self.metrics]
        packets: Packets | None = workload.content.packets
        shapes = ("topology", "arrangement", "channel_width")
        for row, chosen in enumerate(np.asarray(partial)):
            latency, area = [], []
            for design in completions(self.space, chosen, shapes):
                try:
                    network, bits = machine_of(self.space.name, design, self._seed)
                except InvalidDesignError:
                    continue
                area.append(least_area(network, bits))
                latency.append(self._least(network, bits, workload.content, packets))
            if latency:
                # Sums of floats may round; a bound must hold in every digit.
                ns = (1.0 - 1e-9) / self._clock
                found[row, names.index("mean_latency_ns")] = min(latency) * ns
                if (chosen[[self.space.names.index(n) for n in _SIZES]] >= 0).all():
                    found[row, names.index("area_mm2")] = min(area) * (1.0 - 1e-9)
        return found

    def _least(
        self, network: Network, bits: int, traffic: Traffic, packets: Packets | None
    ) -> float:
        if packets is not None:
            sized = replace(packets, size=-(-packets.size * WIDTH_BITS // bits))
            cycles = least_cycles(network, sized)
            asks = sized.kind > 0
            if asks.any():
                long = -(-_LONG_BITS // bits)
                size = np.where(sized.kind == READ, long, 1)[asks]
                back = Packets.of(sized.time[asks], sized.target[asks], sized.source[asks], size)
                cycles = np.concatenate([cycles, least_cycles(network, back)])
            return float(cycles.mean())
        node = np.arange(self.nodes)
        fixed = targets(traffic.pattern, self.nodes, network.node_radix, network.n)
        shortest = int(np.min(self.load_of(traffic, bits).packet_size))
        to = fixed if len(fixed) else node
        return float(least_cycles(network, Packets.of(0 * node, node, to, shortest)).min())

    def describe_workload(self, workload: Workload) -> Mapping[str, tuple[float | str, str]]:
        """Return numbers that characterise traffic."""
        traffic: Traffic = workload.content
        if traffic.packets is None:
            return {"load": (self._load, "flits of 128 bits a cycle and node")}
        p = traffic.packets
        span = int(p.time.max()) + 1
        return {
            "packets": (float(len(p)), ""),
            "flits": (float(p.size.sum()), "flits of 128 bits"),
            "mean_load": (p.size.sum() / span / self.nodes, "flits a cycle and node"),
            "waiting": (float((p.waits_for >= 0).sum()), "packets that wait for another"),
        }

    def export(self, form: str, indices: np.ndarray, workload: Workload) -> Files:
        """Return a design as BookSim's configuration.

        Raises:
          InvalidDesignError: The workload is a list of packets, which BookSim does not read.
        """
        network, load = self._of_booksim(indices, workload)
        return booksim_files(network, load, self._clock, stated(self, indices, workload))

    def file_settings(
        self, form: str, indices: np.ndarray, workload: Workload
    ) -> Mapping[str, Any]:
        """Return what BookSim's configuration says; see `Stating.file_settings`."""
        return booksim_settings(*self._of_booksim(indices, workload))

    def _of_booksim(self, indices: np.ndarray, workload: Workload) -> tuple[Network, Load]:
        """Return a network, and the load that BookSim makes.

        Raises:
          InvalidDesignError: The workload is a list of packets, which BookSim does not read.
        """
        network, bits = self.network(indices)
        traffic: Traffic = workload.content
        if traffic.packets is not None:
            raise InvalidDesignError(
                f"BookSim 2 makes its traffic itself and reads no list of packets; workload "
                f"{workload.name!r} is one. Choose a load: {', '.join(LOADS)}."
            )
        return network, self.load_of(traffic, bits)


def _run_list(network: Network, packets: Packets, bits: int) -> Run | str:
    """Return the run of a list of packets, or why it did not end."""
    packets = replace(packets, size=-(-packets.size * WIDTH_BITS // bits))
    if (packets.kind > 0).any():
        if network.num_vcs < 2 * (2 if network.routing_function in HALVING else 1):
            return _REASONS[0]
        network = replace(network, use_read_write=1, read_reply_size=-(-_LONG_BITS // bits))
    run = Run(network, packets, _MOST_CYCLES, _DEADLOCK)
    status = run.advance()
    if status == "ok":
        return run
    return _REASONS[0] if status == "deadlock" else _REASONS[2]


_SIZES: Final = ("num_vcs", "vc_buf_size")


def _relieved(network: Network, bits: int, cost: str | None) -> tuple[Network, int]:
    """Return a network that does not pay one of the costs, and the width of its flits [bit]."""
    changed: dict[str, Any] = {}
    if cost == "routing":
        changed["routing_delay"] = 0
    elif cost == "allocation":
        changed["internal_speedup"] = 2.0 * network.internal_speedup
    elif cost == "serialisation":
        return network, max(bits, _LONG_BITS)
    elif cost == "buffers":
        changed["vc_buf_size"] = 64
    return replace(network, **changed), bits
