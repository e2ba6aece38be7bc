import logging
from pathlib import Path

import numpy as np
import pytest

from archgym.agent.agent import agent_class
from archgym.envs import DesignEnv
from archgym.errors import InvalidArgumentError, InvalidDesignError, UnknownNameError
from archgym.evaluation.simulator import Workload
from archgym.proxy import ProxySimulator, TrainOptions, train
from archgym.proxy.verified_search import picked, search_on_proxy
from archgym.studies.study import Study
from archgym.tasks.task import Task
from archgym.testing import check_simulator
from tests.proxy.toydata import toy_dataset
from tests.toys import ToyAgent, ToySimulator

QUICK = {"n_trees": 3, "n_randomised": 2, "min_samples_leaf": 1}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("proxy") / "toy.npz"
    train(toy_dataset(), TrainOptions("forest", setting=QUICK)).save(path)
    return path


def test_proxy_keeps_what_simulators_promise(path: Path) -> None:
    check_simulator(ProxySimulator(path), n_designs=12)


def test_task_of_a_proxy_names_its_content(path: Path) -> None:
    simulator = ProxySimulator(path)

    task = Task.make(simulator, "light")

    assert task.id == f"toy[proxy={simulator.digest[:12]}]/toy/light/low-latency-v0"
    assert task.digest != Task.make(ToySimulator(), "light").digest


def test_study_runs_on_a_proxy_and_opens_again(path: Path, tmp_path: Path) -> None:
    task = Task.make(workload="light", simulator="toy", stand_in=path)

    with Study.create(tmp_path / "s", task, ToyAgent, seed=1, budget=20) as study:
        result = study.run()

    assert result.log.evaluations == 20
    assert Task.from_json(result.log.header.task).digest == task.digest


def test_proxy_counts_as_cheap(path: Path) -> None:
    task = Task.make("toy", stand_in=path)

    assert agent_class("auto").suited(task, workers=4) == {
        "thinking": 0.5,
        "polish": 0.25,
    }


def test_environment_steps_on_a_proxy(path: Path) -> None:
    environment = DesignEnv(Task.make("toy", stand_in=path))

    environment.reset(seed=0)
    _, reward, *_ = environment.step(environment.action_space.sample())

    assert np.isfinite(reward)


def test_broken_constraint_is_judged_exactly(path: Path) -> None:
    simulator = ProxySimulator(path)
    design = {"mode": "off", "banks": 16, "depth": 8, "gain": 0.0, "boost": 0}

    metrics = simulator.evaluate(design, simulator.workload("light"))

    assert metrics.infeasible == "The buffer is too large."


def test_design_that_the_model_could_not_build_is_foreseen(path: Path) -> None:
    proxy, simulator = ProxySimulator(path), ToySimulator()
    indices = proxy.space.sample(300, np.random.default_rng(5))

    expected = proxy.evaluate_batch(indices, proxy.workload("light")).reason == 0
    actual = simulator.evaluate_batch(indices, simulator.workload("light")).reason == 0

    assert (~actual).any()
    assert (expected == actual).mean() > 0.97


def test_design_of_another_space_is_refused(path: Path) -> None:
    simulator = ProxySimulator(path)

    with pytest.raises(InvalidDesignError):
        simulator.evaluate_batch(np.zeros((1, 3), dtype=np.int64), simulator.workload("light"))
    with pytest.raises(InvalidArgumentError, match="space"):
        Task.make(simulator="toy", space="other", stand_in=path)


def test_unseen_workload_is_refused_by_separate_models(path: Path) -> None:
    with pytest.raises(UnknownNameError, match="light"):
        ProxySimulator(path).workload("lightest")


def test_extrapolation_is_warned_of_once_with_an_interval(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = toy_dataset()
    is_low = dataset.indices[:, 2] < 4
    few = type(dataset)(
        dataset.path,
        dataset.digest,
        dataset.declaration,
        dataset.indices[is_low],
        dataset.values[is_low],
        dataset.feasible[is_low],
        dataset.workload[is_low],
        dataset.agent[is_low],
        dataset.agents,
        dataset.step[is_low],
    )
    train(few, TrainOptions("forest", setting=QUICK)).save(tmp_path / "p.npz")
    simulator = ProxySimulator(tmp_path / "p.npz")
    deep = np.array([[1, 1, 7, 3, 0]])
    workload = simulator.workload("light")

    with caplog.at_level(logging.WARNING):
        simulator.evaluate_batch(deep, workload)
        simulator.evaluate_batch(deep, workload)

    assert len(caplog.records) == 1
    assert "extrapolates: 1 of 1 designs" in caplog.text
    assert "interval" in caplog.text
    assert simulator.predict(deep, workload).is_unfamiliar.tolist() == [True]


def test_level_that_is_not_kept_is_refused(path: Path) -> None:
    simulator = ProxySimulator(path)

    with pytest.raises(InvalidArgumentError, match="must be one of"):
        simulator.predict(np.zeros((1, 5), dtype=np.int64), simulator.workload("light"), 0.77)


def test_best_designs_of_a_search_are_simulated(path: Path) -> None:
    simulator = ToySimulator()

    found = search_on_proxy(
        ProxySimulator(path), "light", "balanced", budget=150, n_verified=4, simulator=simulator
    )

    assert len(found.rows) == 4
    task = Task.make(simulator, "light", "balanced")
    exact = task.evaluate(task.space.indices_of_many([row.design for row in found.rows]))
    assert [row.simulated for row in found.rows] == exact.reward.tolist()
    assert found.best.simulated == max(exact.reward)
    assert found.to_json()["simulations_saved"] == 146


def test_joint_proxy_predicts_on_a_workload_that_it_has_not_seen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = TrainOptions("forest", workloads="joint", setting=QUICK)
    train(toy_dataset(facts=True), options).save(tmp_path / "p.npz")
    proxy, toy = ProxySimulator(tmp_path / "p.npz"), ToySimulator()
    monkeypatch.setattr(proxy, "simulator", lambda: toy)
    monkeypatch.setattr(toy, "workload", lambda name: Workload(str(name), "f" * 64, None))
    load = {"load": (9.0, "1")}
    monkeypatch.setattr(toy, "describe_workload", lambda workload: load, raising=False)

    with caplog.at_level(logging.WARNING):
        unseen = proxy.workload("heaviest")
    found = proxy.predict(proxy.space.default_indices[None, :], unseen)

    assert "lies outside those that proxy" in caplog.text
    assert np.isfinite(found.values).all()


def test_twins_are_simulated_only_where_nothing_else_is_left() -> None:
    indices = np.array([[0], [1], [2], [3], [2]])
    reward = np.array([0.5, 0.5, 0.4, 0.3, 0.4])

    assert picked(indices, reward, 3).tolist() == [0, 2, 3]
    assert picked(indices, reward, 9).tolist() == [0, 1, 2, 3]
