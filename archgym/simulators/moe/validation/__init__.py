"""Validation of the MoE simulator: published and measured numbers against its own."""

from archgym.simulators.moe.validation.table import Validation, validate

__all__ = ["Validation", "validate"]
