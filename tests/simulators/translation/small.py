"""Small searches of the simulator, for tests that run over all simulators."""

from typing import Any

FREE: dict[str, Any] = {
    "workload": "sort",
    "space": "tabulated",
    "records": "1000",
    "values": {"l1_tlb_entries": [32, 64, 128], "l2_tlb_ways": [4, 12, 16]},
}
"""Choices of a task, and the `values` of the few parameters that are free in it."""
