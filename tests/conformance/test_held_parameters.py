"""Held parameters under every agent, in environments and on tables."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest

import archgym as ag
from archgym.agent.agent import agent_class, agent_names
from archgym.errors import MissingExtraError
from archgym.studies.study import Study
from archgym.tables import build_table
from archgym.tasks.task import Task
from archgym.testing import ProvingSimulator

# Ray starts a cluster for its agents; the others need seconds.
AGENTS = [name for name in agent_names() if "multi_agent" not in name]


def held_task() -> Task:
    simulator = ProvingSimulator("tiny")
    first, second = simulator.space.parameters[:2]
    return Task.make(
        simulator,
        "near",
        fixed={first.name: first.value(1)},
        values={second.name: [second.value(i) for i in range(min(2, second.size))]},
    )


def mapping_task() -> Task:
    """Return a task that holds factors, and leaves some orders."""
    simulator = ProvingSimulator("mapping")
    orders = [simulator.space.parameters[0].value(number) for number in (3, 7, 20)]
    return Task.make(simulator, "near", fixed={"tiles": "2x3x4"}, values={"loops": orders})


@pytest.mark.parametrize("task", [held_task(), mapping_task()], ids=["listed", "composite"])
@pytest.mark.parametrize("name", AGENTS)
def test_agent_asks_only_for_designs_that_keep_to_what_is_held(
    name: str, task: Task, tmp_path: Path
) -> None:
    try:
        with Study.create(tmp_path / "study", task, agent_class(name), seed=3, budget=12) as study:
            log = study.run().log
    except MissingExtraError as error:
        pytest.skip(str(error))
    designs = log.to_dataframe()

    assert any(parameter.size == 1 for parameter in task.space.parameters)
    assert len(designs) >= 1
    for held in task.space.parameters:
        known = {held.value(number) for number in range(held.size)}
        assert set(designs[held.name]) <= known


def test_environment_of_a_simulator_takes_held_parameters() -> None:
    env = gymnasium.make(
        "archgym/Dram-v1", workload="stream", fixed={"page_policy": "Closed"}, log=None
    )
    env.reset(seed=0)
    _, _, _, _, info = env.step(env.action_space.sample())

    assert info["design"]["page_policy"] == "Closed"
    env.close()


@pytest.mark.parametrize("mode", ["sync", "vector_entry_point"])
def test_vector_environments_take_held_parameters(mode: str) -> None:
    held = {"fixed": {"page_policy": "Closed"}, "values": {"request_buffer_size": "1..4"}}
    env = gymnasium.make_vec(
        "archgym/Dram-v1", num_envs=2, vectorization_mode=mode, workload="stream",
        requests="20", **held,
    )  # fmt: skip

    assert env.single_action_space.nvec[0] == 1
    assert env.single_action_space.nvec[3] == 4
    env.reset(seed=0)
    assert len(env.step(env.action_space.sample())[1]) == 2
    env.close()


@pytest.mark.parametrize("agent", ["auto", "genetic", "random"])
def test_search_of_a_held_space_finds_the_optimum_of_its_table(agent: str, tmp_path: Path) -> None:
    held = {"rob": 96, "scheduler": 32, "registers": 96, "load_queue": 32}
    task = Task.make("cpu", "sort", space="core", fixed=held, instructions="2000")
    table = build_table(task, tmp_path / "core.parquet")
    best = Task.make("cpu", "sort", space=task.space_name, instructions="2000", stand_in=table)
    designs = np.concatenate(list(task.space.enumerate(canonical=True)))

    result = ag.search(
        "cpu", workload="sort", space="core", fixed=held, instructions="2000",
        agent=agent, budget=len(designs), folder=tmp_path / agent,
    )  # fmt: skip

    assert len(designs) == 3 * 3 * task.space.parameter("branch_predictor").size
    assert best.digest == task.digest
    assert result.best is not None
    assert result.best.reward == best.evaluate(designs).reward.max()
