"""Validation of the MoE simulator: published and measured numbers against its own."""

from evidence.moe.picture import draw_accuracy
from evidence.moe.table import GROUPS, ErrorTable, serving_accuracy, validate

__all__ = ["GROUPS", "ErrorTable", "draw_accuracy", "serving_accuracy", "validate"]
