"""Validation of the translation simulator against other tools and published results."""

from archgym.simulators.translation.validation.reference import Validation, validate

__all__ = ["Validation", "validate"]
