"""Evaluation of designs in processes, which are killed when they hang."""

import logging
import math
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, final

import numpy as np

from archgym.checks import check_number, check_whole
from archgym.errors import (
    ArchGymError,
    InvalidArgumentError,
    StudyInterrupted,
)
from archgym.evaluation.external import RunningPrograms
from archgym.tasks.executor import (
    Executor,
    ThreadExecutor,
    empty_evaluation,
    evaluate_isolated,
    failed_evaluation,
    joined,
)
from archgym.tasks.task import Evaluation, Task

logger = logging.getLogger(__name__)

# chosen: a chunk this long makes the cost of sending it small, and is lost when its process is.
_CHUNK_S = 0.05
_MAX_CHUNK = 1024


@final
class ProcessExecutor(Executor):
    """Executor with processes, which are killed and replaced when they hang or die.

    They are spawned, so a script that uses this starts under ``if __name__ == "__main__":``, and
    its simulator's class lives in a module that can be imported.
    """

    starts_ahead = True

    def __init__(self, workers: int = 1, timeout_s: float | None = None) -> None:
        """Start no process before the first batch.

        Args:
          workers: Number of processes, 1 or more.
          timeout_s: Wall time that one design may take [s]; None for any.
        """
        self.workers = check_whole("workers", workers, 1)
        self._timeout_s = None if timeout_s is None else check_number("timeout_s", timeout_s, 1e-9)
        self._cancelled = False
        self._workers: list[WorkerProcess] = []
        self._task: Task | None = None
        self._chunk = 1
        self._ahead: ThreadExecutor | None = None

    def expect(self, task: Task, indices: np.ndarray) -> None:
        """Start designs; from the first call on, each process has a thread that waits for it."""
        if self._ahead is None:
            self._end_all()
            timeout_s = self._timeout_s
            self._ahead = ThreadExecutor(self.workers, lambda: ProcessExecutor(1, timeout_s))
        self._ahead.expect(task, indices)

    def evaluate(self, task: Task, indices: np.ndarray) -> Evaluation:
        """Return results of designs, in their order."""
        if self._ahead is not None:
            return self._ahead.evaluate(task, indices)
        if self._task is not task:
            self._end_all()
            self._task = task
        waiting = deque([(0, len(indices))] if len(indices) else [])
        parts: dict[int, Evaluation] = {}
        try:
            while waiting or any(worker.span for worker in self._workers):
                self._hand_out(task, indices, waiting)
                for worker in self._awaited():
                    self._take(task, worker, waiting, parts)
        except BaseException:
            self._end_all()
            raise
        return joined([empty_evaluation(task), *(parts[start] for start in sorted(parts))])

    def cancel(self) -> None:
        """Kill the processes and the external programs they run."""
        self._cancelled = True
        if self._ahead is not None:
            self._ahead.cancel()
        self._end_all()

    def _hand_out(self, task: Task, indices: np.ndarray, waiting: "deque[tuple[int, int]]") -> None:
        while waiting:
            if self._cancelled:
                raise StudyInterrupted("The executor was closed while it worked.")
            idle = [worker for worker in self._workers if worker.span is None]
            if not idle and len(self._workers) >= self.workers:
                return
            worker = idle[0] if idle else WorkerProcess(task)
            if not idle:
                self._workers.append(worker)
            start, stop = waiting.popleft()
            left = stop - start
            size = max(1, min(self._chunk, math.ceil(left / self.workers)))
            if size < left:
                waiting.appendleft((start + size, stop))
            worker.send((start, start + size), indices[start : start + size], self._timeout_s)

    def _awaited(self) -> list["WorkerProcess"]:
        """Return workers that sent a message, died, or exceeded their time limit."""
        busy = {worker.connection: worker for worker in self._workers if worker.span is not None}
        now = time.monotonic()
        soonest = min((worker.deadline for worker in busy.values()), default=now)
        ready = wait(list(busy), timeout=max(0.0, min(soonest - now, 0.5)))
        if self._cancelled:
            raise StudyInterrupted("The executor was closed while it worked.")
        now = time.monotonic()
        return [w for c, w in busy.items() if c in ready or w.deadline <= now]

    def _take(
        self,
        task: Task,
        worker: "WorkerProcess",
        waiting: "deque[tuple[int, int]]",
        parts: dict[int, Evaluation],
    ) -> None:
        assert worker.span is not None
        start, stop = worker.span
        result = worker.receive()
        if isinstance(result, Evaluation):
            parts[start] = result
            self._adapt(stop - start, worker.took_s)
        elif result is not None:
            self._workers.remove(worker)
            worker.kill()
            logger.debug("A worker process was replaced: %s", result)
            if stop - start == 1:
                parts[start] = failed_evaluation(task, result)
            else:
                waiting.extendleft((row, row + 1) for row in reversed(range(start, stop)))

    def _adapt(self, n: int, took_s: float) -> None:
        suited = int(_CHUNK_S * n / max(took_s, 1e-6))
        self._chunk = max(1, min(_MAX_CHUNK, 8 * self._chunk, suited))

    def _end_all(self) -> None:
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.ask_to_end()
        deadline = time.monotonic() + END_S
        for worker in workers:
            worker.kill(deadline)


END_S = 0.3
"""Time a process has to end the programs it runs before it is killed [s]."""


@final
class WorkerProcess:
    """Handle of one worker process in its parent.

    The pool of pebble 5.2 was measured as a replacement: 2,000 designs took 0.04 to 0.06 s instead
    of 0.01 to 0.02 s, and a worker that ignores SIGTERM was killed after 3.6 s instead of 0.3 s.
    """

    def __init__(self, task: Task) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=_serve_process, args=(theirs,), name="archgym-worker", daemon=True
        )
        self._process.start()
        theirs.close()
        self._is_ready = False
        self.span: tuple[int, int] | None = None
        self.deadline = math.inf
        self.took_s = 0.0
        self._timeout_s: float | None = None
        self._started_at = 0.0
        try:
            self.connection.send(task)
        except OSError as error:
            raise self._not_started() from error
        except Exception as error:
            self.kill()
            raise InvalidArgumentError(
                f"A task must be picklable to go to other processes; {type(error).__name__}: "
                f"{error}. Declare the simulator's class at the top of a module, or use threads."
            ) from None

    def send(self, span: tuple[int, int], indices: np.ndarray, timeout_s: float | None) -> None:
        """Hand out a chunk; its time starts when the process is ready for it."""
        self.span, self._timeout_s = span, timeout_s
        # A process that has died since is found when its answer is awaited.
        with suppress(OSError):
            self.connection.send(indices)
        self._start_clock()

    def receive(self) -> Evaluation | str | None:
        """Return the results, or how the process failed, or None if it only became ready."""
        if not self.connection.poll():
            assert self._timeout_s is not None
            return f"The simulator took longer than {self._timeout_s:g} s."
        try:
            kind, content = self.connection.recv()
        except (EOFError, OSError):
            if not self._is_ready:
                raise self._not_started() from None
            self._process.join(END_S)
            return f"The simulator's process died with exit code {self._process.exitcode}."
        if kind == "error":
            raise ArchGymError(content)
        if kind == "ready":
            self._is_ready = True
            self._start_clock()
            return None
        self.span = None
        self.deadline = math.inf
        self.took_s = time.monotonic() - self._started_at
        assert isinstance(content, Evaluation)
        return content

    def ask_to_end(self) -> None:
        """Let the process kill the programs it runs."""
        with suppress(OSError, ValueError):
            self._process.terminate()

    def kill(self, deadline: float | None = None) -> None:
        """End the process, at the latest at `deadline`."""
        self.ask_to_end()
        if deadline is None:
            deadline = time.monotonic() + END_S
        self._process.join(max(0.0, deadline - time.monotonic()))
        with suppress(OSError, ValueError):
            self._process.kill()
        self._process.join(1.0)
        self.connection.close()

    def _start_clock(self) -> None:
        self._started_at = time.monotonic()
        if self._is_ready and self._timeout_s is not None:
            self.deadline = self._started_at + self._timeout_s

    def _not_started(self) -> InvalidArgumentError:
        self._process.join(1.0)
        return InvalidArgumentError(
            f"Worker processes must start; one ended with exit code {self._process.exitcode}. "
            'A script that uses them must start under `if __name__ == "__main__":`.'
        )


def _serve_process(connection: "Connection[Any, Any]") -> None:
    """Evaluate chunks in a worker process until its driver is done."""
    programs = RunningPrograms()

    def end(*_: object) -> None:
        programs.stop()
        os._exit(1)

    # Ctrl-C goes to the whole terminal; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end)
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def watch_parent() -> None:
        wait([sentinel])
        end()

    threading.Thread(target=watch_parent, daemon=True).start()
    with suppress(EOFError, OSError), programs:
        try:
            task = connection.recv()
            connection.send(("ready", None))
        except (EOFError, OSError):
            raise
        except Exception as error:
            connection.send(("error", f"A worker cannot read the task: {error!r}."))
            return
        while True:
            indices = connection.recv()
            try:
                connection.send(("done", evaluate_isolated(task, indices)))
            except ArchGymError as error:
                connection.send(("error", str(error)))
