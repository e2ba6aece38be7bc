"""An out-of-order core with its caches, TLBs and DRAM, exact against ChampSim."""

from typing import Final

from archgym.simulators.cpu.simulator import CpuSimulator

USES: Final = ("dram", "translation")
"""Other simulators whose parts this one runs."""

__all__ = ["CpuSimulator"]
