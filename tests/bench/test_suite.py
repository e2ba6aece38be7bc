"""Tasks of the benchmark can be made, and their facts are complete."""

import numpy as np
import pytest

from archgym.bench import SUITES, bench_task, bench_tasks
from archgym.errors import UnknownNameError
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
    assert {task.plan.simulator for task in tasks} == set(simulator_names())
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
    limit = bench_task("soc-small-edp").hardness

    assert exact is not None
    assert limit is not None
    assert (str(exact), exact.origin) == ("14,300", "table of 100352 designs")
    assert str(limit) == "> 16,700"
    assert bench_task("cpu-server-mix").hardness is None
    for task in bench_tasks():
        if task.hardness is not None:
            assert task.hardness.origin.startswith(("table", "tail estimate of "))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="core"):
        bench_tasks("cor")
    with pytest.raises(UnknownNameError, match="soc-small-edp"):
        bench_task("soc-smal-edp")
