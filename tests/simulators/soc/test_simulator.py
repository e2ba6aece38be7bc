"""Metrics, corrections and explanations of systems."""

import pickle

import numpy as np
import pytest

from archgym.errors import UnknownNameError
from archgym.evaluation.capabilities import results_without
from archgym.simulators.soc import SocSimulator
from archgym.simulators.soc.costs import COSTS
from archgym.simulators.soc.kernel.state import OUTPUTS, Rules
from archgym.simulators.soc.metrics import is_met, limits
from archgym.simulators.soc.simulator import FIDELITIES, run
from archgym.tasks.task import Task


def _outputs(graph: str, rules: Rules, n: int = 200, seed: int = 0) -> dict[str, np.ndarray]:
    simulator = SocSimulator(graph=graph)
    # Raw index vectors: of distinct systems nearly all have accelerators alone.
    rng = np.random.default_rng(seed)
    sizes = simulator.space.sizes
    indices = rng.integers(sizes, size=(n, len(sizes)), dtype=np.int64)
    designs, _ = simulator._space.machine_of(indices)
    outputs = run(simulator.graph, designs, rules)
    return {name: outputs[:, i] for i, name in enumerate(OUTPUTS)}


def test_one_processor_runs_tasks_one_after_another() -> None:
    # All on one A53 at 2e9 instructions/s: latency is the sum of cycles at 1 GHz.
    simulator = SocSimulator(fidelity="farsi")
    found = simulator.evaluate(
        simulator.space.design_at(simulator.space.default_indices), simulator.workload("cava")
    )

    cycles = sum(task.cpu_cycles for task in simulator.graph.tasks)
    assert found["latency_s"] == pytest.approx(cycles / 1e9, rel=1e-12)
    assert found["latency_s"] == pytest.approx(84.882331754, rel=1e-12)
    assert found["processor_area_mm2"] == pytest.approx(0.65)


def test_exact_finish_does_all_work_and_never_less() -> None:
    rules = Rules()
    early = _outputs("radar", rules)
    exact = _outputs("radar", rules._replace(exact_finish=True))

    # No task is cut off, so energy of processing can only rise.
    for kind in ("processor", "accelerator"):
        assert (exact[f"{kind}_energy_j"] >= early[f"{kind}_energy_j"] * (1 - 1e-12)).all()
    assert (exact["phases"] >= early["phases"]).all()
    assert (exact["energy_j"] > early["energy_j"] * (1 + 1e-6)).any()


def test_exact_freeing_never_needs_larger_memories() -> None:
    kept = _outputs("random-20", Rules())
    freed = _outputs("random-20", Rules(exact_freeing=True))

    area = [found["sram_area_m2"] + found["dram_area_m2"] for found in (kept, freed)]
    assert (area[1] <= area[0] * (1 + 1e-12)).all()
    assert (area[1] < 0.99 * area[0]).any()


def test_fifo_changes_only_designs_in_which_tasks_wait() -> None:
    overtaking = _outputs("random-20", Rules())
    fifo = _outputs("random-20", Rules(fifo=True))
    free = _outputs("random-20", Rules(shared=2))

    changed = overtaking["latency_s"] != fifo["latency_s"]
    assert 0.0 < changed.mean() < 1.0
    # Without any waiting, no queue is at work.
    assert (free["latency_s"] < fifo["latency_s"] * (1 - 1e-9)).mean() > 0.5


def test_peak_power_agrees_with_a_brute_force_search() -> None:
    simulator = SocSimulator(graph="radar")
    rng = np.random.default_rng(11)
    for indices in simulator.space.sample(20, rng):
        _, log, values = simulator.log(indices)
        power = values[[spec.name for spec in simulator.metrics].index("power_w")]
        ends = np.cumsum(log.length_s)
        energy = np.concatenate([[0.0], np.cumsum(log.energy_j)])
        times = np.concatenate([[0.0], ends])
        total = float(times[-1])
        if total <= 0.01:
            assert power == pytest.approx(energy[-1] / total, rel=1e-9)
            continue
        starts = np.linspace(0.0, total - 0.01, 20_001)
        windows = np.interp(starts + 0.01, times, energy) - np.interp(starts, times, energy)
        assert windows.max() / 0.01 <= power * (1 + 1e-9)
        assert windows.max() / 0.01 >= power * 0.99


@pytest.mark.parametrize("cost", COSTS)
def test_design_without_a_cost_is_not_worse(cost: str) -> None:
    simulator = SocSimulator(graph="vio")
    workload = simulator.workload("vio")
    indices = simulator.space.sample(40, np.random.default_rng(2))
    paid = simulator.evaluate_batch(indices, workload).values
    ideal = results_without(simulator, cost, indices, workload).values
    metric = {"energy": "energy_j", "area": "area_mm2"}.get(cost.rpartition("-")[2], "latency_s")
    column = [spec.name for spec in simulator.metrics].index(metric)

    # List scheduling has anomalies: a faster block may end the whole later by a little.
    assert np.mean(ideal[:, column] <= paid[:, column] * (1 + 1e-9)) >= 0.9
    assert (ideal[:, column] < paid[:, column] * (1 - 1e-6)).any()


def test_limits_are_the_objective_and_are_met_together() -> None:
    simulator = SocSimulator("table", "farsi")
    graph = simulator.graph
    task = Task.make(simulator, objective="farsi-budget")
    indices = simulator.space.sample(20_000, np.random.default_rng(4))
    found = task.evaluate(indices)

    met = is_met(found.values[:, 0], graph, graph.budgets)
    # 882 of 294,912 designs meet the budgets.
    assert 20 <= met.sum() <= 120
    assert np.array_equal(found.reward >= 0.0, met)
    assert set(limits(graph, graph.budgets)) == {term.metric for term in task.objective.terms}


def test_two_workloads_have_a_latency_each() -> None:
    simulator = SocSimulator(graph="radar+vio")
    found = simulator.evaluate(
        simulator.space.design_at(simulator.space.default_indices), simulator.workload("radar+vio")
    )

    assert found["latency_s"] == max(found["radar_latency_s"], found["vio_latency_s"])


def test_another_graph_needs_another_simulator() -> None:
    with pytest.raises(UnknownNameError, match="graph=radar"):
        SocSimulator().workload("radar")


def test_simulator_pickles_with_its_graph() -> None:
    simulator = SocSimulator("small", "farsi", "vio")
    copy = pickle.loads(pickle.dumps(simulator))

    assert copy.space == simulator.space
    assert copy.workload("vio").digest == simulator.workload("vio").digest


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_log_adds_up_to_the_metrics(fidelity: str) -> None:
    simulator = SocSimulator(fidelity=fidelity, graph="audio-decoder")
    columns = [spec.name for spec in simulator.metrics]
    for indices in simulator.space.sample(10, np.random.default_rng(9)):
        _, log, values = simulator.log(indices)
        assert log.length_s.sum() == pytest.approx(values[columns.index("latency_s")])
        assert log.energy_j.sum() == pytest.approx(values[columns.index("energy_j")])
        assert log.task[:, 2].sum() == pytest.approx(values[columns.index("energy_j")])
