"""Shuffled variants are the same task under other names."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from archgym.bench import ShuffledSimulator, bench_task, shuffled_task
from archgym.studies.study import Study
from archgym.tasks.task import Task
from archgym.testing import ProvingSimulator, check_simulator

TASKS = ("soc-small-edp", "accelerator-maestro", "accelerator-mapping", "moe-edge-latency")


def test_the_mapping_of_a_small_space_is_a_bijection() -> None:
    hidden = ShuffledSimulator(ProvingSimulator("tiny"), seed=3)
    everything = np.array(
        [[a, b] for a in range(hidden.space.sizes[0]) for b in range(8 // hidden.space.sizes[0])]
    )

    inner = hidden.inner_indices(everything)

    assert len(everything) == 8
    assert sorted(map(tuple, inner.tolist())) == [(a, b) for a in range(2) for b in range(4)]


@pytest.mark.parametrize("seed", range(3))
def test_the_mapping_of_orders_and_tiles_is_a_bijection(seed: int) -> None:
    hidden = ShuffledSimulator(ProvingSimulator("mapping"), seed)
    for column, parameter in enumerate(hidden.space.parameters):
        designs = np.tile(hidden.space.default_indices, (parameter.size, 1))
        designs[:, column] = np.arange(parameter.size)

        inner = hidden.inner_indices(designs)

        assert len(np.unique(inner, axis=0)) == parameter.size


@pytest.mark.parametrize("name", TASKS)
def test_rewards_and_reasons_agree(name: str) -> None:
    task = bench_task(name).plan.make()
    hidden = shuffled_task(task, 5)
    assert isinstance(hidden.simulator, ShuffledSimulator)
    designs = hidden.space.sample(30, np.random.default_rng(0))

    found = hidden.evaluate(designs)
    direct = task.evaluate(hidden.simulator.inner_indices(designs))

    assert found.reward.tolist() == direct.reward.tolist()
    assert found.reason.tolist() == direct.reason.tolist()
    np.testing.assert_array_equal(hidden.reference, task.reference)


def test_no_name_of_the_task_is_shown() -> None:
    task = bench_task("soc-small-edp").plan.make()
    hidden = shuffled_task(task, 5)

    assert not set(hidden.space.names) & set(task.space.names)
    assert hidden.digest != shuffled_task(task, 6).digest


def test_seeds_permute_otherwise_and_the_same_seed_alike() -> None:
    first, again, other = (ShuffledSimulator(ProvingSimulator("mixed"), s) for s in (1, 1, 2))
    designs = first.space.sample(20, np.random.default_rng(0))

    assert first.inner_indices(designs).tolist() == again.inner_indices(designs).tolist()
    assert first.space.digest != other.space.digest


def test_a_shuffled_simulator_is_one_like_others() -> None:
    check_simulator(ShuffledSimulator(ProvingSimulator("mixed"), 1))
    copy = pickle.loads(pickle.dumps(ShuffledSimulator(ProvingSimulator("mixed"), 1)))
    assert copy.space == ShuffledSimulator(ProvingSimulator("mixed"), 1).space


def test_an_agent_searches_it(tmp_path: Path) -> None:
    task = shuffled_task(Task.make(ProvingSimulator("mixed"), "near"), 1)

    assert Study.create(tmp_path / "a", task, "genetic", budget=20).run().evaluations == 20
