"""Summary of studies: one study in detail, or several compared, as one value object.

The command line renders the summary as text; `to_json` is the same as JSON.

Example:
    summary = summarise([Path("studies/genetic-0"), Path("studies/random-0")])
    summary.comparison.studies[0].reward
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from archgym.errors import InvalidArgumentError
from archgym.studies.front import (
    StudyFront,
    metrics_objective,
    sought,
    study_front,
    study_objective,
)
from archgym.studies.snapshot import read_study

if TYPE_CHECKING:
    import numpy as np

    from archgym.evaluation.metrics import MetricSpec
    from archgym.evaluation.objective import Objective
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
    reward: float = float("-inf")
    """Reward of the best design by the task of the first study that was named; minus infinity
    without one."""


@dataclass(frozen=True)
class Comparison:
    """Studies of the same workloads and objective, best first, after `budget` evaluations each."""

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
                    "reward": None if s.best is None else s.reward,
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
    """Compare studies at the number of evaluations that all of them have.

    Their tasks may differ in devices, other options and spaces. Rewards are then relative to the
    default design of the first study.

    Raises:
      InvalidArgumentError: The studies have other simulators, workloads, objectives or units of
        metrics, or one is empty.
    """
    by_asked = {repr(_asked(log)): log for log in reversed(logs)}
    if len(by_asked) > 1:
        require_one_task(tuple(by_asked.values()))
    for log in logs:
        if not log.evaluations:
            raise InvalidArgumentError(
                f"Studies must have evaluations to be compared; {log.folder} has none. Omit it."
            )
    first, budget = logs[0], min(log.evaluations for log in logs)
    sought = [str(term["metric"]) for term in first.header.task["objective"]["terms"]]
    specs = tuple(spec for spec in first.metrics if spec.name in sought)
    studies = [_ranked(log, first, budget, specs) for log in logs]
    # Sorting is stable: of equal studies, the first named stays first.
    studies.sort(key=lambda study: -study.reward)
    return Comparison(budget, specs, tuple(studies))


def _asked(log: "StudyLog") -> tuple[Any, ...]:
    """Return what studies must share to be compared."""
    task, objective = log.header.task, study_objective(log)
    workloads = [(each["digest"], each["weight"]) for each in task["workloads"]]
    units = [(spec.name, spec.unit) for spec in log.metrics if spec.name in objective.metrics]
    return task["simulator"], workloads, objective.terms, objective.limits, sorted(units)


def _rewards(log: "StudyLog", first: "StudyLog", rows: "np.ndarray") -> "np.ndarray":
    """Return rewards of rows of a study by the task of another one, (n_rows,)."""
    records = log.records.rows(rows)
    if log.header.task["digest"] == first.header.task["digest"]:
        return records.reward
    objective = study_objective(first)
    specs = [spec for spec in first.metrics if spec.name in objective.metrics]
    ours, theirs = (
        [[each.name for each in of.metrics].index(spec.name) for spec in specs]
        for of in (log, first)
    )
    reference = first.reference[:, theirs]
    values = records.values[:, :, ours]
    return objective.rewards(values, records.reason, reference, specs, first.weights)


def _ranked(
    log: "StudyLog", named_first: "StudyLog", budget: int, specs: Sequence["MetricSpec"]
) -> RankedStudy:
    import numpy as np

    from archgym.studies.front import study_front

    rows = np.flatnonzero(log.is_evaluation)[:budget]
    reward = np.where(log.is_feasible[rows], _rewards(log, named_first, rows), -np.inf)
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
        float(reward[first]),
    )


# chosen: the first evaluations are often so bad that they would hide the rest of a curve.
_SETTLED_SHARE = 0.05


@dataclass(frozen=True)
class BestCurve:
    """Best value after each evaluation.

    `values` is (evaluations,), NaN before the first design that meets all limits. `default` is the
    value of the default design; None for a reward that is not relative to it.
    """

    label: str
    values: "np.ndarray"
    default: float | None
    missed: "np.ndarray"
    """(evaluations,), True for designs that cannot be built, failed, or miss a limit."""

    @property
    def first_met(self) -> int | None:
        """Number of the first evaluation whose design meets all limits; None if none does."""
        met = (~self.missed).nonzero()[0]
        return int(met[0]) + 1 if len(met) else None


def best_label(sought: "MetricSpec | None") -> str:
    """Return the label of a best-so-far axis: the metric of the objective, or the reward."""
    if sought is None:
        return "Best reward so far"
    return f"{sought.name} of the best design so far" + (f" [{sought.unit}]" if sought.unit else "")


def best_so_far(log: "StudyLog") -> BestCurve:
    """Return the best-so-far curve of the objective's metric, or of the reward for several."""
    import numpy as np

    evaluated = log.is_evaluation
    meets = (log.is_feasible & log.meets_limits)[evaluated]
    reward = np.where(meets, log.records.reward[evaluated], -np.inf)
    if not len(reward):
        return BestCurve(best_label(None), np.empty(0), None, ~meets)
    best = np.maximum.accumulate(reward)
    # The row where each running best was first reached.
    rises = np.append(True, best[1:] > best[:-1])
    rows = np.maximum.accumulate(np.where(rises, np.arange(len(reward)), 0))
    terms: list[dict[str, Any]] = log.header.task["objective"]["terms"]
    if len(terms) == 1 and terms[0]["goal"] in ("minimise", "maximise"):
        names = [spec.name for spec in log.metrics]
        column = names.index(terms[0]["metric"])
        spec = log.metrics[column]
        values = log.average()[evaluated][rows, column]
        default = float((log.weights @ log.reference)[column])
        values = np.where(np.isfinite(best), values, np.nan)
        return BestCurve(best_label(spec), values, default, ~meets)
    relative = all(term["target"] is None for term in terms)
    values = np.where(np.isfinite(best), best, np.nan)
    return BestCurve(best_label(None), values, 0.0 if relative else None, ~meets)


def span(values: "np.ndarray") -> tuple[float, float]:
    """Return the smallest and largest value of a curve after its first 5 %."""
    import numpy as np

    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    settled = finite[min(len(finite) - 1, math.ceil(_SETTLED_SHARE * len(values))) :]
    return float(settled.min()), float(settled.max())


@final
@dataclass(frozen=True)
class Segment:
    """Part of a study between two restarts of an agent that cannot be replayed."""

    first_seq: int
    seed: int | None


@final
@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """Facts about one study: counts, best design, default design, front and curve."""

    log: "StudyLog"
    segments: tuple[Segment, ...]
    best: "Outcome | None"
    best_evaluation: int | None
    """Number of evaluations until the best design was found, counted from 1."""
    default_metrics: "np.ndarray"
    """(n_metrics,), metrics of the default design, averaged over workloads by weight."""
    front: StudyFront | None
    """Pareto front; None for an objective with one term."""
    curve: BestCurve

    @classmethod
    def read(cls, log: "StudyLog", objective: "Objective | None" = None) -> "StudySummary":
        """Summarise a study.

        Args:
          log: The study.
          objective: Objective whose terms span the front (default: that of the study).
        """
        best = log.best()
        has_front = len((objective or study_objective(log)).terms) > 1
        return cls(
            log=log,
            segments=tuple(
                Segment(segment.first_seq, segment.seed)
                for segment in log.header.segments
                # A last segment without asks has not begun yet.
                if segment.first_seq < max(1, log.asks)
            ),
            best=best,
            best_evaluation=None if best is None else best.evaluation,
            default_metrics=log.weights @ log.reference,
            front=study_front(log, objective=objective) if has_front else None,
            curve=best_so_far(log),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON."""
        log, header = self.log, self.log.header
        names = [spec.name for spec in log.metrics]
        return {
            "folder": str(log.folder),
            "task": log.task_id,
            "kind": header.kind,
            "agent": header.agent,
            "seed": header.seed,
            "hyperparameters": header.hyperparameters,
            "status": log.status,
            "budget": header.budget,
            "max_asks": header.ask_limit,
            **log.counts(),
            "failures": [vars(each) for each in log.failures()],
            "segments": [vars(segment) for segment in self.segments],
            "damage": [str(damage) for damage in log.damage],
            "missing": [list(gap) for gap in log.gaps],
            "units": {spec.name: spec.unit for spec in log.metrics},
            "best": None if self.best is None else self.best.to_json(),
            "limits": [str(limit) for limit in log.limits],
            "missed_limits": None if self.best is None else log.missed(self.best),
            "default": {
                "design": dict(log.space.default),
                "metrics": dict(zip(names, self.default_metrics.tolist(), strict=True)),
            },
            "front": None if self.front is None else front_json(log, self.front),
            "curve": {"label": self.curve.label, "values": self.curve.values},
        }


@final
@dataclass(frozen=True, kw_only=True)
class StudiesSummary:
    """Summary of one study or comparison of several."""

    logs: tuple["StudyLog", ...]
    objective: "Objective"
    """Objective whose terms span the fronts."""
    study: StudySummary | None
    """Summary of the only study; None for several."""
    comparison: Comparison | None
    """Comparison of several studies of one task."""
    top: tuple[TopDesign, ...]
    """Best designs; empty unless asked for."""

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON."""
        part = self.study or self.comparison
        data = {} if part is None else part.to_json()
        if self.top:
            data["top"] = [design.to_json() for design in self.top]
        return data


def summarise(
    folders: Sequence[Path],
    *,
    front_metrics: Sequence[str] | None = None,
    n_top: int = 0,
) -> StudiesSummary:
    """Summarise one study, or compare several of one task.

    Args:
      folders: Folders of studies.
      front_metrics: Metrics that the Pareto front spans (default: those of the objective).
      n_top: Number of best designs to return.

    Raises:
      InvalidArgumentError: A study is named twice, or the studies cannot be compared.
      UnknownNameError: A metric does not exist.
      FileFormatError: A file is damaged.
    """
    if len({folder.absolute() for folder in folders}) != len(folders):
        raise InvalidArgumentError("`STUDIES` must name each study once; one came twice.")
    logs = tuple(read_study(folder) for folder in folders)
    objective = (
        study_objective(logs[0])
        if front_metrics is None
        else metrics_objective(logs[0], front_metrics)
    )
    chosen = None if front_metrics is None else objective
    return StudiesSummary(
        logs=logs,
        objective=objective,
        study=StudySummary.read(logs[0], chosen) if len(logs) == 1 else None,
        comparison=compare(logs) if len(logs) > 1 else None,
        top=top(logs, n_top) if n_top else (),
    )


def front_json(log: "StudyLog", front: StudyFront) -> dict[str, Any]:
    """Return the Pareto front of a study as JSON."""
    ordinals = log.is_evaluation.cumsum()
    names = [spec.name for spec in log.metrics]
    columns = {spec.name: names.index(spec.name) for spec in sought(log, front.objective)}
    designs = log.space.designs(log.records.indices[front.rows])
    return {
        "reference_point": front.reference_point,
        "hypervolume": front.hypervolume,
        "points": [
            {
                "seq": int(log.records.seq[row]),
                "evaluation": int(ordinals[row]),
                "designs": int(n_alike),
                "terms": terms,
                "metrics": {name: float(values[column]) for name, column in columns.items()},
                "design": dict(design),
            }
            for row, n_alike, terms, values, design in zip(
                front.rows, front.n_alike, front.terms, front.values, designs, strict=True
            )
        ],
    }
