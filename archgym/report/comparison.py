"""Comparison of agents by their studies of one task."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from archgym.errors import InvalidArgumentError

if TYPE_CHECKING:
    import numpy as np

    from archgym.evaluation.metrics import MetricSpec
    from archgym.evaluation.objective import Objective
    from archgym.studies.snapshot import Outcome, StudyLog


# Members of a task that studies with different objectives share.
_SHARED = ("simulator", "version", "options", "fidelity", "space_name", "workloads", "stand_in")


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
class AcrossObjectives:
    """Best designs of studies that search one simulator and workload by different objectives."""

    specs: tuple["MetricSpec", ...]
    """Metrics of all objectives."""
    studies: tuple[RankedStudy, ...]
    """In the given order, each with its whole budget; `values` are the metrics in `specs`."""
    objectives: tuple["Objective", ...]
    """Different objectives of the studies."""
    rewards: "np.ndarray"
    """(n_studies, n_objectives), the reward of each best design by each objective; NaN without."""
    default: tuple[float, ...]
    """Metrics of the default design."""

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON."""
        names = [objective.name for objective in self.objectives]
        return {
            "metrics": {spec.name: spec.unit for spec in self.specs},
            "default": dict(zip((s.name for s in self.specs), self.default, strict=True)),
            "studies": [
                {
                    "folder": str(study.log.folder),
                    "task": study.log.task_id,
                    "objective": study.log.header.task["objective"]["name"],
                    "agent": study.log.header.agent,
                    "seed": study.log.header.seed,
                    "status": study.log.status,
                    **study.log.counts(),
                    "best": None if study.best is None else study.best.to_json(),
                    "rewards": dict(zip(names, row.tolist(), strict=True)),
                }
                for study, row in zip(self.studies, self.rewards, strict=True)
            ],
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


def across(logs: Sequence["StudyLog"]) -> AcrossObjectives:
    """Compare studies of one simulator and workload whose objectives differ.

    Raises:
      InvalidArgumentError: More than the objective differs, or one study is empty.
    """
    import numpy as np

    from archgym.studies.front import study_objective

    first = logs[0]
    for log in logs[1:]:
        differing = [
            name for name in _SHARED if log.header.task.get(name) != first.header.task.get(name)
        ]
        if differing:
            raise InvalidArgumentError(
                f"Studies must be of one simulator and workload to be compared; {first.folder} is "
                f"of {first.task_id!r} and {log.folder} of {log.task_id!r}, which differ in "
                f"{', '.join(differing)}. Show them one by one."
            )
    _require_evaluations(logs)
    objectives = {json.dumps(o.to_json(), sort_keys=True): o for o in map(study_objective, logs)}
    named = {term.metric for o in objectives.values() for term in o.terms}
    named |= {limit.metric for o in objectives.values() for limit in o.limits}
    specs = tuple(spec for spec in first.metrics if spec.name in named)
    studies = tuple(_ranked(log, log.evaluations, specs) for log in logs)
    rewards = np.full((len(logs), len(objectives)), np.nan)
    built = np.zeros((1, len(first.workloads)), dtype=np.int16)
    for row, study in enumerate(studies):
        if study.best is None:
            continue
        names = [spec.name for spec in study.log.metrics]
        by_workload = study.best.metrics_by_workload.values()
        values = np.array([[[own[name] for name in names] for own in by_workload]])
        for column, objective in enumerate(objectives.values()):
            rewards[row, column] = objective.rewards(
                values, built, study.log.reference, study.log.metrics, study.log.weights
            )[0]
    default = dict(
        zip((s.name for s in first.metrics), first.weights @ first.reference, strict=True)
    )
    return AcrossObjectives(
        specs,
        studies,
        tuple(objectives.values()),
        rewards,
        tuple(float(default[spec.name]) for spec in specs),
    )


def is_one_task(logs: Sequence["StudyLog"]) -> bool:
    """Return True if all studies have the same task."""
    return len({log.header.task["digest"] for log in logs}) == 1


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
                f"{first.task_id!r} and {log.folder} of {log.task_id!r}. Show them one by one."
            )


def _require_evaluations(logs: Sequence["StudyLog"]) -> None:
    for log in logs:
        if not log.evaluations:
            raise InvalidArgumentError(
                f"Studies must have evaluations to be compared; {log.folder} has none. Omit it."
            )


def compare(logs: Sequence["StudyLog"]) -> Comparison:
    """Compare studies of one task at the number of evaluations that all of them have.

    Raises:
      InvalidArgumentError: The studies have different tasks, or one is empty.
    """
    require_one_task(logs)
    _require_evaluations(logs)
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
