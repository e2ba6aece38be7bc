"""Portfolio of designs that complement each other on known workloads, to start a search with.

    found = portfolio(["runs/stream", "runs/gups", "runs/sort"])
    Study.create("runs/new", task, start=found.designs, budget=60).run()

The choice costs evaluations of the known workloads, none of the new one.

Portfolios ship for some spaces. `python experiments/portfolios.py` makes them from development
workloads. A search that begins with one records its designs as start designs, so that an update of
the portfolios changes no study.
"""

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from archgym.checks import check_whole
from archgym.errors import ArchGymError, InvalidArgumentError, InvalidDesignError
from archgym.evaluation.function import is_of_function
from archgym.evaluation.restriction import split_space
from archgym.evaluation.simulator import FEASIBLE
from archgym.spaces.design import Design
from archgym.spaces.space import DesignSpace
from archgym.studies.metadata import STUDY_NAME
from archgym.studies.prior import StudySource, best_first
from archgym.studies.snapshot import StudyLog, read_study
from archgym.tasks.task import Task

logger = logging.getLogger(__name__)

# chosen: on generated workloads, which are not the measured ones.
_SIZE: Final = 4
# chosen: the best designs of a study are often alike.
_PER_STUDY: Final = 2
# chosen: the objective's metrics times seven, so that one workload does not outweigh all others.
_FLOOR: Final = -2.0
_SHIPPED_NAME: Final = "portfolios.jsonl"
# chosen: most alike studies that are looked at; an evaluation that costs somebody nothing, and time
# that their designs may take on each other's workloads [s].
_MOST_STUDIES: Final = 24
_QUICK_S: Final = 0.1
_MOST_S: Final = 10.0
# chosen: mean difference of metrics, in logarithms, at which a workload weighs a third.
_ALIKE: Final = 0.5


@final
@dataclass(frozen=True, kw_only=True)
class Portfolio:
    """Designs in the order in which they were chosen, with their results on known workloads."""

    designs: tuple[Design, ...]
    """Designs that `start` of a search takes."""
    sources: tuple[str, ...]
    """Folder name of the first study that each design is one of the best of."""
    rewards: np.ndarray
    """(n_tasks, n_designs), the reward of each design on each earlier study's task."""
    evaluations: int
    """Evaluations of earlier tasks that the choice cost. Studies' own records cost none."""

    @property
    def mean_best(self) -> np.ndarray:
        """Mean over tasks of the best reward after each design, (n_designs,)."""
        mean: np.ndarray = np.maximum.accumulate(self.rewards, axis=1).mean(axis=0)
        return mean


def portfolio(
    studies: Iterable[StudySource],
    *,
    size: int = _SIZE,
    per_study: int = _PER_STUDY,
    weights: Sequence[float] | None = None,
    tasks: Sequence[Task] | None = None,
) -> Portfolio:
    """Return designs of earlier studies that together are good for most of their workloads.

    The best designs of each study are evaluated on the tasks of all other studies, and
    `chosen_designs` chooses among them. A search of a new workload that starts with the result
    evaluates `size` designs at most before its own.

    Args:
      studies: At least two studies over the same space, of different workloads.
      size: Number of designs, or fewer if there are fewer.
      per_study: Best designs of each study that are considered.
      weights: Weight of each study, such as the similarity of its workload; equal by default.
      tasks: Task of each study, needed only where its simulator is not a registered one.

    Raises:
      InvalidArgumentError: The studies, tasks or weights do not fit, or a study's task is not what
        it was.
      FileFormatError: A folder is not a study.

    Example:
      >>> from tempfile import TemporaryDirectory
      >>> from archgym.studies.study import Study
      >>> from archgym.testing import ProvingSimulator
      >>> tasks = [Task.make(ProvingSimulator("tiny"), name) for name in ("near", "far")]
      >>> with TemporaryDirectory() as folder:
      ...     studies = [f"{folder}/{n}" for n in range(2)]
      ...     for path, task in zip(studies, tasks):
      ...         _ = Study.create(path, task, "random", seed=1, budget=6).run()
      ...     found = portfolio(studies, size=2, tasks=tasks)
      >>> len(found.designs), found.rewards.shape
      (2, (2, 2))
    """
    size, per_study = check_whole("size", size, 1), check_whole("per_study", per_study, 1)
    if isinstance(studies, str | bytes) or not isinstance(studies, Iterable):
        raise InvalidArgumentError(f"`studies` must be a list of studies; got {studies!r}.")
    logs = [study if isinstance(study, StudyLog) else read_study(study) for study in studies]
    if tasks is None and (own_tasks := [x for x in logs if is_of_function(x.header.task)]):
        raise InvalidArgumentError(
            f"The task of {own_tasks[0].folder} is a Python function (or its simulator is not "
            "installed). Use Python: portfolio(studies, tasks=[...]), one task for each study."
        )
    _check_logs(logs)
    own = [Task.from_json(log.header.task) for log in logs] if tasks is None else list(tasks)
    _check_tasks(own, logs)
    kept, sources = _candidates(logs, per_study)
    rewards, evaluations = _rewards(kept, logs, own)
    chosen = chosen_designs(rewards, size, weights)
    return Portfolio(
        designs=tuple(logs[0].space.design_at(kept[row]) for row in chosen),
        sources=tuple(sources[row] for row in chosen),
        rewards=rewards[:, chosen],
        evaluations=evaluations,
    )


def chosen_designs(
    rewards: np.ndarray, size: int, weights: Sequence[float] | None = None
) -> list[int]:
    """Return the columns of designs, each of which adds most to the mean best reward.

    The first is best on average. Each later one adds most to the weighted mean over tasks of the
    best reward, given those before it. A reward below -2 counts as -2, so that one workload does
    not outweigh all others. If no design adds anything, the choice ends.

    Args:
      rewards: (n_tasks, n_designs), larger is better, relative to each task's default design.
      size: Number of designs, at least 1.
      weights: Weight of each task, equal by default.

    Raises:
      InvalidArgumentError: The weights do not fit.

    Source:
      Nemhauser, Wolsey and Fisher, *An analysis of approximations for maximizing submodular set
      functions*, Mathematical Programming 14, 1978: the greedy choice is within 1 - 1/e of the
      best gain. Xu, Hutter, Hoos and Leyton-Brown, *Hydra*, AAAI 2010, for portfolios.

    Example:
      >>> chosen_designs(np.array([[1.0, 0.0, 0.6], [0.0, 1.0, 0.6]]), 3)
      [2, 0, 1]
    """
    share = _shares(weights, len(rewards))
    worth = np.maximum(rewards, _FLOOR)
    best = np.full(len(worth), -np.inf)
    chosen: list[int] = []
    while len(chosen) < size:
        mean = share @ np.maximum(worth, best[:, None])
        row = int(mean.argmax())
        if chosen and mean[row] <= share @ best:
            break
        chosen.append(row)
        best = np.maximum(best, worth[:, row])
    return chosen


def _shares(weights: Sequence[float] | None, n: int) -> np.ndarray:
    """Return weights that sum to 1."""
    if weights is None:
        return np.full(n, 1.0 / n)
    try:
        found = np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.shape != (n,) or not (np.isfinite(found) & (found >= 0.0)).all() or not found.any():
        raise InvalidArgumentError(
            f"`weights` must be {n} numbers of 0 or more, one for each study, and not all 0; "
            f"got {weights!r}."
        )
    shares: np.ndarray = (found / found.max()) / (found / found.max()).sum()
    return shares


def _check_logs(logs: Sequence[StudyLog]) -> None:
    """Refuse fewer than two studies, one that comes twice, and studies of different spaces."""
    if len(logs) < 2:
        raise InvalidArgumentError(
            f"A portfolio needs at least two studies of different workloads; got {len(logs)}. "
            "Give a single study as `start`."
        )
    if len({log.header.id for log in logs}) != len(logs):
        raise InvalidArgumentError("Each study of a portfolio must come once; one came twice.")
    for log in logs:
        if log.space.digest != logs[0].space.digest:
            raise InvalidArgumentError(
                f"Studies of a portfolio must share one design space; {log.folder} has that of "
                f"{log.task_id}, and {logs[0].folder} has that of {logs[0].task_id}."
            )
        if not log.is_feasible.any():
            raise InvalidArgumentError(
                f"Each study of a portfolio must have a design that was built; {log.folder} has "
                "none."
            )


def _check_tasks(tasks: Sequence[Any], logs: Sequence[StudyLog]) -> None:
    """Refuse tasks that are not those of the studies."""
    if len(tasks) != len(logs):
        raise InvalidArgumentError(
            f"`tasks` must hold the task of each of {len(logs)} studies; got {len(tasks)}."
        )
    for task, log in zip(tasks, logs, strict=True):
        if not isinstance(task, Task) or task.digest != log.header.task["digest"]:
            raise InvalidArgumentError(
                f"`tasks` must hold the tasks of the studies in their order; {log.folder} has "
                f"{log.task_id}, and got {task!r}."
            )


def _candidates(logs: Sequence[StudyLog], per_study: int) -> tuple[np.ndarray, list[str]]:
    """Return the best designs of studies, each once, and the study that each is first in."""
    rows: list[np.ndarray] = []
    sources = []
    for log in logs:
        best = log.records.indices[log.top_rows(per_study)]
        rows += list(log.space.canonical(best))
        sources += [log.folder.absolute().name] * len(best)
    designs = np.array(rows, dtype=np.int64)
    _, first = np.unique(designs, axis=0, return_index=True)
    first = np.sort(first)
    return designs[first], [sources[row] for row in first.tolist()]


def _rewards(
    designs: np.ndarray, logs: Sequence[StudyLog], tasks: Sequence[Task]
) -> tuple[np.ndarray, int]:
    """Return (n_tasks, n_designs) rewards, and the evaluations that they cost."""
    rewards = np.empty((len(tasks), len(designs)))
    cost = 0
    for place, (log, task) in enumerate(zip(logs, tasks, strict=True)):
        rows = np.flatnonzero(log.is_evaluation & ~log.is_failed)
        theirs = log.space.canonical(log.records.indices[rows])
        known = {
            design.tobytes(): reward
            for design, reward in zip(theirs, log.records.reward[rows].tolist(), strict=True)
        }
        is_new = np.array([design.tobytes() not in known for design in designs])
        rewards[place] = [known.get(design.tobytes(), 0.0) for design in designs]
        if is_new.any():
            rewards[place, is_new] = task.evaluate(designs[is_new]).reward
        cost += int(is_new.sum())
    return rewards, cost


def shipped_designs(simulator: str, space: DesignSpace) -> tuple[dict[str, Any], ...]:
    """Return the designs that ship for a space, without those that it lacks.

    Args:
      simulator: Name of the simulator; one of a user's own has none.
      space: The space, whose parameters may be held.
    """
    designs = _portfolios().get((simulator, str(split_space(space.name)[0])), ())
    return tuple(design for design in designs if _is_in(space, design))


def earlier_designs(task: Task, folder: Path, size: int = _SIZE) -> tuple[dict[str, Any], ...]:
    """Return designs of earlier studies of the same simulator and space, to begin a search with.

    The best designs of the studies by the objective and limits of the new task are evaluated on
    each other's workloads, and those are chosen that complement each other. Alike workloads, where
    the default design has alike metrics, weigh more. Where an evaluation is not quick, each of the
    most alike studies gives its best design. The default design follows, since little is better
    than it on some workloads. Studies of the very task are the most alike.

    Args:
      task: The new task.
      folder: Folder that holds studies; others than those of the space are passed over.
      size: Largest number of designs before the default design.
    """
    found: list[tuple[float, str, StudyLog, np.ndarray]] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not (path / STUDY_NAME).is_file():
            continue
        try:
            log = read_study(path)
            theirs = log.header.task["simulator"], log.space.digest
            if theirs == (task.simulator.name, task.space.digest):
                best, _, _ = best_first(task, log)
                found.append((_distance(task, log), path.name, log, best[:_PER_STUDY]))
        except ArchGymError as error:
            logger.warning("%s is passed over: %s", path, error)
    if not found:
        return ()
    found = sorted(found, key=lambda each: each[:2])[:_MOST_STUDIES]
    rows = np.concatenate([best for *_, best in found])
    n_runs = sum(len(log.workloads) for _, _, log, _ in found) * (len(rows) + 1)
    is_quick = task.simulator.spec.evaluation_s <= min(_QUICK_S, _MOST_S / n_runs)
    known = [(d, _rewards_on(task, log, rows)) for d, _, log, _ in found] if is_quick else []
    rewards = {n: reward for n, (_, reward) in enumerate(known) if reward is not None}
    if len(rewards) > 1:
        weights = [np.exp(-found[n][0] / _ALIKE) for n in rewards]
        rows = rows[chosen_designs(np.array(list(rewards.values())), size, weights)]
    else:
        rows = np.array([best[0] for *_, best in found])
    chosen = dict.fromkeys(row.tobytes() for row in rows)
    taken = [*list(chosen)[:size], task.space.default_indices.tobytes()]
    return tuple(
        dict(task.space.design_at(np.frombuffer(key, dtype=np.int64)))
        for key in dict.fromkeys(taken)
    )


def _rewards_on(task: Task, log: StudyLog, designs: np.ndarray) -> np.ndarray | None:
    """Return rewards that designs have on a study's workloads; None where they do not run."""
    try:
        workloads = [task.simulator.workload(w["source"]) for w in log.header.task["workloads"]]
        rows = np.concatenate((task.space.default_indices[None, :], designs))
        results = [task.simulator.evaluate_batch(rows, workload) for workload in workloads]
    except ArchGymError as error:
        logger.warning("Designs are not compared on the workloads of %s: %s", log.folder, error)
        return None
    values = np.stack([result.values for result in results], axis=1)
    reason = np.stack([result.reason for result in results], axis=1)
    if (reason[0] != FEASIBLE).any():
        return None
    reward = task.objective.rewards(values, reason, values[0], task.metrics, log.weights)
    return np.asarray(reward[1:])


def _distance(task: Task, log: StudyLog) -> float:
    """Return the mean difference of the default design's metrics, in logarithms."""
    theirs = dict(
        zip((spec.name for spec in log.metrics), log.weights @ log.reference, strict=True)
    )
    own = dict(
        zip(
            (spec.name for spec in task.metrics), task.average(task.reference[None])[0], strict=True
        )
    )
    shared = [name for name in own if name in theirs and min(own[name], theirs[name]) > 0.0]
    return float(np.mean([abs(np.log(own[name] / theirs[name])) for name in shared] or [np.inf]))


def _is_in(space: DesignSpace, design: dict[str, Any]) -> bool:
    """Return True if a design lies in a space, whose parameters may be held."""
    try:
        indices = np.asarray(space.indices_of(design))[None, :]
    except InvalidDesignError:
        return False
    return bool(space.feasible(indices)[0])


@cache
def _portfolios() -> dict[tuple[str, str], tuple[dict[str, Any], ...]]:
    """Return the designs that ship, values by parameter, for each simulator and space."""
    path = files("archgym.studies") / "data" / _SHIPPED_NAME
    found = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return {(each["simulator"], each["space"]): tuple(each["designs"]) for each in found}
