"""Studies of one task side by side, at the number of evaluations that all of them have."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from archgym.cli.showing import counts, no_best_text, outcome_json, who, write_best
from archgym.cli.terminal import heading, number, say, table
from archgym.errors import InvalidArgumentError

if TYPE_CHECKING:
    from archgym.metrics import MetricSpec
    from archgym.studylog import Outcome, StudyLog

__all__ = ["Comparison", "Standing", "compare", "write_comparison"]


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
        """The comparison as JSON."""
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
                    **counts(s.log),
                    "damage": [str(damage) for damage in s.log.damage],
                    "missing": [list(gap) for gap in s.log.gaps],
                    "reached_at": s.reached_at,
                    "best": None if s.best is None else outcome_json(s.best),
                    "hypervolume": s.hypervolume,
                }
                for s in self.standings
            ],
            "overall_best": None if first.best is None else str(first.log.folder),
        }


def compare(logs: Sequence["StudyLog"]) -> Comparison:
    """Studies of one task, best first, after as many evaluations as all of them have.

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

    from archgym.front import study_front

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


def write_comparison(comparison: Comparison) -> None:
    """Writes the table, the overall best design, and what it beat."""
    standings = comparison.standings
    first = standings[0]
    say()
    heading(f"{first.log.task_id}: {len(standings)} studies after {comparison.budget} evaluations")
    shown = [f"{s.name} [{s.unit}]" if s.unit != "1" else s.name for s in comparison.specs]
    has_front = any(s.hypervolume is not None for s in standings)
    volume = ("hypervolume",) if has_front else ()
    columns = ("study", "by", *shown, "reward", *volume, "found at", "asks", "infeasible", "failed")
    rows = []
    for standing in standings:
        numbers = counts(standing.log)
        rows.append(
            (
                str(standing.log.folder),
                who(standing.log),
                *([number(v) for v in standing.values] or ["–"] * len(shown)),
                "–" if standing.best is None else f"{standing.reward:.4f}",
                *((_volume_text(standing.hypervolume),) if has_front else ()),
                "–" if standing.reached_at is None else str(standing.reached_at),
                str(numbers["asks"]),
                str(numbers["infeasible"]),
                str(numbers["failed"]),
            )
        )
    table(columns, rows, right=columns[2:])
    for standing in standings:
        report = standing.log.damage_report()
        if report is not None:
            say(report)
    if first.best is None:
        say(no_best_text(first.log))
        return
    write_best(first.log, first.best)
    say(_beaten(comparison))
    say()


def _volume_text(volume: float | None) -> str:
    return "–" if volume is None else f"{volume:.4f}"


def _beaten(comparison: Comparison) -> str:
    first, *others = comparison.standings
    parts = [_margin(comparison, first, other) for other in others]
    return f"{who(first.log)} found it; it beat {'; '.join(parts)}."


def _margin(comparison: Comparison, first: Standing, other: Standing) -> str:
    if other.best is None:
        return f"{who(other.log)}, which found none"
    if other.reward == first.reward:
        return f"{who(other.log)} by nothing (as good)"
    if len(comparison.specs) == 1 and other.values[0]:
        change = abs(first.values[0] / other.values[0] - 1) * 100
        return f"{who(other.log)} by {change:.3g} % in {comparison.specs[0].name}"
    return f"{who(other.log)} by {first.reward - other.reward:.4f} in reward"
