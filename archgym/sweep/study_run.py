"""One run of a sweep, performed in the process that is to write its study."""

import errno
import json
import math
import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, final

import msgspec
import numpy as np

from archgym.errors import (
    ArchGymError,
    InvalidArgumentError,
    StorageError,
    StudyInterrupted,
    StudyLockedError,
    error_text,
)
from archgym.files.json_types import tuples
from archgym.files.storage import open_member, open_own, require_inside, storage_errors, write_all
from archgym.studies.metadata import SESSIONS_NAME, STUDY_NAME, TIMING_NAME
from archgym.studies.settings import StudySettings
from archgym.studies.snapshot import StudyLog, read_study
from archgym.studies.study import Study
from archgym.sweep.plan import PROGRAM, Run

if TYPE_CHECKING:
    from archgym.tasks.executor import Executor
    from archgym.tasks.task import Task


# chosen: a study of a million single evaluations stays below it.
_MAX_BYTES = 2**27


@final
class SessionClock:
    """Clock of a session, from its first new results to its end."""

    def __init__(self, study: Study) -> None:
        """Note the records that the study has before it runs."""
        self._study = study
        self._known = len(study.read().records)
        self._began: tuple[float, int, int] | None = None

    def take(self) -> None:
        """Start the clock if new results have come."""
        if self._began is None and self._study.asks > self._known:
            self._began = time.perf_counter(), self._study.asks, self._study.evaluations

    def write(self) -> None:
        """Add the session to the study's folder if the clock was started."""
        if self._began is None:
            return
        began_at, first_seq, before = self._began
        line = {
            "first_seq": first_seq,
            "asks": self._study.asks - first_seq,
            "evaluations": self._study.evaluations - before,
            "wall_s": round(time.perf_counter() - began_at, 6),
        }
        path = self._study.folder / SESSIONS_NAME
        # The file is informative only: a failure must not end the study.
        with suppress(StorageError), storage_errors(path, "written"):
            descriptor = open_own(path, os.O_WRONLY | os.O_APPEND)
            try:
                write_all(descriptor, (json.dumps(line) + "\n").encode())
            finally:
                os.close(descriptor)


def read_times(folder: Path, n_evaluations: int) -> tuple[float | None, float | None]:
    """Return wall times of the simulator and of all else for each evaluation [s], None if unknown.

    All else is agent, environment and journal. It leaves out what precedes the first results of a
    session: imports, models that are built, asks that are replayed.

    Args:
      folder: Folder of the study.
      n_evaluations: Number of its evaluations.
    """
    batches = [
        (int(entry["seq"]), float(entry["wall_s"]))
        for entry in _lines(folder / TIMING_NAME, ("seq", "wall_s"))
    ]
    simulated = sum(wall for _, wall in batches)
    walls, inside, counted = 0.0, 0.0, 0
    for entry in _lines(folder / SESSIONS_NAME, ("first_seq", "asks", "evaluations", "wall_s")):
        first, end = entry["first_seq"], entry["first_seq"] + entry["asks"]
        walls += entry["wall_s"]
        inside += sum(wall for seq, wall in batches if first <= seq < end)
        counted += int(entry["evaluations"])
    return (
        simulated / n_evaluations if batches and n_evaluations else None,
        max(0.0, walls - inside) / counted if counted else None,
    )


def _lines(path: Path, members: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the valid lines of a file; nothing if it does not exist."""
    try:
        with open_member(path) as handle:
            content = handle.read(_MAX_BYTES)
    except OSError:
        return
    for line in content.splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and all(
            type(entry.get(name)) in (int, float) and 0 <= entry[name] < 2**53 for name in members
        ):
            yield entry


# chosen: progress of a study is reported for people.
_PROGRESS_S = 0.2
_FULL = (errno.ENOSPC, errno.EDQUOT)

Tasks = dict[str, "Task"]
"""Those that a process has made, by their digest."""


@final
class Curve(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Best reward so far of a study, -inf before a feasible design."""

    n: int
    """Number of evaluations."""
    places: tuple[int, ...] = ()
    """Evaluations, from 1, after which the best reward is better."""
    bests: tuple[float, ...] = ()
    """Best reward from there on."""
    is_over: bool = False
    """True if there will be no more evaluations, so that the last reward stands for later ones."""

    @classmethod
    def of(cls, rewards: np.ndarray, is_over: bool) -> Self:
        """Return the curve of the rewards of evaluations, (n,), -inf where one is infeasible."""
        best = np.maximum.accumulate(rewards)
        rises = np.flatnonzero(best > np.concatenate([[-np.inf], best[:-1]]))
        places, bests = (rises + 1).tolist(), best[rises].tolist()
        return cls(len(rewards), tuple(places), tuple(bests), is_over)

    @property
    def best(self) -> float:
        """Best reward of all evaluations, -inf before a feasible design."""
        return self.bests[-1] if self.bests else -math.inf


@final
class Curves:
    """Curves of many runs, as arrays."""

    def __init__(self, curves: Sequence[Curve]) -> None:
        self._n = np.array([curve.n for curve in curves], dtype=np.int64)
        self._is_over = np.array([curve.is_over for curve in curves], dtype=bool)
        self._counts = np.array([len(curve.places) for curve in curves], dtype=np.int64)
        self._starts = np.cumsum(self._counts) - self._counts
        self._runs = np.repeat(np.arange(len(curves)), self._counts)
        # One more, for runs without any.
        places = chain.from_iterable(curve.places for curve in curves)
        self._places = np.array([*places, 0], dtype=np.int64)
        bests = chain.from_iterable(curve.bests for curve in curves)
        self._bests = np.array([*bests, -np.inf])

    def at(self, budget: int) -> np.ndarray:
        """Return each run's best reward after a number of evaluations, NaN where unknown, (n,)."""
        n = self._rises(self._places[:-1] <= budget)
        found = np.where(n > 0, self._bests[self._starts + np.maximum(n, 1) - 1], -np.inf)
        is_known = (self._n > 0) & ((self._n >= budget) | self._is_over)
        return np.where(is_known, found, np.nan)

    def reached(self, threshold: float) -> tuple[int | None, ...]:
        """Return the evaluations of each run until a reward; None if no reward is as good."""
        # Rounding must not lose the best design itself.
        n = self._rises(self._bests[:-1] < threshold - 1e-12)
        places = self._places[np.minimum(self._starts + n, len(self._runs))].tolist()
        pairs = zip(places, (n < self._counts).tolist(), strict=True)
        return tuple(place if is_reached else None for place, is_reached in pairs)

    def _rises(self, is_chosen: np.ndarray) -> np.ndarray:
        return np.bincount(self._runs[is_chosen], minlength=len(self._n))


@final
class Digest(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Results of a study that the report of its sweep shows."""

    curve: Curve
    asks: int = 0
    distinct: int = 0
    """Designs that differ in what they mean, of those asked for."""
    simulator_s: float | None = None
    own_s: float | None = None
    has_limits: bool = False
    """True if its task has limits."""
    missed: tuple[str, ...] = ()
    """Limits that its best design misses, in words."""

    @classmethod
    def of(cls, folder: Path, log: StudyLog) -> Self:
        """Return the results of a study that was read."""
        rewards = np.where(log.is_feasible, log.records.reward, -np.inf)[log.is_evaluation]
        best = log.best()
        return cls(
            Curve.of(rewards, is_over=log.status == "finished"),
            log.asks,
            len(np.unique(log.space.canonical(log.records.indices), axis=0)),
            *read_times(folder, log.evaluations),
            bool(log.limits),
            () if best is None else tuple(log.missed(best)),
        )


@final
@dataclass(frozen=True)
class RunResult:
    """Result of a run: the study's end, or the reason of its failure."""

    evaluations: int
    failure: str | None = None
    is_lost: bool = False
    """True if its process was lost, so that another may succeed."""
    digest: Digest | None = None
    """Results of a study that is finished."""
    stops_all: bool = False
    """True if the other runs would fail for the same reason, such as a full disk."""


def perform(
    run: Run,
    folder: Path,
    tasks: Tasks,
    patience_s: float,
    tell: Callable[[int], None] | None = None,
) -> RunResult:
    """Run a study to its end, from where it is.

    Args:
      tasks: Tasks that the process has made before; the run's task is added.
      patience_s: Time to wait for a writer that is just ending [s].
      tell: Called now and then with the evaluations so far.

    Raises:
      StudyInterrupted: A signal came; everything evaluated is kept.
    """
    try:
        study = _study(run, folder, _task(run, tasks), patience_s)
    # An agent is other people's code and may raise anything; the other runs continue.
    except Exception as error:
        return _failed(0, error)
    with study:
        clock = SessionClock(study)
        told_at = 0.0

        def progress(evaluations: int, budget: int, best: float | None) -> None:
            nonlocal told_at
            clock.take()
            now = time.monotonic()
            if tell is not None and now > told_at + _PROGRESS_S:
                told_at = now
                tell(evaluations)

        executor: Executor | None = None
        try:
            executor = _cached(run.cache)
            study.run(executor, progress=progress)
        except StudyInterrupted:
            clock.write()
            raise
        except Exception as error:
            return _failed(study.evaluations, error)
        finally:
            if executor is not None:
                executor.close()
        clock.write()
    return RunResult(study.evaluations, digest=Digest.of(folder, read_study(folder)))


def _cached(folder: str | None) -> "Executor | None":
    """Return an executor with the cache of a folder, or None without a cache."""
    if folder is None:
        return None
    from archgym.tasks.cache import CachedExecutor
    from archgym.tasks.executor import SerialExecutor

    return CachedExecutor(SerialExecutor(), folder)


def _task(run: Run, tasks: Tasks) -> "Task":
    task = tasks.get(run.task.digest)
    if task is None:
        task = run.task.make()
        if task.digest != run.task.digest:
            raise InvalidArgumentError(
                f"Task {run.task.label!r} must be the one that the sweep records, with digest "
                f"{run.task.digest[:12]}; it is made here with digest {task.digest[:12]}. Use the "
                "version of ArchGym, and the files, that the sweep was begun with."
            )
        tasks[task.digest] = task
    return task


def _failed(evaluations: int, error: Exception) -> RunResult:
    if isinstance(error, ArchGymError):
        stops_all = isinstance(error, StorageError) and error.errno in _FULL
        return RunResult(evaluations, str(error), stops_all=stops_all)
    traceback.print_exception(error)
    return RunResult(
        evaluations, f"{type(error).__name__}: {' '.join(error_text(error).split())[:500]}"
    )


def _study(run: Run, folder: Path, task: "Task", patience_s: float) -> "Study":
    """Return the run's study; a process that is just ending may hold it for a moment."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return _opened(run, folder, task)
        except StudyLockedError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def _opened(run: Run, folder: Path, task: "Task") -> "Study":
    from archgym.studies.study import Study

    if (folder / STUDY_NAME).is_file():
        study = Study.open(folder, task)
        try:
            require_same_study(run, folder)
        except BaseException:
            study.close()
            raise
        return study
    settings = StudySettings(
        seed=run.seed,
        budget=run.budget,
        max_asks=run.max_asks,
        hyperparameters=run.hyperparameters,
        start=run.task.start,
        warm_start=run.task.warm_start,
        patience=run.patience,
        stop_at=run.task.stop_at,
    )
    return Study.begin(folder, task, run.agent, settings)


def require_same_study(run: Run, folder: Path) -> None:
    """Refuse a folder that holds another study than the run's.

    Raises:
      InvalidArgumentError: It does.
      FileFormatError: It holds none that can be read.
      StorageError: It is a link that leads out of the sweep.
    """
    from archgym.studies.metadata import read_header

    require_inside(folder, folder.parents[run.id.count("/")])
    header = read_header(folder)
    pairs: dict[str, tuple[object, object]] = {
        "task": (header.task["digest"], run.task.digest),
        "agent": (header.agent or PROGRAM, run.agent),
        "hyperparameters": (tuples(header.hyperparameters), tuples(run.hyperparameters)),
        "seed": (run.seed if header.agent is None else header.seed, run.seed),
        "budget": (header.budget, run.budget),
        "max_asks": (header.max_asks, run.max_asks),
        "patience": (header.patience, run.patience),
        "stop_at": (header.stop_at, run.task.stop_at),
        "start": (header.start is not None, bool(run.task.start)),
        "warm_start": (header.prior_digest is not None, bool(run.task.warm_start)),
    }
    for name, (recorded, planned) in pairs.items():
        if recorded != planned:
            raise InvalidArgumentError(
                f"The study in {folder} must be the sweep's; its {name} is {recorded!r}, the "
                f"sweep's is {planned!r}. Move it away, or run the sweep in another folder."
            )
