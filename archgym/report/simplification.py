"""Simplification of a design: parameters that do not matter return to their defaults."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, final

import numpy as np

from archgym.errors import InvalidArgumentError, InvalidDesignError, SimulatorError
from archgym.evaluation.limits import violations
from archgym.evaluation.objective import INFEASIBLE_REWARD
from archgym.evaluation.simulator import FEASIBLE
from archgym.report.explain import ASSUMED_ERROR_PERCENT
from archgym.tasks.task import Task

# chosen: the greedy path costs about n² evaluations; beyond it the order is decided once.
_MAX_GREEDY = 24
# chosen: a step helps if a metric moves by this share or more.
_LEAST_SHARE = 5e-4


@final
@dataclass(frozen=True)
class AblationStep:
    """Parameters that take their new values together, usually one, and the design after that."""

    changes: tuple[tuple[str, Any, Any], ...]
    """Parameter, old value, new value."""
    indices: np.ndarray
    """(n_parameters,), the design after the step."""
    reward: float
    values: np.ndarray
    """(n_metrics,), averaged over the workloads by weight; NaN if the design is infeasible."""


@final
@dataclass(frozen=True)
class AblationPath:
    """Steps from a start to a design; the last step reaches the design."""

    task: Task
    start: AblationStep
    """The start, without changes."""
    steps: tuple[AblationStep, ...]
    without_effect: tuple[str, ...] = ()
    """Parameters that can all return together to their values at the start. They keep the metrics
    of the objective and of the limits within resolution. They are the last step."""

    @property
    def effective_steps(self) -> tuple[AblationStep, ...]:
        """Steps without that of the parameters without effect."""
        return self.steps[:-1] if self.without_effect else self.steps

    def gains(self) -> list[float]:
        """Return by how much each step changes the reward."""
        rewards = [self.start.reward, *(step.reward for step in self.steps)]
        return [after - before for before, after in pairwise(rewards)]


def ablation_path(task: Task, indices: np.ndarray, start: np.ndarray | None = None) -> AblationPath:
    """Return the path on which each step makes the change that helps most from there.

    If no remaining change helps alone, the smallest group that was found to help is one step. If
    no group helps, the change with the smallest loss is next. Changes without effect on the
    design come last, in one step.

    Args:
      task: Task that the designs are evaluated on.
      indices: (n_parameters,), the design at the end of the path.
      start: (n_parameters,), the design at its start (default: the default design).

    Raises:
      SimulatorError: The simulator failed on a design of the path.

    Source:
      Fawcett & Hoos, *Analysing differences between algorithm configurations through ablation*,
      Journal of Heuristics 22, 2016.
    """
    begin = task.space.default_indices if start is None else start
    ends = np.array([begin, indices], dtype=np.int64)
    current, end = task.space.canonical(ends)
    changed = np.flatnonzero(current != end).tolist()
    idle = _idle(task, current, end, changed)
    walk = _Walk(task, current.copy(), end)
    start_step = walk.here
    remaining = [place for place in changed if place not in idle]
    if len(remaining) > _MAX_GREEDY:
        remaining = _in_decided_order(walk, remaining)
    while remaining:
        group = _next_group(walk, remaining)
        walk.take(group)
        remaining = [place for place in remaining if place not in group]
    if idle:
        walk.take(idle)
    names = tuple(task.space.names[place] for place in idle)
    return AblationPath(task, start_step, tuple(walk.steps), names)


@final
class _Walk:
    """The design at the end of the steps so far."""

    def __init__(self, task: Task, current: np.ndarray, end: np.ndarray) -> None:
        self.task, self.current, self.end = task, current, end
        self.steps: list[AblationStep] = []
        self.here = _evaluated(task, current[None, :])[0]

    def try_groups(self, groups: Sequence[Sequence[int]]) -> list[AblationStep]:
        """Return the designs in which each group of places has its values at the end."""
        return _evaluated(self.task, _moved_rows(self.current, self.end, groups))

    def take(self, group: Sequence[int]) -> None:
        """Make the changes of a group in one step."""
        (after,) = self.try_groups([group])
        changes = tuple(_change(self.task, place, self.current, self.end) for place in group)
        self.here = AblationStep(changes, after.indices, after.reward, after.values)
        self.steps.append(self.here)
        self.current[list(group)] = self.end[list(group)]

    def helps(self, after: AblationStep) -> bool:
        """Return True if a design is better, by more than the resolution of some metric."""
        if after.reward <= self.here.reward + 1e-12:
            return False
        moved = np.abs(after.values - self.here.values)
        floor = np.maximum(_resolutions(self.task), _LEAST_SHARE * np.abs(self.here.values))
        # A design that becomes feasible has metrics where there were none.
        is_moved = np.isnan(moved) | (moved > floor)
        return bool(is_moved[_sought(self.task)].any())


def _in_decided_order(walk: _Walk, remaining: list[int]) -> list[int]:
    """Make the changes that help, in the order of their effects alone; return the others."""
    alone = walk.try_groups([[place] for place in remaining])
    order = [remaining[row] for row in np.argsort([-s.reward for s in alone], kind="stable")]
    left = []
    for place in order:
        if walk.helps(walk.try_groups([[place]])[0]):
            walk.take([place])
        else:
            left.append(place)
    if len(left) > _MAX_GREEDY:
        walk.take(left)
        return []
    return left


def _next_group(walk: _Walk, remaining: list[int]) -> list[int]:
    """Return the change that helps most, or the smallest group that helps."""
    singles = walk.try_groups([[place] for place in remaining])
    best = max(range(len(remaining)), key=lambda row: singles[row].reward)
    if walk.helps(singles[best]) or len(remaining) == 1:
        return [remaining[best]]
    group = remaining
    (found,) = walk.try_groups([group])
    smallest = group if walk.helps(found) else None
    while len(group) > 2:
        smaller = [[place for place in group if place != left] for left in group]
        tried = walk.try_groups(smaller)
        row = max(range(len(smaller)), key=lambda row: tried[row].reward)
        group = smaller[row]
        if walk.helps(tried[row]):
            smallest = group
    if smallest is not None:
        return smallest
    return remaining if singles[best].reward == INFEASIBLE_REWARD else [remaining[best]]


def _idle(task: Task, start: np.ndarray, end: np.ndarray, changed: list[int]) -> list[int]:
    """Return places whose values at the start, all together, keep the metrics of the end."""
    kept = _metrics(task, end[None, :])[0]

    def is_kept(groups: Sequence[Sequence[int]]) -> np.ndarray:
        moved = np.abs(_metrics(task, _moved_rows(end, start, groups)) - kept)
        # Sums of doubles may differ in their last digits.
        room = _resolutions(task) + 1e-12 * np.abs(kept)
        return np.asarray((moved <= room)[:, :, _sought(task)].all(axis=(1, 2)))

    idle: list[int] = []
    while left := [place for place in changed if place not in idle]:
        # A conditional parameter may return once the one that activates it has returned.
        alone = is_kept([[*idle, place] for place in left])
        candidates = [place for place, is_one in zip(left, alone, strict=True) if is_one]
        if not candidates:
            break
        if is_kept([[*idle, *candidates]])[0]:
            idle += candidates
            continue
        n_before = len(idle)
        for place in candidates:
            if is_kept([[*idle, place]])[0]:
                idle.append(place)
        if len(idle) == n_before:
            break
    return idle


def _sought(task: Task) -> list[int]:
    """Return the columns of the metrics of the objective and of the limits."""
    names = [spec.name for spec in task.metrics]
    return [names.index(name) for name in task.objective.metrics]


def _resolutions(task: Task) -> np.ndarray:
    return np.array([spec.resolution for spec in task.metrics])


def _moved_rows(start: np.ndarray, end: np.ndarray, groups: Sequence[Sequence[int]]) -> np.ndarray:
    """Return the start once per group, with the values of the end at the group's places."""
    rows = np.tile(start, (len(groups), 1))
    for row, group in zip(rows, groups, strict=True):
        row[list(group)] = end[list(group)]
    return rows


def _metrics(task: Task, rows: np.ndarray) -> np.ndarray:
    """Return metrics of designs, (n, n_workloads, n_metrics), NaN if infeasible."""
    evaluation = task.evaluate(task.space.canonical(rows))
    if evaluation.failures:
        raise SimulatorError(next(iter(evaluation.failures.values())))
    return np.where((evaluation.reason != FEASIBLE)[:, :, None], np.nan, evaluation.values)


def _change(task: Task, place: int, current: np.ndarray, end: np.ndarray) -> tuple[str, Any, Any]:
    parameter = task.space.parameters[place]
    return parameter.name, parameter.value(int(current[place])), parameter.value(int(end[place]))


def _evaluated(task: Task, rows: np.ndarray) -> list[AblationStep]:
    """Return the designs of some rows with their rewards and metrics."""
    designs = task.space.canonical(rows)
    evaluation = task.evaluate(designs)
    if evaluation.failures:
        raise SimulatorError(next(iter(evaluation.failures.values())))
    values = task.average(evaluation.values)
    values[(evaluation.reason != FEASIBLE).any(axis=1)] = np.nan
    return [
        AblationStep((), design, float(reward), row)
        for design, reward, row in zip(designs, evaluation.reward, values, strict=True)
    ]


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
        stated = task.simulator.spec.accuracy_percent
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
