"""Traffic between the blocks of a system, as packets for a network on chip."""

from typing import Final

import numpy as np

from archgym.simulators.kit import InvalidDesignError
from archgym.simulators.kit.exports import FLIT_BYTES, packet_files
from archgym.simulators.kit.exports import NETWORK_NODES as NODES
from archgym.simulators.soc.graph import BURST_BYTES, TaskGraph
from archgym.simulators.soc.kernel.state import OWN, Designs

# chosen: bursts of a task in flight at once, as many as a DMA engine usually has.
_IN_FLIGHT: Final = 4
# chosen: as many packets as `noc` reads.
_MOST: Final = 2**20


def traffic_files(graph: TaskGraph, designs: Designs) -> dict[str, str]:
    """Return the bursts of a system as `traffic.csv`, and which node has which block.

    A task reads its inputs, burst by burst, from the memories that hold them, and writes its
    output to its own. Computing takes no time, and some bursts of a task are in flight at once, so
    that the list ends as early as the network allows. A packet waits for one other: a task begins
    with the last burst of the parent that comes last in the order of the graph's layers.

    Args:
      graph: The task graph.
      designs: A single design as the kernel reads it.

    Raises:
      InvalidDesignError: The system has more blocks than a network has nodes, or more bursts than
        a file of packets.
    """
    place = _nodes(graph, designs)
    on, memory = designs.on[0].tolist(), designs.task_memory[0].tolist()
    rows: list[tuple[int, int, int, int, int]] = []
    last: dict[int, int] = {}
    for t in np.argsort(graph.layers, kind="stable").tolist():
        unit = place[f"accelerator_{graph.names[t]}" if on[t] == OWN else f"processor{on[t]}"]
        inputs = [edge for edge in graph.edges if edge.child == t and edge.bytes > 0]
        written = sum(edge.bytes for edge in graph.edges if edge.parent == t)
        moves = [(place[f"memory{memory[e.parent]}"], unit, e.bytes) for e in inputs]
        bursts = [
            (source, target, _flits(size, k))
            for source, target, size in (*moves, (unit, place[f"memory{memory[t]}"], written))
            for k in range(int(-(-size // BURST_BYTES)))
        ]
        if len(rows) + len(bursts) > _MOST:
            raise InvalidDesignError(
                f"Export 'traffic' holds at most {_MOST} bursts of {BURST_BYTES} bytes; this "
                "system has more. Use a graph with less data."
            )
        # Of a dummy the network sees nothing, so that its children wait for its parents.
        ended = [last[e.parent] for e in graph.edges if e.child == t and e.parent in last]
        before = max(ended, default=-1)
        first = len(rows)
        for k, (source, target, flits) in enumerate(bursts):
            waits = first + k - _IN_FLIGHT if k >= _IN_FLIGHT else before
            rows.append((0, source, target, flits, waits))
        if bursts or ended:
            last[t] = len(rows) - 1 if bursts else before
    return packet_files(rows, place)


def _flits(size: float, burst: int) -> int:
    """Return the flits of a burst of a transfer; the last may be shorter."""
    return int(-(-min(BURST_BYTES, size - burst * BURST_BYTES) // FLIT_BYTES))


def _nodes(graph: TaskGraph, designs: Designs) -> dict[str, int]:
    """Return the node of each block that a task uses, in the order of memories and units."""
    on, memory = designs.on[0].tolist(), designs.task_memory[0].tolist()
    used = {f"memory{m}" for m in memory} | {
        f"accelerator_{name}" if p == OWN else f"processor{p}"
        for name, p in zip(graph.names, on, strict=True)
    }
    if len(used) > NODES:
        raise InvalidDesignError(
            f"Export 'traffic' is for at most {NODES} blocks; this system has {len(used)}."
        )
    return {name: place * (NODES // len(used)) for place, name in enumerate(sorted(used))}
