"""Validation of the CPU simulator against ChampSim and its own recorded rows."""

from evidence.cpu.reference import Validation, validate

__all__ = ["Validation", "validate"]
