"""Training clusters: parallel training on a network that is also designed."""

from typing import Final

from archgym.simulators.cluster.simulator import ClusterSimulator

USES: Final = ("accelerator",)
"""Other simulators whose parts this one runs."""

__all__ = ["ClusterSimulator"]
