"""Text and JSON renderings of studies."""

from typing import TYPE_CHECKING, Any

from archgym.cli.console.terminal import heading, number, say, stdout, table, unit, write_json
from archgym.cli.views.curve import text_curve
from archgym.cli.views.front import front_json, write_front
from archgym.cli.views.metrics import metric_rows
from archgym.report.curves import best_so_far

if TYPE_CHECKING:
    from archgym.evaluation.objective import Objective
    from archgym.studies.snapshot import Outcome, StudyLog

__all__ = [
    "best_text",
    "counts_text",
    "no_best_text",
    "study_json",
    "write_best",
    "write_study",
    "write_study_json",
]

_MAX_CURVE_WIDTH = 72


_CURVE_HEIGHT = 8


def counts_text(log: "StudyLog") -> str:
    """Return the counts in a line."""
    numbers = log.counts()
    budget = "" if log.header.budget is None else f" of {log.header.budget}"
    return (
        f"{numbers['evaluations']}{budget} evaluations, {numbers['asks']} asks "
        f"({numbers['repeats']} repeats), {numbers['infeasible']} infeasible, "
        f"{numbers['failed']} failed"
    )


def write_study_json(log: "StudyLog") -> None:
    """Write all that `write_study` says as JSON."""
    write_json(study_json(log))


def study_json(log: "StudyLog", objective: "Objective | None" = None) -> dict[str, Any]:
    """All that `write_study` says as JSON, the front over the terms of an objective or its own."""
    from archgym.studies.front import study_front, study_objective

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
        **log.counts(),
        "segments": _segments(log),
        "damage": [str(damage) for damage in log.damage],
        "missing": [list(gap) for gap in log.gaps],
        "units": {spec.name: spec.unit for spec in log.metrics},
        "best": None if best is None else best.to_json(),
        "default": {
            "design": dict(log.space.design_at(log.space.default_indices)),
            "metrics": _named(log, log.weights @ log.reference),
        },
        "front": None
        if len((objective or study_objective(log)).terms) < 2
        else front_json(log, study_front(log, objective=objective)),
        "curve": {"label": curve.label, "values": curve.values},
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
    failed = log.counts()["failed"]
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
    """Write one study: counts, damage, best design, metrics, front and curve.

    Args:
      log: The study.
      objective: What the front is over; its own by default, which has none with one term.
    """
    from archgym.studies.front import study_front, study_objective

    say()
    heading(f"{log.task_id}: {log.author}, {log.status}")
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
    """Write a design and its metrics beside the default design's."""
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
