import numpy as np

from archgym.evaluation.simulator import BatchResult, Workload
from archgym.testing import check_simulator
from tests.conformance.quick import N_SIMULATED, N_TIMED, quickened
from tests.toys import ToySimulator


class CountingSimulator(ToySimulator):
    """Counts what it simulates."""

    simulated = 0

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        self.simulated += len(indices)
        return super().simulate(indices, workload)


class QuickSimulator(CountingSimulator):
    """The same, quick however slow it is."""

    simulate = quickened(CountingSimulator.simulate)  # type: ignore[assignment, arg-type]


def test_slow_simulator_simulates_a_few_designs_for_each_workload() -> None:
    simulator = QuickSimulator(pace_s=0.01)
    light = simulator.workload("light")
    indices = simulator.space.sample(500, np.random.default_rng(1))

    together = simulator.evaluate_batch(indices, light)
    alone = [simulator.evaluate_batch(row[None, :], light) for row in indices[:20]]

    assert simulator.simulated == N_SIMULATED + N_TIMED
    same = [
        np.array_equal(a.values[0], b, equal_nan=True)
        for a, b in zip(alone, together.values[:20], strict=True)
    ]
    assert all(same)
    default = simulator.space.default_indices[None, :]
    assert (
        simulator.evaluate_batch(default, light).values.tolist()
        == ToySimulator().evaluate_batch(default, light).values.tolist()
    )


def test_quick_simulator_is_left_as_it_is() -> None:
    class Quick(CountingSimulator):
        simulate = quickened(CountingSimulator.simulate, slow_s=10.0)  # type: ignore[assignment, arg-type]

    simulator = Quick()
    light = simulator.workload("light")
    indices = simulator.space.sample(50, np.random.default_rng(1))

    result = simulator.evaluate_batch(indices, light)

    expected = ToySimulator().evaluate_batch(indices, light)
    assert np.array_equal(result.values, expected.values, equal_nan=True)
    assert simulator.simulated >= 50


def test_suite_takes_few_designs_of_a_slow_simulator() -> None:
    simulator = CountingSimulator(pace_s=0.02)

    check_simulator(simulator, seconds=1.0)

    # Unbounded, it would be ten times 25 designs on each of two workloads, 10 s.
    assert 2 <= simulator.simulated < 250
