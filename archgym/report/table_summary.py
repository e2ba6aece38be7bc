"""Summary of a table of all designs: its content, and its optima with their metrics."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from archgym.evaluation.limits import missed_limits
from archgym.evaluation.metrics import MetricSpec
from archgym.tables import Optimum, TableSimulator


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
