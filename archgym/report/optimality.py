"""Distance of studies to a proven optimum."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from archgym.errors import InvalidArgumentError

if TYPE_CHECKING:
    from archgym.studies.snapshot import StudyLog
    from archgym.tables import Exhaustive

__all__ = ["Standing", "judge", "read_exhaustive"]


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
    """Return all designs of the studies' task, from a table.

    Raises:
      InvalidArgumentError: Studies are of several tasks, or the table is of something else.
      FileFormatError: It is no table, or it is damaged.
    """
    from archgym.evaluation.task import Task
    from archgym.tables import Exhaustive

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
    """Return studies at each budget that they have reached, budget by budget and best first.

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
    value, best = float(log.average()[row, place]), known.optimum_value
    percent = abs(value / best - 1) * 100 if best else None
    return Standing(log, budget, reward, value, percent, known.n_better(reward))
