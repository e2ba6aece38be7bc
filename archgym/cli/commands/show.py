"""`archgym show`: one study in detail, or several compared."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from archgym.cli.console.terminal import say, write_json
from archgym.cli.options.studies import StudiesArgument
from archgym.cli.options.task import JsonOption
from archgym.cli.options.values import FORCE, ForceOption
from archgym.errors import InvalidArgumentError


def show(
    studies: StudiesArgument,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Draw best-so-far curves to this .svg, .png or .pdf file."),
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
            help="Metrics of the Pareto front, such as energy_uj,area_mm2 (default: those of the "
            "objective).",
            metavar="NAME,NAME",
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            "--top",
            help="Number of best designs to show; of each study, if objectives differ.",
            metavar="K",
            min=1,
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            "--table",
            help="Table of the task; shows the distance to its proven optimum.",
            metavar="FILE",
        ),
    ] = None,
    at: Annotated[
        list[int] | None,
        typer.Option(
            "--at",
            help="Number of evaluations to compare at, with --table; repeat for more "
            "(default: 50, 200, 1000).",
            min=1,
        ),
    ] = None,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Show one study, or compare several: of one task, or of objectives of one workload."""
    from archgym.cli.views.comparison import write_across, write_comparison, write_top
    from archgym.cli.views.optimality import write_optimality
    from archgym.cli.views.study import write_study
    from archgym.report.plots import check_fronts, check_plot, plot_fronts, plot_studies
    from archgym.report.study_summary import summarise

    if plot is not None:
        check_plot("--plot", plot, force, FORCE)
    if front is not None:
        check_plot("--front", front, force, FORCE)
    names = None if front_metrics is None else [name.strip() for name in front_metrics.split(",")]
    summary = summarise(studies, front_metrics=names, table=table, budgets=at, n_top=top or 0)
    if plot is not None and summary.across is not None:
        raise InvalidArgumentError(
            "`--plot` needs studies of one objective; these have several. Use --front."
        )
    if front is not None:
        check_fronts(summary.logs, summary.objective)
    if json:
        write_json(summary.to_json())
    else:
        if summary.study is not None:
            write_study(summary.study)
        if summary.comparison is not None:
            write_comparison(summary.comparison)
        if summary.across is not None:
            write_across(summary.across)
        groups = [summary.logs] if summary.across is None else [(log,) for log in summary.logs]
        for group in groups:
            folders = {log.folder for log in group}
            own = [design for design in summary.top if design.log.folder in folders]
            if own:
                write_top(own, None if summary.across is None else group[0].folder)
        if summary.optimality is not None:
            write_optimality(summary.optimality)
    known = None if summary.optimality is None else summary.optimality.known
    if plot is not None:
        plot_studies(summary.logs, plot, known)
    if front is not None:
        plot_fronts(summary.logs, front, summary.objective)
    if json:
        return
    for figure in (plot, front):
        if figure is not None:
            say(f"Picture: {figure}")
    if summary.study is not None and summary.study.log.status == "interrupted":
        say(f"Next: archgym resume {shlex.quote(str(summary.study.log.folder))}")
