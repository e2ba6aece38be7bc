"""Simplification of a design: parameters that do not matter return to their defaults."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from archgym.errors import InvalidArgumentError, InvalidDesignError, SimulatorError
from archgym.evaluation.limits import violations
from archgym.evaluation.task import Task
from archgym.report.ablation import AblationPath, ablation_path
from archgym.report.best_design import ASSUMED_ERROR_PERCENT


@final
@dataclass(frozen=True)
class ReturnedParameter:
    """Parameter that took its default value again."""

    parameter: str
    value: Any
    """Value in the design that was simplified."""
    default: Any
    values: np.ndarray
    """(n_metrics,), metrics after the return, averaged over the workloads by weight."""


@final
@dataclass(frozen=True)
class Simplification:
    """A design without changes that do not matter, and what the other changes brought.

    Attributes:
      task: Task that designs are evaluated on.
      design: (n_parameters,), the design that was simplified.
      simple: (n_parameters,), the simplified design.
      values: (n_workloads, n_metrics), metrics of the design.
      simple_values: (n_workloads, n_metrics), metrics of the simplified design.
      error_percent: Allowed loss of each metric of the objective [% of the design's].
      returned: Parameters that took their defaults again, in order.
      path: Path from the default design to the simplified one.
      evaluations: Designs that were evaluated, those of the path not counted.
    """

    task: Task
    design: np.ndarray
    simple: np.ndarray
    values: np.ndarray
    simple_values: np.ndarray
    error_percent: float
    returned: tuple[ReturnedParameter, ...]
    path: AblationPath
    evaluations: int

    @property
    def kept(self) -> tuple[str, ...]:
        """Parameters of the simplified design that differ from the default design."""
        space = self.task.space
        default = space.canonical(space.default_indices[None, :])[0]
        return tuple(np.array(space.names)[self.simple != default].tolist())

    @property
    def losses_percent(self) -> dict[str, float]:
        """Measured loss of each metric of the objective, on the workload where it is largest.

        In percent of the original design's metric: 0 where the metric is equal or better on every
        workload, infinite where a metric that was 0 got worse.
        """
        losses = _losses_percent(self.task, self.values, self.simple_values[None])[0].max(axis=0)
        names = [term.metric for term in self.task.objective.terms]
        found = dict.fromkeys(names, 0.0)
        for name, loss in zip(names, losses.tolist(), strict=True):
            found[name] = max(found[name], loss)
        return found

    @property
    def missed_limits(self) -> list[str]:
        """Limits that the simplified design misses, in words."""
        return self.task.missed(self.simple_values)

    def to_json(self) -> dict[str, Any]:
        """Return the simplification as JSON."""
        space = self.task.space
        names = [spec.name for spec in self.task.metrics]

        def named(values: np.ndarray) -> dict[str, float | None]:
            numbers = [float(v) if np.isfinite(v) else None for v in values]
            return dict(zip(names, numbers, strict=True))

        return {
            "task": self.task.id,
            "error_percent": self.error_percent,
            "losses_percent": self.losses_percent,
            "evaluations": self.evaluations,
            "design": dict(space.design_at(self.simple)),
            "original": dict(space.design_at(self.design)),
            "kept": list(self.kept),
            "returned": [
                {
                    "parameter": each.parameter,
                    "from": each.value,
                    "to": each.default,
                    "metrics": named(each.values),
                }
                for each in self.returned
            ],
            "units": {spec.name: spec.unit for spec in self.task.metrics},
            "metrics": named(self.task.average(self.simple_values[None])[0]),
            "original_metrics": named(self.task.average(self.values[None])[0]),
            "default_metrics": named(self.path.start.values),
            "limits": [str(limit) for limit in self.task.limits],
            "missed_limits": self.missed_limits,
            "path": [
                {
                    "changes": [
                        {"parameter": name, "from": old, "to": new}
                        for name, old, new in step.changes
                    ],
                    "reward": step.reward,
                    "metrics": named(step.values),
                }
                for step in self.path.steps
            ],
        }


def simplify(
    task: Task, indices: np.ndarray, *, error_percent: float | None = None
) -> Simplification:
    """Return a design in which each parameter that does not matter has its default.

    One parameter at a time returns to its default, that which costs least first. A return is kept
    if each metric of the objective, on each workload, is worse than the original design's by at
    most the allowed error, and if no limit is missed by more than before. The error bounds the
    loss of all returns together: each return is compared with the original design. With an error
    of 0, no metric of the objective gets worse at all.

    Args:
      task: Task that the design is evaluated on.
      indices: (n_parameters,), a feasible design.
      error_percent: Allowed loss of each metric of the objective [% of the design's] (default:
        the simulator's stated accuracy, else 5).

    Raises:
      InvalidArgumentError: The error is not from 0 to 100.
      InvalidDesignError: The design is infeasible.
      SimulatorError: The simulator failed on a design.
    """
    if error_percent is None:
        stated = task.simulator.accuracy_percent
        error_percent = stated.get(task.simulator.fidelity, ASSUMED_ERROR_PERCENT)
    if not 0.0 <= error_percent <= 100.0:
        raise InvalidArgumentError(f"`error_percent` must be from 0 to 100; got {error_percent!r}.")
    space = task.space
    ends = np.array([indices, space.default_indices], dtype=np.int64)
    design, default = space.canonical(ends)
    values = _values(task, design[None, :])[0]
    if not np.isfinite(values).all():
        raise InvalidDesignError("A design must be feasible to be simplified; this one is not.")
    violation = float(violations(task.limits, values[None], task.metrics)[0])
    current, current_values = design.copy(), values
    returned: list[ReturnedParameter] = []
    evaluations = 1
    while True:
        places = np.flatnonzero(current != default)
        rows = np.tile(current, (len(places), 1))
        rows[np.arange(len(places)), places] = default[places]
        rows = space.canonical(rows)
        # A parameter that another one holds in its place does not return.
        fewer = (rows != default).sum(axis=1) < (current != default).sum()
        tried = np.flatnonzero(fewer & space.feasible(rows))
        if not len(tried):
            break
        found = _values(task, rows[tried])
        evaluations += len(tried)
        built = np.isfinite(found).all(axis=(1, 2))
        losses = _losses_percent(task, values, found)
        allowed = built & (losses <= error_percent).all(axis=(1, 2))
        allowed &= violations(task.limits, found, task.metrics) <= violation
        if not allowed.any():
            break
        rewards = task.rewards(found, np.where(built, 0, 1)[:, None].repeat(found.shape[1], axis=1))
        best = int(np.where(allowed, rewards, -np.inf).argmax())
        after = rows[tried[best]]
        mean = task.average(found[best][None])[0]
        for place in np.flatnonzero((after != current) & (after == default)).tolist():
            parameter = space.parameters[place]
            old, new = (parameter.value(int(x[place])) for x in (current, default))
            returned.append(ReturnedParameter(parameter.name, old, new, mean))
        current, current_values = after, found[best]
    return Simplification(
        task,
        design,
        current,
        values,
        current_values,
        error_percent,
        tuple(returned),
        ablation_path(task, current),
        evaluations,
    )


def _values(task: Task, rows: np.ndarray) -> np.ndarray:
    """Return metrics of designs, (n, n_workloads, n_metrics), NaN where one was not built."""
    evaluation = task.evaluate(rows)
    if evaluation.failures:
        raise SimulatorError(next(iter(evaluation.failures.values())))
    return evaluation.values


def _losses_percent(task: Task, values: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return by how much each term's metric is worse than a design's, in percent of the design's.

    Args:
      task: Task that the designs are evaluated on.
      values: (n_workloads, n_metrics), metrics of the design.
      found: (n, n_workloads, n_metrics), metrics of others, NaN where one was not built.

    Returns:
      (n, n_workloads, n_terms), 0 where a metric is equal or better.
    """
    names = [spec.name for spec in task.metrics]
    losses = np.zeros((*found.shape[:2], len(task.objective.terms)))
    for row, term in enumerate(task.objective.terms):
        before, after = (each[..., names.index(term.metric)] for each in (values, found))
        change = after - before
        if term.goal == "archgym-2023":
            change = np.abs(after - term.target) - np.abs(before - term.target)
        elif term.goal in ("maximise", "at-least"):
            change = -change
        with np.errstate(divide="ignore", invalid="ignore"):
            percent = 100.0 * change / np.abs(before)
        losses[..., row] = np.where(change <= 0.0, 0.0, percent)
    return losses
