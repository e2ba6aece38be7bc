"""Text rendering of a study."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from archgym.cli.console.terminal import heading, number, prose, say, stdout, table
from archgym.cli.views.curve import text_curve
from archgym.cli.views.front import write_front
from archgym.cli.views.metrics import metric_rows

if TYPE_CHECKING:
    from archgym.report.study_summary import StudySummary
    from archgym.studies.snapshot import Outcome, StudyLog

_MAX_CURVE_WIDTH = 72
_CURVE_HEIGHT = 8


def counts_text(log: "StudyLog") -> str:
    """Return the counts of a study in one line."""
    numbers = log.counts()
    budget = "" if log.header.budget is None else f" of {log.header.budget}"
    return (
        f"{numbers['evaluations']}{budget} evaluations, {numbers['asks']} asks "
        f"({numbers['repeats']} repeats), {numbers['infeasible']} infeasible, "
        f"{numbers['failed']} failed"
    )


def best_text(log: "StudyLog") -> str:
    """Return the reward and metric of the best design in one line."""
    best = log.best()
    if best is None:
        return no_best_text(log)
    text = f"Best reward {best.reward:.4f}"
    terms = log.header.task["objective"]["terms"]
    limits = f" {limits_text(log.missed(best))}." if log.limits else ""
    if len(terms) > 1:
        return f"{text} for {log.header.task['objective']['name']}.{limits}"
    column = [spec.name for spec in log.metrics].index(terms[0]["metric"])
    spec = log.metrics[column]
    default = float((log.weights @ log.reference)[column])
    value = f"{number(best.metrics[spec.name])} {spec.unit}".rstrip()
    return f"{text}: {spec.name} {value} (default design: {number(default)}).{limits}"


def limits_text(missed: Sequence[str]) -> str:
    """Return one line on the limits of a task: met, or those that a design misses."""
    return f"Limits: {'missed: ' + '; '.join(missed) if missed else 'met'}"


def no_best_text(log: "StudyLog") -> str:
    """Return the reason for a study without a best design in one line."""
    failed = log.counts()["failed"]
    if not failed:
        return "No feasible design has been found."
    errors = log.records.errors
    first = " ".join(str(errors[min(errors)]).split()).rstrip(".")
    if failed == log.evaluations:
        return f"All evaluations failed. First error: {first}."
    return (
        f"No feasible design has been found. {failed} of {log.evaluations} evaluations failed. "
        f"First error: {first}."
    )


def write_study(summary: "StudySummary") -> None:
    """Write one study: counts, damage, best design, metrics, front and curve."""
    log = summary.log
    say()
    heading(f"{log.task_id}: {log.author}, {log.status}")
    say(counts_text(log))
    damage = log.damage_report()
    if damage is not None:
        say(damage)
    if log.header.kind == "search" and summary.segments[1:]:
        starts = ", ".join(f"ask {s.first_seq + 1} (seed {s.seed})" for s in summary.segments)
        say(
            f"{len(summary.segments)} segments, because the agent cannot be replayed; they start "
            f"at {starts}"
        )
    say()
    if summary.best is None:
        say(no_best_text(log))
        return
    write_best(summary, summary.best)
    if summary.front is not None:
        write_front(log, summary.front)
    _write_curve(summary)


def write_best(summary: "StudySummary", best: "Outcome") -> None:
    """Write the best design and its metrics next to those of the default design."""
    log = summary.log
    heading(f"Best design (evaluation {summary.best_evaluation}, reward {best.reward:.4f})")
    default = log.space.design_at(log.space.default_indices)
    changed = [name for name in log.space.names if best.design[name] != default[name]]
    rows = [(name, _value(log, name, best.design), str(default[name])) for name in changed]
    if rows:
        table(("parameter", "best", "default"), rows)
    unchanged = [name for name in log.space.names if name not in changed]
    if unchanged:
        prose(f"At the default: {', '.join(unchanged)}")
        say()
    values = np.array([best.metrics[spec.name] for spec in log.metrics])
    if len(log.workloads) > 1:
        say(f"Metrics, averaged over {', '.join(log.workloads)} by weight:")
    columns, metrics = metric_rows(log.metrics, values, summary.default_metrics, "best")
    table(columns, metrics, right=("best", "default", "ratio"))
    if log.limits:
        say(limits_text(log.missed(best)))
        say()


def _value(log: "StudyLog", name: str, design: Mapping[str, Any]) -> str:
    return f"{design[name]} {log.space.parameter(name).unit}".rstrip()


def _write_curve(summary: "StudySummary") -> None:
    curve = summary.curve
    width = min(_MAX_CURVE_WIDTH, stdout().width - 16)
    lines = text_curve(curve.values, width, _CURVE_HEIGHT)
    if lines:
        heading(f"{curve.label}, over evaluations")
        for line in lines:
            say(line)
        if curve.first_met is not None and curve.first_met > 1:
            limits = " and meets all limits" if summary.log.limits else ""
            say(
                f"It begins at evaluation {curve.first_met}, the first design that can be "
                f"built{limits}."
            )
        say()
