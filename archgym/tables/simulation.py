"""Simulation of the parts of a table by the threads of one process."""

import time
from collections.abc import Callable, Iterator

import numpy as np

from archgym.errors import SimulatorError, StudyInterrupted
from archgym.runtime.interruption import Interruption
from archgym.tables.parts import Build, Part, PartClaims
from archgym.tables.threads import Job, Pace, SimulatingThreads

# chosen: a build that is killed loses so much at most of a slow simulator's work.
_WRITE_S = 10.0


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
