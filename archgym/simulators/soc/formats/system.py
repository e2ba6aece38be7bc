"""Systems on a chip as JSON: blocks with their links, and tasks with their places."""

import json
from typing import Any, Final

from archgym.simulators.soc.kernel.graph import TaskGraph
from archgym.simulators.soc.kernel.state import CLOCK_HZ, KINDS, OWN, Designs

_FORMAT: Final = 1


def system_files(graph: TaskGraph, designs: Designs) -> dict[str, str]:
    """Return the blocks of a system and the places of tasks as a file.

    Args:
      graph: The task graph.
      designs: A single design as the kernel reads it.
    """
    return {"system.json": json.dumps(_system(graph, designs), indent=2) + "\n"}


def _system(graph: TaskGraph, designs: Designs) -> dict[str, Any]:
    links, on = designs.links[0].tolist(), designs.on[0].tolist()
    buses = [
        {
            "name": f"bus{b}",
            "links": [f"bus{c}" for c in range(len(links)) if c != b and links[b] >> c & 1],
            "gb_per_s": designs.bus_peak[0, b] / 1e9,
        }
        for b in range(len(links))
    ]
    memories = [
        {
            "name": f"memory{m}",
            "kind": KINDS[designs.memory_kind[0, m]],
            "bus": f"bus{bus}",
            "gb_per_s": designs.memory_peak[0, m] / 1e9,
        }
        for m, bus in enumerate(designs.memory_bus[0].tolist())
    ]
    accelerators = [
        {
            "name": f"accelerator_{name}",
            "bus": f"bus{designs.task_bus[0, t]}",
            "unroll": float(designs.unroll[0, t]),
            "clock_mhz": float(designs.clock[0, t]) * CLOCK_HZ / 1e6,
        }
        for t, name in enumerate(graph.names)
        if on[t] == OWN
    ]
    tasks = [
        {
            "name": name,
            "runs_on": f"accelerator_{name}" if on[t] == OWN else f"processor{on[t]}",
            "writes_to": f"memory{designs.task_memory[0, t]}",
        }
        for t, name in enumerate(graph.names)
    ]
    hung = enumerate(designs.processor_bus[0].tolist())
    processors = [{"name": f"processor{p}", "bus": f"bus{bus}"} for p, bus in hung]
    return {
        "format": _FORMAT,
        "graph": graph.name,
        "buses": buses,
        "memories": memories,
        "processors": processors,
        "accelerators": accelerators,
        "tasks": tasks,
    }
