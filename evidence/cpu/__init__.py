"""Validation of the CPU simulator against ChampSim and its own recorded rows."""

from evidence.cpu.reference import GROUPS, validate

__all__ = ["GROUPS", "validate"]
