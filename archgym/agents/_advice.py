"""Advice from Gaussian processes of a task's metrics, limits and objective."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from archgym.agent.agent import Advice, Prediction, Suggestion
from archgym.agents._gaussian_process import GaussianProcess
from archgym.agents._task_model import DesignFeatures, History, TaskModel

if TYPE_CHECKING:
    from archgym.tasks.task import Task

# Half of the interval that holds a normal variable with 90 %, in standard deviations.
_HALF_90: Final = 1.6449
# chosen: values of a parameter that are compared near the best design, and that are listed.
_MOST_VALUES: Final = 9
_MOST_LISTED: Final = 16
# chosen: distances from the nearest result at which intervals are tried.
_LEVELS: Final = 6
# chosen: results that lie so far apart at least; of fewer, 90 % cannot be told from 70 %.
_LEAST_APART: Final = 20


def advice(
    task: "Task", history: History, designs: np.ndarray, is_own: np.ndarray, model: TaskModel
) -> Advice:
    """Return what models of a history say of designs, the most promising one first.

    Args:
      task: Task of the results.
      history: Results, of which some were built.
      designs: (n, n_parameters) canonical designs.
      is_own: (n,) bool, True for those that the user asked about.
      model: Model of the task; it is fitted here.
    """
    order = _order(model, history, designs)
    designs, is_own = designs[order], is_own[order]
    model.fit(history)
    # Once every design is known, nothing is left to predict.
    metrics, are_far = _predicted(task, history, designs) if len(designs) else ({}, is_own)
    odds = model.odds(designs)
    names = [str(limit) for limit in task.limits]
    if odds.limits.shape[1] != len(names):
        names = ["all limits"] * odds.limits.shape[1]
    spread = max(model.spread_of_results, 1e-12)
    suggestions = [
        Suggestion(
            design=design,
            is_own=bool(is_own[row]),
            metrics={name: found[row] for name, found in metrics.items()},
            limits=dict(zip(names, odds.limits[row].tolist(), strict=True)),
            built=float(odds.built[row]),
            better=float(odds.better[row]),
            extrapolated=bool(are_far[row]),
            novelty=float(min(odds.spread[row] / spread, 1.0)),
        )
        for row, design in enumerate(task.space.designs(designs))
    ]
    return Advice(
        suggestions=tuple(suggestions),
        importance=_importance(task, history, model),
        unseen=_unseen(task, history),
        evaluations=len(history),
    )


def _order(model: TaskModel, history: History, designs: np.ndarray) -> list[int]:
    """Return designs by promise, each given that those before it are evaluated, too."""
    model.fit(history)
    order: list[int] = []
    while len(order) < len(designs):
        promise = model.promise(designs)
        promise[order] = -np.inf
        order.append(int(np.argmax(promise)))
        model.believe(designs[order[-1:]])
    return order


def _predicted(
    task: "Task", history: History, designs: np.ndarray
) -> tuple[dict[str, list[Prediction]], np.ndarray]:
    """Return metrics of the objective and the limits by design, and the designs that are far."""
    features = DesignFeatures(task.space)
    built = np.flatnonzero(history.is_built)
    known, asked = features.of(history.designs[built]), features.of(designs)
    among, nearest = _distances(known, known), _distances(asked, known).min(axis=1)
    needed = {term.metric for term in task.objective.terms}
    needed |= {limit.metric for limit in task.limits}
    found = {}
    for column, spec in enumerate(task.metrics):
        values = history.values[built, column] if spec.name in needed else np.array([np.nan])
        if not np.isfinite(values).all():
            continue
        has_logarithm = bool((values >= 0.0).all())
        targets = np.log(values + spec.resolution) if has_logarithm else values
        process = GaussianProcess(features.groups)
        process.learn(known, targets)
        process.condition(known, targets)
        mean, deviation = process.predict(asked)
        deviation = np.hypot(deviation, process.noise) * _widening(process, among, nearest)
        parts = np.stack([mean, mean - _HALF_90 * deviation, mean + _HALF_90 * deviation], axis=1)
        if has_logarithm:
            # The exponential of 709 is finite.
            parts = np.maximum(np.exp(np.minimum(parts, 709.0)) - spec.resolution, 0.0)
        found[spec.name] = [Prediction(*row) for row in parts.tolist()]
    return found, _are_far(among, nearest)


def _distances(features: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return distances, (n, m), of rows of features."""
    squares = ((features[:, None, :] - others) ** 2).sum(axis=2)
    return np.asarray(np.sqrt(squares))


def _widening(process: GaussianProcess, among: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Return factors of standard deviations, 1 or more, with which intervals hold what they state.

    Each result is predicted without those that are nearer to it than the asked design is to its
    nearest one. The factor is the one with which 90 % of these predictions hold their result.
    Results that are near each other count as one, since a search has most of them in one place.

    Args:
      process: Process that was conditioned on the results.
      among: (n, n), distances of the results' designs.
      nearest: (m,), distance of each asked design to its nearest result.
    """
    levels = np.quantile(nearest, np.linspace(0.0, 1.0, _LEVELS))
    factors = [1.0]
    for level in levels.tolist():
        hidden = _hidden(among, level)
        errors, weights = np.abs(process.residuals(hidden)), 1.0 / hidden.sum(axis=1)
        order = np.argsort(errors)
        below = np.cumsum(weights[order])
        place = int(np.searchsorted(below, 0.9 * (below[-1] + 1.0)))
        error = errors[order[min(place, len(order) - 1)]]
        factors.append(max(factors[-1], float(error) / _HALF_90))
    return np.asarray(np.interp(nearest, levels, factors[1:]))


def _hidden(among: np.ndarray, distance: float) -> np.ndarray:
    """Return which results are nearer to each than a distance, themselves included, (n, n)."""
    return np.asarray((among < distance) | np.eye(len(among), dtype=bool))


def _are_far(among: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Return the designs so far from all results that too few results lie so far apart, (m,).

    Their intervals may be too narrow, since nothing says how the metrics behave there.
    """
    return np.array([(1.0 / _hidden(among, d).sum(axis=1)).sum() < _LEAST_APART for d in nearest])


def _importance(task: "Task", history: History, model: TaskModel) -> Mapping[str, float]:
    """Return the range of the predicted objective by each parameter alone, the largest first."""
    space = task.space
    best = history.designs[history.order()[0]]
    rows, owners = [best], [-1]
    for place in np.flatnonzero(space.active(best[None, :])[0] & (space.sizes > 1)).tolist():
        size = int(space.sizes[place])
        for value in np.unique(np.linspace(0, size - 1, min(size, _MOST_VALUES)).astype(int)):
            moved = best.copy()
            moved[place] = value
            rows.append(moved)
            owners.append(place)
    means = model.odds(space.canonical(np.array(rows))).mean
    owner = np.array(owners)
    ranges = {
        space.names[place]: float(np.ptp(np.append(means[owner == place], means[0])))
        for place in dict.fromkeys(owners[1:])
    }
    return dict(sorted(ranges.items(), key=lambda item: -item[1]))


def _unseen(task: "Task", history: History) -> dict[str, tuple[Any, ...]]:
    """Return the values of parameters with few that no design has."""
    found = {}
    for place, parameter in enumerate(task.space.parameters):
        if 1 < parameter.size <= _MOST_LISTED:
            missing = np.setdiff1d(np.arange(parameter.size), history.designs[:, place])
            if len(missing):
                found[parameter.name] = tuple(parameter.value(int(n)) for n in missing)
    return found
