"""The agent that relieves bottlenecks."""

import contextlib

import numpy as np
import pytest

from archgym.agents.bottleneck import BottleneckAgent
from archgym.errors import BudgetExhausted
from archgym.evaluation.capabilities import bottlenecks_of
from archgym.evaluation.simulator import default_workload, simulator_class
from archgym.evaluation.trials import Trials
from archgym.simulators.soc import SocSimulator
from archgym.tasks.task import Task
from archgym.testing import ProvingSimulator


def _asked(task: Task, seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the designs that an agent asks for, and their rewards."""
    designs: list[np.ndarray] = []
    rewards: list[float] = []

    def evaluate(indices: np.ndarray) -> Trials:
        found = task.evaluate(indices)
        designs.extend(indices)
        rewards.extend(found.reward.tolist())
        if len(designs) >= n:
            raise BudgetExhausted("done")
        return task.trials(indices, found, np.zeros(len(indices), dtype=bool))

    agent = BottleneckAgent(task.space, seed=seed)
    with contextlib.suppress(BudgetExhausted):
        agent.search(evaluate, task)
    return np.array(designs), np.array(rewards)


@pytest.mark.parametrize("seed", range(3))
def test_budgets_of_cava_are_met_before_the_explorer_of_farsi(seed: int) -> None:
    task = Task.make(SocSimulator(fidelity="farsi"), objective="farsi-budget")

    _, rewards = _asked(task, seed, 70)

    # FARSI's own explorer needed 70 evaluations.
    assert rewards.max() == 0.0


def test_asks_begin_at_the_default_and_never_repeat() -> None:
    task = Task.make(SocSimulator(graph="vio"))
    designs, _ = _asked(task, 1, 60)

    assert np.array_equal(designs[0], task.space.default_indices)
    assert len(np.unique(designs, axis=0)) == len(designs)
    again, _ = _asked(task, 1, 60)
    assert np.array_equal(designs, again)


def test_simulator_without_bottlenecks_is_searched_by_neighbours() -> None:
    task = Task.make(ProvingSimulator())
    designs, rewards = _asked(task, 0, 40)

    assert len(designs) == 40
    assert rewards.max() > rewards[0]


def test_bottlenecks_name_moves_of_the_space_and_shares() -> None:
    simulator = SocSimulator(graph="radar")
    space, workload = simulator.space, simulator.workload("radar")
    for indices in space.sample(20, np.random.default_rng(0)):
        found = bottlenecks_of(simulator, indices, workload)
        assert {b.metric for b in found} >= {"latency_s", "power_w", "energy_j"}
        design = dict(space.design_at(space.canonical(indices[None])[0]))
        for bottleneck in found:
            assert 0.0 < bottleneck.share <= 1.0 + 1e-9
            for move in bottleneck.moves:
                assert space.design({**design, **move}) != design
        time = sum(b.share for b in found if b.metric == "latency_s")
        assert time <= 1.0 + 1e-9


@pytest.mark.parametrize("name", ["moe", "accelerator"])
def test_costs_are_bottlenecks_with_parameters_of_every_space(name: str) -> None:
    kind = simulator_class(name)
    for space in kind.spec.space_names:
        simulator = kind(space=space)
        assert simulator.spec.relief.keys() == simulator.spec.costs.keys()
        named = {p for names in simulator.spec.relief.values() for p in names}
        if not simulator.spec.costs:
            # Systolic arrays, whose cycles have no part that could be idealised.
            assert space in ("systolic", "systolic-buffered")
            continue
        assert len(named & set(simulator.space.names)) >= len(simulator.space.names) // 2
    simulator = kind()
    workload = simulator.workload(default_workload(simulator))
    found = bottlenecks_of(simulator, simulator.space.default_indices, workload)
    assert len({b.name for b in found}) >= 2
    assert all(0.0 < b.share <= 1.0 for b in found)
    assert all(set(b.parameters) <= set(simulator.space.names) for b in found)


def test_costs_of_dram_are_bottlenecks_with_parameters() -> None:
    task = Task.make("dram", "cloud-1")
    simulator, workload = task.simulator, task.workloads[0].workload
    found = bottlenecks_of(simulator, task.space.default_indices, workload)

    # A fraction of the time goes to each cost, so an ideal machine without it is faster.
    shares = {b.name: b.share for b in found if b.metric == "total_time_ns"}
    assert shares.keys() <= simulator.spec.costs.keys()
    assert shares["rows"] > 0.05
    assert all(set(b.parameters) <= set(task.space.names) for b in found)
    _, rewards = _asked(task, 0, 25)
    assert rewards.max() > rewards[0]
