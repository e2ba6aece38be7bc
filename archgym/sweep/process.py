"""A process that runs one study of a sweep after the other for the process that drives it."""

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from archgym.errors import (
    ArchGymError,
    InvalidArgumentError,
    StudyInterrupted,
    StudyLockedError,
)
from archgym.folder import STUDY_NAME
from archgym.sweep.plan import Run
from archgym.sweep.sessions import SessionClock

if TYPE_CHECKING:
    from archgym.study import Study
    from archgym.task import Task

__all__ = ["RunResult", "StudyProcess", "require_same_study"]

# chosen: what the driver hears of a study's progress is for people.
_PROGRESS_S = 0.2
# chosen: a process must be gone within the two seconds that a stop may take.
_STOP_S = 1.2
# chosen: longer than a process goes on after its driver was killed.
_PATIENCE_S = 3.0
# One thread each: a study's numbers must not depend on how many processes share the machine.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@final
@dataclass(frozen=True)
class RunResult:
    """How a run ended: what the study reached, or why it failed."""

    evaluations: int
    failure: str | None = None


@final
@dataclass
class StudyProcess:
    """The driver's side of one process."""

    log: Path
    """Where everything goes that the process prints."""
    run: Run | None = None
    evaluations: int = 0
    """Of its run, so far."""
    _process: BaseProcess | None = field(default=None, repr=False)
    _connection: "Connection[Any, Any] | None" = field(default=None, repr=False)

    @property
    def connection(self) -> "Connection[Any, Any]":
        """What to wait for."""
        assert self._connection is not None
        return self._connection

    def send(self, run: Run, folder: Path) -> None:
        """Has it run a study in `folder`, in a new process where there is none."""
        if self._process is None:
            self._start()
        self.run, self.evaluations = run, 0
        # A process that has died since is found when its answer is awaited.
        with suppress(OSError):
            self.connection.send((run, folder))

    def receive(self) -> RunResult | None:
        """How the run ended; None where it goes on."""
        assert self.run is not None
        try:
            kind, content = self.connection.recv()
        except (EOFError, OSError):
            return RunResult(self.evaluations, self._death())
        if kind == "progress":
            self.evaluations = int(content)
            return None
        self.run = None
        assert isinstance(content, RunResult)
        return content

    def ask_to_end(self) -> None:
        """Lets its study bring everything to the disk and end."""
        if self._process is not None:
            with suppress(OSError, ValueError):
                self._process.terminate()

    def end(self, deadline: float) -> None:
        """Waits until the process is gone, and kills it at the deadline."""
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
        before = {name: os.environ.get(name) for name in _THREADS}
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


def stop_all(processes: list[StudyProcess]) -> None:
    """Ends all of them within the time that a stop may take."""
    for process in processes:
        process.ask_to_end()
    deadline = time.monotonic() + _STOP_S
    for process in processes:
        process.end(deadline)


# ---- in the process


def _serve(connection: "Connection[Any, Any]", log: Path) -> None:
    # Ctrl-C goes to the whole terminal; the driver decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    logging.basicConfig(level=logging.WARNING, format="warning: %(message)s", stream=sys.stderr)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_watch, args=(parent.sentinel,), daemon=True).start()
    tasks: dict[str, Task] = {}
    with suppress(EOFError, OSError):
        while True:
            run, folder = connection.recv()
            connection.send(("done", _perform(run, folder, tasks, connection)))
    # Not by returning: libraries' threads and processes may keep an interpreter from ending.
    sys.stderr.flush()
    os._exit(0)


def _end(*_: object) -> None:
    os._exit(128 + signal.SIGTERM)


def _watch(parent: int) -> None:
    """Ends the process when its driver is gone."""
    wait([parent])
    # The study's own handler brings everything to the disk.
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_STOP_S)
    os._exit(1)


def _perform(
    run: Run, folder: Path, tasks: "dict[str, Task]", connection: "Connection[Any, Any]"
) -> RunResult:
    try:
        task = tasks.get(run.task.label)
        if task is None:
            task = tasks[run.task.label] = run.task.make()
        study = _study(run, folder, task)
    except ArchGymError as error:
        return RunResult(0, str(error))
    except Exception as error:
        traceback.print_exc()
        return RunResult(0, _words(error))
    with study:
        clock = SessionClock(study)
        told_at = 0.0

        def progress(evaluations: int, budget: int, best: float | None) -> None:
            nonlocal told_at
            clock.take()
            now = time.monotonic()
            if now > told_at + _PROGRESS_S:
                told_at = now
                with suppress(OSError):
                    connection.send(("progress", evaluations))

        try:
            study.run(progress=progress)
        except StudyInterrupted:
            clock.write()
            _end()
        except ArchGymError as error:
            return RunResult(study.evaluations, str(error))
        # An agent is other people's code and may raise anything; the other runs go on.
        except Exception as error:
            traceback.print_exc()
            return RunResult(study.evaluations, _words(error))
        clock.write()
        return RunResult(study.evaluations)


def _study(run: Run, folder: Path, task: "Task") -> "Study":
    """The run's study; a process that is just ending may hold it for a moment."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return _opened(run, folder, task)
        except StudyLockedError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def _opened(run: Run, folder: Path, task: "Task") -> "Study":
    from archgym.study import Study

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
    )


def require_same_study(run: Run, folder: Path) -> None:
    """Refuses a folder that holds another study than the run's.

    Raises:
      InvalidArgumentError: It does.
      FileFormatError: It holds none that can be read.
    """
    from archgym.header import read_header

    header = read_header(folder)
    pairs: dict[str, tuple[object, object]] = {
        "task": (header.task["digest"], run.task.digest),
        "agent": (header.agent, run.agent),
        "hyperparameters": (dict(header.hyperparameters), _plain(run.hyperparameters)),
        "seed": (header.seed, run.seed),
        "budget": (header.budget, run.budget),
        "max_asks": (header.max_asks, run.max_asks),
    }
    for name, (recorded, planned) in pairs.items():
        if recorded != planned:
            raise InvalidArgumentError(
                f"The study in {folder} must be the sweep's; its {name} is {recorded!r}, the "
                f"sweep's is {planned!r}. Move it away, or run the sweep in another folder."
            )


def _plain(values: Any) -> dict[str, Any]:
    return {n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
