"""A core with its caches in front of the controllers of its memory, both designed together."""

from archgym.simulators.cpu_plus_dram.simulator import CpuDramSimulator

__all__ = ["CpuDramSimulator"]
