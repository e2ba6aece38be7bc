"""Text rendering of studies: metrics, best design, front and curve, and comparisons."""

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.text import Text

from archgym.cli.console.terminal import heading, number, prose, say, stdout, table
from archgym.evaluation.limits import LIMITED_REWARD, missed_limits
from archgym.report.commands import task_title
from archgym.report.quantities import counted, quantity
from archgym.report.study_summary import Comparison, RankedStudy, StudySummary, TopDesign, span
from archgym.spaces.counting import number_text
from archgym.studies.front import sought, study_objective

if TYPE_CHECKING:
    from archgym.evaluation.metrics import MetricSpec
    from archgym.evaluation.objective import Objective
    from archgym.studies.front import StudyFront
    from archgym.studies.snapshot import Outcome, StudyLog
    from archgym.tables.proof import Proof
    from archgym.tasks.task import Task


# chosen: a smaller relative difference is neither better nor worse.
_ALIKE = 1e-3
# chosen: six digits tell designs of an exact simulator apart.
_DIGITS = 6


def write_metrics(
    specs: Sequence["MetricSpec"],
    values: "np.ndarray",
    reference: "np.ndarray | None",
    name: str,
    objective: "Objective",
) -> None:
    """Write a table of metrics, those of the objective first, and fold what says nothing.

    Folded are metrics that are 0, and those that equal the default design's, unless the objective
    or a limit names them.

    Args:
      specs: Metrics of the table.
      values: (n_metrics,), values of the design.
      reference: (n_metrics,), values of the default design; None to omit them.
      name: Heading of the column of values.
      objective: Objective of the task.
    """
    ranks = {metric: place for place, metric in enumerate(objective.metrics)}
    order = sorted(range(len(specs)), key=lambda place: ranks.get(specs[place].name, len(ranks)))
    rows: list[tuple[str | Text, ...]] = []
    zero, alike = [], []
    for place in order:
        spec, value = specs[place], float(values[place])
        base = None if reference is None else float(reference[place])
        if spec.name not in ranks and value == 0 and base in (None, 0):
            zero.append(spec.name)
        elif spec.name not in ranks and value == base:
            alike.append(f"{spec.name} {quantity(value, spec.unit, _DIGITS)}")
        elif base is None:
            rows.append((spec.name, quantity(value, spec.unit, _DIGITS)))
        else:
            # Of numbers below 0 a ratio says nothing.
            ratio = f"{value / base:.3f}" if base > 0 and value >= 0 else "–"
            texts = [quantity(each, spec.unit, _DIGITS) for each in (value, base)]
            rows.append((spec.name, *texts, ratio, verdict(spec, value, base)))
    columns = ("metric", name, "default", "ratio", "")
    table(columns if reference is not None else columns[:2], rows, right=columns[1:4])
    if alike:
        prose(f"As in the default design: {', '.join(alike)}.", indent="  ")
    if zero:
        prose(f"Zero: {', '.join(zero)}.", indent="  ")
    if alike or zero:
        say()


def verdict(spec: "MetricSpec", value: float, default: float) -> Text:
    """Return "better", "worse" or nothing for a value relative to the default design's."""
    difference = value - default
    alike = max(spec.resolution / 2, _ALIKE * abs(default))
    if spec.goal == "none" or not abs(difference) >= alike:
        return Text("")
    is_better = (difference < 0) == (spec.goal == "minimise")
    return Text("better", style="green") if is_better else Text("worse", style="red")


# chosen: failures of other kinds are in the JSON and the data frame.
_MOST_FAILURES = 3
_MAX_CURVE_WIDTH = 72
_CURVE_HEIGHT = 8


def counts_text(log: "StudyLog") -> str:
    """Return the counts of a study in one line."""
    numbers = log.counts()
    budget = "" if log.header.budget is None else f" of {log.header.budget}"
    n = numbers["evaluations"]
    return (
        f"{n}{budget} evaluation{'s' * (n != 1 or bool(budget))}, {numbers['asks']} asks "
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
        is_default = dict(best.design) == dict(log.space.default)
        stayed = ": the default design stayed best" * is_default
        name = log.header.task["objective"]["name"]
        return f"{text} for {name}{stayed}.{limits} `show` lists the front."
    column = [spec.name for spec in log.metrics].index(terms[0]["metric"])
    spec = log.metrics[column]
    default = float((log.weights @ log.reference)[column])
    value, base = (quantity(each, spec.unit) for each in (best.metrics[spec.name], default))
    names = [each.name for each in log.metrics]
    each = [dict(zip(names, row, strict=True)) for row in log.reference.tolist()]
    aside = ", which misses a limit" if missed_limits(log.limits, each) else ""
    if not aside and best.reward < 0 and terms[0]["goal"] in ("minimise", "maximise"):
        aside = ", which is better"
    return f"{text}: {spec.name} {value} (default design: {base}{aside}).{limits}"


def limits_text(missed: Sequence[str]) -> str:
    """Return one line on the limits of a task: met, or those that a design misses."""
    return f"Limits: {'missed: ' + '; '.join(missed) if missed else 'met'}"


def proof_text(proof: "Proof", task: "Task") -> str:
    """Return how good a design may be that a proof does not know."""
    if proof.n_failed:
        return f"the simulator broke on {proof.n_failed:,} of them, which may be better"
    if proof.gave_up(task):
        size = number_text(task.space.size)
        return f"{size} combinations are too many to evaluate"
    if not math.isfinite(proof.bound):
        return "any design that is left may be better, since no bound on them is known"
    known = None if proof.indices is None else task.evaluate(proof.indices[None, :]).values[0]
    if known is not None and (missed := task.missed(known)):
        best = f"the best known misses {'; '.join(missed)}"
        if proof.bound <= LIMITED_REWARD:
            return f"no design meets all limits; {best}"
        return f"{best}; a design that meets all limits may have reward up to {proof.bound:.6g}"
    if proof.gap_percent is None:
        return f"a design may have reward up to {proof.bound:.6g}"
    return (
        f"no design is more than {number(proof.gap_percent)} % better (reward at most "
        f"{proof.bound:.6g}, and {proof.reward:.6g} is known)"
    )


def no_best_text(log: "StudyLog") -> str:
    """Return the reason for a study without a best design in one line."""
    failed = log.counts()["failed"]
    if not failed:
        return "No feasible design has been found."
    texts = [" ".join(each.error.split()).rstrip(".") for each in log.failures()[:_MOST_FAILURES]]
    first = f"First error: {texts[0]}." + "".join(f" Another: {each}." for each in texts[1:])
    if failed == log.evaluations:
        return f"All evaluations failed. {first}"
    return (
        f"No feasible design has been found. {failed} of {log.evaluations} evaluations failed. "
        f"{first}"
    )


def write_study(summary: "StudySummary") -> None:
    """Write one study: counts, damage, best design, metrics, front and curve."""
    log = summary.log
    say()
    recipe = log.header.task
    heading(task_title(recipe["simulator"], log.workloads, study_objective(log), log.metrics))
    say(f"{log.task_id}: {log.author}, {log.status}")
    say(counts_text(log))
    for each in log.failures()[:_MOST_FAILURES] if summary.best is not None else ():
        prose(f"E{str(each)[1:]:.600}")
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
    default = log.space.default
    changed = log.space.changes(best.design)
    rows = [
        (name, f"{value} {log.space.parameter(name).unit}".rstrip(), str(default[name]))
        for name, value in changed.items()
    ]
    if rows:
        table(("parameter", "best", "default"), rows)
    unchanged = [name for name in log.space.names if name not in changed]
    if unchanged:
        prose(f"At the default: {', '.join(unchanged)}")
        say()
    values = np.array([best.metrics[spec.name] for spec in log.metrics])
    if len(log.workloads) > 1:
        say(f"Metrics, averaged over {', '.join(log.workloads)} by weight:")
    objective = study_objective(log)
    write_metrics(log.metrics, values, summary.default_metrics, "best", objective)
    if log.limits:
        say(limits_text(log.missed(best)))
        say()


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


def write_front(log: "StudyLog", front: "StudyFront") -> None:
    """Write the points of a front, and how the design of each differs from the common one."""
    n = len(front)
    volume = "–" if front.hypervolume is None else f"{front.hypervolume:.4f}"
    points = "1 point" if n == 1 else f"{n} points"
    heading(f"Pareto front ({points}, hypervolume {volume})")
    indices = log.records.indices[front.rows]
    common = [_most_common(column) for column in indices.T]
    default = log.space.default_indices
    names = log.space.names
    shown = front.numbered
    ordinals = log.is_evaluation.cumsum()
    specs = sought(log, front.objective)
    metrics = [spec.name for spec in log.metrics]
    columns = {spec.name: metrics.index(spec.name) for spec in specs}
    rows = []
    differing = []
    for place, point in enumerate(shown, start=1):
        design = log.space.design_at(indices[point])
        differing.append(
            [
                f"{name}={design[name]}"
                for name, index, most in zip(names, indices[point], common, strict=True)
                if index != most
            ]
        )
        values = [number(float(front.values[point, columns[spec.name]])) for spec in specs]
        rows.append((str(place), *values, str(ordinals[front.rows[point]])))
    labels = [spec.label for spec in specs]
    reference = log.weights @ log.reference
    default_values = (number(float(reference[columns[spec.name]])) for spec in specs)
    rows.append(("default", *default_values, ""))
    right = ("design", *labels, "found at")
    table(right, rows, right=right)
    if len(shown) < n:
        say(f"{n - len(shown)} more points in between; use --json for all.")
    for place, changes in enumerate(differing, start=1):
        prose(f"{place:>3}  {', '.join(changes) or 'the common design'}", indent="     ")
    say()
    changed = [
        f"{name}={log.space.parameter(name).value(most)}"
        for name, most, index in zip(names, common, default, strict=True)
        if most != index
    ]
    prose(f"Common design of the front: {', '.join(changed) or 'the default design'}.")
    say()


def _most_common(column: Any) -> int:
    values, counts = np.unique(column, return_counts=True)
    return int(values[np.argmax(counts)])


def text_curve(values: np.ndarray, width: int, height: int) -> list[str]:
    """Return a curve as lines of text, filled below; empty without values.

    Args:
      values: (n,), NaN before the first value.
      width: Columns of the curve, without its axis.
      height: Lines of the curve, without its axis.
    """
    if not np.isfinite(values).any() or width < 8:
        return []
    width = min(width, max(8, len(values)))
    shown = values[np.linspace(0, len(values) - 1, width).round().astype(int)]
    low, high = span(values)
    label_high = number(high) if np.nanmax(values) <= high else f"≥ {number(high)}"
    label_low = number(low) if np.nanmin(values) >= low else f"≤ {number(low)}"
    reach = high - low if high > low else 1.0
    shown = np.clip(shown, low, high)
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "")
    steps = " ▁▂▃▄▅▆▇█" if encoding == "utf8" else " #"
    fine = len(steps) - 1
    # At least one eighth, so that the lowest value is visible.
    filled = np.where(np.isfinite(shown), 1 + (shown - low) / reach * (height * fine - 1), 0)
    lines = []
    for row in reversed(range(height)):
        parts = np.clip(np.nan_to_num(filled) - row * fine, 0, fine).round().astype(int)
        label = label_high if row == height - 1 else label_low if row == 0 else ""
        lines.append(f"{label:>12} |" + "".join(steps[part] for part in parts).rstrip())
    lines.append(f"{'':>12} 1{len(values):>{width - 1}}")
    return lines


def write_comparison(comparison: Comparison) -> None:
    """Write the table, the overall best design, and its margin over the other studies."""
    studies = comparison.studies
    first = studies[0]
    say()
    budget = counted(comparison.budget, "evaluation")
    n_tasks = len({study.log.header.task["digest"] for study in studies})
    subject = first.log.task_id if n_tasks == 1 else f"{n_tasks} tasks"
    heading(f"{subject}: {len(studies)} studies after {budget}")
    shown = [spec.label for spec in comparison.specs]
    # Volumes are relative to the default design of each task.
    has_front = n_tasks == 1 and any(s.hypervolume is not None for s in studies)
    volume = ("hypervolume",) if has_front else ()
    columns = ("study", "agent", *shown, "reward", *volume, "found at")
    rows = [
        (
            str(study.log.folder),
            study.log.author,
            *([number(v) for v in study.values] or ["–"] * len(shown)),
            "–" if study.best is None else f"{study.reward:.4f}",
            *(["–" if (v := study.hypervolume) is None else f"{v:.4f}"] if has_front else ()),
            "–" if study.reached_at is None else str(study.reached_at),
        )
        for study in studies
    ]
    table(columns, rows, right=columns[2:])
    for study in studies if n_tasks > 1 else ():
        say(f"{study.log.folder}: {study.log.task_id}")
    if n_tasks > 1:
        prose("Rewards are relative to the default design of the study that was named first.")
    for study in studies:
        if any(study.log.counts()[name] for name in ("repeats", "infeasible", "failed")):
            say(f"{study.log.folder}: {counts_text(study.log)}")
    for study in studies:
        report = study.log.damage_report()
        if report is not None:
            say(report)
    if first.best is None:
        say(no_best_text(first.log))
        return
    write_best(StudySummary.read(first.log), first.best)
    say(_margins(comparison))
    say()


def write_top(designs: Sequence[TopDesign]) -> None:
    """Write the best designs as numbered rows, then their changes to the default design."""
    from archgym.studies.front import sought, study_objective

    log = designs[0].log
    heading(f"Best {len(designs)} designs")
    specs = sought(log, study_objective(log))
    columns = ("", *(spec.label for spec in specs), "reward", "found at")
    rows = [
        (
            str(place),
            *(number(each.outcome.metrics[spec.name]) for spec in specs),
            f"{each.outcome.reward:.4f}",
            str(each.evaluation),
        )
        for place, each in enumerate(designs, start=1)
    ]
    table(columns, rows, right=columns)
    is_several = len({each.log.folder for each in designs}) > 1
    for place, each in enumerate(designs, start=1):
        changes = log.space.changes(each.outcome.design).items()
        changed = [f"{name}={value}" for name, value in changes]
        where = f"{each.log.folder}: " if is_several else ""
        limits = f" {limits_text(log.missed(each.outcome))}." if log.limits else ""
        prose(f"{place:>3}  {where}{', '.join(changed) or 'default'}.{limits}", indent="     ")
    say()


def _margins(comparison: Comparison) -> str:
    first, *others = comparison.studies
    is_clear = len({study.log.author for study in comparison.studies}) > 1
    names = [s.log.author if is_clear else str(s.log.folder) for s in comparison.studies]
    parts = [
        _margin(comparison, first, other, name)
        for other, name in zip(others, names[1:], strict=True)
    ]
    return f"Best study: {names[0]}; it {', '.join(parts)}."


def _margin(comparison: Comparison, first: RankedStudy, other: RankedStudy, name: str) -> str:
    if other.best is None:
        return f"beat {name}, which found no feasible design"
    if other.reward == first.reward:
        return f"tied with {name}"
    if len(comparison.specs) == 1 and other.values[0]:
        change = abs(first.values[0] / other.values[0] - 1) * 100
        return f"beat {name} by {change:.3g} % in {comparison.specs[0].name}"
    return f"beat {name} by {first.reward - other.reward:.4f} in reward"
