"""Comparison of the cluster simulator with ASTRA-sim, Calculon and published figures."""
