"""Validation of the translation simulator against other tools and published results."""

from evidence.translation.reference import Validation, validate

__all__ = ["Validation", "validate"]
