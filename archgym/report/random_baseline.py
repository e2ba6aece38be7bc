"""Improvement of the sought metrics over those of an average random design."""

import math

import numpy as np

from archgym.report.evidence import RunEvidence, TaskEvidence


def random_means(task: TaskEvidence) -> dict[str, tuple[float, int]]:
    """By metric that is minimised or maximised, its mean over random designs, and their number.

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


def log_ratio(
    task: TaskEvidence, run: RunEvidence, budget: int, means: dict[str, tuple[float, int]]
) -> float:
    """Return logarithm of how many times better a run's best design is than an average random one.

    The mean over the terms that `means` has, by weight; NaN where nothing was built in time, or a
    metric is not above 0.
    """
    row = run.best_row(budget)
    if row is None or not means:
        return math.nan
    names = [spec.name for spec in task.metrics]
    total = weights = 0.0
    for term in task.objective.terms:
        if term.metric not in means:
            continue
        value, (average, _) = float(run.values[row, names.index(term.metric)]), means[term.metric]
        if not (value > 0 and average > 0):
            return math.nan
        gain = math.log(average / value)
        total += term.weight * (gain if term.goal == "minimise" else -gain)
        weights += term.weight
    return total / weights
