import logging
import math
import pickle
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from archgym.envs import DesignEnv
from archgym.errors import InvalidArgumentError, SimulatorError
from archgym.evaluation.external import Infeasible
from archgym.evaluation.function import FunctionSimulator, OutsideSimulator, simulator
from archgym.evaluation.metrics import MetricSpec
from archgym.spaces.design import Design
from archgym.spaces.parameter import Categorical, PowerOfTwo
from archgym.tasks.executor import SerialExecutor, ThreadExecutor
from archgym.tasks.processes import ProcessExecutor
from archgym.tasks.task import Task
from archgym.tasks.workers import executor_for
from archgym.testing import check_simulator

SPACE = [
    PowerOfTwo(name="ways", low=1, high=16, doc="Ways of a set."),
    PowerOfTwo(name="size_kib", low=4, high=64, doc="Capacity."),
    Categorical(name="policy", choices=("lru", "random"), doc="Replacement."),
]
GOALS = {"amat_ns": "minimise", "area_mm2": "minimise"}


@simulator(space=SPACE, metrics=GOALS, reasons=("The cache has fewer sets than ways.",))
def cache(design: Design) -> Any:
    ways, size = int(design["ways"]), int(design["size_kib"])
    if size < ways:
        return Infeasible("The cache has fewer sets than ways.")
    misses = 0.3 / math.sqrt(size) * (1.0 if design["policy"] == "lru" else 1.1) / ways**0.2
    return {"amat_ns": 1.0 + 0.1 * ways + 60.0 * misses, "area_mm2": 0.04 * size + 0.01 * ways}


def made(function: Callable[[Design], Any], **options: Any) -> FunctionSimulator:
    return FunctionSimulator(function, SPACE, GOALS, **options)


def broken(result: Any) -> str:
    """Return the message of a function that returns this."""
    one = made(lambda design: result)
    return one.evaluate_batch(one.space.default_indices[None, :], one.workload("default")).failures[
        0
    ]


def test_function_is_a_conforming_simulator() -> None:
    check_simulator(cache)


def test_function_is_evaluated_and_still_callable() -> None:
    task = Task.make(cache, minimise="amat_ns", subject_to="area_mm2 <= 1")
    result = cache.evaluate({"ways": 2, "size_kib": 16, "policy": "lru"}, cache.workload("default"))

    assert result["area_mm2"] == pytest.approx(0.66)
    assert cache({"ways": 2, "size_kib": 16, "policy": "lru"}) == dict(result)
    assert task.id == "cache/default/default/minimise:amat_ns[area_mm2<=1]-v0"
    assert [spec.unit for spec in cache.metrics] == ["ns", "mm2"]


def test_reason_of_the_function_makes_a_design_infeasible() -> None:
    result = cache.evaluate({"ways": 16, "size_kib": 8, "policy": "lru"}, cache.workload("default"))

    assert result.infeasible == "The cache has fewer sets than ways."


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (None, "must return its metrics as a mapping of names to numbers; got None; is a `return`"),
        ([1.0, 2.0], "as a mapping of names to numbers; got [1.0, 2.0] of type list."),
        (1.0, "got 1.0 of type float."),
        ({"amat_ns": 1.0}, "exactly its metrics, amat_ns, area_mm2; area_mm2 missing."),
        ({"amat_ns": 1.0, "area_mm2": 1.0, "hits": 2}, "hits not declared."),
        ({"amat_ns": math.nan, "area_mm2": 1.0}, "`amat_ns` of `<lambda>` must be a finite number"),
        ({"amat_ns": 1.0, "area_mm2": "wide"}, "must be a finite number; got 'wide' of type str."),
        (Infeasible("Because."), "must give one of its `reasons`, []; got 'Because.'"),
    ],
)
def test_bad_results_say_what_is_wrong(result: Any, message: str) -> None:
    assert message.replace("<lambda>", "lambda") in broken(result)


def test_exception_of_the_function_fails_one_design() -> None:
    def fragile(design: Design) -> dict[str, float]:
        return {"amat_ns": 1.0 / (int(design["ways"]) - 2), "area_mm2": 1.0}

    one = made(fragile)
    result = one.evaluate_batch(np.array([[1, 0, 0], [2, 0, 0]]), one.workload("default"))

    assert result.reason.tolist() == [-1, 0]
    assert result.failures == {0: "`fragile` raised ZeroDivisionError: float division by zero"}


def test_default_design_that_fails_is_refused_with_the_reason() -> None:
    with pytest.raises(SimulatorError, match="is a `return` missing"):
        Task.make(made(lambda design: None))


def test_code_of_the_function_is_part_of_the_task() -> None:
    def first(design: Design) -> dict[str, float]:
        return {"amat_ns": 1.0, "area_mm2": float(design["ways"])}

    def commented(design: Design) -> dict[str, float]:
        """Return metrics."""
        # Comments and documentation do not matter.
        return {"amat_ns": 1.0, "area_mm2": float(design["ways"])}

    def other(design: Design) -> dict[str, float]:
        return {"amat_ns": 1.0, "area_mm2": 2.0 * float(design["ways"])}

    commented.__name__ = other.__name__ = "first"
    digests = [made(f).workload("default").digest for f in (first, commented, other)]

    assert digests[0] != digests[2]
    assert Task.make(made(first)).digest != Task.make(made(first, version=1)).digest
    renamed = made(commented)
    assert renamed.name == "first"


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({}, "one metric or more"),
        ({"amat_ns": "smaller"}, "goal of `amat_ns`"),
        ({"a b": "minimise"}, "letters, digits"),
        ({"hits": "none"}, "every goal is"),
        (["amat_ns"], "list MetricSpecs"),
    ],
)
def test_bad_metrics_are_refused(metrics: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        simulator(space=SPACE, metrics=metrics)(lambda design: {})


def test_derived_metrics_may_be_declared() -> None:
    from archgym.spaces.expression import P

    specs = (
        MetricSpec("time_s", "s", "minimise", 1e-9, "Time."),
        MetricSpec("edp", "", "minimise", 1e-9, "Product.", formula=P("time_s") * P("time_s")),
    )
    one = FunctionSimulator(lambda design: {"time_s": 3.0}, SPACE, specs)

    assert (
        one.evaluate(one.space.design_at(one.space.default_indices), one.workload("default"))["edp"]
        == 9.0
    )


# ---- processes and threads


def test_lambda_survives_pickling_with_its_numbers() -> None:
    factor = 3.0
    one = made(lambda design: {"amat_ns": factor * float(design["ways"]), "area_mm2": 1.0})
    again = pickle.loads(pickle.dumps(one))
    designs = one.space.sample(20, np.random.default_rng(0))

    assert Task.make(again).digest == Task.make(one).digest
    assert (
        again.evaluate_batch(designs, again.workload("default")).values
        == one.evaluate_batch(designs, one.workload("default")).values
    ).all()


@pytest.mark.slow
def test_processes_evaluate_and_limit_the_time_of_a_local_function() -> None:
    def slow(design: Design) -> dict[str, float]:
        time.sleep(60.0 if design["ways"] == 16 else 0.0)
        return {"amat_ns": float(design["ways"]), "area_mm2": 1.0}

    task = Task.make(made(slow))
    with executor_for(2, 1.0, task) as executor:
        result = executor.evaluate(task, np.array([[0, 0, 0], [4, 0, 0], [1, 0, 0]]))

    assert isinstance(executor, ProcessExecutor)
    assert result.failures == {1: "The simulator took longer than 1 s."}
    assert result.values[[0, 2], 0, 0].tolist() == [1.0, 2.0]


def test_function_that_cannot_be_pickled_runs_in_threads_with_a_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lock = threading.Lock()

    def locked(design: Design) -> dict[str, float]:
        with lock:
            return {"amat_ns": float(design["ways"]), "area_mm2": 1.0}

    task = Task.make(made(locked))
    with caplog.at_level(logging.WARNING), executor_for(2, None, task) as executor:
        result = executor.evaluate(task, np.array([[0, 0, 0], [1, 0, 0]]))

    assert isinstance(executor, ThreadExecutor)
    assert "`locked` runs in threads" in caplog.text
    assert result.values[:, 0, 0].tolist() == [1.0, 2.0]
    with pytest.raises(InvalidArgumentError, match="time limit needs processes"):
        executor_for(2, 1.0, task)


def test_one_worker_evaluates_in_its_own_process() -> None:
    assert isinstance(executor_for(1, None, Task.make(cache)), SerialExecutor)
    assert isinstance(executor_for(2, None, Task.make(cache)), ProcessExecutor)


# ---- environments, and designs evaluated elsewhere


def test_function_has_an_environment() -> None:
    env = DesignEnv(Task.make(cache, minimise="amat_ns"))
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step(np.array([1, 3, 0]))

    assert terminated
    assert np.isfinite(reward)
    assert set(info["metrics"]) == set(GOALS)
    env.close()


def test_outside_simulator_knows_the_default_design_alone() -> None:
    board = OutsideSimulator("board", SPACE, GOALS, default={"amat_ns": 5.0, "area_mm2": 2.0})
    task = Task.make(board)
    result = board.evaluate_batch(np.array([[1, 1, 1]]), board.workload("default"))

    assert task.reference.tolist() == [[5.0, 2.0]]
    assert "evaluated elsewhere" in result.failures[0]
    with pytest.raises(InvalidArgumentError, match="amat_ns, area_mm2"):
        OutsideSimulator("board", SPACE, GOALS, default={"amat_ns": 5.0})


@pytest.mark.parametrize("space", [{"ways": (1, 2)}, ["ways"]])
def test_space_that_lists_no_parameters_is_refused(space: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="`space` must be a DesignSpace or list param"):
        simulator(space=space, metrics=GOALS)(lambda design: {})


def test_raised_infeasible_says_to_return_it() -> None:
    def raises(design: Design) -> Any:
        raise Infeasible("no")  # type: ignore[misc]

    one = made(raises)
    result = one.evaluate_batch(one.space.default_indices[None, :], one.workload("default"))

    assert result.failures == {0: "`raises` must return `Infeasible(reason)`, not raise it."}
