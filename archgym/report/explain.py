"""Explanation of a design: costs that bound it, and its neighbours in one parameter."""

import math
import re
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from archgym.errors import InvalidDesignError, SimulatorError, sentence
from archgym.evaluation.capabilities import results_without
from archgym.evaluation.objective import INFEASIBLE_REWARD
from archgym.evaluation.simulator import FEASIBLE
from archgym.report.quantities import change_text, size_text
from archgym.runtime.progress import StageProgress
from archgym.runtime.reductions import report_reduction, reports_about
from archgym.spaces.space import DesignSpace
from archgym.tasks.executor import joined
from archgym.tasks.task import Evaluation, Task

ASSUMED_ERROR_PERCENT = 5.0
"""Assumed error of a simulator that states none [%]. Chosen."""
# chosen: of parameters with more values, these many evenly spread ones and the nearest are tried.
_MAX_VALUES = 64
# chosen: a change of a metric that counts, as a share.
_COUNTS = 0.01
# How much of a distribution a metric tells, in names such as p99_latency_ns and tpot_mean_ms.
_MEASURE = re.compile(r"(?<![a-z])(p\d+|mean)_")
# chosen: a parameter that moves no metric by as much has no effect.
_NOTHING = 1e-3
# chosen: a change of 1 % that moves a metric by 0.1 % or more.
_ELASTIC = 0.1
# chosen: designs that are evaluated between two steps of a progress bar.
_PART = 16


@final
@dataclass(frozen=True)
class Change:
    """One parameter's other value, and what comes of it."""

    parameter: str
    old: Any
    new: Any
    reward: float
    """-25 where the design cannot be built."""
    values: np.ndarray
    """(n_metrics,)"""
    moved: np.ndarray
    """(n_metrics,), logarithms of what metrics change by, averaged over workloads by weight."""

    @property
    def is_built(self) -> bool:
        """True if it can be built."""
        return bool(np.isfinite(self.values).all())


@final
@dataclass(frozen=True)
class Relief:
    """The design on an ideal machine that does not pay one cost, all else being the same."""

    cost: str
    doc: str
    """Description of what is free."""
    values: np.ndarray
    """(n_metrics,)"""
    moved: np.ndarray
    """(n_metrics,), as for `Change`."""
    reward: float
    """Reward of the design without the cost."""


@final
@dataclass(frozen=True)
class Explanation:
    """A design with all its neighbours in one parameter."""

    task: Task
    indices: np.ndarray
    reward: float
    values: np.ndarray
    by_workload: np.ndarray
    """(n_workloads, n_metrics)"""
    changes: tuple[Change, ...]
    reliefs: tuple[Relief, ...]
    """Costs that the simulator can leave out, the largest effect on the reward first."""

    @property
    def best_change(self) -> Change | None:
        """The one parameter that helps most; None if none helps."""
        best = max(self.changes, key=lambda change: change.reward, default=None)
        return best if best is not None and best.reward > self.reward + 1e-12 else None

    def changed(self, change: Change) -> np.ndarray:
        """Return the design with one parameter changed, (n_parameters,)."""
        design = {**self.task.space.design_at(self.indices), change.parameter: change.new}
        found = self.task.space.canonical(self.task.space.indices_of(design)[None, :])
        return np.asarray(found[0])

    def by_parameter(self) -> dict[str, list[Change]]:
        """Return buildable changes by parameter, the most influential parameter first."""
        found: dict[str, list[Change]] = {}
        for change in self.changes:
            if change.is_built:
                found.setdefault(change.parameter, []).append(change)
        spread = {
            parameter: max(abs(c.reward - self.reward) for c in own)
            for parameter, own in found.items()
        }
        return dict(sorted(found.items(), key=lambda entry: -spread[entry[0]]))


@final
@dataclass(frozen=True)
class Point:
    """An entry of the tradeoff and risk table, with the change that shows it."""

    kind: str
    """One of sensitivity, tradeoff, risk, non-risk."""
    parameter: str
    text: str
    change: Change | None = None


def explain(task: Task, indices: np.ndarray, progress: StageProgress | None = None) -> Explanation:
    """Evaluate a design and its neighbours.

    Args:
      task: Task that the design is evaluated on.
      indices: (n_parameters,), the design.
      progress: Called with the number of evaluated designs.

    Raises:
      InvalidDesignError: The design cannot be built.
      SimulatorError: The simulator broke on it.
    """
    start = task.space.canonical(np.asarray(indices, dtype=np.int64)[None, :])
    by_workload, reward, changes = _neighbours(task, start[0], progress)
    values = task.average(by_workload[None])[0]
    return Explanation(
        task,
        start[0],
        reward,
        values,
        by_workload,
        tuple(changes),
        tuple(_reliefs(task, start[0], by_workload, reward)),
    )


def _evaluate(task: Task, designs: np.ndarray, progress: StageProgress | None) -> Evaluation:
    """Evaluate designs in parts, so that a progress bar moves; the results are the same."""
    if progress is None or len(designs) <= _PART:
        return task.evaluate(designs)
    parts: list[Evaluation] = []
    for first in range(0, len(designs), _PART):
        progress("designs", first, len(designs))
        parts.append(task.evaluate(designs[first : first + _PART]))
    return joined(parts)


def single_changes(
    space: DesignSpace, indices: np.ndarray
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Return a design and its neighbours in one parameter, which `explain` evaluates.

    Args:
      space: Space of the design.
      indices: (n_parameters,)

    Returns:
      (1 + n, n_parameters) canonical designs, the given one first; and for each neighbour the
      position of its parameter and the index of its value.
    """
    start = space.canonical(np.asarray(indices, dtype=np.int64)[None, :])[0]
    rows, changed = [start], []
    is_active = space.active(start[None, :])[0]
    for place, parameter in enumerate(space.parameters):
        others = np.arange(parameter.size)
        if parameter.size > _MAX_VALUES:
            near = start[place] + np.array([-1, 0, 1])
            spread = np.linspace(0, parameter.size - 1, _MAX_VALUES).round().astype(np.int64)
            others = np.union1d(spread, near[(near >= 0) & (near < parameter.size)])
            report_reduction(
                f"values of `{parameter.name}` that are tried", len(others), parameter.size,
                "they are spread evenly, with both neighbours of the design's",
            )  # fmt: skip
        for index in others[others != start[place]].tolist() if is_active[place] else ():
            row = start.copy()
            row[place] = index
            rows.append(row)
            changed.append((place, index))
    return space.canonical(np.array(rows)), changed


def _neighbours(
    task: Task, start: np.ndarray, progress: StageProgress | None = None
) -> tuple[np.ndarray, float, list[Change]]:
    """Return a design's metrics by workload, its reward, and its neighbours in one parameter."""
    designs, changed = single_changes(task.space, start)
    evaluation = _evaluate(task, designs, progress)
    if 0 in evaluation.failures:
        raise SimulatorError(evaluation.failures[0])
    if (evaluation.reason[0] != FEASIBLE).any():
        why = task.simulator.spec.reasons[int(evaluation.reason[0][evaluation.reason[0] != 0][0])]
        raise InvalidDesignError(
            "A design must be one that can be built to be explained; this one is not: "
            f"{sentence(why)}"
        )
    averages = task.average(evaluation.values)
    changes = []
    for number, (place, index) in enumerate(changed, start=1):
        parameter = task.space.parameters[place]
        is_built = bool((evaluation.reason[number] == FEASIBLE).all())
        changes.append(
            Change(
                parameter.name,
                parameter.value(int(start[place])),
                parameter.value(index),
                float(evaluation.reward[number]) if is_built else INFEASIBLE_REWARD,
                averages[number] if is_built else np.full(len(task.metrics), np.nan),
                _moved(task, evaluation.values[number], evaluation.values[0]),
            )
        )
    return evaluation.values[0], float(evaluation.reward[0]), changes


def _moved(task: Task, values: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Return (n_metrics,), logarithms of what metrics change by, averaged over workloads by weight.

    So the reward counts them: a workload of long times does not hide the others. Where that is no
    number, as where a metric is 0 on a workload, averages are compared; 0 if they have none.

    Args:
      task: Task whose weights count.
      values: (n_workloads, n_metrics)
      base: (n_workloads, n_metrics)
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        found = task.weights @ np.log(values / base)
        of_averages = np.log((task.weights @ values) / (task.weights @ base))
    found = np.where(np.isfinite(found), found, of_averages)
    return np.where(np.isfinite(found), found, 0.0)


def _reliefs(
    task: Task, design: np.ndarray, by_workload: np.ndarray, reward: float
) -> list[Relief]:
    """Return the design without each cost of its simulator, where it can be built."""
    found = []
    for cost, doc in task.simulator.spec.costs.items():
        results = [
            results_without(task.simulator, cost, design[None, :], weighted.workload)
            for weighted in task.workloads
        ]
        if all(result.reason[0] == FEASIBLE for result in results):
            # A study that was recorded before may lack metrics that the simulator has by now.
            values = [result.values[:, task._columns] for result in results]
            relieved = np.stack(values, axis=1)
            reason = np.stack([result.reason for result in results], axis=1)
            with reports_about(f"without {cost}"):
                relieved_reward = float(task.rewards(relieved, reason)[0])
            found.append(
                Relief(
                    cost,
                    doc,
                    task.average(relieved)[0],
                    _moved(task, relieved[0], by_workload),
                    relieved_reward,
                )
            )
    # Of those that the reward does not see, those that move most.
    return sorted(
        found, key=lambda each: (-abs(each.reward - reward), -float(np.abs(each.moved).max()))
    )


def shares(explanation: Explanation, relief: Relief) -> dict[str, float]:
    """Return the share by which each metric changes without a cost.

    The metrics of the objective come first, in its order, then those that move most; of these
    none is below 1 %, and each says something else: of percentiles and mean of one thing the first
    is there, and of other metrics that move by one factor, up or down.
    """
    task = explanation.task
    terms = list(dict.fromkeys(term.metric for term in task.objective.terms))
    found = {}
    columns = zip(task.metrics, explanation.values, relief.values, relief.moved, strict=True)
    for spec, old, new, moved_by in columns:
        if spec.goal != "none" and old != 0:
            found[spec.name] = math.expm1(moved_by) if moved_by else float(new / old - 1)
    moved = {name: found[name] for name in terms if name in found}
    families = {_MEASURE.sub("", name) for name in moved}
    # Rounding must not decide between those that move alike.
    for name, share in sorted(found.items(), key=lambda entry: -round(abs(entry[1]), 9)):
        is_like = any(
            math.isclose(_size(share), _size(other), rel_tol=1e-6)
            for shown, other in moved.items()
            if shown not in terms
        )
        if abs(share) >= _COUNTS and not is_like and _MEASURE.sub("", name) not in families:
            moved[name] = share
            families.add(_MEASURE.sub("", name))
    return moved


def _size(share: float) -> float:
    """Return the size of a change, as a factor up or down."""
    return abs(math.log1p(share)) if share > -1 else math.inf


def tradeoffs(explanation: Explanation, error_percent: float) -> list[Point]:
    """Return the tradeoff and risk table of a design.

    Args:
      explanation: The design and its neighbours.
      error_percent: Possible error of a simulator's numbers [%].
    """
    task = explanation.task
    names = [spec.name for spec in task.metrics]
    sought = dict.fromkeys(term.metric for term in task.objective.terms)
    if len(sought) == 1:
        sought |= dict.fromkeys(spec.name for spec in task.metrics if spec.goal != "none")
    specs = [task.metrics[names.index(name)] for name in sought]
    places = [names.index(spec.name) for spec in specs]
    points: list[Point] = []
    for parameter, own in explanation.by_parameter().items():
        moved = np.array([change.moved[places] for change in own])
        lead = moved[:, 0]
        elastic = _elasticity(explanation, own, places[0])
        if elastic is not None and abs(elastic[0]) >= _ELASTIC:
            text = f"elasticity {elastic[0]:+.2f}: {specs[0].name} against {parameter}"
            points.append(Point("sensitivity", parameter, text, elastic[1]))
        elif np.abs(lead).max() >= 5 * _COUNTS:
            row = int(np.argmax(np.abs(lead)))
            text = f"{specs[0].name} {change_text(math.expm1(lead[row]))}"
            points.append(Point("sensitivity", parameter, text, own[row]))
        opposed = _opposed(moved, [spec.goal == "maximise" for spec in specs])
        if opposed is not None:
            row, gain, loss = opposed
            text = "; ".join(
                f"{specs[i].name} {change_text(math.expm1(moved[row, i]))}" for i in (gain, loss)
            )
            points.append(Point("tradeoff", parameter, text, own[row]))
        if np.abs(moved).max() < _NOTHING:
            text = f"no value changes any metric that counts by {100 * _NOTHING:g} %"
            points.append(Point("non-risk", parameter, text))
    points += _risks(explanation, error_percent)
    return points


def _risks(explanation: Explanation, error_percent: float) -> list[Point]:
    """Return parameters with values that differ by less than the simulator's error."""
    room = reward_room(explanation, error_percent)
    points = []
    for parameter, own in explanation.by_parameter().items():
        near = [c for c in own if -room < c.reward - explanation.reward < 0]
        moved = max(abs(c.reward - explanation.reward) for c in own)
        if not near or moved < _NOTHING:
            continue
        # The one that is nearest says how little it takes.
        change = max(near, key=lambda c: c.reward)
        others = len(near) - 1
        text = f"{size_text(explanation.reward - change.reward)} worse"
        if others:
            text += f", {others} more value{'s' * (others > 1)} within {error_percent:g} %"
        points.append(Point("risk", parameter, text + ": may be better", change))
    return points


def reward_room(explanation: Explanation, error_percent: float) -> float:
    """Return the part of the reward that may be error if each sought metric is so far off [%]."""
    task, reason = explanation.task, np.zeros((1, len(explanation.by_workload)), dtype=np.int16)
    room = 0.0
    for metric in dict.fromkeys(term.metric for term in task.objective.terms):
        place = [spec.name for spec in task.metrics].index(metric)
        ends = []
        for factor in (1 + error_percent / 100, 1 / (1 + error_percent / 100)):
            values = explanation.by_workload[None].copy()
            values[:, :, place] *= factor
            ends.append(abs(float(task.rewards(values, reason)[0]) - explanation.reward))
        room += max(ends)
    return room


def _elasticity(
    explanation: Explanation, own: list[Change], place: int
) -> tuple[float, Change] | None:
    """Return a metric's elasticity to the nearest value that moves it; numeric parameters only."""
    parameter = explanation.task.space.parameter(own[0].parameter)
    old = own[0].old
    if not (parameter.is_ordered and isinstance(old, int | float) and old > 0):
        return None
    near = [c for c in own if c.new > 0]
    if not near:
        return None
    change = min(near, key=lambda c: abs(math.log(c.new / old)))
    return float(change.moved[place]) / math.log(change.new / old), change


def _opposed(moved: np.ndarray, is_maximised: list[bool]) -> tuple[int, int, int] | None:
    """Return the change with the largest gain in one metric that costs another, row and both."""
    better = np.where(is_maximised, moved, -moved)
    gain, loss = better.argmax(axis=1), better.argmin(axis=1)
    rows = np.arange(len(moved))
    is_trade = (better[rows, gain] > _COUNTS) & (better[rows, loss] < -_COUNTS)
    if not is_trade.any():
        return None
    row = int(np.argmax(np.where(is_trade, better[rows, gain], -np.inf)))
    return row, int(gain[row]), int(loss[row])
