"""The order of limits in everything that ranks designs.

A design that misses a limit never ranks above one that meets all, whether an agent, a front, a
table, a proxy, an environment, a report or a sweep ranks it.
"""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archgym.agent.agent import agent_class
from archgym.envs import DesignEnv, DesignVectorEnv
from archgym.envs.sb3 import Sb3VecEnv
from archgym.proxy import TrainOptions, train
from archgym.proxy.verified_search import search_on_proxy
from archgym.report.evidence import read_evidence
from archgym.report.figures import front_chart
from archgym.report.study_summary import compare, summarise, top
from archgym.studies.front import metrics_objective, study_front
from archgym.studies.snapshot import StudyLog
from archgym.studies.study import Study
from archgym.tables import build_table
from archgym.tables.exhaustive import Exhaustive
from archgym.tables.optimum import OptimumSearch
from archgym.tasks.task import Task
from tests.proxy.toydata import toy_dataset
from tests.toys import ToySimulator, toy_task

# Of the toy's designs, from almost none to almost all meet these.
BOUNDS = st.sampled_from([11.0, 13.0, 15.0, 18.0, 22.0, 27.0])
AGENTS = ("random", "genetic", "hill_climbing", "simulated_annealing", "nsga2", "extra_trees")
POWER = [spec.name for spec in ToySimulator.spec.metrics].index("power_mw")
relaxed = settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def limited(bound: float, objective: str = "balanced", stand_in: Path | None = None) -> Task:
    simulator = ToySimulator() if stand_in is None else None
    limit = f"power_mw <= {bound!r}"
    return Task.make(simulator, "light", objective, stand_in=stand_in, subject_to=limit)


def meets(task: Task, indices: np.ndarray) -> np.ndarray:
    """Return True for designs that were built and meet the limit, False for all others."""
    evaluation = task.evaluate(np.atleast_2d(indices))
    power = evaluation.values[:, :, POWER].max(axis=1)
    return np.asarray((evaluation.reason == 0).all(axis=1) & (power <= task.limits[0].bound))


def assert_ordered(is_met: np.ndarray, rewards: np.ndarray) -> None:
    if is_met.any() and (~is_met).any():
        assert rewards[is_met].min() > rewards[~is_met].max()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("limits") / "toy.parquet"
    build_table(toy_task("light", "balanced"), file)
    return file


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("limits") / "toy.npz"
    quick = {"n_trees": 3, "n_randomised": 2, "min_samples_leaf": 1}
    train(toy_dataset(), TrainOptions("forest", setting=quick)).save(file)
    return file


@relaxed
@given(bound=BOUNDS)
def test_tables_and_their_optima_keep_the_order(table: Path, bound: float) -> None:
    task = limited(bound, stand_in=table)
    known = Exhaustive(task)
    indices = task.space.unflat(known.numbers)
    is_met = meets(task, indices)

    assert_ordered(is_met, known.rewards)
    assert is_met[known.rewards == known.reward].all() == is_met.any()
    search = OptimumSearch(task, [0])
    evaluation = task.evaluate(indices)
    search.add(known.numbers, evaluation.values, evaluation.reason)
    optimum = search.optimum()
    numbers = [optimum.number, *(point.number for point in optimum.front)]
    found = meets(task, task.space.unflat(np.array(numbers)))
    assert found.all() if is_met.any() else not found.any()


@relaxed
@given(bound=BOUNDS, seed=st.integers(0, 99))
def test_proxies_keep_the_order_of_what_they_predict(proxy: Path, bound: float, seed: int) -> None:
    task = limited(bound, stand_in=proxy)
    indices = task.space.sample(200, np.random.default_rng(seed))

    assert_ordered(meets(task, indices), task.evaluate(indices).reward)


@relaxed
@given(bound=BOUNDS, seed=st.integers(0, 99))
def test_environments_keep_the_order(bound: float, seed: int) -> None:
    task = limited(bound)
    indices = task.space.sample(24, np.random.default_rng(seed))
    is_met = meets(task, indices)
    whole = DesignEnv(task)
    vector = DesignVectorEnv(task, num_envs=len(indices))
    batch = Sb3VecEnv(task, len(indices))

    rewards = []
    for row in indices:
        whole.reset(seed=0)
        rewards.append(whole.step(row)[1])
    vector.reset(seed=0)
    batch.reset()

    assert_ordered(is_met, np.array(rewards))
    assert_ordered(is_met, vector.step(indices)[1])
    batch.step_async(indices)
    assert_ordered(is_met, batch.step_wait()[1])


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("objective", ["low-latency", "balanced"])
def test_studies_and_reports_keep_the_order(agent: str, objective: str, tmp_path: Path) -> None:
    assert agent_class(agent).name == agent
    task = limited(15.0, objective)
    logs = []
    for seed in (0, 1):
        folder = tmp_path / f"{agent}-{seed}"
        Study.create(folder, task, agent, seed=seed, budget=60).run()
        logs.append(_read(folder))
    for log in logs:
        rows = np.flatnonzero(log.is_evaluation)
        is_met = meets(task, log.records.indices[rows])
        assert is_met.any()
        assert_ordered(is_met, log.records.reward[rows])
        best = log.best()
        assert best is not None
        assert log.missed(best) == []
        chosen = metrics_objective(log, ["latency_ns", "power_mw"])
        for front in (study_front(log), study_front(log, objective=chosen)):
            assert meets(task, log.records.indices[front.rows]).all()
    listed = [each.outcome for each in top(logs, 40)]
    is_met = np.array([not logs[0].missed(outcome) for outcome in listed])
    assert is_met.tolist() == sorted(is_met.tolist(), reverse=True)
    ranked = compare(logs)
    assert all(logs[0].missed(study.best) == [] for study in ranked.studies if study.best)
    assert summarise([log.folder for log in logs]).logs
    evidence = read_evidence([log.folder for log in logs]).tasks[0]
    assert evidence.best is not None
    run, row = evidence.best
    assert meets(task, run.indices[row]).all()
    chart = front_chart(evidence)
    assert chart is not None
    indices = evidence.stacked("indices")[evidence.front_rows]
    assert meets(task, indices).all()


def _read(folder: Path) -> StudyLog:
    from archgym.studies.snapshot import read_study

    return read_study(folder)


def test_designs_found_on_a_proxy_are_ranked_by_their_exact_limits(
    proxy: Path, tmp_path: Path
) -> None:
    from archgym.proxy import ProxySimulator

    found = search_on_proxy(
        ProxySimulator(proxy),
        "light",
        "balanced[power_mw<=15.0]",
        "genetic",
        80,
        12,
        0,
        simulator=ToySimulator(),
    )

    task = limited(15.0)
    exact = np.array([row.simulated for row in found.rows])
    indices = np.array([task.space.indices_of(row.design) for row in found.rows])
    is_met = meets(task, indices)
    assert_ordered(is_met, exact)
    assert meets(task, task.space.indices_of(found.best.design)).all() == is_met.any()
