"""Small searches of the simulator, for tests that run over all simulators."""

from typing import Any

FREE: dict[str, Any] = {
    "workload": "resnet-18",
    "cluster.space": "table",
    "values": {
        "accelerator.dataflow": ["weight-stationary", "output-stationary"],
        "cluster.microbatch": [1, 2, 4],
    },
}
"""Choices of a task, and the `values` of the few parameters that are free in it."""
BOUNDS: list[tuple[str, str, dict[str, str]]] = [
    ("default", "resnet-18", {"cluster.space": "table"})
]
"""Space, workload and options with which an evaluation is short."""
