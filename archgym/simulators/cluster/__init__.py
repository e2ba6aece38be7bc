"""Training clusters: parallel training on a network that is also designed."""

from archgym.simulators.cluster.simulator import ClusterSimulator

__all__ = ["ClusterSimulator"]
