"""Small searches of the simulator, for tests that run over all simulators."""

from typing import Any

FREE: dict[str, Any] = {
    "workload": "resnet-18",
    "accelerator.layers": "1",
    "values": {
        "accelerator.array_height": [32, 64],
        "accelerator.input_kib": [16, 64],
        "dram.channels": [1, 2],
    },
}
"""Choices of a task, and the `values` of the few parameters that are free in it."""
BOUNDS: list[tuple[str, str, dict[str, str]]] = [
    ("default", "resnet-18", {"accelerator.layers": "1"})
]
"""Space, workload and options with which an evaluation is short."""
