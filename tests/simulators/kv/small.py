"""Small searches of the simulator, for tests that run over all simulators."""

from typing import Any

FREE: dict[str, Any] = {"values": {}}
"""Choices of a task, and the `values` of the few parameters that are free in it."""
WITHOUT_NODE = "Machines that are rented; it has no area."
"""Why it has no price and no carbon of a chip."""
