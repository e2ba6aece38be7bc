"""Summary of studies: one study in detail, or several compared, as one value object.

The command line renders the summary as text; `to_json` is the same as JSON.

Example:
    summary = summarise([Path("studies/genetic-0"), Path("studies/random-0")])
    summary.comparison.studies[0].reward
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from archgym.errors import InvalidArgumentError
from archgym.report.comparison import Comparison, TopDesign, compare, require_one_task, top
from archgym.report.curves import BestCurve, best_so_far
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

    from archgym.evaluation.objective import Objective
    from archgym.studies.snapshot import Outcome, StudyLog


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
            best_evaluation=None if best is None else log.evaluation_number(best.seq),
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
            "segments": [vars(segment) for segment in self.segments],
            "damage": [str(damage) for damage in log.damage],
            "missing": [list(gap) for gap in log.gaps],
            "units": {spec.name: spec.unit for spec in log.metrics},
            "best": None if self.best is None else self.best.to_json(),
            "limits": [str(limit) for limit in log.limits],
            "missed_limits": None if self.best is None else log.missed(self.best),
            "default": {
                "design": dict(log.space.design_at(log.space.default_indices)),
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
    require_one_task(logs)
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
