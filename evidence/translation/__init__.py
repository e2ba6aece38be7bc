"""Validation of the translation simulator against other tools and published results."""

from evidence.translation.reference import GROUPS, validate

__all__ = ["GROUPS", "validate"]
