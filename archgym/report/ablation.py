"""Ablation path from one design to another: which changed parameter brought what."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, final

import numpy as np

from archgym.errors import SimulatorError
from archgym.evaluation.objective import INFEASIBLE_REWARD
from archgym.evaluation.simulator import FEASIBLE
from archgym.evaluation.task import Task

__all__ = ["AblationPath", "AblationStep", "ablation_path"]

# chosen: the greedy path costs n (n + 1) / 2 evaluations; beyond it the order is decided once.
_MAX_GREEDY = 24


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
    """Steps from a start to a design, the most valuable change first."""

    task: Task
    start: AblationStep
    """The start, without changes."""
    steps: tuple[AblationStep, ...]

    def gains(self) -> list[float]:
        """Return by how much each step changes the reward."""
        rewards = [self.start.reward, *(step.reward for step in self.steps)]
        return [after - before for before, after in pairwise(rewards)]


def ablation_path(task: Task, indices: np.ndarray, start: np.ndarray | None = None) -> AblationPath:
    """Return the path on which each step makes the change that helps most from there.

    A change that is infeasible alone waits until others have been made. If every remaining change
    is infeasible alone, all of them are made in one step.

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
    origin = _evaluated(task, current[None, :])[0]
    remaining = np.flatnonzero(current != end).tolist()
    order: list[int] = []
    if len(remaining) > _MAX_GREEDY:
        alone = _evaluated(task, _each(current, end, remaining))
        order = [remaining[row] for row in np.argsort([-s.reward for s in alone], kind="stable")]
    steps: list[AblationStep] = []
    while remaining:
        # A decided order leaves one choice.
        tried = order[len(steps) : len(steps) + 1] or remaining
        found = _evaluated(task, _each(current, end, tried))
        best = max(range(len(tried)), key=lambda row: found[row].reward)
        chosen, after = [tried[best]], found[best]
        if after.reward == INFEASIBLE_REWARD and len(remaining) > 1:
            chosen, after = remaining, _evaluated(task, end[None, :])[0]
        changes = tuple(_change(task, place, current, end) for place in chosen)
        steps.append(AblationStep(changes, after.indices, after.reward, after.values))
        current[chosen] = end[chosen]
        remaining = [place for place in remaining if place not in chosen]
    return AblationPath(task, origin, tuple(steps))


def _each(current: np.ndarray, end: np.ndarray, places: list[int]) -> np.ndarray:
    """Return the current design once per place, with its value at the end there."""
    rows = np.tile(current, (len(places), 1))
    rows[np.arange(len(places)), places] = end[places]
    return rows


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
