"""One run of a sweep, performed in the process that is to write its study."""

import errno
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from archgym.errors import (
    ArchGymError,
    InvalidArgumentError,
    StorageError,
    StudyInterrupted,
    StudyLockedError,
    error_text,
)
from archgym.files.storage import require_inside
from archgym.studies.folder import STUDY_NAME
from archgym.studies.timing import SessionClock
from archgym.sweep.plan import Run

if TYPE_CHECKING:
    from archgym.evaluation.executor import Executor
    from archgym.evaluation.task import Task
    from archgym.studies.study import Study

# chosen: progress of a study is reported for people.
_PROGRESS_S = 0.2
_FULL = (errno.ENOSPC, errno.EDQUOT)

Tasks = dict[str, "Task"]
"""Those that a process has made, by their digest."""


@final
@dataclass(frozen=True)
class RunResult:
    """Result of a run: the study's end, or the reason of its failure."""

    evaluations: int
    failure: str | None = None
    is_lost: bool = False
    """True if its process was lost, so that another may succeed."""
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
        return RunResult(study.evaluations)


def _cached(folder: str | None) -> "Executor | None":
    """Return an executor with the cache of a folder, or None without a cache."""
    if folder is None:
        return None
    from archgym.evaluation.cache import CachedExecutor
    from archgym.evaluation.executor import SerialExecutor

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
    return Study.create(
        folder,
        task,
        run.agent,
        seed=run.seed,
        budget=run.budget,
        max_asks=run.max_asks,
        hyperparameters=run.hyperparameters,
        start=run.task.start,
        warm_start=run.task.warm_start,
        patience=run.patience,
        stop_at=run.task.stop_at,
    )


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
        "agent": (header.agent, run.agent),
        "hyperparameters": (dict(header.hyperparameters), _without_tuples(run.hyperparameters)),
        "seed": (header.seed, run.seed),
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


def _without_tuples(values: Any) -> dict[str, Any]:
    return {n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}
