"""Pareto front of a study whose objective has several terms."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from archgym.analysis.pareto import front, quick_hypervolume
from archgym.errors import InvalidArgumentError, check_known
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective, Term, objective_from_json, reference_point
from archgym.studies.snapshot import StudyLog

# chosen: as many points as fit on a screen.
_MAX_NUMBERED: Final = 20


def sought(log: StudyLog, objective: Objective) -> list[MetricSpec]:
    """Return metrics of an objective's terms, in their order, each once."""
    known = {spec.name: spec for spec in log.metrics}
    return [known[name] for name in dict.fromkeys(term.metric for term in objective.terms)]


@final
@dataclass(frozen=True)
class StudyFront:
    """Designs of a study that no other one beats in every term of the objective.

    Designs with equal terms are one point, represented by the first of them. Points are in the
    order of their first term, best first.
    """

    objective: Objective
    rows: np.ndarray
    """(m,), rows of the study's records."""
    n_alike: np.ndarray
    """(m,), number of designs with these terms."""
    terms: np.ndarray
    """(m, n_terms), values of the terms, larger is better."""
    values: np.ndarray
    """(m, n_metrics), metrics averaged over the workloads by weight."""
    reference_point: np.ndarray
    """(n_terms,), the worst corner of the hypervolume."""
    hypervolume: float | None
    """Volume between that corner and the front; None if it would take over 10 s."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def numbered(self) -> np.ndarray:
        """Points that have a number in tables and pictures, at most 20, evenly spread."""
        n = len(self)
        return np.unique(np.linspace(0, n - 1, min(n, _MAX_NUMBERED)).round().astype(int))


def study_objective(log: StudyLog) -> Objective:
    """Return the objective of a study's task."""
    return objective_from_json(log.header.task["objective"])


def metrics_objective(log: StudyLog, names: Sequence[str]) -> Objective:
    """Return an objective over metrics of a study, with the study's limits.

    Args:
      log: The study.
      names: Two metrics or more.

    Raises:
      UnknownNameError: There is no such metric.
      InvalidArgumentError: There are fewer than two, duplicates, or one without a goal.
    """
    known = {spec.name: spec for spec in log.metrics}
    check_known("metric", names, known)
    if len(names) < 2 or len(set(names)) < len(names):
        raise InvalidArgumentError(
            f"A front needs two metrics or more, each once; got {', '.join(names)}."
        )
    terms = []
    for name in names:
        goal = known[name].goal
        if goal == "none":
            raise InvalidArgumentError(
                f"A front needs metrics of which less or more is better; `{name}` is not one."
            )
        terms.append(Term(name, goal))
    return Objective(", ".join(names), tuple(terms), limits=study_objective(log).limits)


def study_front(
    log: StudyLog, budget: int | None = None, objective: Objective | None = None
) -> StudyFront:
    """Return the front of a study's feasible designs.

    Args:
      log: The study.
      budget: Number of its first evaluations; all by default.
      objective: Objective with the terms to trade off; the study's own by default.
    """
    objective = objective or study_objective(log)
    rows = np.flatnonzero(log.is_evaluation)[:budget]
    rows = rows[log.is_feasible[rows]]
    records = log.records
    terms = objective.weighted_terms(
        records.values[rows], records.reason[rows], log.reference, log.metrics, log.weights
    )
    is_best = front(terms)
    rows, terms = rows[is_best], terms[is_best]
    terms, first, n_alike = np.unique(terms, axis=0, return_index=True, return_counts=True)
    rows, terms, n_alike = rows[first][::-1], terms[::-1], n_alike[::-1]
    corner = reference_point(objective, log.reference, log.metrics, log.weights)
    return StudyFront(
        objective=objective,
        rows=rows,
        n_alike=n_alike,
        terms=terms,
        values=np.einsum("nwm,w->nm", records.values[rows], log.weights),
        reference_point=corner,
        hypervolume=quick_hypervolume(terms, corner),
    )
