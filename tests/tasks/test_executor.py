import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError, StudyInterrupted, UnknownNameError
from archgym.evaluation.function import FunctionSimulator
from archgym.evaluation.objective import INFEASIBLE_REWARD
from archgym.evaluation.simulator import BatchResult, Workload
from archgym.spaces.parameter import Integer
from archgym.tasks.executor import Executor, SerialExecutor, ThreadExecutor
from archgym.tasks.processes import ProcessExecutor
from archgym.tasks.task import Evaluation, Task
from archgym.tasks.workers import executor_for
from tests.toys import TROUBLED_DEPTH, ToySimulator, Trouble, toy_task


def some_indices(n: int = 40) -> np.ndarray:
    return toy_task().space.sample(n, np.random.default_rng(3))


@pytest.fixture(params=["serial", "threads", "processes"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    kinds: dict[str, Callable[[], Executor]] = {
        "serial": SerialExecutor,
        "threads": lambda: ThreadExecutor(3),
        "processes": lambda: ProcessExecutor(2),
    }
    with kinds[request.param]() as made:
        yield made


def assert_equal(first: Evaluation, second: Evaluation) -> None:
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.reason, second.reason)
    np.testing.assert_array_equal(first.reward, second.reward)
    assert dict(first.failures) == dict(second.failures)


def test_results_are_the_tasks_in_order(executor: Executor) -> None:
    task = toy_task({"light": 1.0, "heavy": 1.0})
    indices = np.concatenate([some_indices(), [[0, 4, 7, 0, 0]]])

    for n in (41, 1, 2, 41):
        assert_equal(executor.evaluate(task, indices[:n]), task.evaluate(indices[:n]))


def test_designs_that_were_expected_have_the_same_results(executor: Executor) -> None:
    task = toy_task({"light": 1.0, "heavy": 1.0})
    indices = some_indices(12)

    executor.expect(task, indices[:5])

    for part in (indices[:1], indices[1:8], indices[8:9], indices):
        assert_equal(executor.evaluate(task, part), task.evaluate(part))


def test_expected_designs_run_while_nobody_waits() -> None:
    started = threading.Semaphore(0)
    release = threading.Event()

    def sleep(design: Mapping[str, Any]) -> dict[str, float]:
        started.release()
        assert release.wait(30)
        return {"time_s": float(design["n"])}

    space = [Integer(name="n", low=0, high=9)]
    release.set()
    task = Task.make(FunctionSimulator(sleep, space, {"time_s": "minimise"}))
    release.clear()
    while started.acquire(blocking=False):
        pass
    with ThreadExecutor(3) as executor:
        executor.expect(task, np.array([[1], [2], [3]]))
        assert all(started.acquire(timeout=30) for _ in range(3))
        release.set()
        found = executor.evaluate(task, np.array([[2]]))

    assert found.values[0, 0, 0] == 2.0


def test_nothing_asked_is_nothing_answered(executor: Executor) -> None:
    evaluation = executor.evaluate(toy_task(), np.empty((0, 5), dtype=np.int64))

    assert evaluation.values.shape == (0, 1, 4)


def test_simulator_that_raises_costs_those_designs(executor: Executor) -> None:
    indices = some_indices()
    broken = indices[:, 2] == TROUBLED_DEPTH - 1

    evaluation = executor.evaluate(toy_task(trouble="raise"), indices)

    assert 0 < broken.sum() < len(indices)
    assert set(evaluation.failures) == set(np.flatnonzero(broken).tolist())
    assert set(evaluation.failures.values()) == {"ZeroDivisionError: the toy broke"}
    assert (evaluation.reward[broken] == INFEASIBLE_REWARD).all()
    sound = toy_task().evaluate(indices)
    np.testing.assert_array_equal(evaluation.reward[~broken], sound.reward[~broken])
    np.testing.assert_array_equal(evaluation.values[~broken], sound.values[~broken])


class QuittingSimulator(ToySimulator):
    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        if (indices[:, 2] == TROUBLED_DEPTH - 1).any():
            sys.exit("the toy gives up")
        return super().simulate(indices, workload)


def test_simulator_that_exits_costs_those_designs(executor: Executor) -> None:
    indices = some_indices()
    broken = indices[:, 2] == TROUBLED_DEPTH - 1

    evaluation = executor.evaluate(Task.make(QuittingSimulator(), "light", "balanced"), indices)

    assert dict(evaluation.failures) == dict.fromkeys(
        np.flatnonzero(broken).tolist(), "SystemExit: the toy gives up"
    )


def test_error_of_the_caller_is_raised(executor: Executor) -> None:
    with pytest.raises(Exception, match="Index of `mode` must be 0 to 2"):
        executor.evaluate(toy_task(), np.full((3, 5), 9))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("die", "The simulator's process died with exit code -9."),
        ("hang", "The simulator took longer than 0.4 s."),
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_process_that_dies_or_hangs_costs_that_design(
    trouble: Trouble, message: str, workers: int
) -> None:
    indices = some_indices(12)
    broken = indices[:, 2] == TROUBLED_DEPTH - 1
    assert broken.any()

    with ProcessExecutor(workers, timeout_s=0.4) as executor:
        evaluation = executor.evaluate(toy_task(trouble=trouble), indices)
        again = executor.evaluate(toy_task(), indices)

    assert dict(evaluation.failures) == dict.fromkeys(np.flatnonzero(broken).tolist(), message)
    sound = toy_task().evaluate(indices)
    np.testing.assert_array_equal(evaluation.values[~broken], sound.values[~broken])
    assert_equal(again, sound)


def test_cancel_ends_a_hanging_process() -> None:
    executor = ProcessExecutor(1)
    ended: list[BaseException] = []

    def evaluate() -> None:
        try:
            executor.evaluate(toy_task(trouble="hang"), np.array([[0, 0, 2, 0, 0]]))
        except StudyInterrupted as error:
            ended.append(error)

    thread = threading.Thread(target=evaluate)
    thread.start()
    while not executor._workers:
        pass
    executor.cancel()
    thread.join(timeout=5)

    assert len(ended) == 1


def test_task_that_cannot_be_sent_is_refused() -> None:
    class Local(ToySimulator):
        pass

    with (
        ProcessExecutor(1) as executor,
        pytest.raises(InvalidArgumentError, match="A task must be picklable"),
    ):
        executor.evaluate(Task.make(Local()), some_indices(2))


class NotInstalled(ToySimulator):
    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        if len(indices) > 1:
            raise UnknownNameError("The program is not installed.")
        return super().simulate(indices, workload)


def test_mistake_of_the_caller_is_no_failure_of_a_design() -> None:
    for executor in (SerialExecutor(), ThreadExecutor(2)):
        with executor, pytest.raises(UnknownNameError, match="not installed"):
            executor.evaluate(Task.make(NotInstalled()), some_indices(40))


@pytest.mark.parametrize("workers", [0, -1, True, 1.5])
def test_unfit_number_of_workers_is_refused(workers: int) -> None:
    with pytest.raises(InvalidArgumentError, match="`workers` must be"):
        ThreadExecutor(workers)
    with pytest.raises(InvalidArgumentError, match="`workers` must be"):
        ProcessExecutor(workers)


def test_executor_suits_workers_and_time_limit() -> None:
    assert isinstance(executor_for(), SerialExecutor)
    assert isinstance(executor_for(2), ThreadExecutor)
    assert isinstance(executor_for(2, 1.0), ProcessExecutor)
    with pytest.raises(InvalidArgumentError, match="`timeout_s` must be a number of 1e-09"):
        executor_for(1, 0.0)
