"""Small searches of the simulator, for tests that run over all simulators."""

from typing import Any

QUICK: dict[str, str] = {"noc.space": "mesh"}
"""Options with which suites evaluate hundreds of designs."""
FREE: dict[str, Any] = {
    "workload": "resnet-18",
    "noc.space": "mesh",
    "values": {
        "accelerator.array_height": [16, 32],
        "accelerator.input_kib": [16, 64],
        "noc.channel_width": [64, 256],
    },
}
"""Choices of a task, and the `values` of the few parameters that are free in it."""
BOUNDS: list[tuple[str, str, dict[str, str]]] = [
    ("default", "resnet-18", {"noc.space": "mesh"}),
]
"""Space, workload and options with which an evaluation is short."""
