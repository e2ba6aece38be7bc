"""Systolic arrays as the matrix units of a training cluster's NPUs, both designed together."""

from archgym.simulators.accelerator_plus_cluster.simulator import AcceleratorClusterSimulator

__all__ = ["AcceleratorClusterSimulator"]
