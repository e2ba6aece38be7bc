"""Devices without one of their costs: ideal memories that explain a design."""

from typing import Final

from archgym.simulators.dram.ramulator.standard import Constraint

__all__ = ["relieved"]

_READS: Final = frozenset(("RD", "RDA"))
_WRITES: Final = frozenset(("WR", "WRA"))
_COLUMNS: Final = _READS | _WRITES
_ROWS: Final = frozenset(("ACT", "ACT1", "PREpb", "PREab"))
_ACTIVATIONS: Final = frozenset(("ACT", "ACT1"))


def relieved(rule: Constraint, clocks: int, cost: str | None) -> int:
    """Return the distance of a rule on a device that does not pay a cost [clocks]."""
    if cost is None or _cost_of(rule) != cost:
        return clocks
    return min(clocks, 1)


def _cost_of(rule: Constraint) -> str | None:
    """Return the cost that a rule is part of, of `dram.costs.COSTS`."""
    before, after = frozenset(rule.preceding), frozenset(rule.following)
    if before <= _COLUMNS and after <= _COLUMNS:
        is_turn = (before <= _READS) != (after <= _READS) or rule.siblings
        return "turnaround" if is_turn else "data-bus"
    if rule.scope != "Bank" and before <= _ACTIVATIONS and after & _ACTIVATIONS:
        return "activation-rate"
    if (before | after) <= (_ROWS | _COLUMNS):
        return "rows"
    return None
