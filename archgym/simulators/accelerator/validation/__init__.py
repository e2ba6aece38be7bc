"""Validation of the accelerator simulator against recorded results of other tools."""

from archgym.simulators.accelerator.validation.reference import Validation, validate

__all__ = ["Validation", "validate"]
