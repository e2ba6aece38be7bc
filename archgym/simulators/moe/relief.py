"""Parameters that relieve each cost of a design, for agents that move by bottlenecks."""

from collections.abc import Mapping
from typing import Final

_CACHE: Final = ("cache_percent", "scope", "replacement", "admission", "staging_experts")
_BATCHES: Final = ("max_sequences", "max_tokens", "chunk_tokens", "scheduler", "clients")
_SPLIT: Final = ("tensor", "data", "spread", "servers")

RELIEF: Final[Mapping[str, tuple[str, ...]]] = {
    "capacity": (*_CACHE, "expert_bits"),
    "host-link": (
        "prefetch", "depth", "width", "cpu_rule", "expert_bits", "low_bits", "link_order",
        *("chunk_kib", "skip_in_64", *_CACHE),
    ),
    "drive": ("host_gb", "prefetch", "expert_bits", "skip_in_64", *_CACHE),
    "host-processor": ("cpu_rule", "expert_bits", "low_bits", *_CACHE),
    "mispredictions": ("prefetch", "depth", "width", "target"),
    "exchange": ("paths", "subflows", "pipeline", "rounds", *_SPLIT),
    "imbalance": ("redundant", "placement", *_SPLIT),
    "experts": ("expert_bits", *_SPLIT, *_BATCHES),
    "attention": ("kv_bits", *_SPLIT, *_BATCHES),
    "launches": _BATCHES,
    "batch-limits": _BATCHES,
    "arrivals": _BATCHES,
    "standing-power": ("hardware", *_SPLIT, *_BATCHES),
}  # fmt: skip
"""By cost of `costs.py`, what decides it by the model's rules; a space need not have all."""
