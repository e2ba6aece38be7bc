"""Simulation of the parts of a table by the threads of one process."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

import numpy as np

from archgym.errors import ArchGymError, SimulatorError, StudyInterrupted
from archgym.evaluation.external import RunningPrograms
from archgym.evaluation.simulator import FAILED, BatchResult, Workload
from archgym.runtime.interruption import Interruption
from archgym.tables.parts import Build, Part, PartClaims
from archgym.tasks.task import Task

# chosen: a build that is killed loses so much at most of a slow simulator's work.
_WRITE_S = 10.0
# chosen: a stop waits for what is simulated, progress is told after it, and overheads are small.
_BATCH_S = 0.25
_MAX_BATCH = 2**14
# chosen: a compilation within the first of them must not make all batches small for long.
_GROWTH = 8


@final
@dataclass(frozen=True)
class Job:
    """A batch of a part's designs on one workload."""

    part: int
    rows: np.ndarray
    """Places in the part, (n,) int64."""
    place: int
    indices: np.ndarray


@final
class Pace:
    """Batch size: as many designs as take a quarter of a second, at most 16,384."""

    def __init__(self) -> None:
        self.batch = 1

    def take(self, n: int, took_s: float) -> None:
        """Set the next batch's size from one of `n` designs that took `took_s`."""
        fitting = int(_BATCH_S * n / max(took_s, 1e-9))
        self.batch = max(1, min(_MAX_BATCH, fitting, _GROWTH * self.batch))


@final
@dataclass(frozen=True)
class _Broken:
    """A batch on which the simulator broke, and on which of its designs first."""

    row: int
    error: ArchGymError


@final
class SimulatingThreads:
    """Simulation threads; they are daemons, so that the process need not wait for a kernel."""

    def __init__(self, task: Task, workers: int) -> None:
        self._task = task
        self._workers = workers
        self._programs = RunningPrograms()
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.pace = Pace()
        self._results: queue.SimpleQueue[tuple[Job, BatchResult | _Broken]] = queue.SimpleQueue()
        self._broken: list[tuple[int, int, int, ArchGymError]] = []

    def __enter__(self) -> "SimulatingThreads":
        for number in range(self._workers):
            threading.Thread(target=self._serve, name=f"archgym-{number}", daemon=True).start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        # What waits is dropped.
        self._is_over = True
        if kind is not None:
            self._programs.stop()
        for _ in range(self._workers):
            self._jobs.put(None)

    _is_over = False

    def results(self, jobs: Iterator[Job]) -> Iterator[tuple[Job, BatchResult]]:
        """Yield results as they come.

        Args:
          jobs: Jobs in the order of their designs, those of the same designs one after the other.

        Raises:
          SimulatorError: The simulator broke; whatever the threads, it names the first such design.
        """
        n_waiting = 0
        for job in jobs:
            # Those before it have been handed out, and the same designs may break elsewhere too.
            if self._broken and (job.part, int(job.rows[0])) > min(self._broken)[:2]:
                break
            self._jobs.put(job)
            n_waiting += 1
            # Enough that no thread waits, few enough that parts are finished one after the other.
            if n_waiting >= 2 * self._workers:
                yield from self._next()
                n_waiting -= 1
        for _ in range(n_waiting):
            yield from self._next()
        if self._broken:
            raise min(self._broken, key=lambda broken: broken[:3])[3]

    def _next(self) -> Iterator[tuple[Job, BatchResult]]:
        job, result = self._results.get()
        if isinstance(result, BatchResult):
            failed = np.flatnonzero(result.reason == FAILED)
            if not len(failed):
                yield job, result
                return
            row = int(failed[0])
            design = dict(self._task.space.design_at(job.indices[row]))
            workload = self._task.workloads[job.place].workload.name
            where = f"{design!r} on workload {workload!r}"
            result = _Broken(row, _broke(where, result.failures[row]))
        self._broken.append((job.part, int(job.rows[result.row]), job.place, result.error))

    def _serve(self) -> None:
        with self._programs:
            while (job := self._jobs.get()) is not None and not self._is_over:
                workload = self._task.workloads[job.place].workload
                result: BatchResult | _Broken
                started = time.perf_counter()
                try:
                    result = self._task.simulator.evaluate_batch(job.indices, workload)
                # A simulator is other people's code; whatever it raises ends the build.
                except BaseException as error:
                    result = self._told(error, job.indices, workload)
                self.pace.take(len(job.indices), time.perf_counter() - started)
                self._results.put((job, result))

    def _told(self, error: BaseException, indices: np.ndarray, workload: Workload) -> _Broken:
        """Return the first design of a batch on which the simulator breaks, with its error."""
        if isinstance(error, ArchGymError) and not isinstance(error, SimulatorError):
            return _Broken(0, error)
        for row in range(len(indices)) if len(indices) > 1 else ():
            if self._is_over:
                break
            try:
                self._task.simulator.evaluate_batch(indices[row][None, :], workload)
            except BaseException as alone:
                return _Broken(row, self._told(alone, indices[row][None, :], workload).error)
        design = dict(self._task.space.design_at(indices[0]))
        others = f" or one of {len(indices) - 1} after it" if len(indices) > 1 else ""
        kind = "" if isinstance(error, SimulatorError) else f"{type(error).__name__}: "
        why = f"{kind}{error}"
        return _Broken(0, _broke(f"{design!r}{others} on workload {workload.name!r}", why))


def _broke(where: str, why: str) -> SimulatorError:
    return SimulatorError(
        f"A table must have every design's metrics; the simulator broke on {where}: "
        f"{' '.join(why.split())}"
    )


def simulate_parts(
    build: Build,
    missing: list[int],
    workers: int,
    report: Callable[[int], None],
    interruption: Interruption,
    claims: PartClaims,
) -> None:
    """Simulate the missing parts that nobody else claims.

    Args:
      build: The table.
      missing: Numbers of the parts.
      workers: Number of threads.
      report: Called with the number of simulations after each batch.
      interruption: Delays signals while what is known is written.
      claims: Claims of this process.

    Raises:
      SimulatorError: The simulator broke on a design.
      StudyInterrupted: A signal came.
    """
    waiting: dict[int, Part] = {}
    written_at = time.monotonic()
    with SimulatingThreads(build.task, workers) as threads:
        try:
            for job, result in threads.results(
                _jobs(build, missing, waiting, threads.pace, claims)
            ):
                part = waiting[job.part]
                part.add(job.rows, job.place, result.values, result.reason)
                report(len(job.rows))
                if part.is_whole:
                    part.write()
                    del waiting[job.part]
                    claims.release(job.part)
                elif time.monotonic() > written_at + _WRITE_S:
                    part.write()
                    written_at = time.monotonic()
        except (StudyInterrupted, SimulatorError):
            interruption.hold_back()
            for part in waiting.values():
                if part.is_known.any():
                    part.write()
            raise


def _jobs(
    build: Build,
    missing: list[int],
    waiting: dict[int, Part],
    pace: Pace,
    claims: PartClaims,
) -> Iterator[Job]:
    for number in missing:
        if not claims.take(build, number):
            continue
        indices = build.task.space.unflat(build.numbers(number))
        part = Part(build, number, len(indices))
        waiting[number] = part
        if part.is_whole:
            part.write()
            del waiting[number]
            continue
        start = 0
        while start < len(indices):
            end = min(start + pace.batch, len(indices))
            for place in range(len(build.task.workloads)):
                rows = start + np.flatnonzero(~part.is_known[start:end, place])
                if len(rows):
                    yield Job(number, rows, place, indices[rows])
            start = end
