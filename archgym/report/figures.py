"""Figures of a report, as data that plotly draws."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, final

import numpy as np

from archgym.analysis.pareto import front
from archgym.analysis.random_search import budgets_up_to, random_curve
from archgym.evaluation.limits import LIMITED_REWARD
from archgym.evaluation.metrics import MetricSpec
from archgym.report.best_design import Chosen, binding
from archgym.report.diagnostics import Importance
from archgym.report.evidence import TaskEvidence
from archgym.report.explain import shares
from archgym.report.findings import THRESHOLDS, Findings, found_front
from archgym.report.quantities import Cell, Table, axis_unit, metric_title, quantity

# Okabe and Ito, Color Universal Design, 2008, without the black and yellow that one of a light and
# a dark ground would hide; with the wine and teal of Paul Tol's muted scheme.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#AA4499", "#44AA99")
# chosen: more bars leave no room for their names.
_SHOWN_BARS = 16
# chosen: more bands hide each other.
_MAX_BANDS = 6
_DASHES = ("solid", "dash", "dot", "dashdot")


def figures(findings: Findings) -> list[dict[str, Any]]:
    """Return each with its id, title, note, traces and layout; with `task` where it is of one."""
    labels = {label: place for place, label in enumerate(findings.scores)}
    made = []
    if len(findings.profiles) > 1:
        made.append(_profiles(findings, labels))
    for place, task in enumerate(findings.evidence.tasks):
        made.append(_curves(task, place, labels, findings.protocol.budget))
        if len(task.objective.terms) > 1 and not task.objective.is_published_form:
            made.append(_front(task, place))
        if task.label in findings.importances:
            made.append(importance_figure(findings.importances[task.label], task, place))
        chosen = findings.chosen.get(task.label)
        if isinstance(chosen, Chosen) and binding(chosen.explanation):
            made.append(_costs(chosen, task, place))
        if isinstance(chosen, Chosen) and chosen.explanation.by_parameter():
            made.append(_tornado(chosen, task, place))
    return made


def _line(place: int, **more: Any) -> dict[str, Any]:
    dash = _DASHES[(place // len(_COLOURS)) % len(_DASHES)]
    return {"color": _COLOURS[place % len(_COLOURS)], "width": 2, "dash": dash, **more}


def _profiles(findings: Findings, labels: dict[str, int]) -> dict[str, Any]:
    traces = [
        {
            "x": THRESHOLDS.tolist(),
            "y": profile.tolist(),
            "name": label,
            "mode": "lines",
            "line": _line(labels[label]),
        }
        for label, profile in findings.profiles.items()
    ]
    return {
        "id": "figure-profiles",
        "title": "Performance profiles",
        "note": "Share of runs that score above each threshold; tasks count alike.",
        "data": traces,
        "layout": {
            "xaxis": {"title": {"text": "score"}},
            "yaxis": {"title": {"text": "share of runs above"}, "range": [-0.02, 1.02]},
        },
    }


def _curves(task: TaskEvidence, place: int, labels: dict[str, int], budget: int) -> dict[str, Any]:
    traces: list[dict[str, Any]] = []
    steps = budgets_up_to(budget, budget)
    has_bands = len(task.labels) <= _MAX_BANDS
    n_missed = 0
    for label in task.labels:
        runs = task.of(label)
        rows = np.array([[run.at(step) for step in steps] for run in runs])
        # The rewards of designs that miss a limit would squeeze all others into a line.
        is_missed = rows <= LIMITED_REWARD if task.objective.limits else np.zeros_like(rows, bool)
        n_missed += int(is_missed.any(axis=1).sum()) if len(rows) else 0
        rows[~np.isfinite(rows) | is_missed] = np.nan
        shown = ~np.isnan(rows).any(axis=0) if len(rows) else np.zeros(len(steps), dtype=bool)
        if not shown.any():
            continue
        x = np.array(steps)[shown]
        low, middle, high = (
            rows[:, shown].min(0),
            np.median(rows[:, shown], 0),
            rows[:, shown].max(0),
        )
        if has_bands:
            traces.append(
                {
                    "x": [*x.tolist(), *x[::-1].tolist()],
                    "y": [*low.tolist(), *high[::-1].tolist()],
                    "fill": "toself",
                    "fillcolor": _COLOURS[labels[label] % len(_COLOURS)],
                    "opacity": 0.13,
                    "line": {"width": 0},
                    "mode": "lines",
                    "hoverinfo": "skip",
                    "showlegend": False,
                    "legendgroup": label,
                }
            )
        traces.append(
            {
                "x": x.tolist(),
                "y": middle.tolist(),
                "name": label,
                "legendgroup": label,
                "mode": "lines",
                "line": _line(labels[label], shape="hv"),
            }
        )
    note = "Median over the runs of the best reward so far"
    note += "; bands from the least to the most." if has_bands else "."
    if n_missed:
        note += " A curve begins where all runs of the agent have a design that meets all limits."
    if task.known is not None:
        budgets = budgets_up_to(budget, len(task.known.rewards))
        curve = random_curve(task.known.rewards, budgets)
        traces.append(
            {
                "x": budgets,
                "y": curve.expected.tolist(),
                "name": "random search, exact",
                "mode": "lines",
                "line": {"color": "#888888", "width": 3, "dash": "dot"},
            }
        )
        traces.append(
            {
                "x": [1, budget],
                "y": [task.known.reward] * 2,
                "name": "proven optimum",
                "mode": "lines",
                "line": {"color": "#888888", "width": 1},
            }
        )
    else:
        note += " The exact curve of random search needs a table of the task (--table)."
    settled = [
        value
        for trace in traces
        if "name" in trace
        for x, value in zip(trace["x"], trace["y"], strict=True)
        if x >= min(10, budget)
    ]
    low, high = (min(settled), max(settled)) if settled else (0.0, 1.0)
    pad = 0.08 * (high - low) or 0.1
    return {
        "id": f"figure-curves-{place}",
        "task": task.label,
        "title": "Best so far",
        "note": note,
        "data": traces,
        "layout": {
            "xaxis": {
                "title": {"text": "evaluations"},
                "type": "log",
                "range": [math.log10(min(10, max(1, budget - 1))), math.log10(max(2, budget))],
            },
            "yaxis": {"title": {"text": "best reward so far"}, "range": [low - pad, high + pad]},
        },
    }


def _front(task: TaskEvidence, place: int) -> dict[str, Any]:
    first, second = task.objective.terms[:2]
    fronts = {"found by all runs": found_front(task.runs)}
    if task.known is not None:
        fronts["exact"] = task.known.front_terms()
    traces = []
    for number, (name, terms) in enumerate(fronts.items()):
        order = np.argsort(terms[:, 0])
        x, y = (np.expm1(terms[order, column]) * 100 for column in (0, 1))
        is_flat = len(task.objective.terms) == 2
        traces.append(
            {
                "x": [v for v in x.tolist() if math.isfinite(v)],
                "y": y.tolist(),
                "name": name,
                "mode": "lines+markers" if is_flat else "markers",
                "line": _line(number, shape="vh"),
                "marker": {"size": 7, "symbol": ("circle", "x")[number]},
            }
        )
    return {
        "id": f"figure-front-{place}",
        "task": task.label,
        "title": "Pareto front",
        "note": "Factor by which designs are better than the default one, less 1, in the first two "
        "terms of the objective"
        + ("; the exact front is drawn too." if task.known is not None else "."),
        "data": traces,
        "layout": {
            "xaxis": {"title": {"text": f"better in {first.metric} [%]"}},
            "yaxis": {"title": {"text": f"better in {second.metric} [%]"}},
        },
    }


def importance_figure(found: Importance, task: TaskEvidence, place: int) -> dict[str, Any]:
    """Return the figure of the parameters' importance on a task.

    Args:
      found: Shares of parameters and pairs.
      task: The task.
      place: Number of the task on the page.
    """
    shares = [(name, share) for name, share in found.alone]
    shares += [(f"{a} × {b}", share) for a, b, share in found.pairs]
    shares = sorted(shares, key=lambda entry: -entry[1].value)[:_SHOWN_BARS]
    values = [100 * share.value for _, share in shares]
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": values,
        "y": [name for name, _ in shares],
        "marker": {"color": _COLOURS[0]},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [max(0.0, 100 * s.high - v) for (_, s), v in zip(shares, values, strict=True)],
            "arrayminus": [
                max(0.0, v - 100 * s.low) for (_, s), v in zip(shares, values, strict=True)
            ],
            "color": "#888888",
        },
    }
    return {
        "id": f"figure-importance-{place}",
        "task": task.label,
        "title": "What decides the reward",
        "note": "Share of the reward's variance that parameters and pairs (×) decide, the largest "
        f"of both. {found.note}",
        "data": [trace],
        "layout": {
            "xaxis": {"title": {"text": "share of variance [%]"}, "rangemode": "tozero"},
            "yaxis": {"autorange": "reversed"},
            "showlegend": False,
        },
    }


def _costs(chosen: Chosen, task: TaskEvidence, place: int) -> dict[str, Any]:
    found = chosen.explanation
    metrics = list(dict.fromkeys(term.metric for term in task.objective.terms))
    reliefs = binding(found)
    moved = [shares(found, relief) for relief in reliefs]
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": metric,
            "x": [100 * own.get(metric, 0.0) for own in moved],
            "y": [relief.cost for relief in reliefs],
            "text": [relief.doc for relief in reliefs],
            "textposition": "none",
            "hovertemplate": "without %{y}: %{x:+.3g} %<br>free: %{text}<extra></extra>",
            "marker": {"color": _COLOURS[number % len(_COLOURS)]},
        }
        for number, metric in enumerate(metrics)
    ]
    return {
        "id": f"figure-costs-{place}",
        "task": task.label,
        "title": "What bounds the best design",
        "note": "What the best design would be on ideal machines that do not pay one cost each, "
        "all else being the same. Costs overlap: these do not add up.",
        "data": traces,
        "layout": {
            "xaxis": {"title": {"text": "change without the cost [%]"}},
            "yaxis": {"autorange": "reversed"},
            "showlegend": len(metrics) > 1,
        },
    }


def _tornado(chosen: Chosen, task: TaskEvidence, place: int) -> dict[str, Any]:
    found = chosen.explanation
    is_ratio = not task.objective.is_published_form
    parameters = list(found.by_parameter().items())[:_SHOWN_BARS]
    traces = []
    for name, pick, colour in (("worst other value", min, 1), ("best other value", max, 0)):
        ends = [pick(own, key=lambda change: change.reward) for _, own in parameters]
        moved = [end.reward - found.reward for end in ends]
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": name,
                "x": [100 * math.expm1(m) for m in moved] if is_ratio else moved,
                "y": [parameter for parameter, _ in parameters],
                "text": [f"{end.old} → {end.new}" for end in ends],
                "textposition": "none",
                "hovertemplate": "%{y}: %{text}, %{x:+.3g}<extra></extra>",
                "marker": {"color": _COLOURS[colour]},
            }
        )
    what = "better than the best design [%]" if is_ratio else "change of the reward"
    return {
        "id": f"figure-tornado-{place}",
        "task": task.label,
        "title": "Best design, one parameter changed",
        "note": f"What one parameter's best and worst other value do to the reward. {chosen.note}",
        "data": traces,
        "layout": {
            "barmode": "overlay",
            "xaxis": {"title": {"text": what}},
            "yaxis": {"autorange": "reversed"},
        },
    }


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
