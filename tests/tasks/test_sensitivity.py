"""A metric that no parameter of a space changes is reported before the first evaluation."""

import logging
import time

import numpy as np
import pytest

from archgym.evaluation.simulator import FEASIBLE, simulator_class, simulator_names
from archgym.searching import search
from archgym.tasks.sensitivity import unchanged_metrics
from archgym.tasks.task import Task
from tests.toys import ToySimulator

SPACES = [
    (name, space) for name in simulator_names() for space in simulator_class(name).spec.space_names
]


# chosen: with some forty spaces a minute, whatever simulators there are.
SECONDS = 1.5


@pytest.mark.slow
@pytest.mark.parametrize(("name", "space"), SPACES)
def test_metric_that_another_design_changes_is_not_reported(name: str, space: str) -> None:
    default = Task.make(name, space=space)
    sought = [spec.name for spec in default.metrics if spec.goal in ("minimise", "maximise")]
    task = Task.make(name, space=space, minimise=sought)

    unchanged, n = unchanged_metrics(task)

    # Other designs than those that were tried, and single changes of the default design.
    rng = np.random.default_rng(7)
    drawn = task.space.sample(48, rng)
    changed = np.repeat(task.space.default_indices[None], task.space.n_parameters, axis=0)
    np.fill_diagonal(changed, [p.size - 1 for p in task.space.parameters])
    designs = rng.permutation(np.concatenate([drawn, changed[task.space.feasible(changed)]]))
    columns = [[spec.name for spec in task.metrics].index(metric) for metric in unchanged]
    values, ends_at = [], time.monotonic() + SECONDS
    for part in np.array_split(designs, -(-len(designs) // 4)):
        result = task.evaluate(part)
        values.append(result.values[(result.reason == FEASIBLE).all(axis=1)][:, :, columns])
        if not unchanged or time.monotonic() > ends_at:
            break
    found = np.concatenate(values)
    assert n > 0
    assert not len(found) or not np.ptp(found, axis=0).any()


def test_search_says_that_no_parameter_changes_the_price_of_a_cluster(
    tmp_path: object, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        search(
            "cluster",
            space="parallel",
            minimise="dollars",
            budget=2,
            agent="random",
            folder=f"{tmp_path}/study",
        )

    assert "Metric 'dollars' is the same on" in caplog.text
    assert "no parameter of this space seems to change it" in caplog.text


def test_default_objective_of_dram_is_found_to_change_at_once() -> None:
    unchanged, n = unchanged_metrics(Task.make("dram"))

    assert unchanged == []
    assert 1 <= n <= 8


def test_designs_of_a_users_own_class_are_not_run_for_it() -> None:
    # They may be slow, or break: only those of an agent are evaluated, one by one.
    assert unchanged_metrics(Task.make(ToySimulator(), minimise="latency_ns")) == ([], 0)
