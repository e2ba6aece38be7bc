"""Validation of the accelerator simulator against recorded results of other tools."""

from evidence.accelerator.reference import GROUPS, validate

__all__ = ["GROUPS", "validate"]
