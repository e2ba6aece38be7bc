"""Comparison of the cluster simulator with ASTRA-sim, Calculon and published figures."""

from evidence.cluster.table import Validation, validate

__all__ = ["Validation", "validate"]
