"""Comparison of the SoC simulator with recorded results of FARSI."""

from evidence.soc.reference import GROUPS, TOLERANCE, validate

__all__ = ["GROUPS", "TOLERANCE", "validate"]
