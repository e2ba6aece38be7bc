"""`archgym show`: one study in detail, or several side by side."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.cli.curve import best_so_far, text_curve
from archgym.cli.front import front_json, write_front
from archgym.cli.metric_table import metric_rows
from archgym.cli.tasks import JsonOption
from archgym.cli.terminal import heading, number, say, stdout, table, unit, write_json
from archgym.errors import InvalidArgumentError

if TYPE_CHECKING:
    from archgym.objective import Objective
    from archgym.studylog import Outcome, StudyLog

__all__ = [
    "best_text",
    "counts",
    "counts_text",
    "no_best_text",
    "outcome_json",
    "show",
    "study_json",
    "who",
    "write_best",
    "write_study",
    "write_study_json",
]

_MAX_CURVE_WIDTH = 72
_CURVE_HEIGHT = 8


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
    from archgym.cli.plotting import check_fronts, check_plot, plot_fronts, plot_studies
    from archgym.cli.proven import judge, proven_json, read_exhaustive, write_proven
    from archgym.cli.tabulating import DEFAULT_BUDGETS
    from archgym.study import read_study

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
        from archgym.cli.comparing import compare, write_comparison

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
    from archgym.front import metrics_objective, study_objective

    if names is None:
        return study_objective(logs[0])
    return metrics_objective(logs[0], [name.strip() for name in names.split(",")])


def counts(log: "StudyLog") -> dict[str, int]:
    """How many asks and evaluations a study has, and what became of them."""
    failed = int((log.is_failed & log.is_evaluation).sum())
    return {
        "evaluations": log.evaluations,
        "asks": log.asks,
        "repeats": log.asks - log.evaluations,
        "infeasible": log.evaluations - int(log.is_feasible.sum()) - failed,
        "failed": failed,
    }


def counts_text(log: "StudyLog") -> str:
    """The counts in a line."""
    numbers = counts(log)
    budget = "" if log.header.budget is None else f" of {log.header.budget}"
    return (
        f"{numbers['evaluations']}{budget} evaluations, {numbers['asks']} asks "
        f"({numbers['repeats']} repeats), {numbers['infeasible']} infeasible, "
        f"{numbers['failed']} failed"
    )


def who(log: "StudyLog") -> str:
    """Who asked, in a few words."""
    header = log.header
    if header.kind == "merged":
        return f"merged from {log.n_studies} {'study' if log.n_studies == 1 else 'studies'}"
    if header.kind == "log":
        return "log"
    return f"{header.agent}, seed {header.seed}"


def write_study_json(log: "StudyLog") -> None:
    """Writes all that `write_study` says as JSON."""
    write_json(study_json(log))


def study_json(log: "StudyLog", objective: "Objective | None" = None) -> dict[str, Any]:
    """All that `write_study` says as JSON, the front over the terms of an objective or its own."""
    from archgym.front import study_front, study_objective

    header = log.header
    best = log.best()
    curve = best_so_far(log)
    return {
        "folder": str(log.folder),
        "task": log.task_id,
        "kind": header.kind,
        "agent": header.agent,
        "seed": header.seed,
        "hyperparameters": header.hyperparameters,
        "status": log.status,
        "budget": header.budget,
        "max_asks": header.ask_limit,
        **counts(log),
        "segments": _segments(log),
        "damage": [str(damage) for damage in log.damage],
        "missing": [list(gap) for gap in log.gaps],
        "units": {spec.name: spec.unit for spec in log.metrics},
        "best": None if best is None else outcome_json(best),
        "default": {
            "design": dict(log.space.design_at(log.space.default_indices)),
            "metrics": _named(log, log.weights @ log.reference),
        },
        "front": None
        if len((objective or study_objective(log)).terms) < 2
        else front_json(log, study_front(log, objective=objective)),
        "curve": {"label": curve.label, "values": curve.values},
    }


def outcome_json(outcome: "Outcome") -> dict[str, Any]:
    """An evaluation as JSON."""
    return {
        "seq": outcome.seq,
        "design": dict(outcome.design),
        "reward": outcome.reward,
        "metrics": outcome.metrics,
        "metrics_by_workload": outcome.metrics_by_workload,
    }


def best_text(log: "StudyLog") -> str:
    """What the best design reaches, in a line."""
    best = log.best()
    if best is None:
        return no_best_text(log)
    text = f"Best reward {best.reward:.4f}"
    terms = log.header.task["objective"]["terms"]
    if len(terms) > 1:
        return f"{text} for {log.header.task['objective']['name']}."
    place = [spec.name for spec in log.metrics].index(terms[0]["metric"])
    spec = log.metrics[place]
    default = float((log.weights @ log.reference)[place])
    return (
        f"{text}: {spec.name} {number(best.metrics[spec.name])} {unit(spec.unit)}, "
        f"the default design's is {number(default)}."
    )


def no_best_text(log: "StudyLog") -> str:
    """Why a study has no best design, in a line."""
    failed = counts(log)["failed"]
    if not failed:
        return "No design that can be built has been found."
    errors = log.records.errors
    first = " ".join(str(errors[min(errors)]).split()).rstrip(".")
    if failed == log.evaluations:
        return f"All evaluations failed; the first one: {first}."
    return (
        f"No design that can be built has been found. {failed} of {log.evaluations} evaluations "
        f"failed; the first one: {first}."
    )


def _segments(log: "StudyLog") -> list[dict[str, Any]]:
    """Where asks were made anew: all segments but one that nothing has been asked in yet."""
    return [
        {"first_seq": segment.first_seq, "seed": segment.seed}
        for segment in log.header.segments
        if segment.first_seq < max(1, log.asks)
    ]


def _named(log: "StudyLog", values: Any) -> dict[str, float]:
    return dict(zip([spec.name for spec in log.metrics], values.tolist(), strict=True))


def write_study(log: "StudyLog", objective: "Objective | None" = None) -> None:
    """Writes one study: counts, damage, best design, metrics, front and curve.

    Args:
      log: The study.
      objective: What the front is over; its own by default, which has none with one term.
    """
    from archgym.front import study_front, study_objective

    say()
    heading(f"{log.task_id}: {who(log)}, {log.status}")
    say(counts_text(log))
    report = log.damage_report()
    if report is not None:
        say(report)
    segments = _segments(log)
    if log.header.kind == "search" and segments[1:]:
        begins = ", ".join(f"ask {s['first_seq'] + 1} (seed {s['seed']})" for s in segments)
        say(f"{len(segments)} segments, since it cannot be replayed; they begin at {begins}")
    say()
    best = log.best()
    if best is None:
        say(no_best_text(log))
        return
    write_best(log, best)
    if len((objective or study_objective(log)).terms) > 1:
        write_front(log, study_front(log, objective=objective))
    _write_curve(log)


def write_best(log: "StudyLog", best: "Outcome") -> None:
    """Writes a design and its metrics beside the default design's."""
    ordinal = int(log.is_evaluation[log.records.seq <= best.seq].sum())
    heading(f"Best design (found at evaluation {ordinal}, reward {best.reward:.4f})")
    default = log.space.design_at(log.space.default_indices)
    rows = [
        (
            name,
            str(best.design[name]),
            str(default[name]),
            unit(log.space.parameter(name).unit),
            "" if best.design[name] == default[name] else "changed",
        )
        for name in log.space.names
    ]
    table(("parameter", "best", "default", "unit", ""), rows)
    import numpy as np

    values = np.array([best.metrics[spec.name] for spec in log.metrics])
    if len(log.workloads) > 1:
        say(f"Metrics averaged over {', '.join(log.workloads)} by weight:")
    columns, metrics = metric_rows(log.metrics, values, log.weights @ log.reference, "best")
    table(columns, metrics, right=("best", "default", "ratio"))


def _write_curve(log: "StudyLog") -> None:
    curve = best_so_far(log)
    width = min(_MAX_CURVE_WIDTH, stdout().width - 16)
    lines = text_curve(curve.values, width, _CURVE_HEIGHT)
    if lines:
        heading(f"{curve.label}, over evaluations")
        for line in lines:
            say(line)
        say()
