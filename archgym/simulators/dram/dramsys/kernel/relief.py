"""Devices without one of their costs: ideal memories that explain a design.

Each takes a kind of rule away or makes it as short as a clock cycle; what a command does, and the
energy that it takes, stay.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np

from archgym.simulators.dram.dramsys.kernel import commands as cmd
from archgym.simulators.dram.dramsys.kernel.commands import Rule

_READS: Final = frozenset((cmd.RD, cmd.RDA))
_WRITES: Final = frozenset((cmd.WR, cmd.WRA))
_COLUMNS: Final = _READS | _WRITES
_ROWS: Final = frozenset((cmd.ACT, cmd.PRE, cmd.PREA))


def relieve_rules(rules: Iterable[Rule], cost: str | None) -> Iterator[Rule]:
    """Return timing rules of a device that does not pay a cost."""
    rules = tuple(rules)
    # What one kind of column command waits for the same kind, by scope.
    spacing: dict[str, int] = {}
    for rule in rules:
        if _kinds(rule) in ("read-read", "write-write"):
            spacing[rule.scope] = max(rule.cycles, spacing.get(rule.scope, 0))
    for rule in rules:
        if cost is None or _cost_of(rule) != cost:
            yield rule
        elif cost == "turnaround":
            yield replace(rule, cycles=min(rule.cycles, spacing.get(rule.scope, 1)))
        else:
            yield replace(rule, cycles=min(rule.cycles, 1))


def relieve_table(row: Any, cost: str | None) -> None:
    """Take the limit on four activations away, which is not a rule; row is of `state.DEVICE`."""
    if cost == "activation-rate":
        row["window_to_act"] = row["window_to_refb"] = 0


def relieve_controllers(controllers: np.ndarray, cost: str | None) -> None:
    """Disable refresh in controllers, (n_designs, 12) by `commands.CONTROLLER_COLUMNS`."""
    if cost == "refresh":
        place = cmd.CONTROLLER_COLUMNS.index("refresh_policy")
        controllers[:, place] = cmd.REFRESH_POLICIES.index("NoRefresh")


def _cost_of(rule: Rule) -> str | None:
    """Return the cost that a rule is part of."""
    kinds = _kinds(rule)
    if kinds in ("read-read", "write-write"):
        return "data-bus"
    if kinds is not None:
        return "turnaround"
    before, after = set(rule.previous), set(rule.following)
    if rule.scope in ("rank", "group") and before == after == {cmd.ACT}:
        return "activation-rate"
    is_of_rows = (before | after) <= (_ROWS | _COLUMNS)
    return "rows" if is_of_rows and (before & _ROWS or after & (_ROWS | {cmd.RDA})) else None


def _kinds(rule: Rule) -> str | None:
    """Return kinds of column commands that a rule is between, of a bank's own none."""
    before, after = set(rule.previous), set(rule.following)
    if rule.scope == "bank" or not (before <= _COLUMNS and after <= _COLUMNS):
        return None
    return f"{'read' if before <= _READS else 'write'}-{'read' if after <= _READS else 'write'}"
