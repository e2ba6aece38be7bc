"""Workers of a Ray cluster that run the studies of a sweep.

Each run is a Ray task of one processor, and not a trial of Ray Tune. Tune stops trials that report
worse results, and keeps checkpoints in an experiment that only its driver restores. Runs of a sweep
are independent, and none may stop before its budget. Any process can resume a study by replay from
its journal. The sweep's folder records what is finished, so nothing else must be restored.

Ray retries no task. The driver does, since it knows whether the study has made progress.
"""

import time
from pathlib import Path
from typing import final

from archgym.errors import StudyInterrupted
from archgym.evaluation.cluster import Loss, Origin, RayPool
from archgym.studies.snapshot import read_state
from archgym.sweep.plan import Run
from archgym.sweep.reading import PLAN_NAME
from archgym.sweep.study_run import RunResult, Tasks, perform

# chosen: longer than a cluster and a shared file system need to be sure that a node is lost, after
# which they end its processes and give its locks to others.
_PATIENCE_S = 150.0
# chosen: how often studies' folders are asked for their progress.
_LOOK_S = 2.0

_tasks: Tasks = {}


def origin_of(folder: Path) -> Origin:
    """Return what every node must share with the process that drives a sweep.

    Raises:
      StorageError: The plan cannot be read.
    """
    return Origin.of(folder, PLAN_NAME, "sweep")


def work(run: Run, origin: Origin) -> RunResult:
    """Run a study of a sweep to its end, from where it is."""
    misfit = origin.misfit()
    if misfit is not None:
        return RunResult(0, misfit, stops_all=True)
    try:
        return perform(run, origin.folder / run.id, _tasks, _PATIENCE_S)
    except StudyInterrupted as interruption:
        return RunResult(0, str(interruption), is_lost=True)


@final
class RayCrew:
    """A Ray cluster's processors, each of which runs a study at a time."""

    def __init__(self, folder: Path, address: str, workers: int | None) -> None:
        """Connect, unless this process is connected already.

        Args:
          folder: The sweep's, absolute and on storage that all nodes share.
          address: The cluster's, or ``local`` for one on this machine that ends with the crew.
          workers: Studies that run at once; None for as many as the cluster takes.

        Raises:
          MissingExtraError: Ray is not installed.
          ArchGymError: There is no such cluster.
        """
        self._origin = origin_of(folder)
        self._pool = RayPool(work, address, workers)
        self._evaluations: dict[str, int] = {}
        self._looked_at = 0.0

    @property
    def room(self) -> int:
        """Number of further runs it takes; some of those wait for a processor."""
        return max(0, self._pool.size - len(self._pool.keys))

    @property
    def evaluations(self) -> dict[str, int]:
        """Evaluations of its current runs, by their id."""
        return self._evaluations

    def send(self, run: Run, folder: Path) -> None:
        """Run a study in its folder of the sweep, in one of the processes."""
        assert folder == self._origin.folder / run.id
        self._pool.send(run, run, self._origin)
        self._evaluations[run.id] = 0

    def take(self, patience_s: float) -> list[tuple[Run, RunResult]]:
        """Wait for a while at most and return the runs that ended."""
        self._look()
        ended = []
        for run, result in self._pool.take(patience_s):
            known = self._evaluations.pop(run.id)
            if isinstance(result, Loss):
                is_lost, stops_all = result.kind == "lost", result.kind == "code"
                result = RunResult(known, result.text, is_lost=is_lost, stops_all=stops_all)
            ended.append((run, result))
        return ended

    def stop(self) -> None:
        """End all, within two seconds where they run on this machine."""
        self._evaluations = {}
        self._pool.stop()

    def _look(self) -> None:
        now = time.monotonic()
        if now < self._looked_at + _LOOK_S:
            return
        self._looked_at = now
        for run in self._pool.keys:
            state = read_state(self._origin.folder / run.id) or {}
            evaluations = state.get("evaluations")
            if type(evaluations) is int:
                self._evaluations[run.id] = evaluations
