"""How much of an agent's scores is luck with its hyperparameters."""

import math

import numpy as np

from archgym.report.evidence import Evidence
from archgym.report.protocol import Protocol
from archgym.statistics import expected_best_of, scores, variance_split

__all__ = ["COLUMNS", "NOTE", "draws", "lottery_rows"]

COLUMNS = (
    *("agent", "draws", "tasks", "seeds", "P90 - P10", "best draw", "median draw", "worst draw"),
    *("hyperparameters [%]", "task [%]", "draw x task [%]", "seed [%]"),
    *("best of 1", "best of 4", "best of 16"),
)
NOTE = (
    "Agents that were run with several hyperparameter settings. A draw's score is the mean over "
    "tasks and seeds; the shares split the variance of all scores; best of k: the expected score "
    "of the best of k draws. Draws, tasks and seeds are those that every draw has."
)

Cell = str | float | int | None


def draws(evidence: Evidence, protocol: Protocol) -> dict[str, np.ndarray]:
    """Scores of agents with several settings, (n_draws, n_tasks, n_seeds), complete ones alone."""
    cells: dict[str, dict[str, dict[tuple[str, int | None], float]]] = {}
    for task in evidence.tasks:
        scale = protocol.tasks[task.recipe["digest"]]
        if not scale["best"] > scale["average"]:
            continue
        for run in task.runs:
            reward = run.at(protocol.budget) if len(run.reward) else math.nan
            if not math.isnan(reward):
                score = scores(np.array([reward]), scale["average"], scale["best"])
                place = (task.recipe["digest"], run.seed)
                own = cells.setdefault(run.agent, {}).setdefault(run.hyperparameters, {})
                own.setdefault(place, float(score[0]))
    found = {}
    for agent, by_draw in cells.items():
        shared = set.intersection(*(set(own) for own in by_draw.values()))
        tasks = sorted({task for task, _ in shared})
        seeds = sorted({s for _, s in shared if s is not None})
        seeds = [s for s in seeds if all((task, s) in shared for task in tasks)]
        if len(by_draw) > 1 and tasks and seeds:
            found[agent] = np.array(
                [[[own[task, s] for s in seeds] for task in tasks] for own in by_draw.values()]
            )
    return found


def lottery_rows(evidence: Evidence, protocol: Protocol) -> list[tuple[Cell, ...]]:
    """Rows of the table, one an agent."""
    rows: list[tuple[Cell, ...]] = []
    for agent, table in draws(evidence, protocol).items():
        means = table.mean(axis=(1, 2))
        high, low = np.quantile(means, [0.9, 0.1])
        split = variance_split(table)
        shares = (split.hyperparameters, split.task, split.interaction, split.seed)
        rows.append(
            (
                agent,
                *table.shape,
                float(high - low),
                float(means.max()),
                float(np.median(means)),
                float(means.min()),
                *(None if math.isnan(share) else 100 * share for share in shares),
                *(expected_best_of(means, k) if k <= len(means) else None for k in (1, 4, 16)),
            )
        )
    return rows
