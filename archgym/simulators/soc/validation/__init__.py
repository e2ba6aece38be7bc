"""Comparison of the SoC simulator with recorded results of FARSI."""

from archgym.simulators.soc.validation.reference import TOLERANCE, validate

__all__ = ["TOLERANCE", "validate"]
