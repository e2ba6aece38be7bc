"""Comparison of agents by their studies of one task."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from archgym.errors import InvalidArgumentError

if TYPE_CHECKING:
    from archgym.evaluation.metrics import MetricSpec
    from archgym.studies.snapshot import Outcome, StudyLog


@dataclass(frozen=True)
class RankedStudy:
    """Best design of one study within the common budget."""

    log: "StudyLog"
    best: "Outcome | None"
    reached_at: int | None
    """Number of evaluations until the best design was found."""
    values: tuple[float, ...]
    """Metrics of the objective, of the best design; empty without a best design."""
    hypervolume: float | None = None
    """Hypervolume of the front; None for an objective with one term."""

    @property
    def reward(self) -> float:
        """Reward of the best design; minus infinity without one."""
        return float("-inf") if self.best is None else self.best.reward


@dataclass(frozen=True)
class Comparison:
    """Studies of one task, best first, compared after `budget` evaluations each."""

    budget: int
    specs: tuple["MetricSpec", ...]
    """Metrics of the objective."""
    studies: tuple[RankedStudy, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON."""
        first = self.studies[0]
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
                for s in self.studies
            ],
            "overall_best": None if first.best is None else str(first.log.folder),
        }


@dataclass(frozen=True)
class TopDesign:
    """One of the best designs of studies."""

    log: "StudyLog"
    outcome: "Outcome"
    evaluation: int
    """Number of evaluations until it was found, counted from 1."""

    def to_json(self) -> dict[str, Any]:
        """Return the design as JSON."""
        study = {"folder": str(self.log.folder), "evaluation": self.evaluation}
        return study | self.outcome.to_json()


def top(logs: Sequence["StudyLog"], k: int) -> tuple[TopDesign, ...]:
    """Return the k best designs of studies of one task, each design once.

    Raises:
      InvalidArgumentError: The studies have different tasks.
    """
    import numpy as np

    require_one_task(logs)
    found: list[TopDesign] = []
    for log in logs:
        rows = np.flatnonzero(log.is_feasible)
        rows = rows[np.argsort(-log.records.reward[rows], kind="stable")]
        _, first = np.unique(log.records.indices[rows], axis=0, return_index=True)
        ordinals = log.is_evaluation.cumsum()
        for row in rows[np.sort(first)[:k]].tolist():
            found.append(TopDesign(log, log.outcome(row), int(ordinals[row])))
    found.sort(key=lambda each: -each.outcome.reward)
    kept: dict[tuple[Any, ...], TopDesign] = {}
    for each in found:
        kept.setdefault(tuple(each.outcome.design.values()), each)
    return tuple(kept.values())[:k]


def require_one_task(logs: Sequence["StudyLog"]) -> None:
    """Raise if studies have different tasks.

    Raises:
      InvalidArgumentError: Two studies have different tasks.
    """
    first = logs[0]
    for log in logs[1:]:
        if log.header.task["digest"] != first.header.task["digest"]:
            raise InvalidArgumentError(
                f"Studies must be of the same task to be compared; {first.folder} is of "
                f"{first.task_id!r} and {log.folder} of {log.task_id!r}. Show them one by one, or "
                "write an `archgym report` of all."
            )


def compare(logs: Sequence["StudyLog"]) -> Comparison:
    """Compare studies of one task at the number of evaluations that all of them have.

    Raises:
      InvalidArgumentError: The studies have different tasks, or one is empty.
    """
    require_one_task(logs)
    for log in logs:
        if not log.evaluations:
            raise InvalidArgumentError(
                f"Studies must have evaluations to be compared; {log.folder} has none. Omit it."
            )
    first, budget = logs[0], min(log.evaluations for log in logs)
    sought = [str(term["metric"]) for term in first.header.task["objective"]["terms"]]
    specs = tuple(spec for spec in first.metrics if spec.name in sought)
    studies = [_ranked(log, budget, specs) for log in logs]
    # Sorting is stable: of equal studies, the first named stays first.
    studies.sort(key=lambda study: -study.reward)
    return Comparison(budget, specs, tuple(studies))


def _ranked(log: "StudyLog", budget: int, specs: Sequence["MetricSpec"]) -> RankedStudy:
    import numpy as np

    from archgym.studies.front import study_front

    rows = np.flatnonzero(log.is_evaluation)[:budget]
    reward = np.where(log.is_feasible[rows], log.records.reward[rows], -np.inf)
    first = int(np.argmax(reward))
    if not np.isfinite(reward[first]):
        return RankedStudy(log, None, None, ())
    best = log.outcome(int(rows[first]))
    has_front = len(log.header.task["objective"]["terms"]) > 1
    return RankedStudy(
        log,
        best,
        first + 1,
        tuple(best.metrics[spec.name] for spec in specs),
        study_front(log, budget).hypervolume if has_front else None,
    )
