"""Figures of curves, Pareto fronts and memory traces: files by Matplotlib, plotly in notebooks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from archgym.errors import InvalidArgumentError
from archgym.evaluation.metrics import MetricSpec
from archgym.files.storage import atomic_file, figure_metadata, require_replaceable
from archgym.report.study_summary import BestCurve, best_so_far, span
from archgym.studies.front import metrics_objective, sought, study_front, study_objective

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from plotly.graph_objects import Figure as PlotlyFigure

    from archgym.evaluation.objective import Objective
    from archgym.studies.front import StudyFront
    from archgym.studies.snapshot import StudyLog
    from archgym.traces.analysis import Analysis


_FORMATS = ("svg", "png", "pdf")
# chosen: an axis that spans a larger ratio than this is logarithmic.
_WIDE = 10.0
# chosen: margin around a front, as a share of its extent.
_ROOM = 0.15
# chosen: studies whose missed designs are marked; more rows of ticks would cover the curves.
_MAX_MARKED = 4
# chosen: entries of common second-level buffers, for orientation.
_REACHES = (64, 1536)


def check_plot(option: str, path: Path, is_forced: bool = False, force: str = "") -> None:
    """Raise if a file cannot become a figure, before any work is done.

    Args:
      option: Option that names the file, for the message.
      path: File of the figure.
      is_forced: True if a file that ArchGym did not write may be replaced.
      force: Option that makes `is_forced` true, for the message.

    Raises:
      InvalidArgumentError: The file name has another extension, or the file is somebody else's.
    """
    if path.suffix.removeprefix(".") not in _FORMATS:
        raise InvalidArgumentError(f"`{option}` must end in .svg, .png or .pdf; got {str(path)!r}.")
    if not path.parent.is_dir():
        raise InvalidArgumentError(
            f"`{option}` must be in a folder that exists; got {str(path)!r}."
        )
    require_replaceable(option, path, is_forced=is_forced, force=force)


def plot_studies(logs: Sequence["StudyLog"], path: Path) -> None:
    """Draw one curve a study over evaluations, with the default design's value.

    Args:
      logs: The studies.
      path: File of the figure.

    Raises:
      StorageError: The file cannot be written.
    """
    with picture(path, (6.4, 3.6)) as figure:
        axes = figure.add_subplot()
        label = ""
        ends: list[float] = []
        for row, log in enumerate(logs):
            curve = best_so_far(log)
            label = curve.label
            ends += span(curve.values) if curve.first_met is not None else ()
            steps = range(1, len(curve.values) + 1)
            (line,) = axes.step(
                steps, curve.values, where="post", label=_name(log, curve), linewidth=1.4
            )
            if row < _MAX_MARKED:
                _mark_missed(axes, curve.missed, row, line.get_color())
        ends = ends or [0.0, 1.0]
        default = best_so_far(logs[0]).default
        if default is not None:
            axes.axhline(default, color="0.5", linestyle="--", linewidth=1, label="default design")
            ends.append(default)
        margin = 0.06 * (max(ends) - min(ends)) or 1.0
        axes.set_ylim(min(ends) - margin, max(ends) + margin)
        axes.set_xlabel("evaluations")
        axes.set_ylabel(label, fontsize=8)
        axes.set_title(logs[0].task_id, fontsize=9)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        if any(best_so_far(log).missed.any() for log in logs[:_MAX_MARKED]):
            axes.set_xlabel("evaluations (ticks at the top: infeasible, failed or a limit missed)")


def _name(log: "StudyLog", curve: BestCurve) -> str:
    """Return the label of a study, and that no design meets all limits."""
    if not log.limits or curve.first_met is not None:
        return log.author
    return f"{log.author}: no design meets all limits"


def _mark_missed(axes: "Axes", missed: "np.ndarray", row: int, colour: Any) -> None:
    """Draw a tick at the top for each evaluation whose design misses a limit."""
    at = (missed.nonzero()[0] + 1).tolist()
    axes.plot(
        at,
        [0.985 - 0.03 * row] * len(at),
        "|",
        color=colour,
        markersize=4,
        alpha=0.5,
        transform=axes.get_xaxis_transform(),
    )


@contextmanager
def picture(path: Path, size: tuple[float, float], dpi: int = 130) -> Iterator["Figure"]:
    """Yield a figure to draw on; write it to the file at the end.

    Args:
      path: File of the figure.
      size: Width and height [inch].
      dpi: Dots per inch of a bitmap.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # A fixed salt and no date make the bytes reproducible.
    with mpl.rc_context({"svg.hashsalt": "archgym", "font.size": 9}):
        figure = Figure(figsize=size, layout="constrained")
        yield figure
        kind = path.suffix.removeprefix(".")
        metadata = figure_metadata(path)
        with atomic_file(path) as scratch:
            figure.savefig(scratch, format=kind, dpi=dpi, metadata=metadata)


def check_fronts(logs: Sequence["StudyLog"], objective: "Objective") -> None:
    """Raise if the fronts of studies cannot be drawn in one figure.

    Args:
      logs: The studies.
      objective: Objective whose metrics span the fronts.

    Raises:
      InvalidArgumentError: The objective has one metric.
    """
    first = logs[0]
    if len(sought(first, objective)) < 2:
        names = [spec.name for spec in first.metrics if spec.goal != "none"]
        raise InvalidArgumentError(
            f"`--front` needs an objective with terms of two metrics; {objective.name!r} has one. "
            f"Name metrics with --front-metrics, such as {','.join(names[:2])}. Available: "
            f"{', '.join(names)}."
        )


def plot_fronts(logs: Sequence["StudyLog"], path: Path, objective: "Objective") -> None:
    """Draw all designs of studies, their fronts and the default design.

    Each panel has the first metric of the objective and another one. The axes cover the fronts and
    the default design; designs far away are cut off. Points of a single study have the numbers that
    `archgym show` gives them.

    Args:
      logs: The studies.
      path: File of the figure.
      objective: Objective whose metrics span the fronts.

    Raises:
      StorageError: The file cannot be written.
    """
    from archgym.studies.front import study_front

    specs = sought(logs[0], objective)
    fronts = [study_front(log, objective=objective) for log in logs]
    n_panels = len(specs) - 1
    with picture(path, (6.4 if n_panels == 1 else 4.2 * n_panels, 4.2)) as figure:
        for panel in range(n_panels):
            axes = figure.add_subplot(1, n_panels, panel + 1)
            _draw_fronts(axes, logs, fronts, objective, (specs[0], specs[panel + 1]))
            if panel == 0:
                axes.set_title(logs[0].task_id, fontsize=9, loc="left")
                axes.legend(frameon=False)


def _draw_fronts(
    axes: "Axes",
    logs: Sequence["StudyLog"],
    fronts: Sequence["StudyFront"],
    objective: "Objective",
    pair: tuple["MetricSpec", "MetricSpec"],
) -> None:
    """Draw the fronts of studies over two metrics."""
    import numpy as np

    first = logs[0]
    names = [spec.name for spec in first.metrics]
    columns = [names.index(spec.name) for spec in pair]
    default = (first.weights @ first.reference)[columns]
    shown = [default[None, :]]
    for number, (log, front) in enumerate(zip(logs, fronts, strict=True)):
        colour = f"C{number}"
        cloud = log.average()[log.is_feasible][:, columns]
        points = front.values[:, columns]
        shown.append(points)
        # Many points are rasterised, also in vector formats.
        axes.plot(*cloud.T, ".", color=colour, alpha=0.25, markersize=3, rasterized=True)
        axes.plot(*points.T, "o", color=colour, markersize=4, label=log.author)
        if len(objective.terms) == 2:
            axes.plot(*points[np.argsort(points[:, 0])].T, color=colour, linewidth=0.8)
        # Numbers of several studies would lie on each other.
        for place, at in enumerate(front.numbered if len(logs) == 1 else (), start=1):
            axes.annotate(
                str(place), points[at], xytext=(4, 3), textcoords="offset points", fontsize=7
            )
    axes.plot(*default, "*", color="0.2", markersize=9, label="default design", linestyle="")
    _frame(axes, np.concatenate(shown))
    axes.set_xlabel(_axis_label(objective, pair[0]), fontsize=8)
    axes.set_ylabel(_axis_label(objective, pair[1]), fontsize=8)
    axes.grid(alpha=0.3)


def _frame(axes: "Axes", points: "np.ndarray") -> None:
    """Set the limits of the axes to include points, (n, 2), with a margin."""
    for values, set_scale, set_limits in (
        (points[:, 0], axes.set_xscale, axes.set_xlim),
        (points[:, 1], axes.set_yscale, axes.set_ylim),
    ):
        low, high = float(values.min()), float(values.max())
        if 0 < _WIDE * low < high:
            set_scale("log")
            factor = (high / low) ** _ROOM
            set_limits(low / factor, high * factor)
        else:
            room = _ROOM * (high - low) or 0.05 * abs(high) or 1.0
            set_limits(low - room, high + room)


def _axis_label(objective: "Objective", spec: "MetricSpec") -> str:
    goals = [term.goal for term in objective.terms if term.metric == spec.name]
    words = {
        "minimise": "lower is better",
        "maximise": "higher is better",
        "at-most": "lower is better",
        "at-least": "higher is better",
    }
    word = words.get(goals[0], "")
    return f"{spec.label}, {word}" if word else spec.label


def plot_trace(found: "Analysis", title: str, path: Path) -> None:
    """Draw misses by reach, heat of pages and the working set of a memory trace, side by side.

    Raises:
      StorageError: The file cannot be written.
    """
    with picture(path, (10.5, 3.4)) as figure:
        misses, heat, working_set = figure.subplots(1, 3)
        misses.step(found.entries, 100 * found.miss_share, where="post")
        for entries in _REACHES:
            misses.axvline(entries, color="0.6", linewidth=0.8, linestyle=":")
            misses.annotate(f"{entries}", (entries, 97), fontsize=7, color="0.4", ha="left")
        misses.set_xscale("log", base=2)
        misses.set_xlim(1, max(2, 2 * found.pages))
        misses.set_ylim(0, 100)
        misses.set_xlabel("pages of 4 KiB that are held (LRU)")
        misses.set_ylabel("accesses that miss [%]")
        misses.set_title("reuse distance", fontsize=9)
        heat.plot(100 * found.hot_pages, 100 * found.hot_accesses)
        heat.set_xscale("log")
        heat.set_ylim(0, 100)
        heat.set_xlabel("pages, the most used first [%]")
        heat.set_ylabel("accesses to them [%]")
        heat.set_title("page heat", fontsize=9)
        times = [i * found.window_instructions / 1e6 for i in range(len(found.window_pages))]
        working_set.step(times, found.window_pages, where="post", label="used")
        working_set.step(times, found.new_pages, where="post", label="used first", linewidth=1)
        working_set.set_ylim(0, None)
        working_set.set_xlabel("instructions [million]")
        working_set.set_ylabel(f"pages in {found.window_instructions:,} instructions")
        working_set.set_title("working set", fontsize=9)
        working_set.legend(frameon=False)
        for axes in (misses, heat, working_set):
            axes.grid(alpha=0.3)
        figure.suptitle(title, fontsize=10)


# Share of trees between the ends of an interval.
_LEVEL = 0.9
_TITLE_LENGTH = 100


@final
class SearchPlots:
    """Figures of a study; each method returns a plotly figure, which a notebook shows."""

    def __init__(self, log: "StudyLog") -> None:
        """Take the study."""
        self._log = log

    def convergence(self) -> "PlotlyFigure":
        """Return the best value so far over evaluations, with the default design's value.

        The curve begins with the first design that meets all limits. Crosses mark evaluations that
        count for nothing: infeasible, failed, or a limit missed.
        """
        from plotly import graph_objects

        curve = best_so_far(self._log)
        figure = self._figure("evaluations", curve.label)
        figure.add_trace(
            graph_objects.Scatter(
                x=np.arange(1, len(curve.values) + 1),
                y=curve.values,
                mode="lines",
                line={"shape": "hv"},
                name=self._log.author,
            )
        )
        missed = np.flatnonzero(curve.missed) + 1
        if len(missed) and curve.first_met is not None:
            figure.add_trace(
                graph_objects.Scatter(
                    x=missed,
                    y=np.full(len(missed), np.nanmax(curve.values)),
                    mode="markers",
                    marker={"symbol": "x-thin-open", "size": 5, "color": "#999999"},
                    name="infeasible, failed or a limit missed",
                )
            )
        if curve.default is not None:
            figure.add_hline(
                y=curve.default, line_dash="dash", annotation_text="default design", opacity=0.6
            )
        return figure

    def front(self, metrics: Sequence[str] | None = None) -> "PlotlyFigure":
        """Return feasible designs and their Pareto front over two metrics.

        Points of the front have the numbers that `archgym show` gives them.

        Args:
          metrics: Two metrics; by default the first two of the objective, or of all that have a
            goal where the objective has one.

        Raises:
          InvalidArgumentError: The study has fewer than two metrics with a goal.
          UnknownNameError: A metric does not exist.
        """
        from plotly import graph_objects

        log = self._log
        specs = self._two(metrics)
        objective = metrics_objective(log, [spec.name for spec in specs])
        names = [spec.name for spec in log.metrics]
        columns = [names.index(spec.name) for spec in specs]
        figure = self._figure(specs[0].label, specs[1].label)
        cloud = log.average()[log.is_feasible & log.meets_limits][:, columns]
        front = study_front(log, objective=objective)
        order = np.argsort(front.values[:, columns[0]], kind="stable")
        points = front.values[order][:, columns]
        numbers = {int(at): str(place) for place, at in enumerate(front.numbered, start=1)}
        texts = [numbers.get(int(at), "") for at in order]
        default = (log.weights @ log.reference)[columns]
        for values, name, look in (
            (cloud, "designs", {"mode": "markers", "marker": {"opacity": 0.35, "size": 5}}),
            (
                points,
                "front",
                {
                    "mode": "lines+markers+text",
                    "line": {"shape": "linear"},
                    "text": texts,
                    "textposition": "top right",
                },
            ),
            (
                default[None, :],
                "default design",
                {"mode": "markers", "marker": {"symbol": "star", "size": 13}},
            ),
        ):
            figure.add_trace(
                graph_objects.Scatter(x=values[:, 0], y=values[:, 1], name=name, **look)
            )
        return figure

    def importance(self) -> "PlotlyFigure":
        """Return a figure of the shares of the reward's variance that parameters and pairs decide.

        Raises:
          InvalidArgumentError: The study has too few designs, or all are worth the same.
        """
        from archgym.report.diagnostics import importance
        from archgym.report.evidence import read_evidence
        from archgym.report.figures import importance_figure

        task = read_evidence([self._log.folder]).tasks[0]
        found = importance(task, n_tasks=1, level=_LEVEL, seed=0)
        if found is None:
            raise InvalidArgumentError(
                "Importance needs 50 feasible designs or more with different rewards; this study "
                f"has {int(self._log.is_feasible.sum())}."
            )
        figure = self._figure("", "", found.note)
        drawn = importance_figure(found, task, 0)
        figure.add_traces(drawn["data"])
        return figure.update_layout(drawn["layout"])

    def _two(self, metrics: Sequence[str] | None) -> list[MetricSpec]:
        known = {spec.name: spec for spec in self._log.metrics}
        if metrics is None:
            found = sought(self._log, study_objective(self._log))
            found += [spec for spec in known.values() if spec.goal != "none" and spec not in found]
            metrics = [spec.name for spec in found[:2]]
        objective = metrics_objective(self._log, list(metrics))
        if len(objective.terms) != 2:
            raise InvalidArgumentError(f"A front is drawn over two metrics; got {metrics!r}.")
        return [known[name] for name in metrics]

    def _figure(self, x: str, y: str, note: str = "") -> "PlotlyFigure":
        from plotly import graph_objects

        title = self._log.task_id[:_TITLE_LENGTH] + (f"<br><sub>{note}</sub>" if note else "")
        return graph_objects.Figure(
            layout={
                "template": "plotly_white",
                "title": {"text": title},
                "xaxis": {"title": {"text": x}},
                "yaxis": {"title": {"text": y}, "automargin": True},
            }
        )
