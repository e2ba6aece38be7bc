"""Parts that simulators share: declared options, and bases that fill in the routine."""

from archgym.evaluation.options import Option, declared
from archgym.simulators.kit.base import KitSimulator, RowSimulator

__all__ = ["KitSimulator", "Option", "RowSimulator", "declared"]
