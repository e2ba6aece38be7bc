"""Findings of a report: scores, aggregates, best designs, fronts and diagnostics."""

import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np

from archgym.analysis.pareto import adrs, quick_hypervolume
from archgym.analysis.statistics import (
    igd_plus,
    improvement_p_value,
    kaplan_meier,
    performance_profile,
    relative_improvement,
    scores,
)
from archgym.errors import InvalidArgumentError
from archgym.files.json_types import plain
from archgym.files.storage import storage_errors, write_atomic
from archgym.report.answer import Answer, answer_of
from archgym.report.best_design import Chosen, choose, chosen_tables
from archgym.report.diagnostics import Importance, good_table, health, importance, importance_tables
from archgym.report.evidence import MANY_DRAWS, Evidence, RunEvidence, TaskEvidence, undominated
from archgym.report.quantities import Cell, Table
from archgym.report.verdict import DEFAULT_ZERO, Protocol, is_random_zero, shared_tasks, verdict
from archgym.runtime.progress import StageProgress
from archgym.spaces.display import cell
from archgym.sweep.results import log_spaced

SURE_P = 0.05
"""A pair's p-value above which the intervals of few runs say nothing. Chosen, as is usual."""
REPORT_MARK = '{\n "protocol": {'
"""First bytes of a report's JSON, by which a later report knows that it may replace the file."""
SCORES_MARK = "agent,runs,IQM score"
"""First bytes of a report's scores.csv."""
# chosen: this many points make smooth profiles.
THRESHOLDS = np.linspace(-0.5, 1.0, 61)


@final
@dataclass(frozen=True)
class Findings:
    """All findings of a report."""

    evidence: Evidence
    protocol: Protocol
    verdict: tuple[str, ...]
    tables: tuple[Table, ...]
    scores: Mapping[str, tuple[np.ndarray, ...]]
    """By agent, its runs' scores, one array a task."""
    profiles: Mapping[str, np.ndarray] = field(default_factory=dict)
    importances: Mapping[str, Importance] = field(default_factory=dict)
    """By a task's label, where its evaluations are enough."""
    chosen: Mapping[str, Chosen | str] = field(default_factory=dict)
    """By a task's label, its best design evaluated again, or why it was not."""
    answers: Mapping[str, Answer] = field(default_factory=dict)
    """By a task's label, where a design was built."""

    def to_json(self) -> dict[str, Any]:
        """Return the findings as data."""
        return {
            "protocol": self.protocol.to_json(),
            "sources": [str(source) for source in self.evidence.sources],
            "evaluations": self.evidence.evaluations,
            "verdict": list(self.verdict),
            "answers": {label: answer.to_json() for label, answer in self.answers.items()},
            "tables": {
                table.name: {
                    "title": table.title,
                    "columns": list(table.columns),
                    "rows": [list(row) for row in table.rows],
                }
                for table in self.tables
            },
        }


def find(
    evidence: Evidence, is_evaluating: bool = True, progress: StageProgress | None = None
) -> Findings:
    """Judge the evidence by one protocol.

    Args:
      evidence: Evaluations of studies.
      is_evaluating: True to evaluate each task's best design again, with its neighbours and on
        other workloads.
      progress: Called with the number of analysed tasks, and of evaluated designs.

    Raises:
      InvalidArgumentError: No run has got far enough to be judged.
    """
    begun = [run for task in evidence.tasks for run in task.runs if len(run.reward)]
    reached = [run.planned if run.status == "finished" else len(run.reward) for run in begun]
    if not reached:
        raise InvalidArgumentError("A report needs evaluations; the studies have no evaluation.")
    budget = min(reached)
    scales = {task.recipe["digest"]: _scale(task) for task in evidence.tasks}
    protocol = Protocol(budget, scales)
    found = _scores(evidence, protocol)
    tables = [_score_table(evidence, found, protocol), *_improvement(found, protocol)]
    importances, chosen = {}, {}
    n_tasks = len(evidence.tasks)
    for number, task in enumerate(evidence.tasks):
        if progress is not None:
            progress("tasks", number, n_tasks)
        shares = importance(task, n_tasks=n_tasks, level=protocol.level, seed=protocol.seed)
        tables += _task_tables(task, protocol, shares)
        if shares is not None:
            importances[task.label] = shares
            tables += importance_tables(task.label, shares, protocol.level)
            good = importance(
                task, n_tasks=n_tasks, level=protocol.level, seed=protocol.seed, is_among_good=True
            )
            tables += [] if good is None else [good_table(task.label, good)]
        if is_evaluating:
            again = chosen[task.label] = choose(task, progress)
            tables += [] if isinstance(again, str) else chosen_tables(task.label, again)
    answers = {task.label: answer_of(task, chosen.get(task.label)) for task in evidence.tasks}
    everywhere = {label: runs for label, runs in found.items() if all(len(r) for r in runs)}
    profiles = {label: performance_profile(r, THRESHOLDS) for label, r in everywhere.items()}
    return Findings(
        evidence,
        protocol,
        verdict(evidence, protocol, found),
        tuple(tables),
        found,
        profiles,
        importances,
        chosen,
        {label: answer for label, answer in answers.items() if answer is not None},
    )


# ---- scores


def _scale(task: TaskEvidence) -> dict[str, Any]:
    """Return the rewards that score 0 and 1 on a task, and where they are from."""
    if task.known is not None:
        built = task.known.rewards[task.known.is_feasible]
        average, source = float(built.mean()), f"all {len(built):,} designs that can be built"
        return {
            "average": average,
            "average_from": source,
            "best": task.known.reward,
            "best_from": "proven optimum",
        }
    drawn = [run.reward[np.isfinite(run.reward)] for run in task.runs if run.agent == "random"]
    pooled = np.concatenate(drawn) if drawn else np.empty(0)
    best = task.best
    top = -math.inf if best is None else float(best[0].reward[best[1]])
    if len(pooled):
        average, source = float(pooled.mean()), f"{len(pooled):,} evaluations of random search"
    else:
        # Without random designs, the default one stands in: its reward is 0 by construction.
        average, source = 0.0, f"{DEFAULT_ZERO}, since no random search was run"
    return {
        "average": average,
        "average_from": source,
        "best": top,
        "best_from": "best known, not proven",
    }


def _scores(evidence: Evidence, protocol: Protocol) -> dict[str, tuple[np.ndarray, ...]]:
    labels = dict.fromkeys(label for task in evidence.tasks for label in task.labels)
    found: dict[str, list[np.ndarray]] = {label: [] for label in labels}
    for task in evidence.tasks:
        scale = protocol.tasks[task.recipe["digest"]]
        for label in labels:
            rewards = np.array([run.at(protocol.budget) for run in task.of(label)])
            rewards = rewards[~np.isnan(rewards)]
            if scale["best"] > scale["average"] and len(rewards):
                found[label].append(scores(rewards, scale["average"], scale["best"]))
            else:
                found[label].append(np.empty(0))
    return {label: tuple(runs) for label, runs in found.items()}


def _score_table(
    evidence: Evidence, found: Mapping[str, tuple[np.ndarray, ...]], protocol: Protocol
) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for label, runs in found.items():
        own = [task for task in runs if len(task)]
        if not own:
            rows.append((label, 0, *(None,) * 6))
            continue
        iqm, gap = (protocol.bootstrap(name, own) for name in ("iqm", "gap"))
        n = sum(map(len, own))
        # Single runs do not tell how much runs differ.
        ends = (iqm.low, iqm.high, gap.low, gap.high) if max(map(len, own)) > 1 else (None,) * 4
        rows.append((label, n, iqm.value, *ends[:2], gap.value, *ends[2:]))
    rows.sort(key=lambda row: row[2] if isinstance(row[2], float) else -math.inf, reverse=True)
    columns = ("agent", "runs", "IQM score", "low", "high", "optimality gap", "gap low", "gap high")
    note = (
        f"Score after {protocol.budget:,} evaluations: 0 is {zero_text(protocol)}, 1 the best. "
        "IQM: interquartile mean over runs of all tasks; low and high: "
        f"{100 * protocol.level:g} % stratified bootstrap interval, {protocol.resamples:,} "
        "resamples of runs within tasks. Scores end at -1."
    )
    if any(run.is_draw for task in evidence.tasks for run in task.runs):
        note += (
            f" Agents with {MANY_DRAWS} or more settings besides their defaults are compared by "
            "those alone, or by their first setting where those were not run."
        )
    return Table("scores", "Scores", columns, tuple(rows), note, 3)


def zero_text(protocol: Protocol) -> str:
    """Return the meaning of score 0 in words, as the tasks have it."""
    is_random = [is_random_zero(scale) for scale in protocol.tasks.values()]
    if all(is_random):
        return "an average random design"
    if not any(is_random):
        return f"{DEFAULT_ZERO} (no random search was run)"
    return f"an average random design, or {DEFAULT_ZERO} where no random search was run"


def _improvement(found: Mapping[str, tuple[np.ndarray, ...]], protocol: Protocol) -> list[Table]:
    rows = []
    for a in found:
        for b in found:
            ours, theirs = shared_tasks(found, a, b)
            if a != b and ours:
                p = protocol.bootstrap("improvement", ours, theirs)
                rows.append((a, b, p.value, p.low, p.high, improvement_p_value(ours, theirs)))
    if not rows:
        return []
    note = (
        "Chance that a run of the first agent beats one of the second on a task drawn at random, "
        "ties by half. p-values are those of the permutation test within tasks, not corrected for "
        f"the number of pairs. Bold where the interval leaves 1/2 out and p is at most {SURE_P:g}."
    )
    columns = ("agent", "beats", "probability", "low", "high", "p-value")
    return [Table("improvement", "Probability of improvement", columns, tuple(rows), note, 3)]


# ---- a task's tables


def _task_tables(task: TaskEvidence, protocol: Protocol, shares: Importance | None) -> list[Table]:
    tables = [
        _best_designs(task),
        _metrics(task),
        _budgets(task, protocol),
        _within(task, protocol),
    ]
    if len(task.objective.terms) > 1 and not task.objective.is_published_form:
        tables.append(_fronts(task, protocol))
    tables.append(_random_improvement(task, protocol))
    rows = tuple(health(task, shares))
    tables.append(Table(f"health {task.label}", "Health checks", ("check", "finding"), rows))
    return [table for table in tables if table.rows]


def _text(value: Any) -> Cell:
    return value if isinstance(value, int | float | str) else str(value)


def _shown_designs(task: TaskEvidence) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Return title, indices and metrics of the designs that tables compare."""
    shown = [("default", task.space.default_indices, task.reference)]
    best = task.best
    if best is not None:
        run, row = best
        shown.insert(0, ("best found", run.indices[row], run.values[row]))
    if task.known is not None:
        number = task.known.numbers[[task.known.best_row]]
        values = [task.known.average(spec.name)[task.known.best_row] for spec in task.metrics]
        shown.append(("optimum", task.space.unflat(number)[0], np.array(values)))
    return shown


def _best_designs(task: TaskEvidence) -> Table:
    shown = _shown_designs(task)
    designs = [task.space.design_at(np.asarray(indices, np.int64)) for _, indices, _ in shown]
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (name, task.space.parameter(name).unit, *(_text(design[name]) for design in designs))
        for name in task.space.names
    )
    columns = ("parameter", "unit", *(title for title, _, _ in shown))
    return Table(f"design {task.label}", "Best design, parameter by parameter", columns, rows)


def _metrics(task: TaskEvidence) -> Table:
    shown = _shown_designs(task)
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (spec.name, spec.unit, *(float(values[place]) for _, _, values in shown))
        for place, spec in enumerate(task.metrics)
    )
    columns = ("metric", "unit", *(title for title, _, _ in shown))
    return Table(f"metrics {task.label}", "Best design, metric by metric", columns, rows)


def _budgets(task: TaskEvidence, protocol: Protocol) -> Table:
    budgets = log_spaced(protocol.budget)
    rows: list[tuple[Cell, ...]] = []
    for label in task.labels:
        runs = task.of(label)
        rows.append((label, len(runs), *(_median([run.at(b) for run in runs]) for b in budgets)))
    if task.known is not None:
        from archgym.analysis.random_search import random_curve

        fitting = [b for b in budgets if b <= len(task.known.rewards)]
        curve = random_curve(task.known.rewards, fitting)
        means = [float(v) for v in curve.expected]
        missing = [None] * (len(budgets) - len(fitting))
        rows.append(("random search, exact mean", None, *means, *missing))
    columns = ("agent", "runs", *(f"{budget:,}" for budget in budgets))
    note = "Median over the runs of the best reward so far, after a number of evaluations."
    title = "Best reward at budgets"
    return Table(f"budgets {task.label}", title, columns, tuple(rows), note, 4)


def _median(values: Sequence[float]) -> float | None:
    known = [value for value in values if not math.isnan(value)]
    middle = float(np.median(known)) if known else math.nan
    return middle if math.isfinite(middle) else None


def _within(task: TaskEvidence, protocol: Protocol) -> Table:
    top = protocol.tasks[task.recipe["digest"]]["best"]
    rows: list[tuple[Cell, ...]] = []
    for label in task.labels if math.isfinite(top) else ():
        for percent in protocol.within_percent:
            # Rounding must not lose the best design itself.
            goal = top - math.log1p(percent / 100) - 1e-12
            times, arrived = [], []
            for run in task.of(label):
                hits = np.flatnonzero(run.reward >= goal)
                arrived.append(bool(len(hits)))
                times.append(float(hits[0] + 1) if len(hits) else float(len(run.reward)))
            if times:
                median = kaplan_meier(times, arrived).median
                shown = median if math.isfinite(median) else "not reached by half"
                rows.append((label, percent, shown, sum(arrived), len(arrived)))
    columns = ("agent", "within [%]", "median evaluations", "reached", "runs")
    note = (
        "Evaluations until a design whose reward is within log(1 + x %) of the best, x % in the "
        "metric that is sought. Runs that never were there count until their end, as censored: "
        "the median is Kaplan and Meier's."
    )
    return Table(f"within {task.label}", "Evaluations to a good design", columns, tuple(rows), note)


def found_front(runs: Sequence[RunEvidence]) -> np.ndarray:
    """Return terms of the designs of some runs that none of theirs beats, (m, n_terms)."""
    terms = np.concatenate([run.terms[run.front_rows] for run in runs])
    return np.asarray(terms[undominated(terms)])


def _fronts(task: TaskEvidence, protocol: Protocol) -> Table:
    exact = found_front(task.runs) if task.known is None else task.known.front_terms()
    against = "the front of all runs together" if task.known is None else "the exact front"
    rows: list[tuple[Cell, ...]] = []
    for label in task.labels:
        found = []
        for run in task.of(label):
            own = found_front([run])
            volume = quick_hypervolume(own, task.corner) if len(own) else None
            volume = math.nan if volume is None else volume
            found.append((volume, adrs(own, exact), igd_plus(own, exact)) if len(exact) else ())
        if found and found[0]:
            rows.append(
                (label, len(found), *(_median(column) for column in zip(*found, strict=True)))
            )
    columns = ("agent", "runs", "hypervolume", "ADRS", "IGD+")
    note = (
        f"Medians over the runs, against {against}. More hypervolume is better, less of the rest."
    )
    return Table(f"front {task.label}", "Pareto fronts", columns, tuple(rows), note)


def random_means(task: TaskEvidence) -> dict[str, tuple[float, int]]:
    """Return the mean over random designs of each metric with a goal, and their number.

    Over all designs that can be built where there is a table, else over the evaluations of runs of
    agent `random`; empty without either.
    """
    found = {}
    for term in task.objective.terms:
        if term.goal not in ("minimise", "maximise"):
            continue
        if task.known is not None:
            column = task.known.average(term.metric)[task.known.is_feasible]
        else:
            place = [spec.name for spec in task.metrics].index(term.metric)
            drawn = [
                r.values[np.isfinite(r.reward), place] for r in task.runs if r.agent == "random"
            ]
            column = np.concatenate(drawn) if drawn else np.empty(0)
        if len(column):
            found[term.metric] = float(column.mean()), len(column)
    return found


def _random_improvement(task: TaskEvidence, protocol: Protocol) -> Table:
    terms, means = task.objective.terms, random_means(task)
    if len(terms) != 1 or not means:
        return Table(f"relative {task.label}", "", (), ())
    metric, is_minimised = terms[0].metric, terms[0].goal == "minimise"
    place = [spec.name for spec in task.metrics].index(metric)
    average, n = means[metric]
    rows: list[tuple[Cell, ...]] = []
    for label in task.labels:
        ends = []
        for run in task.of(label):
            row = run.best_row(protocol.budget)
            if row is not None:
                ends.append(relative_improvement(run.values[row, place], average, is_minimised))
        middle = _median(ends)
        rows.append((label, len(ends), None if middle is None else 100 * middle))
    note = f"Against the mean {metric} of {n:,} random designs, {average:.6g}."
    columns = ("agent", "runs", "median improvement [%]")
    title = "Improvement over an average random design"
    return Table(f"relative {task.label}", title, columns, tuple(rows), note)


def write_csv(findings: Findings, folder: Path) -> list[Path]:
    """Write one file a table into a folder, which is made.

    Raises:
      StorageError: They cannot be written.
    """
    with storage_errors(folder, "written"):
        folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for table in findings.tables:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(map(cell, table.columns))
        writer.writerows([["" if c is None else cell(c) for c in row] for row in table.rows])
        path = folder / (re.sub(r"[^A-Za-z0-9_-]+", "-", table.name) + ".csv")
        write_atomic(path, text.getvalue())
        paths.append(path)
    return paths


def write_json_file(findings: Findings, path: Path) -> None:
    """Write all findings of the report as JSON.

    Raises:
      StorageError: It cannot be written.
    """
    write_atomic(path, json.dumps(plain(findings.to_json()), indent=1, allow_nan=False) + "\n")
