"""Evaluations of studies and sweeps as columns, task by task: the input of reports."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from archgym.agent.agent import agent_class
from archgym.analysis.pareto import front
from archgym.errors import ArchGymError, InvalidArgumentError
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective, reference_point
from archgym.files.remote import local_copy
from archgym.report.commands import search_options
from archgym.report.confirmation import Confirmation, kept
from archgym.spaces.space import DesignSpace
from archgym.studies.front import study_objective
from archgym.studies.snapshot import StudyLog, read_study
from archgym.sweep.driver import read_failures
from archgym.sweep.reading import PLAN_NAME, read_recorded_plan
from archgym.sweep.study_run import require_same_study

if TYPE_CHECKING:
    from archgym.tables import Exhaustive


def has_defaults(agent: str, hyperparameters: str) -> bool:
    """Return True if hyperparameters, as JSON, are those that an agent has without any.

    Of an agent that is not installed, only none at all are known to be.
    """
    given = json.loads(hyperparameters)
    if not isinstance(given, dict):
        return False
    try:
        known = {p.name: p.default for p in agent_class(agent).hyperparameters} if given else {}
    except ArchGymError:
        return False
    return all(name in known and known[name] == value for name, value in given.items())


MANY_DRAWS = 8
"""Number of settings of one agent from which reports compare its defaults alone. Chosen: more
would hide the agents, and the best of many is best by luck."""


def undominated(terms: np.ndarray) -> np.ndarray:
    """Return rows of terms that no other row beats, in their order; of equal ones the first."""
    built = np.flatnonzero(np.isfinite(terms).all(axis=1))
    if not len(built):
        return built
    rows = built[front(terms[built])]
    _, first = np.unique(terms[rows], axis=0, return_index=True)
    return np.asarray(rows[np.sort(first)])


@final
@dataclass(frozen=True, eq=False)
class RunEvidence:
    """The evaluations of one study, in their order."""

    label: str
    agent: str
    seed: int | None
    hyperparameters: str
    """Hyperparameters as JSON, so that equal ones are equal texts."""
    status: str
    folder: Path
    planned: int
    """Evaluations that it was to have."""
    asks: int
    failed: int
    indices: np.ndarray
    """(n, n_parameters) int32."""
    reward: np.ndarray
    """(n,), -inf where the design was not built."""
    values: np.ndarray
    """(n, n_metrics), averaged over the workloads by weight."""
    terms: np.ndarray
    """(n, n_terms), NaN where the design was not built."""
    problem: str | None = None
    damage: str | None = None
    """Damaged or missing parts of its journal, which are left out here."""
    missed: tuple[str, ...] = ()
    """Limits that the best design of the run misses, in words."""
    is_draw: bool = False
    """True for one of many settings of its agent, which reports do not compare."""
    options: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    """Evaluations that failed, in words, those alike together."""
    confirmations: tuple[Confirmation, ...] = ()
    """Designs that the tools of others ran."""

    @cached_property
    def curve(self) -> np.ndarray:
        """Best reward so far, (n,)."""
        return np.asarray(np.maximum.accumulate(self.reward))

    @cached_property
    def front_rows(self) -> np.ndarray:
        """Evaluations that no other of the run beats in all terms; of equal ones the first."""
        return undominated(self.terms)

    def at(self, budget: int) -> float:
        """Return the best reward after `n` evaluations; NaN where the run has not come there."""
        n = len(self.reward)
        if not n or (n < budget and self.status != "finished"):
            return math.nan
        return float(self.curve[min(n, budget) - 1])

    def best_row(self, budget: int) -> int | None:
        """Return the first best of the first `n` evaluations; None if nothing was built."""
        row = int(np.argmax(self.reward[:budget])) if len(self.reward) else 0
        return row if len(self.reward) and np.isfinite(self.reward[row]) else None


@final
@dataclass(frozen=True)
class TaskEvidence:
    """All runs on one task."""

    label: str
    recipe: dict[str, Any]
    """The task's JSON."""
    space: DesignSpace
    metrics: tuple[MetricSpec, ...]
    objective: Objective
    reference: np.ndarray
    """(n_metrics,), the default design's."""
    corner: np.ndarray
    """(n_terms,), the worst corner of the hypervolume."""
    runs: tuple[RunEvidence, ...]
    known: "Exhaustive | None" = None
    versions: dict[str, str] = field(default_factory=dict)
    repeated: tuple[Path, ...] = ()
    """Folders of studies left out, since they are the same run as another."""
    default_reward: float = 0.0
    """Reward of the default design, which a target or a limit may make other than 0."""

    @property
    def id(self) -> str:
        """The task's name for people."""
        return str(self.recipe["id"])

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Labels of agents that are compared, in the order in which they came."""
        return tuple(dict.fromkeys(run.label for run in self.runs if not run.is_draw))

    def of(self, label: str) -> list[RunEvidence]:
        """Return the runs of an agent that have begun."""
        return [run for run in self.runs if run.label == label and len(run.reward)]

    @cached_property
    def best(self) -> tuple[RunEvidence, int] | None:
        """The run and evaluation with the largest reward; None if nothing was built."""
        ends = [run.curve[-1] if len(run.reward) else -math.inf for run in self.runs]
        if not ends or not np.isfinite(max(ends)):
            return None
        run = self.runs[int(np.argmax(ends))]
        return run, int(np.argmax(run.reward))

    @cached_property
    def front_rows(self) -> np.ndarray:
        """Evaluations of all runs, one after the other, that are on their front together."""
        starts = np.cumsum([0, *(len(run.reward) for run in self.runs)])
        own = [start + run.front_rows for start, run in zip(starts, self.runs, strict=False)]
        rows = np.concatenate(own)
        terms = np.concatenate([run.terms[run.front_rows] for run in self.runs])
        return np.asarray(rows[undominated(terms)])

    def stacked(self, name: str) -> np.ndarray:
        """Return a column of all runs, one after the other."""
        return np.concatenate([getattr(run, name) for run in self.runs])


@final
@dataclass(frozen=True)
class Evidence:
    """Evaluations that were read, and their folders."""

    sources: tuple[Path, ...]
    tasks: tuple[TaskEvidence, ...]

    @property
    def n_runs(self) -> int:
        """Number of runs that are reported."""
        return sum(len(task.runs) for task in self.tasks)

    @property
    def evaluations(self) -> int:
        """All runs that are reported."""
        return sum(len(run.reward) for task in self.tasks for run in task.runs)


def read_evidence(sources: Sequence[Path], tables: Sequence[Path] = ()) -> Evidence:
    """Read studies and sweeps, finished or not, without changing anything.

    Args:
      sources: Folders of studies or of sweeps.
      tables: Tables of all designs, of tasks that are reported.

    Raises:
      InvalidArgumentError: Nothing was evaluated, a folder comes twice, or a table fits no task.
      FileFormatError: A folder is neither, or is damaged beyond reading.
    """
    logs: list[tuple[str, str, StudyLog, str | None]] = []
    for source in map(local_copy, sources):
        logs += _of_sweep(source) if (source / PLAN_NAME).is_file() else [_of_study(source)]
    # By what a path leads to, and by studies: a sweep and one of its runs overlap.
    if len({log.folder.resolve() for _, _, log, _ in logs}) != len(logs):
        raise InvalidArgumentError("Each study or sweep must come once; one came twice.")
    by_task: dict[str, list[tuple[str, str, StudyLog, str | None]]] = {}
    for entry in logs:
        by_task.setdefault(entry[2].header.task["digest"], []).append(entry)
    known = _known([entries[0][2] for entries in by_task.values()], tables)
    tasks = tuple(_task(entries, known.get(digest)) for digest, entries in by_task.items())
    labels = [task.label for task in tasks]
    # Sweeps may name different tasks alike.
    tasks = tuple(
        replace(task, label=f"{task.label}-{place + 1}") if labels.count(task.label) > 1 else task
        for place, task in enumerate(tasks)
    )
    evidence = Evidence(tuple(sources), without_draws(tasks))
    if not evidence.evaluations:
        raise InvalidArgumentError(
            "A report needs evaluations; the studies have none. Run the study or the sweep first."
        )
    return evidence


def without_draws(tasks: Sequence[TaskEvidence]) -> tuple[TaskEvidence, ...]:
    """Mark the draws of agents with many: all but the defaults, or the first where those lack."""
    settings: dict[str, dict[str, None]] = {}
    for task in tasks:
        for run in task.runs:
            settings.setdefault(run.agent, {})[run.hyperparameters] = None
    kept: dict[str, set[str]] = {}
    for agent, texts in settings.items():
        defaults = {text for text in texts if has_defaults(agent, text)}
        is_many = len(texts) - len(defaults) >= MANY_DRAWS
        kept[agent] = (defaults or set(list(texts)[:1])) if is_many else set(texts)
    return tuple(
        replace(
            task,
            runs=tuple(
                replace(run, is_draw=run.hyperparameters not in kept[run.agent])
                for run in task.runs
            ),
        )
        for task in tasks
    )


def _of_study(folder: Path) -> tuple[str, str, StudyLog, str | None]:
    log = read_study(folder)
    label = log.header.agent or log.header.kind
    return log.task_id, label, log, log.damage_report()


def _of_sweep(folder: Path) -> list[tuple[str, str, StudyLog, str | None]]:
    failures = read_failures(folder)
    found = []
    for run in read_recorded_plan(folder).runs():
        if (folder / run.id / "study.json").is_file():
            require_same_study(run, folder / run.id)
            log = read_study(folder / run.id)
            problem = failures.get(run.id) or log.damage_report()
            found.append((run.task.label, run.label, log, problem))
    return found


def _task(
    entries: Sequence[tuple[str, str, StudyLog, str | None]], known: "Exhaustive | None"
) -> TaskEvidence:
    label, _, first, _ = entries[0]
    objective = study_objective(first)
    # Agents of one name with other hyperparameters are others.
    chosen: dict[str, list[str]] = {}
    runs = []
    for _, name, log, problem in entries:
        text = json.dumps(log.header.hyperparameters, sort_keys=True)
        variants = chosen.setdefault(name, [])
        if text not in variants:
            variants.append(text)
        number = variants.index(text)
        runs.append(
            _run(log, name if not number else f"{name} #{number + 1}", text, objective, problem)
        )
    kept = once(runs)
    return TaskEvidence(
        label,
        dict(first.header.task),
        first.space,
        first.metrics,
        objective,
        first.weights @ first.reference,
        reference_point(objective, first.reference, first.metrics, first.weights),
        tuple(kept),
        known,
        dict(first.header.versions),
        tuple(sorted({run.folder for run in runs} - {run.folder for run in kept})),
        _default_reward(first, objective),
    )


def _default_reward(log: StudyLog, objective: Objective) -> float:
    built = np.zeros((1, len(log.workloads)), dtype=np.int16)
    values = log.reference[None]
    rewards = objective.rewards(values, built, log.reference, log.metrics, log.weights)
    return float(rewards[0])


def once(runs: Sequence[RunEvidence]) -> list[RunEvidence]:
    """Return each run once: a copy, or the same seed run again, adds nothing; the longest stays."""
    by_name: dict[tuple[str, str, int], list[RunEvidence]] = {}
    for run in runs:
        if run.seed is not None:
            # Labels do not count: a sweep may call an agent by another name than a study.
            by_name.setdefault((run.agent, run.hyperparameters, run.seed), []).append(run)
    left_out = set()
    for same in by_name.values():
        ordered = sorted(same, key=lambda run: -len(run.reward))
        for place, run in enumerate(ordered):
            if any(_begins_with(longer, run) for longer in ordered[:place]):
                left_out.add(run.folder)
    return [run for run in runs if run.folder not in left_out]


def _begins_with(longer: RunEvidence, run: RunEvidence) -> bool:
    n = len(run.reward)
    return np.array_equal(longer.indices[:n], run.indices) and np.array_equal(
        longer.reward[:n], run.reward
    )


def _run(
    log: StudyLog, label: str, text: str, objective: Objective, problem: str | None
) -> RunEvidence:
    rows, records = log.is_evaluation, log.records
    is_built = log.is_feasible[rows]
    reason, values = records.reason[rows], records.values[rows]
    terms = objective.weighted_terms(values, reason, log.reference, log.metrics, log.weights)
    terms[~is_built] = np.nan
    best = log.best() if log.limits else None
    status = "failed" if problem and log.status != "finished" else log.status
    return RunEvidence(
        label,
        log.header.agent or log.header.kind,
        log.header.seed,
        text,
        status,
        log.folder,
        log.header.budget or int(rows.sum()),
        log.asks,
        int((log.is_failed & rows).sum()),
        records.indices[rows].astype(np.int32),
        np.where(is_built, records.reward[rows], -np.inf),
        np.einsum("nwm,w->nm", values, log.weights),
        terms,
        problem,
        log.damage_report(),
        () if best is None else tuple(log.missed(best)),
        options=search_options(log.header),
        failures=tuple(map(str, log.failures())),
        confirmations=kept(log.folder, log.header.key),
    )


def _known(logs: Sequence[StudyLog], tables: Sequence[Path]) -> "dict[str, Exhaustive]":
    if not tables:
        return {}
    from archgym.errors import UnknownNameError
    from archgym.tables import Exhaustive, TableSimulator
    from archgym.tasks.task import Task

    found: dict[str, Exhaustive] = {}
    for path in tables:
        TableSimulator(path)
        fits = False
        for log in logs:
            recipe = {n: part for n, part in log.header.task.items() if n != "stand_in"}
            try:
                task = Task.from_json(recipe, stand_in=path)
            except (InvalidArgumentError, UnknownNameError):
                continue
            fits = True
            found.setdefault(task.digest, Exhaustive(task))
        if not fits:
            raise InvalidArgumentError(
                f"`--table` must have a task that is reported; {path} has none. Leave it out."
            )
    return found
