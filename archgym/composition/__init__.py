"""Simulators of several parts, whose designs are chosen and judged together."""

from archgym.composition.compose import FunctionComposition, compose
from archgym.composition.composition import Composition, Part

__all__ = ["Composition", "FunctionComposition", "Part", "compose"]
