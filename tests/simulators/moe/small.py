"""Small searches of the simulator, for tests that run over all simulators."""

from typing import Any

FREE: dict[str, Any] = {
    "workload": "turns",
    "space": "edge-offload-table",
    "requests": "2",
    "output_tokens": "4",
    "values": {"cache_percent": "5..40", "expert_bits": [4, 8]},
}
"""Choices of a task, and the `values` of the few parameters that are free in it."""
WITHOUT_NODE = "Machines that are bought, whose cost of ownership it has."
"""Why it has no price and no carbon of a chip."""
KERNELS: list[dict[str, str]] = [
    {"space": "closed-loop", "prefill_workers": "1", "decode_workers": "1", "requests": "2"},
]
"""Choices of tasks whose kernels the default space does not compile."""
