"""Prefix caches of serving engines above the controllers of the host's memory."""

from archgym.simulators.kv_plus_dram.simulator import KvDramSimulator

__all__ = ["KvDramSimulator"]
