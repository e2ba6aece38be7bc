"""Figures of one study for notebooks, as plotly figures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import numpy as np

from archgym.errors import InvalidArgumentError
from archgym.evaluation.metrics import MetricSpec
from archgym.report.curves import best_so_far
from archgym.studies.front import metrics_objective, sought, study_front, study_objective

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from archgym.studies.snapshot import StudyLog

# Share of trees between the ends of an interval.
_LEVEL = 0.9
_TITLE_LENGTH = 100


@final
class SearchPlots:
    """Figures of a study; each method returns a plotly figure, which a notebook shows."""

    def __init__(self, log: "StudyLog") -> None:
        """Take the study."""
        self._log = log

    def convergence(self) -> "Figure":
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

    def front(self, metrics: Sequence[str] | None = None) -> "Figure":
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
        figure = self._figure(_label(specs[0]), _label(specs[1]))
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

    def importance(self) -> "Figure":
        """Return a figure of the shares of the reward's variance that parameters and pairs decide.

        Raises:
          InvalidArgumentError: The study has too few designs, or all are worth the same.
        """
        from archgym.report.evidence import read_evidence
        from archgym.report.figures import importance_figure
        from archgym.report.importance import importance

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

    def _figure(self, x: str, y: str, note: str = "") -> "Figure":
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


def _label(spec: MetricSpec) -> str:
    return f"{spec.name} [{spec.unit}]" if spec.unit else spec.name
