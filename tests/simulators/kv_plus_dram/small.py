"""Small searches of the simulator, for tests that run over all simulators."""

from typing import Any

FREE: dict[str, Any] = {
    "workload": "coding",
    "kv.sessions": "4",
    "kv.hardware": "rtx-4090",
    "objective": "latency",
    "values": {"dram.channels": [4, 8], "kv.block_tokens": [16, 32, 64]},
}
"""Choices of a task, and the `values` of the few parameters that are free in it."""
