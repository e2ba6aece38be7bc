"""Simulators of several parts, whose designs are chosen and judged together."""
