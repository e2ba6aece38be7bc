"""Threads that simulate the designs of a table."""

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np

from archgym.errors import ArchGymError, SimulatorError
from archgym.external import RunningPrograms
from archgym.simulator import FAILED, BatchResult, Workload
from archgym.task import Task

__all__ = ["Job", "SimulatingThreads"]


@final
@dataclass(frozen=True)
class Job:
    """A batch of a part's designs on one workload."""

    part: int
    rows: slice
    place: int
    indices: np.ndarray


@final
class SimulatingThreads:
    """Threads that simulate; they end with the process, so that nothing waits for a kernel."""

    def __init__(self, task: Task, workers: int) -> None:
        self._task = task
        self._workers = workers
        self._programs = RunningPrograms()
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[Job, BatchResult | BaseException]] = (
            queue.SimpleQueue()
        )

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
        """Results as they come.

        Raises:
          SimulatorError: The simulator broke on a design.
        """
        n_waiting = 0
        for job in jobs:
            self._jobs.put(job)
            n_waiting += 1
            # Enough that no thread waits, few enough that parts are finished one after the other.
            if n_waiting >= 2 * self._workers:
                yield self._next()
                n_waiting -= 1
        for _ in range(n_waiting):
            yield self._next()

    def _next(self) -> tuple[Job, BatchResult]:
        job, result = self._results.get()
        if isinstance(result, BaseException):
            raise result
        broken = np.flatnonzero(result.reason == FAILED)
        if len(broken):
            row = int(broken[0])
            design = dict(self._task.space.design_at(job.indices[row]))
            workload = self._task.workloads[job.place].workload.name
            raise _broke(f"{design!r} on workload {workload!r}", result.failures[row])
        return job, result

    def _serve(self) -> None:
        with self._programs:
            while (job := self._jobs.get()) is not None and not self._is_over:
                workload = self._task.workloads[job.place].workload
                result: BatchResult | BaseException
                try:
                    result = self._task.simulator.evaluate_batch(job.indices, workload)
                # A simulator is other people's code; whatever it raises ends the build.
                except BaseException as error:
                    result = self._told(error, job.indices, workload)
                self._results.put((job, result))

    def _told(self, error: BaseException, indices: np.ndarray, workload: Workload) -> ArchGymError:
        """The error as one line that names the design, or of how many designs it is one."""
        if isinstance(error, ArchGymError) and not isinstance(error, SimulatorError):
            return error
        for row in indices if len(indices) > 1 else ():
            if self._is_over:
                break
            try:
                self._task.simulator.evaluate_batch(row[None, :], workload)
            except BaseException as alone:
                return self._told(alone, row[None, :], workload)
        design = dict(self._task.space.design_at(indices[0]))
        others = f" or one of {len(indices) - 1} after it" if len(indices) > 1 else ""
        kind = "" if isinstance(error, SimulatorError) else f"{type(error).__name__}: "
        return _broke(f"{design!r}{others} on workload {workload.name!r}", f"{kind}{error}")


def _broke(where: str, why: str) -> SimulatorError:
    return SimulatorError(
        f"A table must have every design's metrics; the simulator broke on {where}: "
        f"{' '.join(why.split())}"
    )
