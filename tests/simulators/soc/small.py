"""Small searches of the simulator, for tests that run over all simulators."""

from typing import Any

FREE: dict[str, Any] = {
    "space": "table",
    "minimise": "power_w",
    "values": {},
}
"""Choices of a task, and the `values` of the few parameters that are free in it."""
BOUNDS: list[tuple[str, str, dict[str, str]]] = [("table", "", {})]
"""Space, workload and options with which an evaluation is short."""
