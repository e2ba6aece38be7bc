"""Systolic arrays at the nodes of a network on chip, both designed together."""

from archgym.simulators.accelerator_plus_noc.simulator import AcceleratorNocSimulator

__all__ = ["AcceleratorNocSimulator"]
