"""Comparison of the SoC simulator with recorded results of FARSI."""

from archgym.simulators.soc.validation.reference import TOLERANCE, Validation, validate

__all__ = ["TOLERANCE", "Validation", "validate"]
