"""Networks on chip: routers with virtual channels, cycle by cycle, as BookSim 2 simulates them."""

from archgym.simulators.noc.simulator import NocSimulator

__all__ = ["NocSimulator"]
