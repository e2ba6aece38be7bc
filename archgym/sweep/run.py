"""Runs a sweep: each run a study in a folder of its own, several at a time, resumable."""

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, final

from archgym.errors import (
    FileFormatError,
    InvalidArgumentError,
)
from archgym.folder import JOURNAL_NAME, STUDY_NAME
from archgym.interruption import Interruption
from archgym.lease import Lease
from archgym.limits import check_whole
from archgym.storage import make_folder, open_file, storage_errors, write_atomic
from archgym.studylog import read_state
from archgym.sweep.plan import (
    PLAN_NAME,
    Run,
    SweepPlan,
    read_recorded_plan,
    write_recorded_plan,
)
from archgym.sweep.process import RunResult, StudyProcess, require_same_study, stop_all

__all__ = ["SweepOutcome", "SweepState", "read_failures", "run_sweep"]

_FAILURES_NAME = "failures.json"
_MAX_BYTES = 2**24
# chosen: more than any one machine has a use for.
_MAX_WORKERS = 256
_WAIT_S = 0.5
_BLOCK = 2**20


@final
@dataclass(frozen=True)
class SweepState:
    """How far a sweep is."""

    runs: int
    finished: int
    failed: int
    evaluations: int
    """Of all runs together, those of earlier sessions included."""
    goal: int
    """Evaluations that there will be, where every run reaches its budget."""
    known: int
    """Evaluations that were there when it began."""


@final
@dataclass(frozen=True)
class SweepOutcome:
    """How a sweep ended."""

    folder: Path
    runs: int
    repeated: int
    """Runs that were finished before."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """Why runs failed, by their id."""


def run_sweep(
    plan: SweepPlan,
    folder: str | Path,
    *,
    workers: int = 1,
    only: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    progress: Callable[[SweepState], None] | None = None,
) -> SweepOutcome:
    """Runs what of a plan is not finished yet in a folder.

    Each run is a study in ``<task>/<agent's label>/seed-<n>``. One that is finished is left as it
    is, one that was interrupted goes on by replay. Studies run in processes of their own, whose
    number decides nothing but the time it takes. A run that fails is recorded, and the others go
    on; the next call tries it again.

    Args:
      plan: What is to be run; it may add tasks, agents and seeds to what the folder has.
      folder: The sweep's, new or one of this plan.
      workers: How many studies run at once.
      only: Labels of agents; all where None.
      seeds: Which of the plan's; all where None.
      progress: Called as the sweep goes on.

    Raises:
      InvalidArgumentError: The folder holds something else than a part of this plan.
      StudyInterrupted: A signal came; everything evaluated is kept.
      StudyLockedError: Another process runs this sweep.
      StorageError: The folder cannot be written.
    """
    check_whole("workers", workers, 1, _MAX_WORKERS)
    if not all(task.digest for task in plan.tasks):
        plan = plan.decided()
    runs = plan.runs(only, seeds)
    folder = Path(folder)
    _check_folder(folder)
    lease = Lease(make_folder(folder))
    try:
        _record_plan(folder, plan)
        return _Driver(folder, runs, progress).drive(workers)
    finally:
        lease.release()


def read_failures(folder: str | Path) -> dict[str, str]:
    """Why runs of a sweep failed when they were last tried, by their id.

    Raises:
      FileFormatError: The file is damaged.
      StorageError: It cannot be read.
    """
    path = Path(folder) / _FAILURES_NAME
    if not path.is_file():
        return {}
    with storage_errors(path, "read"), open_file(path) as handle:
        content = handle.read(_MAX_BYTES)
    try:
        data = json.loads(content)
        return {str(name): str(why) for name, why in data.items()}
    except (ValueError, AttributeError, RecursionError):
        raise FileFormatError(
            path,
            None,
            "must be what `archgym sweep run` wrote",
            "Remove it and run the sweep again",
        ) from None


def _check_folder(folder: Path) -> None:
    if not folder.is_dir() or (folder / PLAN_NAME).is_file():
        return
    with storage_errors(folder, "read"):
        names = sorted(path.name for path in folder.iterdir())
    # What is there beside a plan was left by a process that was killed as it began.
    strange = [name for name in names if name != "writer.lock" and not name.startswith(".writing-")]
    if strange:
        raise InvalidArgumentError(
            f"A sweep needs a new or empty folder, or its own; {folder} holds {strange[0]!r}. "
            "Choose another name."
        )


def _record_plan(folder: Path, plan: SweepPlan) -> None:
    if (folder / PLAN_NAME).is_file():
        recorded = read_recorded_plan(folder)
        difference = plan.difference(recorded)
        if difference is not None:
            raise InvalidArgumentError(
                f"A sweep's plan may add tasks, agents and seeds but change none that {folder} "
                f"has; {difference}. Give back what was there, or use another folder."
            )
        if recorded == plan:
            return
    write_recorded_plan(folder, plan)


class _Driver:
    """Hands runs to processes and takes what they report."""

    def __init__(
        self,
        folder: Path,
        runs: Sequence[Run],
        progress: Callable[[SweepState], None] | None,
    ) -> None:
        self._folder = folder
        self._runs = runs
        self._progress = progress
        self._failures = read_failures(folder)
        self._known = 0
        # Counted as runs end: what is told several times a second must not go through all runs.
        self._n_settled, self._n_failed, self._n_evaluations = 0, 0, 0
        self._n_planned = sum(run.budget for run in runs)

    def drive(self, workers: int) -> SweepOutcome:
        """Runs everything that is not finished."""
        waiting: deque[Run] = deque()
        repeated = 0
        for run in self._runs:
            is_finished, evaluations = _standing(self._folder / run.id, run)
            self._known += evaluations
            if is_finished:
                repeated += 1
                self._count(run, evaluations)
            else:
                waiting.append(run)
        if waiting:
            for run in waiting:
                self._failures.pop(run.id, None)
            self._n_failed = sum(run.id in self._failures for run in self._runs)
            self._write_failures()
            count = min(workers, len(waiting))
            processes = [
                StudyProcess(self._folder / f"worker-{number}.log") for number in range(count)
            ]
            self._drive(processes, waiting)
        own = {run.id for run in self._runs}
        failures = {name: why for name, why in self._failures.items() if name in own}
        return SweepOutcome(self._folder, len(self._runs), repeated, failures)

    def _drive(self, processes: list[StudyProcess], waiting: deque[Run]) -> None:
        with Interruption() as interruption:
            try:
                while waiting or any(process.run for process in processes):
                    for process in processes:
                        if process.run is None and waiting:
                            run = waiting.popleft()
                            # Between the two calls that start it, nobody would end a process.
                            with interruption.shielded():
                                process.send(run, self._folder / run.id)
                    self._take(processes)
                    self._tell(processes)
                interruption.check()
            finally:
                interruption.hold_back()
                stop_all(processes)

    def _take(self, processes: list[StudyProcess]) -> None:
        busy = {process.connection: process for process in processes if process.run is not None}
        for connection in wait(list(busy), timeout=_WAIT_S):
            process = busy[connection]  # type: ignore[index]  # one of these
            run = process.run
            assert run is not None
            result = process.receive()
            if result is not None:
                self._settle(run, result)

    def _settle(self, run: Run, result: RunResult) -> None:
        self._count(run, result.evaluations)
        if result.failure is not None:
            self._n_failed += 1
            self._failures[run.id] = result.failure
            self._write_failures()

    def _count(self, run: Run, evaluations: int) -> None:
        self._n_settled += 1
        self._n_evaluations += evaluations
        # It may have ended before its budget.
        self._n_planned += evaluations - run.budget

    def _tell(self, processes: Sequence[StudyProcess]) -> None:
        if self._progress is None:
            return
        running = sum(process.evaluations for process in processes if process.run is not None)
        self._progress(
            SweepState(
                len(self._runs),
                self._n_settled - self._n_failed,
                self._n_failed,
                self._n_evaluations + running,
                self._n_planned,
                self._known,
            )
        )

    def _write_failures(self) -> None:
        path = self._folder / _FAILURES_NAME
        if self._failures:
            text = json.dumps(self._failures, indent=1, ensure_ascii=False)
            write_atomic(path, text + "\n")
        else:
            with suppress(FileNotFoundError):
                path.unlink()


def _standing(folder: Path, run: Run) -> tuple[bool, int]:
    """Whether a run is finished, found out without reading its records, and its evaluations.

    Raises:
      InvalidArgumentError: The folder holds another study.
    """
    if not (folder / STUDY_NAME).is_file():
        return False, 0
    require_same_study(run, folder)
    state: Mapping[str, Any] = read_state(folder) or {}
    asks, evaluations = state.get("asks"), state.get("evaluations")
    if type(asks) is not int or type(evaluations) is not int:
        return False, 0
    is_whole = _count_lines(folder / JOURNAL_NAME) == asks
    return state.get("status") == "finished" and is_whole, evaluations


def _count_lines(path: Path) -> int:
    lines = 0
    with suppress(OSError), open_file(path) as handle:
        while block := handle.read(_BLOCK):
            lines += block.count(b"\n")
    return lines
