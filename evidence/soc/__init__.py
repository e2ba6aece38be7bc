"""Comparison of the SoC simulator with recorded results of FARSI."""

from evidence.soc.reference import TOLERANCE, validate

__all__ = ["TOLERANCE", "validate"]
