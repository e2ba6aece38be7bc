"""Comparison of the simulator of networks on chip with BookSim 2."""

from evidence.noc.reference import GROUPS, validate

__all__ = ["GROUPS", "validate"]
