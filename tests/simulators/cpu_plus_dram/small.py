"""Small searches of the simulator, for tests that run over all simulators."""

from typing import Any

FREE: dict[str, Any] = {
    "workload": "sort",
    "cpu.instructions": "2000",
    "values": {"cpu.rob": "96..352", "dram.channels": [1, 2]},
}
"""Choices of a task, and the `values` of the few parameters that are free in it."""
BOUNDS: list[tuple[str, str, dict[str, str]]] = [("default", "sort", {"cpu.instructions": "2000"})]
"""Space, workload and options with which an evaluation is short."""
