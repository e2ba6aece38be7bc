"""Costs that a system pays, and the ideal machine that does not pay one of them."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from archgym.simulators.soc.state import Floats, GraphArrays, Rules

__all__ = ["COSTS", "relieved"]

COSTS: Final[Mapping[str, str]] = {
    "waiting": "one processor for every task",
    "buses": "buses that never limit a task",
    "memories": "memories that never limit a task",
    "accelerator-speed": "accelerators as fast as their data",
    "processor-energy": "energy of processors",
    "accelerator-energy": "energy of accelerators",
    "memory-energy": "energy of memories",
    "memory-area": "area of memories",
}


def relieved(
    cost: str | None, graph: GraphArrays, cacti: Floats, rules: Rules
) -> tuple[GraphArrays, Floats, Rules]:
    """Return what the kernel takes, without one of `COSTS`; as it is where that is None."""
    match cost:
        case "waiting":
            return graph, cacti, rules._replace(shared=2)
        case "buses":
            return graph, cacti, rules._replace(free_buses=True)
        case "memories":
            return graph, cacti, rules._replace(free_memories=True)
        case "accelerator-speed":
            return graph, cacti, rules._replace(free_accelerators=True)
        case "processor-energy":
            return graph, cacti, rules._replace(free_processor_energy=True)
        case "accelerator-energy":
            free = np.zeros_like(graph.accelerator_energy)
            return graph._replace(accelerator_energy=free), cacti, rules
        case "memory-energy":
            table = cacti.copy()
            table[:, :, :2] = 0.0
            return graph, table, rules
        case "memory-area":
            table = cacti.copy()
            table[:, :, 2] = 0.0
            return graph, table, rules
        case _:
            return graph, cacti, rules
