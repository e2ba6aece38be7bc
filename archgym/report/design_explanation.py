"""Explanation of one design with its tradeoffs and risks."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from archgym.errors import InvalidArgumentError
from archgym.evaluation.capabilities import Bottleneck, bottlenecks_of, breakdown_of
from archgym.evaluation.function import is_of_function
from archgym.files.remote import command_line
from archgym.report.explain import (
    ASSUMED_ERROR_PERCENT,
    Change,
    Explanation,
    Point,
    explain,
    shares,
    tradeoffs,
)
from archgym.runtime.progress import StageProgress
from archgym.studies.snapshot import read_study
from archgym.tasks.task import Task


@final
@dataclass(frozen=True)
class DesignExplanation:
    """Explanation of a design, its tradeoffs and risks."""

    explanation: Explanation
    points: tuple[Point, ...]
    bottlenecks: tuple[tuple[str, Bottleneck], ...] = ()
    """Workloads with what the simulator names as bounding a metric, the largest share first."""
    parts: tuple[tuple[str, str, Mapping[str, float]], ...] = ()
    """Workloads and metrics with what parts of the design contribute."""

    def to_json(self) -> dict[str, Any]:
        """Return the explanation as JSON."""
        found = self.explanation
        task = found.task
        return {
            "task": task.id,
            "design": dict(task.space.design_at(found.indices)),
            "reward": found.reward,
            "limits": [str(limit) for limit in task.limits],
            "missed_limits": task.missed(found.by_workload),
            "metrics": self._named(found.values),
            "without": [
                {
                    "cost": relief.cost,
                    "what_is_free": relief.doc,
                    "reward": relief.reward,
                    "metrics": self._named(relief.values),
                    "change_percent": {
                        name: 100 * share for name, share in shares(found, relief).items()
                    },
                }
                for relief in found.reliefs
            ],
            "bottlenecks": [
                {
                    "workload": workload,
                    "metric": each.metric,
                    "name": each.name,
                    "share": each.share,
                    "moves": list(each.moves),
                    "parameters": list(each.parameters),
                }
                for workload, each in self.bottlenecks
            ],
            "parts": [
                {"workload": workload, "metric": metric, "values": dict(values)}
                for workload, metric, values in self.parts
            ],
            "best_change": self._change_json(found.best_change),
            "changes": [self._change_json(change) for change in found.changes],
            "points": [
                {
                    "kind": point.kind,
                    "parameter": point.parameter,
                    "text": point.text,
                    "change": self._change_json(point.change),
                }
                for point in self.points
            ],
        }

    def _named(self, values: np.ndarray) -> dict[str, float]:
        names = [spec.name for spec in self.explanation.task.metrics]
        return dict(zip(names, values.tolist(), strict=True))

    def _change_json(self, change: Change | None) -> dict[str, Any] | None:
        if change is None:
            return None
        return {
            "parameter": change.parameter,
            "from": change.old,
            "to": change.new,
            "reward": change.reward,
            "metrics": self._named(change.values),
        }


def explain_design(
    task: Task,
    indices: np.ndarray,
    *,
    error_percent: float | None = None,
    progress: StageProgress | None = None,
) -> DesignExplanation:
    """Explain a design: its costs, every single change and tradeoffs.

    Args:
      task: Task that the design is evaluated on.
      indices: (n_parameters,), the design.
      error_percent: Assumed error of the simulator [%] (default: its stated accuracy, else 5).
      progress: Called with the number of evaluated designs.

    Raises:
      InvalidDesignError: The design is infeasible.
      SimulatorError: The simulator failed on the design.
    """
    found = explain(task, indices, progress)
    if error_percent is None:
        stated = task.simulator.spec.accuracy_percent
        error_percent = stated.get(task.simulator.fidelity, ASSUMED_ERROR_PERCENT)
    return DesignExplanation(
        found,
        tuple(tradeoffs(found, error_percent)),
        _bottlenecks(task, found.indices),
        _parts(task, found.indices),
    )


def _parts(task: Task, indices: np.ndarray) -> tuple[tuple[str, str, Mapping[str, float]], ...]:
    found = [
        (weighted.workload.name, metric, values)
        for weighted in task.workloads
        for metric, values in breakdown_of(task.simulator, indices, weighted.workload).items()
    ]
    # A metric that depends on no workload is stated once.
    return tuple(each for i, each in enumerate(found) if each[1:] not in [f[1:] for f in found[:i]])


def _bottlenecks(task: Task, indices: np.ndarray) -> tuple[tuple[str, Bottleneck], ...]:
    found = [
        (weighted.workload.name, each)
        for weighted in task.workloads
        for each in bottlenecks_of(task.simulator, indices, weighted.workload)
    ]
    return tuple(sorted(found, key=lambda pair: (pair[0], pair[1].metric, -pair[1].share)))


@final
@dataclass(frozen=True)
class BestOfStudy:
    """Best design of a study, with its task."""

    task: Task
    indices: np.ndarray
    """(n_parameters,)"""
    damage: str | None
    """Report of damaged records; None if the journal is intact."""


def best_designs(task: Task, folder: Path, n: int) -> list[np.ndarray]:
    """Return the best designs of a study, the best first, at most `n`.

    Args:
      task: Task of the study.
      folder: Folder of the study.
      n: Number of designs.
    """
    log = read_study(folder)
    rows = log.top_rows(n)
    return [task.space.indices_of(log.space.design_at(log.records.indices[row])) for row in rows]


def check_registered(folder: Path, recipe: Mapping[str, Any]) -> None:
    """Refuse the recorded task of a study that is a Python function."""
    if is_of_function(recipe):
        raise InvalidArgumentError(
            f"A study must be of a registered simulator; the task of {folder} is the Python "
            f"function {recipe['simulator']!r} (or a simulator that is not installed), "
            f"which commands cannot call. `{command_line('archgym', 'show', folder)}` and "
            f"`{command_line('archgym', 'report', folder)}` work, and in Python "
            f"`ag.SearchResult.read({str(folder)!r})` reads it."
        )


def best_of_study(folder: Path, *, stand_in: Path | None = None) -> BestOfStudy:
    """Return the best design of a study, with its task.

    Args:
      folder: Folder of the study.
      stand_in: Table to use instead of the simulator.

    Raises:
      InvalidArgumentError: The study has no feasible design, or its task is a Python function.
    """
    log = read_study(folder)
    if stand_in is None:
        check_registered(folder, log.header.task)
    best = log.best()
    if best is None:
        raise InvalidArgumentError(
            f"A study must have a feasible design; {folder} has none. Search further, or name a "
            "design."
        )
    recipe = dict(log.header.task)
    if stand_in is not None:
        recipe.pop("stand_in", None)
    task = Task.from_json(recipe, stand_in=stand_in)
    return BestOfStudy(task, task.space.indices_of(best.design), log.damage_report())
