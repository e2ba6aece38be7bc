"""Tasks of the benchmark can be made, and their facts are complete."""

import re

import numpy as np
import pytest

from archgym.bench import SUITES, bench_task, bench_tasks
from archgym.bench.run import bench_plan
from archgym.bench.suite import Hardness
from archgym.errors import InvalidArgumentError, UnknownNameError
from archgym.evaluation.simulator import simulator_names

# Making these takes over a second: the simulator's kernels, or a long workload.
SLOW = ("cpu-server-mix", "accelerator-vision-mix", "translation-mix-hardware")


def labels() -> list[object]:
    return [
        pytest.param(task.label, marks=[pytest.mark.slow] if task.label in SLOW else [])
        for task in bench_tasks()
    ]


@pytest.mark.parametrize("label", labels())
def test_a_task_resolves_and_its_default_design_is_evaluated(label: str) -> None:
    task = bench_task(label).plan.make()

    found = task.evaluate(task.space.default_indices[None, :])

    assert (found.reason == 0).all()
    assert np.isfinite(found.reward).all()


def test_there_are_thirty_tasks_over_all_simulators() -> None:
    tasks = bench_tasks()

    assert len(tasks) >= 30
    # Designs of the small spaces of kv+dram are all as good.
    assert {task.plan.simulator for task in tasks} == set(simulator_names()) - {"kv+dram"}
    assert len([t for t in tasks if t.plan.workloads and len(t.plan.workloads) > 1]) >= 5
    assert len([t for t in tasks if t.plan.subject_to]) >= 15


def test_every_suite_has_tasks_of_both_splits() -> None:
    for suite in SUITES:
        assert {task.split for task in bench_tasks(suite)} == {"development", "verdict"}, suite


def test_every_task_belongs_to_the_full_suite_and_states_its_worth() -> None:
    for task in bench_tasks():
        assert "full" in task.suites
        assert len(task.why.split()) >= 6, task.label
        assert list(task.budgets) == sorted(task.budgets)


def test_hardness_states_its_origin() -> None:
    exact = bench_task("accelerator-mapping-table").hardness
    limit = bench_task("accelerator-mapping").hardness

    assert exact is not None
    assert limit is not None
    assert (str(exact), exact.origin) == ("14,300", "table of 100352 designs")
    assert limit.is_at_least
    for task in bench_tasks():
        assert task.hardness is not None, task.label
        assert re.fullmatch(r"table of \d+ designs|\d+ of \d+ random designs", task.hardness.origin)
        assert task.hardness.seconds > 0.0


def test_limits_of_hardness_enclose_it_where_designs_were_counted() -> None:
    for task in bench_tasks():
        hardness = task.hardness
        assert hardness is not None
        if hardness.origin.startswith("table"):
            assert (hardness.interval, hardness.extrapolated) == (None, None)
        elif hardness.is_at_least:
            assert hardness.interval is None
        else:
            assert hardness.interval is not None
            low, high = hardness.interval
            assert low < hardness.evaluations < high
        if hardness.extrapolated is not None:
            low, high = hardness.extrapolated
            assert hardness.is_at_least
            assert low < high


def test_extrapolated_hardness_is_shown_with_its_interval() -> None:
    assert Hardness(3000, True, None, (40_000, 1e9), "s", 0.1).extrapolation == (
        "40,000 to 1.0e+09"
    )
    assert Hardness(3000, False, (2000, 4000), None, "s", 0.1).extrapolation == ""


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="core"):
        bench_tasks("cor")
    with pytest.raises(UnknownNameError, match="soc-small-edp"):
        bench_task("soc-smal-edp")


def test_thirty_optima_of_all_simulators_are_proven_by_tables() -> None:
    proven = [task for task in bench_tasks() if task.best is not None and task.best.is_proven]

    assert len(proven) >= 30
    assert {task.plan.simulator for task in proven} == set(simulator_names()) - {"kv+dram"}
    assert list(bench_tasks("regret")) == proven
    for task in proven:
        assert task.best is not None
        assert task.hardness is not None
        assert task.best.origin == task.hardness.origin
        assert not task.hardness.is_at_least


def test_at_most_five_tasks_without_a_proof_are_known_to_be_easy() -> None:
    easy = [
        task.label
        for task in bench_tasks()
        if "regret" not in task.suites
        and task.hardness is not None
        and not task.hardness.is_at_least
        and task.hardness.evaluations < 1000
    ]

    assert len(easy) <= 5, easy


# Simulating one design of these takes up to a second with the kernels.
QUICK = ("soc", "accelerator-mapping")


@pytest.mark.parametrize(
    "label",
    [
        pytest.param(task.label, marks=[] if task.label.startswith(QUICK) else [pytest.mark.slow])
        for task in bench_tasks()
        if task.best is not None
    ],
)
def test_best_known_design_has_its_reward(label: str) -> None:
    best = bench_task(label).best
    assert best is not None

    found = bench_task(label).plan.make().evaluate(np.array([best.indices]))

    assert found.reward.tolist() == [best.reward]


def test_proven_optimum_of_a_mapping_table_is_the_best_of_all_designs() -> None:
    bench = bench_task("accelerator-mapping-late-table")
    task = bench.plan.make()
    rewards = [task.evaluate(part).reward.max() for part in task.space.enumerate(canonical=True)]

    assert bench.best is not None
    assert max(rewards) == bench.best.reward


def test_agent_that_comes_twice_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="Each agent must come once; got auto, auto"):
        bench_plan(["auto", "auto"], [bench_task("soc-small-edp")])
