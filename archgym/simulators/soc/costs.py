"""Costs that a system pays, and the ideal machine that does not pay one of them."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from archgym.simulators.soc.graph import Floats, GraphArrays
from archgym.simulators.soc.kernel.state import Rules

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


# Rules without a cost, and columns of the table of memories that are 0 without one.
_RULES: Final[Mapping[str, dict[str, Any]]] = {
    "waiting": {"shared": 2},
    "buses": {"free_buses": True},
    "memories": {"free_memories": True},
    "accelerator-speed": {"free_accelerators": True},
    "processor-energy": {"free_processor_energy": True},
}
_COLUMNS: Final = {"memory-energy": slice(2), "memory-area": slice(2, 3)}


def relieved(
    cost: str | None, graph: GraphArrays, cacti: Floats, rules: Rules
) -> tuple[GraphArrays, Floats, Rules]:
    """Return what the kernel takes, without one of `COSTS`; as it is where that is None."""
    if cost == "accelerator-energy":
        graph = graph._replace(accelerator_energy=np.zeros_like(graph.accelerator_energy))
    if cost in _COLUMNS:
        cacti = cacti.copy()
        cacti[:, :, _COLUMNS[cost]] = 0.0
    return graph, cacti, rules._replace(**_RULES.get(cost or "", {}))
