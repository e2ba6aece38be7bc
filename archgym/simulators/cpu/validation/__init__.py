"""Validation of the CPU simulator against ChampSim and its own recorded rows."""

from archgym.simulators.cpu.validation.reference import Validation, validate

__all__ = ["Validation", "validate"]
