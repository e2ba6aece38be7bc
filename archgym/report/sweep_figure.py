"""Results of a sweep against proven optima: best-so-far curves, one panel a task.

A curve is the median over seeds, with the band of all.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from archgym.analysis.random_search import budgets_up_to, random_curve
from archgym.errors import InvalidArgumentError, UnknownNameError
from archgym.report.plots import check_plot, picture
from archgym.sweep.plan import SweepPlan
from archgym.sweep.results import AgentSummary, SweepReport, TaskSummary, require_evaluations

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from archgym.tables import Exhaustive

# Okabe and Ito, Color Universal Design, 2008: told apart by all forms of colour blindness. Yellow,
# which is hard to see on white, gives way to the wine of Paul Tol's muted scheme.
_COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#E69F00",
    "#000000",
    "#882255",
)
_STYLES = ("-", "--", "-.", ":")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_MARKS = 6
# chosen: earlier, curves are of single random designs and would flatten the rest.
_SHOWN_FROM = 10
# Shares of random searches between which their exact band lies.
_RANDOM_BAND = (0.05, 0.95)


def proven_tasks(plan: SweepPlan, tables: Sequence[Path]) -> "Mapping[str, Exhaustive]":
    """Return all designs of those tasks that tables have, by the task's label.

    Args:
      plan: A recorded one, whose tasks have digests.
      tables: Files; each must have a task of the plan.

    Raises:
      InvalidArgumentError: A table has none of the tasks.
      FileFormatError: A file is not a table, or it is damaged.
    """
    from archgym.tables import Exhaustive, TableSimulator

    found: dict[str, Exhaustive] = {}
    for path in tables:
        TableSimulator(path)
        fits = False
        for task in plan.tasks:
            try:
                made = replace(task, stand_in=str(path)).make()
            except (InvalidArgumentError, UnknownNameError):
                continue
            if made.digest == task.digest:
                fits = True
                found.setdefault(task.label, Exhaustive(made))
        if not fits:
            raise InvalidArgumentError(
                f"`--table` must have a task of the sweep; {path} has none of them. Leave it out."
            )
    return found


def draw_report(
    report: SweepReport, path: Path, known: "Mapping[str, Exhaustive] | None" = None
) -> None:
    """Draw the figure.

    Args:
      report: Results of the sweep.
      path: The figure.
      known: All designs of a task, by its label, for the exact curve of random search.

    Raises:
      InvalidArgumentError: The sweep has no evaluations, or the file's name has another end.
      StorageError: The file cannot be written.
    """
    check_plot("--figure", path)
    require_evaluations(report)
    shown = [
        task for task in report.tasks if any(r.evaluations for a in task.agents for r in a.runs)
    ]
    columns = min(2, len(shown))
    rows = math.ceil(len(shown) / columns)
    with picture(path, (8.2 * columns, 4.2 * rows), dpi=150) as figure:
        panels = figure.subplots(rows, columns, squeeze=False)
        for panel in panels.flat[len(shown) :]:
            panel.set_axis_off()
        for panel, task in zip(panels.flat, shown, strict=False):
            _draw_task(panel, report, task, (known or {}).get(task.task.label))


def _draw_task(
    axes: "Axes", report: SweepReport, task: TaskSummary, known: "Exhaustive | None"
) -> None:
    budget = report.plan.budget
    first = min(_SHOWN_FROM, budget)
    ends: list[float] = []
    order = sorted(task.agents, key=lambda agent: -_last(agent, budget))
    places = {agent.label: place for place, agent in enumerate(report.plan.agents)}
    for agent in order:
        steps, median, low, high = _band(agent, budget)
        if not len(steps):
            continue
        look = _look(places[agent.label])
        label = f"{agent.label} ({_last(agent, budget):.4f})"
        marks = np.unique(np.geomspace(first, len(steps), _MARKS).astype(int) - 1)
        axes.plot(
            steps,
            median,
            drawstyle="steps-post",
            label=label,
            linewidth=1.6,
            markersize=4,
            markevery=[m for m in marks.tolist() if 0 <= m < len(steps)],
            **look,
        )
        axes.fill_between(
            steps, low, high, step="post", color=look["color"], alpha=0.13, linewidth=0
        )
        seen = low[min(first, len(low)) - 1 :]
        ends += [float(v) for v in (*seen[np.isfinite(seen)][:1], high[-1]) if np.isfinite(v)]
    if known is not None:
        ends += _draw_random(axes, known, first, budget)
    top = task.best_known if math.isfinite(task.best_known) else max(ends, default=1.0)
    axes.axhline(top, color="0.45", linewidth=0.8)
    axes.annotate(
        "best known" if known is None else "proven optimum",
        (1, top),
        xycoords=("axes fraction", "data"),
        xytext=(-3, 2),
        textcoords="offset points",
        ha="right",
        fontsize=7,
        color="0.35",
    )
    bottom = min(ends, default=0.0)
    margin = 0.06 * (top - bottom) or 1.0
    axes.set_ylim(bottom - margin, top + 1.6 * margin)
    axes.set_xscale("log")
    axes.set_xlim(first, max(budget, first + 1))
    axes.set_xticks([*report.budgets], [f"{step:,}" for step in report.budgets])
    axes.minorticks_off()
    axes.set_xlabel("evaluations")
    what = "" if task.metric is None else f", for {task.metric}"
    axes.set_ylabel(f"best reward so far{what}", fontsize=8)
    axes.set_title(task.task.id, fontsize=9)
    axes.grid(alpha=0.25, which="both", linewidth=0.5)
    n = len(report.plan.seeds)
    seeds = "one seed" if n == 1 else f"median of {n} seeds"
    axes.legend(
        title=f"{seeds} (at {budget:,})" + ("" if n == 1 else ",\nband: least to most"),
        fontsize=8,
        title_fontsize=8,
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
    )


def _draw_random(axes: "Axes", known: "Exhaustive", first: int, budget: int) -> list[float]:
    """Draw exact results of random search; return the ends of its mean."""
    budgets = budgets_up_to(budget, len(known.rewards))
    curve = random_curve(known.rewards, budgets, _RANDOM_BAND)
    low, high = (curve.quantiles[share] for share in _RANDOM_BAND)
    axes.fill_between(budgets, low, high, color="0.5", alpha=0.18, linewidth=0)
    label = f"random, exact mean\nand 5-95 % ({curve.expected[-1]:.4f})"
    axes.plot(budgets, curve.expected, color="0.35", linewidth=1.2, label=label)
    seen = curve.expected[curve.budgets >= min(first, budgets[-1])]
    return [float(seen[0]), float(seen[-1])]


def _look(place: int) -> dict[str, Any]:
    """Return colour, line and marker: agents are told apart without colour too."""
    # Where colours come again, lines are others: 8 colours and 4 lines would else repeat together.
    turn = place // len(_COLOURS)
    return {
        "color": _COLOURS[place % len(_COLOURS)],
        "linestyle": _STYLES[(place + turn) % len(_STYLES)],
        "marker": _MARKERS[place % len(_MARKERS)],
    }


def _last(agent: AgentSummary, budget: int) -> float:
    value = agent.rewards[budget].median
    if not math.isnan(value):
        return value
    known = [run.curve.rewards[-1].item() for run in agent.runs if run.evaluations]
    return float(np.median(known)) if known else -math.inf


def _band(agent: AgentSummary, budget: int) -> tuple[np.ndarray, ...]:
    """Evaluations, and median, least and largest reward after them, of the runs that have begun.

    It ends where the shortest run that still continues has come to.
    """
    curves = [run.curve for run in agent.runs if run.evaluations]
    if not curves:
        return (np.empty(0),) * 4
    length = min([budget, *(len(c.rewards) for c in curves if not c.is_over)])
    rows = []
    for curve in curves:
        missing = length - len(curve.rewards)
        rows.append(np.pad(curve.rewards[:length], (0, max(0, missing)), mode="edge"))
    table = np.stack(rows)
    table[np.isneginf(table)] = np.nan
    with np.errstate(invalid="ignore"):
        median = np.median(table, axis=0)
    return np.arange(1, length + 1), median, table.min(axis=0), table.max(axis=0)
