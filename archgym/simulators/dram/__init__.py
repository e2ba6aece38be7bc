"""A memory controller and its DRAM, cycle by cycle: what DRAMSys 4 computes, much faster."""

from archgym.simulators.dram.dramsys.devices import Device, device
from archgym.simulators.dram.simulator import DramSimulator, device_names
from archgym.simulators.dram.workloads.shipped import load_trace
from archgym.simulators.dram.workloads.trace import Trace, read_trace, write_trace

__all__ = [
    "Device",
    "DramSimulator",
    "Trace",
    "device",
    "device_names",
    "load_trace",
    "read_trace",
    "write_trace",
]
