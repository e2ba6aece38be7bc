"""What must hold for a design to exist holds under every objective."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.evaluation.limits import Limit
from archgym.evaluation.objective import Objective, Term, objective_of
from archgym.evaluation.options import make_simulator
from archgym.evaluation.simulator import Simulator, simulator_class, simulator_names
from archgym.tasks.choices import TaskChoices
from archgym.tasks.objective import resolve_objective
from archgym.tasks.task import Task
from archgym.testing import ProvingSimulator

SPACES = [
    (name, space) for name in simulator_names() for space in simulator_class(name).spec.space_names
]


def forms(simulator: Simulator) -> list[TaskChoices]:
    """Return a task's choices for each form in which an objective can be given."""
    metrics = [spec.name for spec in simulator.metrics if spec.goal != "none"]
    first = metrics[0]
    found = [TaskChoices(objective=name) for name in simulator.spec.objectives]
    found += [TaskChoices(minimise=name) for name in metrics]
    return [
        *found,
        TaskChoices(maximise=metrics[:2]),
        TaskChoices(minimise=first, subject_to=f"{first} <= 1e30"),
        TaskChoices(objective=f"minimise:{first}"),
        TaskChoices(objective=f"minimise:{first}[{first}<=1e30]"),
        TaskChoices(objective=f"target:{first}<=1e30"),
        TaskChoices(objective=Objective("mine", (Term(first, "minimise"),))),
        TaskChoices(
            objective=Objective("mine", (Term(first, "minimise"),)), subject_to=f"{first} <= 1e30"
        ),
    ]


@pytest.mark.parametrize(("name", "space"), SPACES)
def test_every_form_of_an_objective_keeps_the_physical_limits(name: str, space: str) -> None:
    simulator = make_simulator(simulator_class(name), space, None, {})

    for choices in forms(simulator):
        found = resolve_objective(simulator, choices)

        assert all(limit.holds_in(found.limits) for limit in simulator.spec.physical_limits), found
        if not isinstance(choices.objective, Objective):
            # The name in a task's id gives the same objective again.
            again = resolve_objective(simulator, TaskChoices(objective=found.name))
            assert again.has_same_meaning(found)
            assert again.name == found.name


def test_minimising_dollars_keeps_the_memory_limit_of_a_cluster() -> None:
    task = Task.make("cluster", "megatron-22b", space="table", minimise="dollars")
    metrics = [spec.name for spec in task.metrics]
    memory, dollars = metrics.index("memory_percent"), metrics.index("dollars")
    designs = task.space.sample(40, np.random.default_rng(0))

    found = task.evaluate(designs)

    values = found.values[:, 0]
    is_too_large = values[:, memory] > 100.0
    fits = values[:, memory] <= 100.0
    assert is_too_large.any()
    assert fits.any()
    # The cheapest design does not fit, and any that fits ranks above it.
    assert values[is_too_large, dollars].min() <= values[fits, dollars].min()
    assert found.reward[is_too_large].max() < found.reward[fits].min()
    assert task.missed(found.values[np.flatnonzero(is_too_large)[0]])
    assert "minimise:dollars[memory_percent<=100]" in task.id


def test_a_tighter_limit_of_the_user_stands_alone() -> None:
    task = Task.make(
        "cluster", space="table", minimise="dollars", subject_to="memory_percent <= 80"
    )

    assert task.limits == (Limit("memory_percent", "<=", 80.0),)


def test_a_task_recorded_without_a_physical_limit_reads_back_as_it_was() -> None:
    task = Task.make("cluster", space="table", minimise="dollars")
    recorded = replace(task, objective=objective_of(["dollars"], [], task.metrics))

    again = Task.from_json(json.loads(json.dumps(recorded.to_json())))

    assert recorded.digest != task.digest
    assert again.digest == recorded.digest
    assert again.limits == ()


def test_holding_a_parameter_keeps_the_physical_limits() -> None:
    task = Task.make("cluster", space="table", minimise="dollars", fixed={"zero": 3})

    assert task.limits == (Limit("memory_percent", "<=", 100.0),)
    assert Task.make(task.id).digest == task.digest


def test_looser_limit_than_that_of_physics_is_left_out_of_the_name() -> None:
    cluster = make_simulator(simulator_class("cluster"), "table", None, {})
    named = resolve_objective(cluster, TaskChoices(subject_to="memory_percent <= 120"))
    own = resolve_objective(
        cluster, TaskChoices(minimise="dollars", subject_to="memory_percent <= 120")
    )

    assert named.name == cluster.spec.default_objective
    assert own.name == "minimise:dollars[memory_percent<=100]"


def test_metric_of_an_moe_server_keeps_the_results_intact_unless_told_otherwise() -> None:
    moe = make_simulator(simulator_class("moe"), "edge-offload-table", None, {})
    usual = resolve_objective(moe, TaskChoices(minimise="tpot_mean_ms"))
    own = resolve_objective(
        moe, TaskChoices(minimise="tpot_mean_ms", subject_to="degraded_percent <= 5")
    )

    assert usual.name == "minimise:tpot_mean_ms[degraded_percent<=0]"
    assert own.name == "minimise:tpot_mean_ms[degraded_percent<=5]"


def test_text_as_a_usual_limit_of_a_simulator_is_refused() -> None:
    simulator = ProvingSimulator("tiny", has_failures=False)
    wrong: Any = ("cost_ns <= 5",)
    simulator.spec = replace(simulator.spec, usual_limits=wrong)

    with pytest.raises(InvalidArgumentError, match=r"must hold limits, such as .*got 'cost_ns <= "):
        Task.make(simulator, minimise="cost_ns")
