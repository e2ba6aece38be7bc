"""Small searches of the simulator, for tests that run over all simulators."""

from typing import Any

FREE: dict[str, Any] = {
    "workload": "stream",
    "requests": "200",
    "values": {"page_policy": ["Open", "Closed"], "request_buffer_size": [1, 2, 4, 8, 16]},
}
"""Choices of a task, and the `values` of the few parameters that are free in it."""
WITHOUT_NODE = "Modules that are bought; it has no area."
"""Why it has no price and no carbon of a chip."""
