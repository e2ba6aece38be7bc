"""A systolic array with its buffers in front of the controllers of its memory."""

from archgym.simulators.accelerator_plus_dram.simulator import AcceleratorDramSimulator

__all__ = ["AcceleratorDramSimulator"]
