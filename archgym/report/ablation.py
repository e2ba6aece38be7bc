"""Ablation path from one design to another: which changed parameter brought what."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, final

import numpy as np

from archgym.errors import SimulatorError
from archgym.evaluation.objective import INFEASIBLE_REWARD
from archgym.evaluation.simulator import FEASIBLE
from archgym.evaluation.task import Task

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
    sought = [term.metric for term in task.objective.terms]
    sought += [limit.metric for limit in task.objective.limits]
    return [names.index(name) for name in dict.fromkeys(sought)]


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
