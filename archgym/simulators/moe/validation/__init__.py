"""Validation of the MoE simulator: published and measured numbers against its own."""

from archgym.simulators.moe.validation.table import (
    ErrorTable,
    Validation,
    serving_accuracy,
    validate,
)

__all__ = ["ErrorTable", "Validation", "serving_accuracy", "validate"]
