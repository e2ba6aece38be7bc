"""Ways to evaluate many designs: one after the other, in threads, in processes."""

import logging
import math
import multiprocessing
import os
import queue
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self, final

import numpy as np

from archgym.errors import (
    ArchGymError,
    InvalidArgumentError,
    SimulatorError,
    StudyInterrupted,
)
from archgym.external import RunningPrograms
from archgym.objective import INFEASIBLE_REWARD
from archgym.simulator import FAILED
from archgym.task import Evaluation, Task

__all__ = ["Executor", "ProcessExecutor", "SerialExecutor", "ThreadExecutor", "executor_for"]

logger = logging.getLogger(__name__)

# chosen: enough for the workers to even out designs that take longer, few enough to cost nothing.
_CHUNKS_PER_WORKER = 4
# chosen: a chunk this long makes the cost of sending it small, and is lost when its process is.
_CHUNK_S = 0.05
_MAX_CHUNK = 1024
_END_S = 0.3


class Executor(ABC):
    """Evaluates designs with a task's simulator; the same results whatever the workers.

    A simulator that breaks on a design costs that design: its row says so in `failures`. Errors of
    ArchGym's own that are not SimulatorErrors (a program that is not installed, say) are the
    caller's and are raised.
    """

    workers: int = 1

    @abstractmethod
    def evaluate(self, task: Task, indices: np.ndarray) -> Evaluation:
        """Results of designs, (n, n_parameters) indices, in their order."""

    @abstractmethod
    def cancel(self) -> None:
        """Ends what runs, from another thread, at once; the executor is of no more use."""

    def close(self) -> None:
        """Gives its threads and processes back."""
        self.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def executor_for(workers: int = 1, timeout_s: float | None = None) -> Executor:
    """The executor that suits: processes where there is a time limit, else threads, else neither.

    Args:
      workers: How many designs are evaluated at once, 1 or more.
      timeout_s: Wall time that one design may take [s]; its process is killed and replaced.
    """
    if timeout_s is not None:
        return ProcessExecutor(workers, timeout_s)
    return SerialExecutor() if workers == 1 else ThreadExecutor(workers)


@final
class SerialExecutor(Executor):
    """Evaluates in the thread that asks."""

    def __init__(self) -> None:
        self._programs = RunningPrograms()

    def evaluate(self, task: Task, indices: np.ndarray) -> Evaluation:
        """Results of designs, in their order."""
        with self._programs:
            return _evaluate(task, indices)

    def cancel(self) -> None:
        """Kills external programs; no other starts."""
        self._programs.stop()


@final
class ThreadExecutor(Executor):
    """Splits batches over threads; for simulators that release Python's lock or run programs."""

    def __init__(self, workers: int) -> None:
        """Starts no thread before the first batch."""
        self.workers = _checked_workers(workers)
        self._programs = RunningPrograms()
        self._cancelled = False
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def evaluate(self, task: Task, indices: np.ndarray) -> Evaluation:
        """Results of designs, in their order."""
        n = len(indices)
        if n <= 1:
            with self._programs:
                return _evaluate(task, indices)
        self._start()
        size = math.ceil(n / (self.workers * _CHUNKS_PER_WORKER))
        starts = range(0, n, size)
        results: queue.SimpleQueue[tuple[int, Evaluation | BaseException]] = queue.SimpleQueue()
        for start in starts:
            self._jobs.put(self._job(task, indices[start : start + size], start, results))
        parts: dict[int, Evaluation] = {}
        problems: list[tuple[int, BaseException]] = []
        for _ in starts:
            start, result = results.get()
            if isinstance(result, BaseException):
                problems.append((start, result))
            else:
                parts[start] = result
        if problems:
            raise min(problems, key=lambda problem: problem[0])[1]
        return _joined([parts[start] for start in starts])

    def cancel(self) -> None:
        """Drops waiting chunks and kills external programs; a running kernel ends by itself."""
        self._cancelled = True
        self._programs.stop()
        for _ in self._threads:
            self._jobs.put(None)

    def _start(self) -> None:
        # Daemon threads of our own: those of concurrent.futures keep the process from ending.
        while len(self._threads) < self.workers:
            thread = threading.Thread(
                target=self._serve, name=f"archgym-{len(self._threads)}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def _serve(self) -> None:
        with self._programs:
            while (job := self._jobs.get()) is not None:
                job()

    def _job(
        self,
        task: Task,
        indices: np.ndarray,
        start: int,
        results: "queue.SimpleQueue[tuple[int, Evaluation | BaseException]]",
    ) -> Callable[[], None]:
        def run() -> None:
            try:
                if self._cancelled:
                    raise StudyInterrupted("The executor was closed while it worked.")
                results.put((start, _evaluate(task, indices)))
            except BaseException as error:
                results.put((start, error))

        return run


@final
class ProcessExecutor(Executor):
    """Evaluates in processes of its own, which are killed and replaced when they hang or die.

    They are spawned, so a script that uses this starts under ``if __name__ == "__main__":``, and
    its simulator's class lives in a module that can be imported.
    """

    def __init__(self, workers: int = 1, timeout_s: float | None = None) -> None:
        """Starts no process before the first batch.

        Args:
          workers: How many processes, 1 or more.
          timeout_s: Wall time that one design may take [s]; None for any.
        """
        self.workers = _checked_workers(workers)
        if timeout_s is not None and not timeout_s > 0:
            raise InvalidArgumentError(f"`timeout_s` must be above 0; got {timeout_s!r}.")
        self._timeout_s = timeout_s
        self._cancelled = False
        self._workers: list[_Worker] = []
        self._task: Task | None = None
        self._chunk = 1

    def evaluate(self, task: Task, indices: np.ndarray) -> Evaluation:
        """Results of designs, in their order."""
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
        return _joined([_empty(task), *(parts[start] for start in sorted(parts))])

    def cancel(self) -> None:
        """Kills the processes and the external programs they run."""
        self._cancelled = True
        self._end_all()

    def _hand_out(self, task: Task, indices: np.ndarray, waiting: "deque[tuple[int, int]]") -> None:
        while waiting:
            if self._cancelled:
                raise StudyInterrupted("The executor was closed while it worked.")
            idle = [worker for worker in self._workers if worker.span is None]
            if not idle and len(self._workers) >= self.workers:
                return
            worker = idle[0] if idle else _Worker(task)
            if not idle:
                self._workers.append(worker)
            start, stop = waiting.popleft()
            left = stop - start
            size = max(1, min(self._chunk, math.ceil(left / self.workers)))
            if size < left:
                waiting.appendleft((start + size, stop))
            worker.send((start, start + size), indices[start : start + size], self._timeout_s)

    def _awaited(self) -> list["_Worker"]:
        """Workers that have something to say, have died or are late."""
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
        worker: "_Worker",
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
                parts[start] = _failed(task, result)
            else:
                waiting.extendleft((row, row + 1) for row in reversed(range(start, stop)))

    def _adapt(self, n: int, took_s: float) -> None:
        suited = int(_CHUNK_S * n / max(took_s, 1e-6))
        self._chunk = max(1, min(_MAX_CHUNK, 8 * self._chunk, suited))

    def _end_all(self) -> None:
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.ask_to_end()
        deadline = time.monotonic() + _END_S
        for worker in workers:
            worker.kill(deadline)


@final
class _Worker:
    """The parent's side of one process."""

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
        """Hands out a chunk; its time starts when the process is ready for it."""
        self.span, self._timeout_s = span, timeout_s
        # A process that has died since is found when its answer is awaited.
        with suppress(OSError):
            self.connection.send(indices)
        self._start_clock()

    def receive(self) -> Evaluation | str | None:
        """The results, or how the process failed, or None where it only became ready."""
        if not self.connection.poll():
            assert self._timeout_s is not None
            return f"The simulator took longer than {self._timeout_s:g} s."
        try:
            kind, content = self.connection.recv()
        except (EOFError, OSError):
            if not self._is_ready:
                raise self._not_started() from None
            self._process.join(_END_S)
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
        """Lets the process kill the programs it runs."""
        with suppress(OSError, ValueError):
            self._process.terminate()

    def kill(self, deadline: float | None = None) -> None:
        """Ends the process, at the latest at `deadline`."""
        self.ask_to_end()
        if deadline is None:
            deadline = time.monotonic() + _END_S
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
    """Main loop of a worker process."""
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
                connection.send(("done", _evaluate(task, indices)))
            except ArchGymError as error:
                connection.send(("error", str(error)))


def _checked_workers(workers: int) -> int:
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise InvalidArgumentError(f"`workers` must be a whole number, 1 or more; got {workers!r}.")
    return workers


def _evaluate(task: Task, indices: np.ndarray) -> Evaluation:
    """Results of designs; where the simulator breaks on a batch, the batch is halved."""
    try:
        return _settled(task.evaluate(indices))
    except SimulatorError as error:
        message = str(error)
    except ArchGymError:
        raise
    # A simulator is other people's code and may raise anything; its failure is a result.
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
    if len(indices) == 1:
        return _failed(task, message)
    middle = len(indices) // 2
    return _joined([_evaluate(task, indices[:middle]), _evaluate(task, indices[middle:])])


def _settled(evaluation: Evaluation) -> Evaluation:
    """The evaluation with the reward of a failure wherever a simulator says it broke."""
    broken = (evaluation.reason == FAILED).any(axis=1)
    failures = dict(evaluation.failures)
    for row in np.flatnonzero(broken).tolist():
        failures.setdefault(row, "The simulator broke and did not say why.")
    if not failures:
        return evaluation
    reward = evaluation.reward.copy()
    reward[list(failures)] = INFEASIBLE_REWARD
    return Evaluation(evaluation.values, evaluation.reason, reward, failures)


def _failed(task: Task, message: str) -> Evaluation:
    one = _empty(task, 1)
    return Evaluation(one.values, one.reason, one.reward, {0: message})


def _empty(task: Task, n: int = 0) -> Evaluation:
    w = len(task.workloads)
    return Evaluation(
        np.full((n, w, len(task.metrics)), np.nan),
        np.full((n, w), FAILED, dtype=np.int16),
        np.full(n, INFEASIBLE_REWARD),
    )


def _joined(parts: Sequence[Evaluation]) -> Evaluation:
    failures: dict[int, str] = {}
    offset = 0
    for part in parts:
        failures |= {offset + row: why for row, why in part.failures.items()}
        offset += len(part.reward)
    return Evaluation(
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.reason for part in parts]),
        np.concatenate([part.reward for part in parts]),
        failures,
    )
