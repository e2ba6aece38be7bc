"""Small searches of the simulator, for tests that run over all simulators."""

from typing import Any

FREE: dict[str, Any] = {
    "space": "systolic",
    "values": {"array_height": [8, 16, 32], "array_width": [8, 16, 32]},
}
"""Choices of a task, and the `values` of the few parameters that are free in it."""
BOUNDS: list[tuple[str, str, dict[str, str]]] = [("mapping-table", "", {})]
"""Space, workload and options with which an evaluation is short."""
