"""Names of policies that kernels share with spaces, without compiled code."""

from typing import Final

POLICIES: Final = (
    "lru", "lfu", "ttl", "tail-lru", "priority", "belady", "slru", "s3-fifo", "arc",
)  # fmt: skip
"""Names of policies by code; only `lru` uses the queue."""
OFFERED: Final = tuple(name for name in POLICIES if name != "belady")
"""Policies that an engine can have: `belady` knows the future, and serves as a bound."""
HOST_POLICIES: Final = ("lru", "arc")
RADIX_POLICIES: Final = ("lru", "lfu")
TIER_POLICIES: Final = ("lru", "lfu", "priority")
ROUTING: Final = ("round-robin", "least-loaded", "prefix-aware", "sticky")
