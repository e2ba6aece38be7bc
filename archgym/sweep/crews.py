"""Workers that run the studies of a sweep: processes of this machine, and of a Ray cluster."""

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, final

from archgym.errors import StudyInterrupted
from archgym.files.storage import open_own
from archgym.studies.snapshot import read_state
from archgym.sweep.plan import Run
from archgym.sweep.reading import PLAN_NAME
from archgym.sweep.study_run import RunResult, Tasks, perform
from archgym.tasks.ray_pool import THREAD_VARIABLES, Loss, Origin, RayPool

# chosen: a process must be gone within the two seconds that a stop may take.
_STOP_S = 1.2
# chosen: a process that was stopped for so long stays stopped.
_STOPPED_S = 20.0
# chosen: longer than a process lives after its driver was killed.
_PATIENCE_S = 3.0


@final
@dataclass
class _StudyProcess:
    """Handle of one worker process."""

    log: Path
    """File that receives the output of the process."""
    run: Run | None = None
    evaluations: int = 0
    """Evaluations of its run so far."""
    _stopped_at: float | None = field(default=None, repr=False)
    _process: BaseProcess | None = field(default=None, repr=False)
    _connection: "Connection[Any, Any] | None" = field(default=None, repr=False)

    @property
    def connection(self) -> "Connection[Any, Any]":
        """Connection to wait for."""
        assert self._connection is not None
        return self._connection

    def send(self, run: Run, folder: Path) -> None:
        """Run a study in `folder`, in a new process if no process is free."""
        if self._process is None:
            self._start()
        self.run, self.evaluations = run, 0
        # A process that has died since is found when its answer is awaited.
        with suppress(OSError):
            self.connection.send((run, folder))

    def receive(self) -> RunResult | None:
        """Return the result of the run; None while it continues."""
        assert self.run is not None
        try:
            kind, content = self.connection.recv()
        except (EOFError, OSError):
            return RunResult(self.evaluations, self._death(), is_lost=True)
        if kind == "progress":
            self.evaluations = int(content)
            return None
        self.run = None
        assert isinstance(content, RunResult)
        return content

    def kill_if_stopped(self) -> None:
        """Kill the process if it was stopped a while ago (Linux), so that its lease ends."""
        assert self._process is not None
        state = ""
        with suppress(OSError):
            text = Path(f"/proc/{self._process.pid}/stat").read_text()
            state = text.rpartition(")")[2].split()[0]
        if state != "T":
            self._stopped_at = None
        elif self._stopped_at is None:
            self._stopped_at = time.monotonic()
        elif time.monotonic() > self._stopped_at + _STOPPED_S:
            self._process.kill()

    def ask_to_end(self) -> None:
        """Ask the process to save its study and end."""
        if self._process is not None:
            with suppress(OSError, ValueError):
                self._process.terminate()

    def end(self, deadline: float) -> None:
        """Wait until the process is gone, and kill it at the deadline."""
        process, connection = self._process, self._connection
        self._process = self._connection = self.run = None
        if process is None:
            return
        process.join(max(0.0, deadline - time.monotonic()))
        with suppress(OSError, ValueError):
            process.kill()
        process.join(1.0)
        if connection is not None:
            connection.close()
        with suppress(OSError):
            if self.log.stat().st_size == 0:
                self.log.unlink()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        # Not a daemon: an agent may start processes of its own.
        self._process = context.Process(
            target=_serve, args=(theirs, self.log), name="archgym-study"
        )
        before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
        try:
            # Libraries read these as they are imported, which is before any code of ours.
            for name, value in before.items():
                os.environ[name] = value or "1"
            self._process.start()
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
        theirs.close()

    def _death(self) -> str:
        assert self._process is not None
        self._process.join(1.0)
        code = self._process.exitcode
        self.run = None
        self.end(time.monotonic())
        return f"Its process died with exit code {code}; what it printed is in {self.log}."


@final
class LocalCrew:
    """Processes of this machine, each of which runs a study at a time."""

    def __init__(self, folder: Path, workers: int) -> None:
        """Set up the crew without starting a process.

        Args:
          folder: The sweep's, which gets a log for each process that prints something.
        """
        self._processes = [
            _StudyProcess(folder / f"worker-{number}.log") for number in range(workers)
        ]

    @property
    def room(self) -> int:
        """Number of further runs it takes."""
        return sum(process.run is None for process in self._processes)

    @property
    def evaluations(self) -> dict[str, int]:
        """Evaluations of its current runs, by their id."""
        return {p.run.id: p.evaluations for p in self._processes if p.run is not None}

    def send(self, run: Run, folder: Path) -> None:
        """Run a study in a folder, in one of the processes."""
        next(process for process in self._processes if process.run is None).send(run, folder)

    def take(self, patience_s: float) -> list[tuple[Run, RunResult]]:
        """Wait for a while at most and return the runs that ended."""
        busy: dict[Any, _StudyProcess] = {
            process.connection: process for process in self._processes if process.run is not None
        }
        ended = []
        for connection in wait(list(busy), timeout=patience_s):
            process = busy[connection]
            run = process.run
            assert run is not None
            result = process.receive()
            if result is not None:
                ended.append((run, result))
        for process in self._processes:
            if process.run is not None:
                process.kill_if_stopped()
        return ended

    def stop(self) -> None:
        """End all within the time that a stop may take."""
        for process in self._processes:
            process.ask_to_end()
        deadline = time.monotonic() + _STOP_S
        for process in self._processes:
            process.end(deadline)


# ---- in the process


def _serve(connection: "Connection[Any, Any]", log: Path) -> None:
    # Ctrl-C goes to the whole terminal; the driver decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    # On a full disk the study says why it fails, not its log.
    with suppress(OSError):
        descriptor = open_own(log, os.O_WRONLY | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.close(descriptor)
    logging.basicConfig(level=logging.WARNING, format="warning: %(message)s", stream=sys.stderr)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_watch, args=(parent.sentinel,), daemon=True).start()
    tasks: Tasks = {}

    def tell(evaluations: int) -> None:
        with suppress(OSError):
            connection.send(("progress", evaluations))

    with suppress(EOFError, OSError):
        while True:
            run, folder = connection.recv()
            try:
                result = perform(run, folder, tasks, _PATIENCE_S, tell)
            except StudyInterrupted:
                _end()
            connection.send(("done", result))
    # Not by returning: libraries' threads and processes may keep an interpreter from ending.
    sys.stderr.flush()
    os._exit(0)


def _end(*_: object) -> None:
    os._exit(128 + signal.SIGTERM)


def _watch(parent: int) -> None:
    """End the process when its driver is gone."""
    wait([parent])
    # The study's own handler brings everything to the disk.
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_STOP_S)
    os._exit(1)


# chosen: longer than a cluster and a shared file system need to be sure that a node is lost, after
# which they end its processes and give its locks to others.
_LOST_S = 150.0
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
        return perform(run, origin.folder / run.id, _tasks, _LOST_S)
    except StudyInterrupted as interruption:
        return RunResult(0, str(interruption), is_lost=True)


@final
class RayCrew:
    """A Ray cluster's processors, each of which runs a study at a time.

    Each run is a Ray task, and not a trial of Ray Tune. Tune stops trials that report worse
    results, and keeps checkpoints in an experiment that only its driver restores. Runs of a sweep
    are independent, and none may stop before its budget. Any process can resume a study by replay
    from its journal. The sweep's folder records what is finished, so nothing else must be restored.
    Ray retries no task. The driver does, since it knows whether the study has made progress.
    """

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
