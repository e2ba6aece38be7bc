"""Small searches of the simulator, for tests that run over all simulators."""

from typing import Any

FREE: dict[str, Any] = {
    "workload": "sort",
    "space": "core",
    "instructions": "2000",
    "values": {"rob": "96..352", "dispatch_width": "2..6"},
}
"""Choices of a task, and the `values` of the few parameters that are free in it."""
BOUNDS: list[tuple[str, str, dict[str, str]]] = [
    ("default", "sort", {"instructions": "2000"}),
    ("dvfs", "sort", {"instructions": "2000"}),
]
"""Space, workload and options with which an evaluation is short."""
