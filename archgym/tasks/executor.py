"""Ways to evaluate many designs: one after the other, in threads, or in processes."""

import logging
import math
import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextvars import copy_context
from typing import TypeVar, final

import numpy as np

from archgym.checks import check_whole
from archgym.errors import (
    ArchGymError,
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


class Executor(Closing, ABC):
    """Evaluator of designs; its results do not depend on the number of workers.

    A simulator that breaks on a design costs that design: its row says so in `failures`. Errors of
    ArchGym's own that are not SimulatorErrors (a program that is not installed, say) are the
    caller's and are raised.
    """

    workers: int = 1
    starts_ahead: bool = False
    """True if `expect` starts designs."""

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

    starts_ahead = True

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
