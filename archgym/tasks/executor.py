"""Ways to evaluate many designs: one after the other, in threads, or in processes."""

import logging
import math
import multiprocessing
import os
import pickle
import queue
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar, final

import numpy as np

from archgym.checks import check_number, check_whole
from archgym.errors import (
    ArchGymError,
    InvalidArgumentError,
    SimulatorError,
    StudyInterrupted,
    error_text,
)
from archgym.evaluation.external import RunningPrograms
from archgym.evaluation.objective import INFEASIBLE_REWARD
from archgym.evaluation.simulator import FAILED
from archgym.runtime.closing import Closing
from archgym.tasks.task import Evaluation, Task

T = TypeVar("T")


def evaluate_isolated(task: Task, indices: np.ndarray) -> Evaluation:
    """Return results of designs; where the simulator breaks on a batch, the batch is halved."""
    try:
        return _settled(task.evaluate(indices))
    except SimulatorError as error:
        message = str(error)
    except ArchGymError:
        raise
    # A simulator is other people's code and may raise anything; its failure is a result. Other
    # BaseExceptions are signals' (KeyboardInterrupt, the command line's own), which stop the study.
    except (Exception, SystemExit, GeneratorExit) as error:
        message = f"{type(error).__name__}: {error_text(error)}"
    if len(indices) == 1:
        return failed_evaluation(task, message)
    middle = len(indices) // 2
    return joined(
        [evaluate_isolated(task, indices[:middle]), evaluate_isolated(task, indices[middle:])]
    )


def _settled(evaluation: Evaluation) -> Evaluation:
    """Return the evaluation with the reward of a failure wherever a simulator says it broke."""
    broken = (evaluation.reason == FAILED).any(axis=1)
    failures = dict(evaluation.failures)
    for row in np.flatnonzero(broken).tolist():
        failures.setdefault(row, "The simulator broke and did not say why.")
    if not failures:
        return evaluation
    reward = evaluation.reward.copy()
    reward[list(failures)] = INFEASIBLE_REWARD
    return Evaluation(evaluation.values, evaluation.reason, reward, failures)


def failed_evaluation(task: Task, message: str) -> Evaluation:
    """Return evaluation of one design on which the simulator broke."""
    one = empty_evaluation(task, 1)
    return Evaluation(one.values, one.reason, one.reward, {0: message})


def empty_evaluation(task: Task, n: int = 0) -> Evaluation:
    """Return evaluation of `n` designs without results."""
    w = len(task.workloads)
    return Evaluation(
        np.full((n, w, len(task.metrics)), np.nan),
        np.full((n, w), FAILED, dtype=np.int16),
        np.full(n, INFEASIBLE_REWARD),
    )


def joined(parts: Sequence[Evaluation]) -> Evaluation:
    """Return one evaluation of one or more parts, in their order."""
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


logger = logging.getLogger(__name__)

# chosen: enough for the workers to even out designs that take longer, few enough to cost nothing.
_CHUNKS_PER_WORKER = 4
# chosen: a chunk this long makes the cost of sending it small, and is lost when its process is.
_CHUNK_S = 0.05
_MAX_CHUNK = 1024


class Executor(Closing, ABC):
    """Evaluator of designs; its results do not depend on the number of workers.

    A simulator that breaks on a design costs that design: its row says so in `failures`. Errors of
    ArchGym's own that are not SimulatorErrors (a program that is not installed, say) are the
    caller's and are raised.
    """

    workers: int = 1

    @abstractmethod
    def evaluate(self, task: Task, indices: np.ndarray) -> Evaluation:
        """Return results of designs, (n, n_parameters) indices, in their order."""

    def expect(self, task: Task, indices: np.ndarray) -> None:
        """Start designs whose results `evaluate` is asked for later, where workers can."""

    @abstractmethod
    def cancel(self) -> None:
        """Stop all evaluations at once, from another thread; the executor cannot be used again."""

    def close(self) -> None:
        """Release threads and processes."""
        self.cancel()


def within(seconds: float, work: Callable[[], T]) -> T:
    """Return the result of `work`, for which a thread of its own waits no longer than a time.

    Raises:
      TimeoutError: The time [s] is over; `work` continues in a daemon thread.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=copy_context().run, args=(run,), daemon=True).start()
    return result.result(min(seconds, threading.TIMEOUT_MAX))


def executor_for(
    workers: int = 1, timeout_s: float | None = None, task: Task | None = None
) -> Executor:
    """Return a suitable executor: processes for a time limit, else threads, else neither.

    Args:
      workers: Designs that are evaluated at once, 1 or more.
      timeout_s: Wall time that one design may take [s]; its process is killed and replaced.
      task: Task to evaluate. One in plain Python gets processes; threads if it cannot be pickled.

    Raises:
      InvalidArgumentError: A time limit is set and the task cannot be pickled.
    """
    workers = check_whole("workers", workers, 1)
    is_python = task is not None and task.simulator.spec.holds_interpreter
    if timeout_s is None and not (is_python and workers > 1):
        return SerialExecutor() if workers == 1 else ThreadExecutor(workers)
    problem = _pickling_problem(task) if is_python else None
    if problem is None:
        return ProcessExecutor(workers, timeout_s)
    assert task is not None
    name = task.simulator.name
    if timeout_s is not None:
        raise InvalidArgumentError(
            f"A time limit needs processes, and `{name}` cannot be sent to one: {problem}. Open "
            "files, locks and connections inside the function, or leave the limit out."
        )
    logger.warning(
        "`%s` runs in threads, one at a time in Python code, since it cannot be sent to other "
        "processes: %s",
        name,
        problem,
    )
    return ThreadExecutor(workers)


def _pickling_problem(task: Task | None) -> str | None:
    """Return why a task cannot be sent to another process, or None."""
    try:
        pickle.dumps(task)
    # What an object raises when it is pickled is its author's.
    except Exception as error:
        return f"{type(error).__name__}: {error_text(error)}"
    return None


_Results = queue.SimpleQueue[tuple[int, Evaluation | BaseException]]
_Evaluator = Callable[[Task, np.ndarray], Evaluation]
_Job = Callable[[_Evaluator], None]


@final
class SerialExecutor(Executor):
    """Executor that evaluates in the calling thread."""

    def __init__(self) -> None:
        self._programs = RunningPrograms()

    def evaluate(self, task: Task, indices: np.ndarray) -> Evaluation:
        """Return results of designs, in their order."""
        with self._programs:
            return evaluate_isolated(task, indices)

    def cancel(self) -> None:
        """Kill external programs; no other starts."""
        self._programs.stop()


@final
class ThreadExecutor(Executor):
    """Executor with threads; for simulators that release the GIL or run programs."""

    def __init__(self, workers: int, lane: "Callable[[], Executor] | None" = None) -> None:
        """Start no thread before the first batch.

        Args:
          workers: Number of threads, 1 or more.
          lane: Makes the executor that each thread hands its designs to; by default the thread
            evaluates them itself.
        """
        self.workers = check_whole("workers", workers, 1)
        self._programs = RunningPrograms()
        self._cancelled = False
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lane = lane
        self._lanes: list[Executor] = []
        self._expected: dict[bytes, _Results] = {}
        self._expected_task: Task | None = None

    def expect(self, task: Task, indices: np.ndarray) -> None:
        """Start designs, each in the next thread that is free."""
        if self._expected_task is not task:
            self._expected, self._expected_task = {}, task
        self._start()
        for row in indices:
            if row.tobytes() not in self._expected:
                results: _Results = queue.SimpleQueue()
                self._jobs.put(self._job(task, row[None, :].copy(), 0, results))
                self._expected[row.tobytes()] = results

    def evaluate(self, task: Task, indices: np.ndarray) -> Evaluation:
        """Return results of designs, in their order."""
        n = len(indices)
        if self._expected_task is task and any(row.tobytes() in self._expected for row in indices):
            self.expect(task, indices)
            return joined([self._result(row) for row in indices])
        if n <= 1 and self._lane is None:
            with self._programs:
                return evaluate_isolated(task, indices)
        self._start()
        size = math.ceil(n / (self.workers * _CHUNKS_PER_WORKER))
        starts = range(0, n, size)
        results: _Results = queue.SimpleQueue()
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
        return joined([empty_evaluation(task), *(parts[start] for start in starts)])

    def _result(self, row: np.ndarray) -> Evaluation:
        """Return the result of a design that was expected, once it is there."""
        _, result = self._expected.pop(row.tobytes()).get()
        if isinstance(result, BaseException):
            raise result
        return result

    def cancel(self) -> None:
        """Drop waiting chunks and kill external programs; a running kernel ends by itself."""
        self._cancelled = True
        self._programs.stop()
        for lane in self._lanes:
            lane.cancel()
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
        evaluate: _Evaluator = evaluate_isolated
        if self._lane is not None:
            lane = self._lane()
            self._lanes.append(lane)
            evaluate = lane.evaluate
        with self._programs:
            while (job := self._jobs.get()) is not None:
                job(evaluate)

    def _job(
        self,
        task: Task,
        indices: np.ndarray,
        start: int,
        results: "_Results",
    ) -> "_Job":
        def run(evaluate: _Evaluator) -> None:
            try:
                if self._cancelled:
                    raise StudyInterrupted("The executor was closed while it worked.")
                results.put((start, evaluate(task, indices)))
            except BaseException as error:
                results.put((start, error))

        return run


@final
class ProcessExecutor(Executor):
    """Executor with processes, which are killed and replaced when they hang or die.

    They are spawned, so a script that uses this starts under ``if __name__ == "__main__":``, and
    its simulator's class lives in a module that can be imported.
    """

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
