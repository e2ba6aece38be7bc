"""Validation of the accelerator simulator against recorded results of other tools."""

from evidence.accelerator.reference import Validation, validate

__all__ = ["Validation", "validate"]
