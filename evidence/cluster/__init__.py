"""Comparison of the cluster simulator with ASTRA-sim, Calculon and published figures."""

from evidence.cluster.table import GROUPS, validate

__all__ = ["GROUPS", "validate"]
