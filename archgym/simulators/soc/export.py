"""Systems on a chip as JSON: blocks with their links, and tasks with their places."""

import json
from typing import Any, Final

from archgym.simulators.soc.graph import TaskGraph
from archgym.simulators.soc.state import CLOCK_HZ, KINDS, OWN, Designs

__all__ = ["SYSTEM", "system_files"]

SYSTEM: Final = "system"
_FORMAT: Final = 1


def system_files(graph: TaskGraph, designs: Designs) -> dict[str, str]:
    """Return the blocks of a system and the places of tasks as a file.

    Args:
      graph: The task graph.
      designs: A single design as the kernel reads it.
    """
    return {"system.json": json.dumps(_system(graph, designs), indent=2) + "\n"}


def _system(graph: TaskGraph, designs: Designs) -> dict[str, Any]:
    links, names = designs.links[0].tolist(), list(graph.names)
    on, memory = designs.on[0].tolist(), designs.task_memory[0].tolist()
    n_buses = len(links)
    return {
        "format": _FORMAT,
        "graph": graph.name,
        "buses": [
            {
                "name": f"bus{b}",
                "links": [f"bus{c}" for c in range(n_buses) if c != b and links[b] >> c & 1],
                "gb_per_s": designs.bus_peak[0, b] / 1e9,
            }
            for b in range(n_buses)
        ],
        "memories": [
            {
                "name": f"memory{m}",
                "kind": KINDS[kind],
                "bus": f"bus{bus}",
                "gb_per_s": peak / 1e9,
            }
            for m, (kind, bus, peak) in enumerate(
                zip(
                    designs.memory_kind[0].tolist(),
                    designs.memory_bus[0].tolist(),
                    designs.memory_peak[0].tolist(),
                    strict=True,
                )
            )
        ],
        "processors": [
            {"name": f"processor{p}", "bus": f"bus{bus}"}
            for p, bus in enumerate(designs.processor_bus[0].tolist())
        ],
        "accelerators": [
            {
                "name": f"accelerator_{name}",
                "bus": f"bus{designs.task_bus[0, t]}",
                "unroll": float(designs.unroll[0, t]),
                "clock_mhz": float(designs.clock[0, t]) * CLOCK_HZ / 1e6,
            }
            for t, name in enumerate(names)
            if on[t] == OWN
        ],
        "tasks": [
            {
                "name": name,
                "runs_on": f"accelerator_{name}" if on[t] == OWN else f"processor{on[t]}",
                "writes_to": f"memory{memory[t]}",
            }
            for t, name in enumerate(names)
        ],
    }
