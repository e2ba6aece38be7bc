"""How far studies are from the proven optimum of their task, after equal numbers of evaluations."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archgym.cli.tabulating import BAND, curve_json, curve_label, optimum_value
from archgym.cli.terminal import heading, number, say, table
from archgym.errors import InvalidArgumentError

if TYPE_CHECKING:
    from archgym.studylog import StudyLog
    from archgym.tables import Exhaustive

__all__ = ["Standing", "judge", "proven_json", "read_exhaustive", "write_proven"]


@dataclass(frozen=True)
class Standing:
    """A study after some evaluations, beside the best there is.

    `value` is the metric that is sought, or the reward; `percent` is how far that metric is from
    the optimum's, None where there is no such metric; `n_better` counts designs that are better.
    """

    log: "StudyLog"
    budget: int
    reward: float
    value: float
    percent: float | None
    n_better: int


def read_exhaustive(logs: "Sequence[StudyLog]", path: Path) -> "Exhaustive":
    """All designs of the studies' task, from a table.

    Raises:
      InvalidArgumentError: Studies are of several tasks, or the table is of something else.
      FileFormatError: It is no table, or it is damaged.
    """
    from archgym.tables import Exhaustive
    from archgym.task import Task

    first = logs[0]
    for log in logs[1:]:
        if log.header.task["digest"] != first.header.task["digest"]:
            raise InvalidArgumentError(
                f"Studies must be of one task to be compared with a table; {first.folder} is of "
                f"{first.task_id!r} and {log.folder} of {log.task_id!r}. Show them one by one."
            )
    recipe = {name: part for name, part in first.header.task.items() if name != "stand_in"}
    return Exhaustive(Task.from_json(recipe, stand_in=path))


def judge(
    logs: "Sequence[StudyLog]", known: "Exhaustive", budgets: Sequence[int]
) -> list[Standing]:
    """Studies at each budget that they have reached, budget by budget and best first.

    A study with fewer evaluations than all budgets is judged at its last one.
    """
    import numpy as np

    standings = []
    for log in logs:
        rows = np.flatnonzero(log.is_evaluation)
        reached = [n for n in budgets if n <= len(rows)] or ([len(rows)] if len(rows) else [])
        for n in reached:
            reward = np.where(log.is_feasible[rows[:n]], log.records.reward[rows[:n]], -np.inf)
            best = rows[int(np.argmax(reward))]
            if np.isfinite(reward.max()):
                standings.append(_standing(log, n, int(best), known))
    return sorted(standings, key=lambda standing: (standing.budget, -standing.reward))


def _standing(log: "StudyLog", budget: int, row: int, known: "Exhaustive") -> Standing:
    reward = float(log.records.reward[row])
    if known.sought is None:
        return Standing(log, budget, reward, reward, None, known.n_better(reward))
    place = [spec.name for spec in log.metrics].index(known.sought.name)
    value, best = float(log.average()[row, place]), optimum_value(known)
    percent = abs(value / best - 1) * 100 if best else None
    return Standing(log, budget, reward, value, percent, known.n_better(reward))


def proven_json(standings: Sequence[Standing], known: "Exhaustive") -> dict[str, Any]:
    """The comparison with the optimum as JSON, random search beside it."""
    budgets = sorted({standing.budget for standing in standings})
    return {
        "designs": len(known.rewards),
        "label": curve_label(known),
        "optimum": optimum_value(known),
        "reward": known.reward,
        "ties": known.n_ties,
        "studies": [
            {
                "folder": str(s.log.folder),
                "agent": s.log.header.agent,
                "seed": s.log.header.seed,
                "evaluations": s.budget,
                "reward": s.reward,
                "below": known.reward - s.reward,
                "value": s.value,
                "percent": s.percent,
                "better_designs": s.n_better,
            }
            for s in standings
        ],
        "random": curve_json(known.random_curve(budgets, BAND)) if budgets else None,
    }


def write_proven(standings: Sequence[Standing], known: "Exhaustive") -> None:
    """Writes how far each study is from the optimum, random search beside it."""
    from archgym.cli.showing import who

    total = len(known.rewards)
    best = optimum_value(known)
    heading(f"Distance from the proven optimum of {total:,} designs")
    say(
        f"The optimum is {number(best)} in {curve_label(known)}, reward {known.reward:.4f}, "
        f"{'one design' if known.n_ties == 1 else f'{known.n_ties:,} designs'}; random search is "
        "as expected, with its 5th to 95th percentile of reward."
    )
    say()
    columns = ("evaluations", "by", curve_label(known), "off", "reward below", "better designs")
    rows = []
    budgets = sorted({standing.budget for standing in standings})
    if budgets:
        curve = known.random_curve(budgets, BAND)
    for place, budget in enumerate(budgets):
        for s in standings:
            if s.budget == budget:
                off = "–" if s.percent is None else f"{s.percent:.3g} %"
                below = f"{known.reward - s.reward:.4f}"
                rows.append(
                    (f"{budget:,}", who(s.log), number(s.value), off, below, f"{s.n_better:,}")
                )
        mean = float(curve.expected[place])
        low, high = (float(curve.quantiles[share][place]) for share in (BAND[0], BAND[-1]))
        off = f"{abs(mean / best - 1) * 100:.3g} %" if known.sought is not None and best else "–"
        band = f"{number(mean)} ({number(low)} to {number(high)})"
        rows.append((f"{budget:,}", "random search", band, off, "", ""))
    table(columns, rows, right=("evaluations", "off", "reward below", "better designs"))
