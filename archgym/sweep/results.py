"""Results of a sweep: best rewards at budgets, evaluations to a good design, cost and coverage."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any, final

import msgspec
import numpy as np

from archgym.analysis.statistics import interquartile_mean
from archgym.errors import InvalidArgumentError
from archgym.evaluation.objective import REWARD_LIMIT
from archgym.files.remote import local_copy
from archgym.studies.metadata import STUDY_NAME
from archgym.studies.snapshot import StudyLog, read_study
from archgym.sweep.driver import FullNote, Standings, read_failures
from archgym.sweep.plan import AgentPlan, Run, SweepPlan, TaskPlan
from archgym.sweep.reading import read_recorded_plan
from archgym.sweep.study_run import Curve, Curves, Digest, require_same_study

WITHIN = 0.05
"""Distance to the best known reward within which a design counts as good."""
# chosen: earlier, every agent has seen but its first random designs.
_FIRST_BUDGET = 10


@final
@dataclass(frozen=True)
class Spread:
    """A number of several seeds."""

    median: float
    iqm: float
    """Mean of the middle half."""
    low: float
    high: float
    n: int
    """Seeds that have it."""

    def to_json(self) -> dict[str, float]:
        """Return the numbers by name."""
        return dict(vars(self))


@final
class RunSummary(msgspec.Struct, frozen=True, gc=False):
    """One study of a sweep."""

    run: Run
    status: str
    """One of finished, running, interrupted, failed, waiting."""
    results: Digest = Digest(Curve(0))
    problem: str | None = None
    """Reason why it failed, or damage of its journal."""

    @property
    def curve(self) -> Curve:
        """Best reward so far."""
        return self.results.curve

    @property
    def evaluations(self) -> int:
        """Number of its evaluations."""
        return self.results.curve.n


@final
@dataclass(frozen=True)
class AgentSummary:
    """An agent on a task, over its seeds."""

    label: str
    runs: tuple[RunSummary, ...]
    rewards: Mapping[int, Spread]
    """Best reward at budgets."""
    reached: tuple[int | None, ...]
    """For each run, evaluations until a design within 5 % of the best known; None: none was."""

    @property
    def finished(self) -> int:
        """Runs that are finished."""
        return sum(run.status == "finished" for run in self.runs)

    @property
    def to_within(self) -> float:
        """Median of `reached`, infinite where most runs reached none; NaN without runs."""
        begun = zip(self.reached, self.runs, strict=True)
        places = sorted(math.inf if r is None else r for r, run in begun if run.results.curve.n)
        if not places:
            return math.nan
        middle = (len(places) - 1) // 2
        pair = places[middle], places[len(places) // 2]
        return math.inf if math.isinf(pair[1]) else sum(pair) / 2

    def mean(self, name: str) -> float:
        """Return the mean over the runs of one of asks, distinct, simulator_s and own_s."""
        known = [value for value in map(attrgetter(name), self._begun) if value is not None]
        return sum(map(float, known)) / len(known) if known else math.nan

    @cached_property
    def _begun(self) -> list[Digest]:
        return [run.results for run in self.runs if run.results.curve.n]

    def to_json(self) -> dict[str, Any]:
        """Return the summary as data."""
        return {
            "agent": self.label,
            "finished": self.finished,
            "best_reward": {str(b): spread.to_json() for b, spread in self.rewards.items()},
            "evaluations_to_within": self.to_within,
            "asks": self.mean("asks"),
            "distinct_designs": self.mean("distinct"),
            "simulator_s": self.mean("simulator_s"),
            "own_s": self.mean("own_s"),
            "runs": [
                {
                    "id": run.run.id,
                    "seed": run.run.seed,
                    "status": run.status,
                    "problem": run.problem,
                    "missed_limits": list(run.results.missed),
                    "evaluations": run.evaluations,
                    "asks": run.results.asks,
                    "distinct_designs": run.results.distinct,
                    "best_reward": run.curve.best if run.evaluations else None,
                    "evaluations_to_within": reached,
                    "simulator_s": run.results.simulator_s,
                    "own_s": run.results.own_s,
                    "hyperparameters": dict(run.run.hyperparameters),
                }
                for run, reached in zip(self.runs, self.reached, strict=True)
            ],
        }


@final
@dataclass(frozen=True)
class TaskSummary:
    """A task of a sweep."""

    task: TaskPlan
    best_known: float
    """The best reward in the sweep, or the plan's where that is better; -inf: none is known."""
    threshold: float
    """The least reward of a design within 5 % of it."""
    metric: str | None
    """Metric of the objective's one term, with its unit; None for several terms."""
    agents: tuple[AgentSummary, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the summary as data."""
        return {
            "task": self.task.label,
            "id": self.task.id,
            "best_known_reward": self.best_known,
            "within_reward": self.threshold,
            "metric": self.metric,
            "agents": [agent.to_json() for agent in self.agents],
        }


@final
@dataclass(frozen=True)
class SweepReport:
    """All that a sweep's folder shows."""

    folder: Path
    plan: SweepPlan
    budgets: tuple[int, ...]
    tasks: tuple[TaskSummary, ...]
    first_logs: Mapping[str, StudyLog] = field(default_factory=dict)
    """A study of each task that has one, by the task's label."""

    @property
    def runs(self) -> tuple[RunSummary, ...]:
        """Every run."""
        return tuple(r for task in self.tasks for agent in task.agents for r in agent.runs)

    def to_json(self) -> dict[str, Any]:
        """Return the report as data."""
        return {
            "folder": str(self.folder),
            "budget": self.plan.budget,
            "seeds": list(self.plan.seeds),
            "runs": len(self.runs),
            "finished": sum(run.status == "finished" for run in self.runs),
            "within": WITHIN,
            "tasks": [task.to_json() for task in self.tasks],
        }


def read_report(folder: str | Path, *others: str | Path) -> SweepReport:
    """Read a sweep's folder, finished or not, without changing anything.

    Further folders add agents on the same tasks, which count up to the least budget of all. An
    agent whose label is there already is named with its folder.

    Raises:
      FileFormatError: It is not a sweep's, or a study in it is damaged beyond reading.
      InvalidArgumentError: Two folders have tasks of one label that differ.
      StorageError: It cannot be read.
    """
    by_pair: dict[tuple[str, str], list[RunSummary]] = {}
    first_logs: dict[str, StudyLog] = {}
    tasks: dict[str, TaskPlan] = {}
    agents: dict[str, AgentPlan] = {}
    plans = []
    for place in (folder, *others):
        plan, runs = _read_runs(local_copy(place), first_logs)
        plans.append(plan)
        for task in plan.tasks:
            if tasks.setdefault(task.label, task).digest != task.digest:
                raise InvalidArgumentError(
                    f"Folders must have the same tasks to be compared; {task.label!r} of {place} "
                    "is another one. Report them one by one."
                )
        labels = {
            agent.label: f"{agent.label} ({place})" if agent.label in agents else agent.label
            for agent in plan.agents
        }
        agents |= {labels[a.label]: replace(a, label=labels[a.label]) for a in plan.agents}
        for summary in runs:
            pair = summary.run.task.label, labels[summary.run.label]
            by_pair.setdefault(pair, []).append(summary)
    parts, budget = (tuple(tasks.values()), tuple(agents.values())), min(p.budget for p in plans)
    joined = replace(plans[0], tasks=parts[0], agents=parts[1], budget=budget)
    budgets = log_spaced(budget)
    found = []
    for task in joined.tasks:
        summaries = {label: by_pair.get((task.label, label), []) for label in agents}
        found.append(_task_summary(task, summaries, first_logs.get(task.label), budgets))
    return SweepReport(local_copy(folder), joined, budgets, tuple(found), first_logs)


def _read_runs(folder: Path, first_logs: dict[str, StudyLog]) -> tuple[SweepPlan, list[RunSummary]]:
    """Return the plan of a folder and its runs; add the first study of each task."""
    plan, failures = read_recorded_plan(folder), read_failures(folder)
    standings = Standings(folder, FullNote)
    found = []
    for run in plan.runs():
        name, log = run.id, None
        note = standings.note(name)
        # One study of a task is read, since it says what its rewards mean.
        is_noted = run.task.label in first_logs and name not in failures
        if isinstance(note, FullNote) and note.digest is not None and is_noted:
            summary = RunSummary(run, "finished", note.digest)
        else:
            summary, log = _read_run(folder / name, run, failures.get(name))
        found.append(summary)
        if log is not None and log.evaluations:
            first_logs.setdefault(run.task.label, log)
    return plan, found


def log_spaced(budget: int) -> tuple[int, ...]:
    """Return 1, 2, 5, 10, … in powers of ten from 10 on, below a budget, and the budget.

    >>> log_spaced(300)
    (10, 20, 50, 100, 200, 300)
    """
    steps = [m * 10**e for e in range(1, len(str(budget)) + 1) for m in (1, 2, 5)]
    return (*(step for step in steps if _FIRST_BUDGET <= step < budget), budget)


# ---- one run


def _read_run(folder: Path, run: Run, failure: str | None) -> tuple[RunSummary, StudyLog | None]:
    if not (folder / STUDY_NAME).is_file():
        return RunSummary(run, "failed" if failure else "waiting", problem=failure), None
    require_same_study(run, folder)
    log = read_study(folder)
    status = "failed" if failure and log.status != "running" else log.status
    problem = failure or log.damage_report()
    return RunSummary(run, status, Digest.of(folder, log), problem), log


# ---- one task


def _task_summary(
    task: TaskPlan,
    runs: Mapping[str, Sequence[RunSummary]],
    log: StudyLog | None,
    budgets: Sequence[int],
) -> TaskSummary:
    ends = [run.results.curve.best for own in runs.values() for run in own]
    best = max([*ends, -math.inf if task.best_known is None else task.best_known])
    threshold = math.inf if log is None else within_reward(log, best)
    agents = []
    for label, own in runs.items():
        curves = Curves([run.results.curve for run in own])
        rewards = {budget: _spread(curves.at(budget)) for budget in budgets}
        agents.append(AgentSummary(label, tuple(own), rewards, curves.reached(threshold)))
    return TaskSummary(task, best, threshold, None if log is None else _metric(log), tuple(agents))


def within_reward(log: StudyLog, best: float, share: float = WITHIN) -> float:
    """Return the least reward of a design within a share of the best.

    Where the objective has one term, that is meant on its metric: at most 5 % more of what is to
    be little, at least 95 % of what is to be much; for a target, 5 % around the value that the
    best has or the target. Where it has several, on the weighted geometric mean of their ratios to
    the best, which is what the reward is the logarithm of. The published form counts by itself.

    Args:
      log: A study of the task.
      best: Best reward.
      share: Distance that still counts; the text above has that of sweeps, 5 %.
    """
    terms = log.header.task["objective"]["terms"]
    if terms[0]["goal"] == "archgym-2023":
        return best * (1 - share)
    grows = len(terms) == 1 and terms[0]["goal"] in ("maximise", "at-least")
    step = -math.log(1 - share) if grows else math.log(1 + share)
    if len(terms) > 1 or len(log.workloads) > 1 or abs(best) >= REWARD_LIMIT:
        return best - step
    place = [spec.name for spec in log.metrics].index(terms[0]["metric"])
    resolution = log.metrics[place].resolution
    target = terms[0]["target"]
    base = (float(log.reference[0, place]) if target is None else float(target)) + resolution
    # With r the resolution, a reward is the logarithm of (base + r) / (x + r) or of its inverse.
    if grows:
        x = base * math.exp(best) - resolution
        if x < 0:
            return best - step
        return math.log(max(x * (1 - share) + resolution, 1e-300) / base)
    x = base * math.exp(-best) - resolution
    if x < 0:
        # A negative metric, of which a share has no meaning.
        return best - step
    return math.log(base / (x * (1 + share) + resolution))


def _metric(log: StudyLog) -> str | None:
    terms = log.header.task["objective"]["terms"]
    if len(terms) > 1:
        return None
    units = {spec.name: spec.unit for spec in log.metrics}
    name = str(terms[0]["metric"])
    return f"{name} [{units[name]}]"


def _spread(values: np.ndarray) -> Spread:
    known = values[~np.isnan(values)]
    if not len(known):
        return Spread(math.nan, math.nan, math.nan, math.nan, 0)
    low, high = float(known.min()), float(known.max())
    return Spread(float(np.median(known)), interquartile_mean(known), low, high, len(known))


def require_evaluations(report: SweepReport) -> None:
    """Refuse a sweep without any run.

    Raises:
      InvalidArgumentError: Nothing has.
    """
    if not any(run.evaluations for run in report.runs):
        raise InvalidArgumentError(
            f"A sweep must have evaluations for this; {report.folder} has none. Run it first."
        )
