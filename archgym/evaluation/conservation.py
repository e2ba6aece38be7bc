"""Laws of conservation that results obey: no time is shorter than bytes over bandwidth."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from archgym.evaluation.simulator import BatchResult

Columns = Mapping[str, np.ndarray]
"""Results of designs by metric, (n,) each."""
Laws = Mapping[str, tuple[np.ndarray, np.ndarray | float]]
"""By law, as words after "must keep that", a quantity of each design, (n,), and the least that is
possible, (n,) or one number for all; 0 or less where the law says nothing."""
# Relative to the least: sums of doubles differ by some 1e-16 of the whole.
_ROUNDING: Final = 1e-9


def hold_to(name: str, laws: Laws, rows: np.ndarray, result: "BatchResult") -> "BatchResult":
    """Return a result in which designs that break a law are failures, and never feasible.

    Args:
      name: Name of the simulator.
      laws: Laws for the designs that were built.
      rows: (n_built,), their rows in the result.
      result: The result; it is not changed.
    """
    failures = dict(result.failures)
    for text, (found, least) in laws.items():
        for place in np.flatnonzero(found < np.asarray(least) * (1.0 - _ROUNDING)).tolist():
            possible = np.broadcast_to(least, found.shape)[place]
            failures.setdefault(
                int(rows[place]),
                f"Simulator {name!r} must keep that {text}; got {found[place]:.6g} where at least "
                f"{possible:.6g} is possible. Please report the design and workload.",
            )
    broken = [row for row in failures if row not in result.failures]
    if not broken:
        return result
    values, reason = np.array(result.values, dtype=np.float64), np.array(result.reason)
    values[broken], reason[broken] = np.nan, -1
    return replace(result, values=values, reason=reason, failures=failures)
