"""Proven optima of tables: their metrics, the distance of studies, and exact random search."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from archgym.errors import InvalidArgumentError
from archgym.evaluation.task import Task
from archgym.tables import Exhaustive
from archgym.tables.exhaustive import DEFAULT_BUDGETS

if TYPE_CHECKING:
    from archgym.analysis.random_search import RandomCurve
    from archgym.studies.snapshot import StudyLog
from archgym.evaluation.limits import missed_limits
from archgym.evaluation.metrics import MetricSpec
from archgym.tables import Optimum, TableSimulator


@final
@dataclass(frozen=True)
class OptimalityGap:
    """Best design of a study after some evaluations, relative to the proven optimum."""

    log: "StudyLog"
    budget: int
    reward: float
    value: float
    """Metric of the objective, or the reward if the objective has several terms."""
    percent: float | None
    """Difference of the metric to that of the optimum [%]; None if there is no such metric."""
    n_better: int
    """Number of designs with a larger reward."""


@final
@dataclass(frozen=True)
class Optimality:
    """Gaps of studies to the proven optimum, with exact random search at the same budgets."""

    known: Exhaustive
    gaps: tuple[OptimalityGap, ...]
    """Gaps by budget, best study first."""
    budgets: tuple[int, ...]
    """Numbers of evaluations that at least one study reached."""
    random: "RandomCurve | None"
    """Exact curve of random search at `budgets`; None without budgets."""

    def to_json(self) -> dict[str, Any]:
        """Return the gaps as JSON."""
        known = self.known
        return {
            "designs": len(known.rewards),
            "label": known.label,
            "optimum": known.optimum_value,
            "reward": known.reward,
            "ties": known.n_ties,
            "studies": [
                {
                    "folder": str(gap.log.folder),
                    "agent": gap.log.header.agent,
                    "seed": gap.log.header.seed,
                    "evaluations": gap.budget,
                    "reward": gap.reward,
                    "below": known.reward - gap.reward,
                    "value": gap.value,
                    "percent": gap.percent,
                    "better_designs": gap.n_better,
                }
                for gap in self.gaps
            ],
            "random": None if self.random is None else random_curve_json(self.random),
        }


def random_curve_json(curve: "RandomCurve") -> dict[str, Any]:
    """Return the exact curve of random search as JSON."""
    return {
        "budgets": curve.budgets,
        "expected": curve.expected,
        # Quantiles of the reward: of a minimised metric, 0.05 is the larger value.
        "quantiles_of": "reward",
        "quantiles": {f"{share:g}": values for share, values in curve.quantiles.items()},
        # Share of runs without a feasible design; quantiles count these as null.
        "share_without_design": curve.empty,
    }


def measure_optimality(
    logs: "Sequence[StudyLog]", table: Path, budgets: Sequence[int]
) -> Optimality:
    """Measure how far studies are from the optimum that a table proves.

    Raises:
      InvalidArgumentError: The studies have several tasks, or the table is of another task.
      FileFormatError: The file is not a table, or it is damaged.
    """
    known = read_exhaustive(logs, table)
    gaps = optimality_gaps(logs, known, budgets)
    reached = tuple(sorted({gap.budget for gap in gaps}))
    curve = known.random_curve(list(reached)) if reached else None
    return Optimality(known, tuple(gaps), reached, curve)


def read_exhaustive(logs: "Sequence[StudyLog]", path: Path) -> Exhaustive:
    """Return all designs of the studies' task, from a table.

    Raises:
      InvalidArgumentError: The studies have several tasks, or the table is of another task.
      FileFormatError: The file is not a table, or it is damaged.
    """
    first = logs[0]
    for log in logs[1:]:
        if log.header.task["digest"] != first.header.task["digest"]:
            raise InvalidArgumentError(
                "Studies must be of the same task to be compared with a table; "
                f"{first.folder} is of {first.task_id!r} and {log.folder} of {log.task_id!r}. "
                "Show them one by one."
            )
    recipe = {name: part for name, part in first.header.task.items() if name != "stand_in"}
    return Exhaustive(Task.from_json(recipe, stand_in=path))


def optimality_gaps(
    logs: "Sequence[StudyLog]", known: Exhaustive, budgets: Sequence[int]
) -> list[OptimalityGap]:
    """Return the gap of each study at each budget it reached, by budget and best first.

    A study with fewer evaluations than every budget is measured at its last evaluation.
    """
    gaps = []
    for log in logs:
        rows = np.flatnonzero(log.is_evaluation)
        reached = [n for n in budgets if n <= len(rows)] or ([len(rows)] if len(rows) else [])
        for n in reached:
            reward = np.where(log.is_feasible[rows[:n]], log.records.reward[rows[:n]], -np.inf)
            best = rows[int(np.argmax(reward))]
            if np.isfinite(reward.max()):
                gaps.append(_gap(log, n, int(best), known))
    return sorted(gaps, key=lambda gap: (gap.budget, -gap.reward))


def _gap(log: "StudyLog", budget: int, row: int, known: Exhaustive) -> OptimalityGap:
    reward = float(log.records.reward[row])
    if known.sought is None:
        return OptimalityGap(log, budget, reward, reward, None, known.n_better(reward))
    column = [spec.name for spec in log.metrics].index(known.sought.name)
    value, best = float(log.average()[row, column]), known.optimum_value
    percent = abs(value / best - 1) * 100 if best else None
    return OptimalityGap(log, budget, reward, value, percent, known.n_better(reward))


@final
@dataclass(frozen=True)
class ExactRandomSearch:
    """Random search over all designs of a task, at several budgets."""

    known: Exhaustive
    budgets: tuple[int, ...]
    curve: "RandomCurve"

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


@final
@dataclass(frozen=True)
class TableSummary:
    """Table with the metrics of its optima."""

    table: TableSimulator

    def best_metric(self, optimum: Optimum) -> tuple[float, MetricSpec] | None:
        """Return the metric of an optimum; None for several terms or workloads."""
        terms = optimum.objective.terms
        if len(terms) != 1 or len(optimum.weights) != 1:
            return None
        column = [spec.name for spec in self.table.metrics].index(terms[0].metric)
        return float(self._values(optimum)[0, column]), self.table.metrics[column]

    def missed_limits(self, optimum: Optimum) -> list[str]:
        """Return the limits of an objective that even its optimum misses, in words."""
        names = [spec.name for spec in self.table.metrics]
        rows = [dict(zip(names, row, strict=True)) for row in self._values(optimum).tolist()]
        return missed_limits(optimum.objective.limits, rows)

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON."""
        made = self.table
        return {
            "table": str(made.path),
            "bytes": made.size_bytes,
            "digest": made.digest,
            "designs": made.rows,
            "combinations": made.space.size,
            "simulator": made.name,
            "version": made.version,
            "options": dict(made.options),
            "fidelity": made.fidelity,
            "space": made.declaration.space_name,
            "workloads": {w.name: w.digest for w in made.declaration.workloads},
            "units": {spec.name: spec.unit for spec in made.metrics},
            "optima": [self._optimum_json(optimum) for optimum in made.optima],
        }

    def _optimum_json(self, optimum: Optimum) -> dict[str, Any]:
        space = self.table.space
        names = [spec.name for spec in self.table.metrics]
        return {
            "weights": dict(optimum.weights),
            "objective": optimum.objective.to_json(),
            "reward": optimum.reward,
            "missed_limits": self.missed_limits(optimum),
            "ties": optimum.n_ties,
            "infeasible": optimum.n_infeasible,
            "design": dict(space.design_at(space.unflat(np.array([optimum.number]))[0])),
            "metrics_by_workload": {
                name: dict(zip(names, row.tolist(), strict=True))
                for name, row in zip(optimum.weights, self._values(optimum), strict=True)
            },
            "front_size": optimum.front_size,
            "front": [
                {"number": p.number, "alike": p.n_alike, "terms": p.terms} for p in optimum.front
            ],
        }

    def _values(self, optimum: Optimum) -> np.ndarray:
        """Return metrics of the best design on each workload, (n_workloads, n_metrics)."""
        return self.table.metrics_of(optimum.number, list(optimum.weights))


def summarise_table(path: Path) -> TableSummary:
    """Summarise a table.

    Raises:
      FileFormatError: The file is not a table, or it is damaged.
      StorageError: The file cannot be read.
    """
    return TableSummary(TableSimulator(path))
