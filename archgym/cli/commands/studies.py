"""`archgym show` and `portfolio`: studies read and reused."""

from pathlib import Path
from typing import Annotated

import typer

from archgym.cli.console.signals import prompt_stops
from archgym.cli.console.terminal import say, write_json
from archgym.cli.options.task import JsonOption
from archgym.cli.options.values import (
    FORCE,
    PORTFOLIO_FORMAT,
    ForceOption,
    StudiesArgument,
)
from archgym.files.remote import command_line

_PORTFOLIO_MARK = '"mean_best_rewards"'
"""Text that every file of `archgym portfolio` has, by which it may be replaced."""


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
            help="Draw designs and Pareto fronts, the objective's first metric against others.",
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
            help="Number of best designs to show.",
            metavar="K",
            min=1,
        ),
    ] = None,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Show one study, or compare several of one task."""
    from archgym.cli.views.study import write_comparison, write_study, write_top
    from archgym.report.commands import evaluate_line, is_registered, older_version
    from archgym.report.plots import check_fronts, check_plot, plot_fronts, plot_studies
    from archgym.report.study_summary import summarise

    if plot is not None:
        check_plot("--plot", plot, force, FORCE)
    if front is not None:
        check_plot("--front", front, force, FORCE)
    names = None if front_metrics is None else [name.strip() for name in front_metrics.split(",")]
    summary = summarise(studies, front_metrics=names, n_top=top or 0)
    if front is not None:
        check_fronts(summary.logs, summary.objective)
    # Before the text, whose reader may leave, as `| head` does.
    if plot is not None:
        plot_studies(summary.logs, plot)
    if front is not None:
        plot_fronts(summary.logs, front, summary.objective)
    if json:
        write_json(summary.to_json())
    else:
        if summary.study is not None:
            write_study(summary.study)
        if summary.comparison is not None:
            write_comparison(summary.comparison)
        if summary.top:
            write_top(summary.top)
    if json:
        return
    for figure in (plot, front):
        if figure is not None:
            say(f"Picture: {figure}")
    if summary.study is not None and summary.study.best is not None:
        log = summary.study.log
        if older := older_version(log.header.task):
            say(older)
        elif is_registered(log.header.task):
            changes = log.space.changes(summary.study.best.design)
            say(f"To evaluate it again: {evaluate_line(log.header.task, changes)}")
    if summary.study is not None and summary.study.log.status == "interrupted":
        say("Next: " + command_line("archgym", "resume", summary.study.log.folder))


def portfolio(
    studies: StudiesArgument,
    size: Annotated[int, typer.Option("--size", help="Number of designs.", min=1)] = 4,
    per_study: Annotated[
        int,
        typer.Option("--per-study", help="Best designs of each study to consider.", min=1),
    ] = 2,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Write the designs to this JSON file, which `--start` reads.",
            metavar="PATH",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Choose designs of earlier studies that together are good for most of their workloads.

    The best designs of each study are evaluated on the tasks of all others. The first design is
    the best on average; each later one adds most to the mean of the best rewards.
    """
    import json as text

    from archgym.files.storage import require_replaceable, write_atomic
    from archgym.studies.portfolio import portfolio as choose

    if out is not None:
        require_replaceable("--out", out, mark=_PORTFOLIO_MARK)
    with prompt_stops():
        found = choose(studies, size=size, per_study=per_study)
    data = {
        "format": PORTFOLIO_FORMAT,
        "designs": [dict(design) for design in found.designs],
        "studies": list(found.sources),
        "mean_best_rewards": found.mean_best.tolist(),
        "evaluations": found.evaluations,
    }
    if out is not None:
        write_atomic(out, f"{text.dumps(data, indent=1)}\n".encode())
    if json:
        write_json(data)
        return
    for number, (source, mean) in enumerate(
        zip(found.sources, found.mean_best.tolist(), strict=True), 1
    ):
        say(f"{number}. a best design of {source}: mean best reward {mean:.4f}")
    say(f"Evaluations of the studies' tasks: {found.evaluations}.")
    if out is not None:
        say(f"Written: {out}. Use it with --start.")
