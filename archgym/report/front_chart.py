"""Front of a task in real units: all evaluations, the front, the best and the default design."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, final

import numpy as np

from archgym.analysis.pareto import front
from archgym.evaluation.limits import LIMITED_REWARD
from archgym.evaluation.metrics import MetricSpec
from archgym.report.evidence import TaskEvidence
from archgym.report.quantities import Cell, Table, axis_unit, metric_title, quantity

# chosen: dots beyond it only darken the drawing.
_MAX_DOTS = 4000
# chosen: labels and rows of the table that fit a screen.
_MAX_POINTS = 8
# chosen: an axis that spans a larger ratio starts logarithmic.
_WIDE = 20.0
# chosen: share of the dots that decides the bad end of an axis; a few bad designs stretch it.
_KEPT = 0.9
_MAX_CHANGES = 6


@final
@dataclass(frozen=True)
class FrontChart:
    """Drawing of a front, and the numbered designs on it as a table."""

    note: str
    spec: dict[str, Any]
    """Data of the drawing, as `chart.js` reads it."""
    table: Table


def front_chart(task: TaskEvidence) -> FrontChart | None:
    """Return the front over two metrics; None if fewer than two can be compared.

    The axes are the two metrics of the objective and its limits that have the largest front. If
    there is one metric, the other axis is any metric with the largest front against it.
    """
    values, reward = task.stacked("values"), task.stacked("reward")
    built = np.flatnonzero(np.isfinite(reward) & np.isfinite(values).all(axis=1))
    best = task.best
    if best is None or not len(built):
        return None
    is_met = reward[built] > LIMITED_REWARD
    eligible = built[is_met] if is_met.any() else built
    axes = _axes(task, values[eligible])
    if axes is None:
        return None
    pair, is_sought = axes
    names = [spec.name for spec in task.metrics]
    places = [names.index(spec.name) for spec in pair]
    terms = values[:, places] * [-1.0 if spec.goal == "minimise" else 1.0 for spec in pair]
    rows = eligible[front(terms[eligible])]
    rows = rows[np.unique(values[rows][:, places], axis=0, return_index=True)[1]]
    numbered = rows[np.unique(np.linspace(0, len(rows) - 1, _MAX_POINTS).astype(int))]
    units = [
        axis_unit(float(np.median(np.abs(values[built, place]))), spec.unit)
        for place, spec in zip(places, pair, strict=True)
    ]
    scale = np.array([factor for factor, _ in units])
    marked = [("star", "default", task.reference[places])]
    marked += [("point", str(n), values[row, places]) for n, row in enumerate(numbered, start=1)]
    marked.append(("best", "best", best[0].values[best[1], places]))
    dots, line = values[built][:, places] * scale, values[rows][:, places] * scale
    drawn = np.concatenate([line, [at * scale for _, _, at in marked]])
    spec: dict[str, Any] = {
        "label": f"Front of {task.id}",
        **{
            axis: _axis(pair[k], units[k][1], dots[:, k], drawn[:, k])
            for k, axis in enumerate("xy")
        },
        "dots": _points(_sampled(dots)),
        "lines": [{"name": "front", "step": front_step(pair[0]), **_points(line)}],
        "marks": [
            {"kind": kind, "text": text, **_point(at * scale), "title": _told(pair, at)}
            for kind, text, at in marked
        ],
        "limits": [
            {"axis": "xy"[k], "at": limit.bound * float(scale[k]), "text": str(limit)}
            for k, each in enumerate(pair)
            for limit in task.objective.limits
            if limit.metric == each.name
        ],
    }
    ends = np.array([spec[axis]["range"] for axis in "xy"])
    outside = int(((dots < ends[:, 0]) | (dots > ends[:, 1])).any(axis=1).sum())
    note = [f"Each dot is one of {len(built):,} evaluations; the line is the front"]
    note[0] += "." if is_met.all() or not is_met.any() else " of those that meet the limits."
    note.append("Numbers lead to the table below.")
    if outside:
        note.append(f"{outside:,} worse designs lie outside the drawing.")
    note += _meaning(task, pair, is_sought)
    return FrontChart(" ".join(note), spec, _table(task, pair, places, numbered))


def front_step(spec: MetricSpec) -> str:
    """Return the order of a front's steps, across ("h") and up ("v"), by its metric across.

    Between two points only the one that meets the value across is attained: the left one if less is
    better, else the right one.
    """
    return "hv" if spec.goal == "minimise" else "vh"


def _sampled(dots: np.ndarray) -> np.ndarray:
    if len(dots) <= _MAX_DOTS:
        return dots
    return dots[np.random.default_rng(0).choice(len(dots), _MAX_DOTS, replace=False)]


def _axes(task: TaskEvidence, values: np.ndarray) -> tuple[tuple[MetricSpec, ...], bool] | None:
    """Return the two metrics with the largest front, and True if the objective names both."""
    known = {spec.name: spec for spec in task.metrics if spec.goal != "none"}
    sought = [known[name] for name in task.objective.metrics if name in known]
    is_sought = len(sought) > 1
    pairs = list(combinations(sought, 2))
    if sought and not is_sought:
        pairs = [(sought[0], spec) for spec in known.values() if spec is not sought[0]]
    if not pairs:
        return None
    names = [spec.name for spec in task.metrics]

    def size(pair: tuple[MetricSpec, MetricSpec]) -> int:
        signs = [-1.0 if spec.goal == "minimise" else 1.0 for spec in pair]
        terms = values[:, [names.index(spec.name) for spec in pair]] * signs
        return len(np.unique(terms[front(terms)], axis=0))

    return max(pairs, key=size), is_sought


def _meaning(task: TaskEvidence, pair: Sequence[MetricSpec], is_sought: bool) -> list[str]:
    if not is_sought:
        return [
            f"The objective is {pair[0].name} alone; of all metrics, {pair[1].name} has the "
            "largest front against it."
        ]
    n = len({term.metric for term in task.objective.terms})
    if n <= 2:
        return []
    return [f"Of the {n} metrics of the objective, these two have the largest front."]


def _axis(spec: MetricSpec, unit: str, dots: np.ndarray, drawn: np.ndarray) -> dict[str, Any]:
    """Return title, direction, scale and range of an axis, without the worst dots."""
    kept = np.quantile(dots, [1 - _KEPT, _KEPT])
    low, high = float(drawn.min()), float(drawn.max())
    if spec.goal == "minimise":
        low, high = min(low, float(dots.min())), max(high, float(kept[1]))
    else:
        low, high = min(low, float(kept[0])), max(high, float(dots.max()))
    return {
        "title": metric_title(spec) + (f" [{unit}]" if unit else ""),
        "better": "less is better" if spec.goal == "minimise" else "more is better",
        "log": low > 0 and high / low > _WIDE,
        "range": [low, high],
    }


def _points(xy: np.ndarray) -> dict[str, list[float]]:
    # Six digits are finer than a pixel, and half of the text.
    return {
        axis: [float(f"{v:.6g}") for v in column]
        for axis, column in zip("xy", xy.T.tolist(), strict=True)
    }


def _point(xy: np.ndarray) -> dict[str, float]:
    return {axis: values[0] for axis, values in _points(xy[None, :]).items()}


def _told(pair: Sequence[MetricSpec], values: np.ndarray) -> str:
    return ", ".join(
        f"{metric_title(spec)} {quantity(float(value), spec.unit)}"
        for spec, value in zip(pair, values, strict=True)
    )


def _table(
    task: TaskEvidence, pair: Sequence[MetricSpec], places: list[int], rows: np.ndarray
) -> Table:
    """Return the numbered designs of the front with what differs from the default design."""
    indices, values = task.stacked("indices"), task.stacked("values")
    cells: list[tuple[Cell, ...]] = []
    for number, row in enumerate(rows.tolist(), start=1):
        design = task.space.design_at(indices[row].astype(np.int64))
        changed = [f"{name}={value}" for name, value in task.space.changes(design).items()]
        text = ", ".join(changed[:_MAX_CHANGES]) or "the default design"
        if len(changed) > _MAX_CHANGES:
            text += f" and {len(changed) - _MAX_CHANGES} more"
        metrics = (
            quantity(float(values[row, place]), spec.unit)
            for place, spec in zip(places, pair, strict=True)
        )
        cells.append((number, *metrics, text))
    columns = ("number", *(metric_title(spec) for spec in pair), "changes to the default design")
    return Table(f"points {task.label}", "Designs on the front", columns, tuple(cells))
