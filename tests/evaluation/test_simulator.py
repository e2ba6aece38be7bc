"""Tests of the simulator interface."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import archgym as ag
from archgym.datasets.columns import Columns
from archgym.errors import (
    ConformanceError,
    InvalidArgumentError,
    InvalidDesignError,
    SimulatorError,
    UnknownNameError,
)
from archgym.evaluation.capabilities import facts_about, results_without
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective, Term
from archgym.evaluation.options import make_simulator
from archgym.evaluation.simulator import (
    RESERVED_NAMES,
    BatchResult,
    Simulator,
    Workload,
    check_declared,
    simulator_class,
    simulator_names,
)
from archgym.evaluation.spec import SimulatorSpec
from archgym.evaluation.specification import Declaration
from archgym.tasks.task import Task
from archgym.testing import check_simulator
from tests.evaluation.test_function import cache
from tests.toys import SPACE, ToySimulator

LIGHT = ToySimulator().workload("light")


class Given(ToySimulator):
    """Returns what it is told to."""

    def __init__(self, result: BatchResult) -> None:
        super().__init__()
        self.result = result

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        return self.result


def test_reasons_are_the_models_then_the_spaces() -> None:
    assert ToySimulator().spec.reasons == ("", "The toy overheats.", "The buffer is too large.")


def test_design_that_breaks_a_constraint_never_reaches_the_model() -> None:
    seen: list[np.ndarray] = []

    class Watched(ToySimulator):
        def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
            seen.append(indices)
            return super().simulate(indices, workload)

    result = Watched().evaluate_batch(np.array([[0, 4, 7, 0, 0], [0, 0, 0, 0, 0]]), LIGHT)

    assert result.reason.tolist() == [2, 0]
    assert np.isnan(result.values[0]).all()
    assert seen[0].tolist() == [[0, 0, 0, 0, 0]]


def test_model_sees_canonical_designs_only() -> None:
    seen: list[np.ndarray] = []

    class Watched(ToySimulator):
        def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
            seen.append(indices)
            return super().simulate(indices, workload)

    given = np.array([[0, 1, 1, 1, 3], [2, 1, 1, 1, 3]], dtype=np.int32)
    Watched().evaluate_batch(given, LIGHT)

    assert seen[0].tolist() == [[0, 1, 1, 1, 0], [2, 1, 1, 1, 3]]
    assert seen[0].dtype == np.int64
    assert given[0, 4] == 3


def test_infeasible_design_has_a_reason_instead_of_numbers() -> None:
    hot = {"mode": "fast", "banks": 1, "depth": 1, "gain": 1.0, "boost": 3}

    metrics = ToySimulator().evaluate(hot, LIGHT)

    assert metrics.infeasible == "The toy overheats."
    assert len(metrics) == 0


def test_evaluate_gives_metrics_by_name() -> None:
    metrics = ToySimulator().evaluate(SPACE.design_at(SPACE.default_indices), LIGHT)

    assert list(metrics) == ["latency_ns", "power_mw", "throughput_gbs", "entries"]
    assert metrics["entries"] == 1.0
    assert metrics.infeasible is None


def test_no_designs_give_no_results() -> None:
    result = ToySimulator().evaluate_batch(np.empty((0, 5), dtype=np.int64), LIGHT)

    assert result.values.shape == (0, 4)
    assert result.reason.shape == (0,)


def test_design_outside_the_space_is_refused() -> None:
    with pytest.raises(InvalidDesignError, match="`mode`"):
        ToySimulator().evaluate_batch(np.array([[3, 0, 0, 0, 0]]), LIGHT)


@pytest.mark.parametrize(
    ("values", "reason", "message"),
    [
        (np.ones((1, 3)), np.zeros(1, dtype=np.int16), "shape"),
        (np.ones((2, 4)), np.zeros(1, dtype=np.int16), "shape"),
        (np.ones((1, 4)), np.zeros((1, 1), dtype=np.int16), "shape"),
        (np.full((1, 4), np.nan), np.zeros(1, dtype=np.int16), "`latency_ns` is not"),
        (np.array([[1, 1, np.inf, 1]]), np.zeros(1, dtype=np.int16), "`throughput_gbs` is not"),
        (np.full((1, 4), np.nan), np.array([3], dtype=np.int16), "reason"),
        (np.full((1, 4), np.nan), np.array([-2], dtype=np.int16), "reason"),
        (np.full((1, 4), np.nan), np.array([-1], dtype=np.int16), "failures"),
        (np.ones((1, 4)), np.array([1], dtype=np.int16), "NaN"),
    ],
)
def test_result_of_wrong_form_is_refused(
    values: np.ndarray, reason: np.ndarray, message: str
) -> None:
    with pytest.raises(SimulatorError, match=message):
        Given(BatchResult(values, reason)).evaluate_batch(SPACE.default_indices[None, :], LIGHT)


def test_failure_is_told_by_row_of_the_batch() -> None:
    class Fragile(ToySimulator):
        def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
            result = super().simulate(indices, workload)
            result.values[1] = np.nan
            reason = result.reason.copy()
            reason[1] = -1
            return BatchResult(result.values, reason, {1: "exit code 3"})

    rows = np.array([[0, 4, 7, 0, 0], [0, 0, 0, 0, 0], [0, 0, 1, 0, 0]])
    result = Fragile().evaluate_batch(rows, LIGHT)

    assert result.reason.tolist() == [2, 0, -1]
    assert dict(result.failures) == {2: "exit code 3"}


def test_one_design_on_which_the_simulator_breaks_raises() -> None:
    broken = BatchResult(np.full((1, 4), np.nan), np.array([-1], dtype=np.int16), {0: "exit 3"})

    with pytest.raises(SimulatorError, match="exit 3"):
        Given(broken).evaluate(SPACE.design_at(SPACE.default_indices), LIGHT)


def test_simulators_own_invariant_is_enforced_on_built_designs_only() -> None:
    class Checked(ToySimulator):
        def check(self, values: np.ndarray, workload: Workload) -> None:
            if (values[:, 3] > 4).any():
                raise SimulatorError("entries must be at most 4")

    simulator = Checked()
    simulator.evaluate_batch(np.array([[0, 0, 0, 0, 0], [0, 4, 7, 0, 0]]), LIGHT)

    with pytest.raises(SimulatorError, match="at most 4"):
        simulator.evaluate_batch(np.array([[0, 0, 7, 0, 0]]), LIGHT)


def test_smallest_simulator_needs_few_lines() -> None:
    class Smallest(Simulator):
        """Counts."""

        spec = SimulatorSpec(
            name="smallest",
            version=0,
            space=SPACE,
            metrics=(MetricSpec("time_ns", "ns", "minimise", 1.0, "Time."),),
            objectives={"fast": Objective("fast", (Term("time_ns", "minimise"),))},
            default_objective="fast",
            default_workload="only",
        )

        def workload_names(self) -> tuple[str, ...]:
            return ("only",)

        def workload(self, name: str | Path) -> Workload:
            return Workload("only", "0" * 64, None)

        def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
            time_ns = indices.sum(axis=1, keepdims=True).astype(float)
            return BatchResult(time_ns, np.zeros(len(indices), dtype=np.int16))

    simulator = Smallest()

    metrics = simulator.evaluate(SPACE.design_at(SPACE.default_indices), simulator.workload("only"))

    assert dict(metrics) == {"time_ns": 0.0}
    assert facts_about(simulator, simulator.workload("only")) == {}


class Plain(ToySimulator):
    """Has one space, and a constructor that is told nothing."""

    spec = replace(
        ToySimulator.spec,
        name="plain",
        space=SPACE,
    )

    def __init__(self) -> None:
        super().__init__()


class Needy(ToySimulator):
    """Cannot be made without a licence."""

    spec = replace(
        ToySimulator.spec,
        name="needy",
    )

    def __init__(self, licence: str) -> None:
        super().__init__()


def test_simulator_whose_constructor_takes_nothing_is_made() -> None:
    assert isinstance(make_simulator(Plain, "default", "standard", {}), Plain)
    assert isinstance(make_simulator(Plain, None, None, {}), Plain)


def test_simulator_whose_constructor_needs_more_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"Needy must be .* 'licence'"):
        make_simulator(Needy, None, None, {})


class Relieved(ToySimulator):
    """Answers without its costs what the test gives."""

    def __init__(self, answer: BatchResult | Exception) -> None:
        super().__init__()
        self.answer = answer

    def simulate_without(self, cost: str, indices: np.ndarray, workload: Workload) -> BatchResult:
        if isinstance(self.answer, BatchResult):
            return self.answer
        raise self.answer


def without(simulator: Simulator, cost: str = "mismatch") -> BatchResult:
    indices = simulator.space.default_indices[None, :]
    return results_without(simulator, cost, indices, simulator.workload("light"))


def test_cost_that_is_none_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="mismatch"):
        without(ToySimulator(), "mismach")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (ZeroDivisionError("by zero"), "without its cost 'mismatch'; it broke: ZeroDivisionError"),
        (BatchResult(np.zeros((1, 3)), np.zeros(1, np.int16)), r"shape \(1, 4\)"),
        (BatchResult(np.full((1, 4), np.nan), np.zeros(1, np.int16)), "finite"),
    ],
    ids=["raises", "shape", "nan"],
)
def test_simulator_that_breaks_without_a_cost_says_so(
    answer: BatchResult | Exception, words: str
) -> None:
    with pytest.raises(SimulatorError, match=words):
        without(Relieved(answer))


@pytest.mark.parametrize("name", ["reward", "feasible", "step", "workload", "seq", "ways"])
def test_metric_with_the_name_of_another_column_is_refused(name: str) -> None:
    space = [ag.PowerOfTwo(name="ways", low=1, high=16)]

    with pytest.raises(InvalidArgumentError, match=f"needs a name of its own.*'{name}'"):
        ag.simulator(space=space, metrics={name: "minimise"})(lambda design: {name: 1.0})


def test_no_metric_may_have_the_name_of_a_column_of_results(tmp_path: Path) -> None:
    result = ag.search(cache, minimise="amat_ns", budget=1, agent="random", folder=tmp_path / "a")
    columns = Columns([Declaration.of(cache, "default", {})], with_split=True)
    names = {*columns.schema().names, *result.to_dataframe().reset_index().columns}

    assert names - {*cache.space.names, "amat_ns", "area_mm2"} == RESERVED_NAMES


@pytest.mark.parametrize("name", simulator_names())
def test_shipped_simulator_has_names_that_tasks_can_use(name: str) -> None:
    kind = simulator_class(name)
    for space in kind.spec.space_names:
        check_declared(make_simulator(kind, space, None, {}))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"space": None}, "`space` of simulator 'toy' must be a DesignSpace; got None"),
        ({"name": "a b/c"}, "name must have no `/`"),
        ({"metrics": ToySimulator.spec.metrics * 2}, "needs a name of its own.*'latency_ns'"),
        ({"metrics": ()}, "`metrics` of simulator 'toy' must list MetricSpecs"),
    ],
)
def test_declaration_that_tasks_cannot_use_is_refused(
    members: dict[str, Any], message: str
) -> None:
    toy = ToySimulator()
    toy.spec = replace(toy.spec, **members)

    with pytest.raises(InvalidArgumentError, match=message):
        Task.make(toy)
    with pytest.raises(ConformanceError, match=message):
        check_simulator(toy)
