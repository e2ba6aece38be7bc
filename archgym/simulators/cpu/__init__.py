"""An out-of-order core with its caches, TLBs and DRAM, exact against ChampSim."""

from archgym.simulators.cpu.simulator import CpuSimulator

__all__ = ["CpuSimulator"]
