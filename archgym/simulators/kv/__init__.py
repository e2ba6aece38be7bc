"""Prefix caches of serving engines: blocks, tiers, policies, and the best possible eviction."""

from typing import Final

from archgym.simulators.kv.simulator import KvSimulator

USES: Final = ("moe",)
"""Other simulators whose parts this one runs."""

__all__ = ["KvSimulator"]
