"""Exact results of random search on a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from archgym.analysis.random_search import RandomCurve
from archgym.errors import InvalidArgumentError
from archgym.evaluation.task import Task
from archgym.report.optimality import random_curve_json
from archgym.tables.exhaustive import DEFAULT_BUDGETS, Exhaustive


@final
@dataclass(frozen=True)
class ExactRandomSearch:
    """Random search over all designs of a task, at several budgets."""

    known: Exhaustive
    budgets: tuple[int, ...]
    curve: RandomCurve

    def to_json(self) -> dict[str, Any]:
        """Return the curve and the optimum as JSON."""
        known = self.known
        return {
            "task": known.task.id,
            "designs": len(known.rewards),
            "label": known.label,
            "optimum": known.optimum_value,
            "reward": known.reward,
            "ties": known.n_ties,
            **random_curve_json(self.curve),
        }


def exact_random_search(
    table: Path,
    workloads: Mapping[str, float] | None = None,
    objective: str | None = None,
    budgets: Sequence[int] | None = None,
) -> ExactRandomSearch:
    """Compute the mean and the percentiles of random search on a table.

    Args:
      table: File of the table.
      workloads: Weights by name (default: the first workload of the table).
      objective: Name of the objective (default: that of the simulator).
      budgets: Numbers of evaluations (default: those that the table is large enough for).

    Raises:
      InvalidArgumentError: A budget exceeds the number of designs.
      FileFormatError: The file is not a table, or it is damaged.
    """
    known = Exhaustive(Task.make(stand_in=table, workload=workloads, objective=objective))
    total = len(known.rewards)
    chosen = sorted(set(budgets or [n for n in DEFAULT_BUDGETS if n <= total] or [total]))
    if chosen[-1] > total:
        raise InvalidArgumentError(
            f"`--budget` must be at most {total:,}, the number of designs; got {chosen[-1]:,}."
        )
    return ExactRandomSearch(known, tuple(chosen), known.random_curve(chosen))
