"""Small searches of the simulator, for tests that run over all simulators."""

from typing import Any

FREE: dict[str, Any] = {
    "workload": "bert-large",
    "space": "table",
    "fidelity": "short",
    "values": {"microbatch": "1..4", "zero": [0, 1, 3]},
}
"""Choices of a task, and the `values` of the few parameters that are free in it."""
BOUNDS: list[tuple[str, str, dict[str, str]]] = [
    ("table", "network:resnet-18", {}),
    ("network", "gpt2-xl-1.5b", {"efficiency": "0.8"}),
    ("cosmic-2025", "gpt2-xl-1.5b", {}),
]
"""Space, workload and options with which an evaluation is short."""
WITHOUT_NODE = "Machines that are bought, whose cost of ownership it has."
"""Why it has no price and no carbon of a chip."""
