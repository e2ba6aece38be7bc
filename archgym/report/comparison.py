"""Comparison of agents by their studies of one task."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from archgym.errors import InvalidArgumentError

if TYPE_CHECKING:
    from archgym.evaluation.metrics import MetricSpec
    from archgym.studies.snapshot import Outcome, StudyLog

__all__ = ["Comparison", "Standing", "compare"]


@dataclass(frozen=True)
class Standing:
    """One study in a comparison: its best design within the common budget."""

    log: "StudyLog"
    best: "Outcome | None"
    reached_at: int | None
    """Evaluations until the best was found."""
    values: tuple[float, ...]
    """What is searched for, of the best; empty where there is none."""
    hypervolume: float | None = None
    """Of the front; None where there is one term, or where it takes too long."""

    @property
    def reward(self) -> float:
        """The best's, minus infinity where there is none."""
        return float("-inf") if self.best is None else self.best.reward


@dataclass(frozen=True)
class Comparison:
    """Studies, best first, compared after `budget` evaluations each."""

    budget: int
    specs: tuple["MetricSpec", ...]
    """What is searched for."""
    standings: tuple[Standing, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON."""
        first = self.standings[0]
        return {
            "task": first.log.task_id,
            "budget": self.budget,
            "metrics": {spec.name: spec.unit for spec in self.specs},
            "studies": [
                {
                    "folder": str(s.log.folder),
                    "agent": s.log.header.agent,
                    "seed": s.log.header.seed,
                    "status": s.log.status,
                    **s.log.counts(),
                    "damage": [str(damage) for damage in s.log.damage],
                    "missing": [list(gap) for gap in s.log.gaps],
                    "reached_at": s.reached_at,
                    "best": None if s.best is None else s.best.to_json(),
                    "hypervolume": s.hypervolume,
                }
                for s in self.standings
            ],
            "overall_best": None if first.best is None else str(first.log.folder),
        }


def compare(logs: Sequence["StudyLog"]) -> Comparison:
    """Return studies of one task, best first, after as many evaluations as all of them have.

    Raises:
      InvalidArgumentError: They are of different tasks, or one is empty.
    """
    first = logs[0]
    for log in logs[1:]:
        if log.header.task["digest"] != first.header.task["digest"]:
            raise InvalidArgumentError(
                f"Studies must be of one task to be compared; {first.folder} is of "
                f"{first.task_id!r} and {log.folder} of {log.task_id!r}. Show them one by one."
            )
    budget = min(log.evaluations for log in logs)
    if budget == 0:
        empty = next(log.folder for log in logs if log.evaluations == 0)
        raise InvalidArgumentError(
            f"Studies must have evaluations to be compared; {empty} has none. Leave it out."
        )
    sought = [str(term["metric"]) for term in first.header.task["objective"]["terms"]]
    specs = tuple(spec for spec in first.metrics if spec.name in sought)
    standings = [_standing(log, budget, specs) for log in logs]
    # Sorting is stable, so that of equals the first named stays first.
    standings.sort(key=lambda standing: -standing.reward)
    return Comparison(budget, specs, tuple(standings))


def _standing(log: "StudyLog", budget: int, specs: Sequence["MetricSpec"]) -> Standing:
    import numpy as np

    from archgym.studies.front import study_front

    rows = np.flatnonzero(log.is_evaluation)[:budget]
    reward = np.where(log.is_feasible[rows], log.records.reward[rows], -np.inf)
    place = int(np.argmax(reward))
    if not np.isfinite(reward[place]):
        return Standing(log, None, None, ())
    best = log.outcome(int(rows[place]))
    has_front = len(log.header.task["objective"]["terms"]) > 1
    return Standing(
        log,
        best,
        place + 1,
        tuple(best.metrics[spec.name] for spec in specs),
        study_front(log, budget).hypervolume if has_front else None,
    )
