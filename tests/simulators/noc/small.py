"""Small searches of the simulator, for tests that run over all simulators."""

from typing import Any

FREE: dict[str, Any] = {"workload": "transpose", "space": "mesh", "values": {}}
"""Choices of a task, and the `values` of the few parameters that are free in it."""
BOUNDS: list[tuple[str, str, dict[str, str]]] = [("mesh", "uniform", {}), ("mesh", "transpose", {})]
"""Space, workload and options with which an evaluation is short."""
WITHOUT_NODE = "Areas and powers are those of its tool, of 32 nm."
"""Why it has no price and no carbon of a chip."""
