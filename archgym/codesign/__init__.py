"""The price of designing parts apart: strategies at equal cost, and the proven joint optimum."""

from archgym.codesign.proof import Proof, prove
from archgym.codesign.strategies import Outcome, compare_strategies, strategies_of

__all__ = ["Outcome", "Proof", "compare_strategies", "prove", "strategies_of"]
