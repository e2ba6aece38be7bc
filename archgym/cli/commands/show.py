"""`archgym show`: one study in detail, or several side by side."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.cli.console.terminal import say, write_json
from archgym.cli.options.task import JsonOption
from archgym.cli.views.study import study_json, write_study
from archgym.errors import InvalidArgumentError

if TYPE_CHECKING:
    from archgym.evaluation.objective import Objective
    from archgym.studies.snapshot import StudyLog

__all__ = ["show"]


def show(
    studies: Annotated[list[Path], typer.Argument(help="Folders of studies.")],
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Draw the best-so-far curves into this .svg, .png or .pdf."),
    ] = None,
    front: Annotated[
        Path | None,
        typer.Option(
            "--front",
            help="Draw designs and Pareto fronts over the first two metrics of the objective.",
        ),
    ] = None,
    front_metrics: Annotated[
        str | None,
        typer.Option(
            "--front-metrics",
            help="Metrics that the Pareto front is over, such as energy_uj,area_mm2; the "
            "objective's, left out.",
            metavar="NAME,NAME",
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            "--table",
            help="A table of the task: say how far studies are from its proven optimum.",
            metavar="FILE",
        ),
    ] = None,
    at: Annotated[
        list[int] | None,
        typer.Option(
            "--at", help="With --table, evaluations to compare at (50, 200, 1000); repeat.", min=1
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show a study, or compare several at equal budget."""
    from archgym.cli.views.optimality import proven_json, write_proven
    from archgym.report.optimality import judge, read_exhaustive
    from archgym.report.plots import check_fronts, check_plot, plot_fronts, plot_studies
    from archgym.studies.study import read_study
    from archgym.tables.exhaustive import DEFAULT_BUDGETS

    if len({folder.absolute() for folder in studies}) != len(studies):
        raise InvalidArgumentError("`STUDIES` must name each study once; one came twice.")
    if plot is not None:
        check_plot("--plot", plot)
    if front is not None:
        check_plot("--front", front)
    logs = [read_study(folder) for folder in studies]
    objective = _front_objective(logs, front_metrics)
    if front is not None:
        check_fronts(logs, objective)
    known = None if table is None else read_exhaustive(logs, table)
    proven: dict[str, Any] = {}
    if known is not None:
        standings = judge(logs, known, sorted(set(at or DEFAULT_BUDGETS)))
        proven = {"proven": proven_json(standings, known)}
    if len(logs) == 1:
        shown = objective if front_metrics is not None else None
        if json:
            write_json({**study_json(logs[0], shown), **proven})
        else:
            write_study(logs[0], shown)
    else:
        from archgym.cli.views.comparison import write_comparison
        from archgym.report.comparison import compare

        comparison = compare(logs)
        write_json({**comparison.to_json(), **proven}) if json else write_comparison(comparison)
    if known is not None and not json:
        write_proven(standings, known)
    if plot is not None:
        plot_studies(logs, plot, known)
    if front is not None:
        plot_fronts(logs, front, objective)
    for picture in (plot, front):
        if picture is not None and not json:
            say(f"Picture: {picture}")
    if len(logs) == 1 and not json and logs[0].status == "interrupted":
        say(f"Next: archgym resume {shlex.quote(str(logs[0].folder))}")


def _front_objective(logs: list["StudyLog"], names: str | None) -> "Objective":
    """What fronts are over: metrics that are named, or the objective of the studies."""
    from archgym.studies.front import metrics_objective, study_objective

    if names is None:
        return study_objective(logs[0])
    return metrics_objective(logs[0], [name.strip() for name in names.split(",")])
