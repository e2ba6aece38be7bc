"""Prefix caches of serving engines: blocks, tiers, policies, and the best possible eviction."""

from archgym.simulators.kv.simulator import KvSimulator

__all__ = ["KvSimulator"]
