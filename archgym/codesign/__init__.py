"""The price of designing parts apart: strategies at equal cost."""

from archgym.codesign.strategies import Outcome, compare_strategies, strategies_of

__all__ = ["Outcome", "compare_strategies", "strategies_of"]
