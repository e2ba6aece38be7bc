"""Explanations against simulators whose causes are known."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective, Term
from archgym.report.explain import Relief, explain, reward_room, shares, tradeoffs
from archgym.tasks.task import Task
from tests.cli.conftest import Archgym, archgym
from tests.toys import toy_task

__all__ = ["archgym"]


@pytest.fixture
def task() -> Task:
    return toy_task()


def test_the_best_change_is_the_best_of_all_neighbours(task: Task) -> None:
    found = explain(task, task.space.default_indices)

    default = task.space.design_at(task.space.default_indices)
    rewards = []
    for parameter in task.space.parameters:
        for index in range(parameter.size):
            row = task.space.default_indices.copy()
            row[task.space.names.index(parameter.name)] = index
            rewards.append(float(task.evaluate(task.space.canonical(row[None, :])).reward[0]))
    best = found.best_change
    assert best is not None
    assert best.reward == max(rewards)
    again = task.space.indices_of({**default, best.parameter: best.new})
    assert float(task.evaluate(again[None, :]).reward[0]) == best.reward


def test_costs_are_told_by_what_the_design_would_be_without_them(task: Task) -> None:
    found = explain(task, task.space.default_indices)

    names = [spec.name for spec in task.metrics]
    by_cost = {relief.cost: relief for relief in found.reliefs}
    # By what they do to the reward, the mean of two logarithms.
    assert list(by_cost) == ["standby", "mismatch"]
    power = by_cost["standby"].values[names.index("power_mw")]
    assert power == pytest.approx(found.values[names.index("power_mw")] - 10)
    assert shares(found, by_cost["standby"])["latency_ns"] == 0
    moved = shares(found, by_cost["mismatch"])
    assert list(moved) == ["latency_ns", "power_mw", "throughput_gbs"]
    assert moved["throughput_gbs"] == pytest.approx(1 / (1 + moved["latency_ns"]) - 1)


def test_costs_of_several_workloads_are_averaged() -> None:
    task = toy_task({"light": 1.0, "heavy": 3.0})

    found = explain(task, task.space.default_indices)

    relief = next(relief for relief in found.reliefs if relief.cost == "mismatch")
    # Without mismatch the heavy load takes three times the light one's time.
    alone = explain(toy_task("light"), task.space.default_indices)
    light = next(each for each in alone.reliefs if each.cost == "mismatch").values[0]
    assert relief.values[0] == pytest.approx(light * (1 / 4 + 3 * 3 / 4))


def test_shares_count_workloads_as_the_reward_does() -> None:
    task = toy_task({"light": 1.0, "heavy": 1.0})
    found = explain(task, task.space.default_indices)
    alone = [explain(toy_task(name), task.space.default_indices) for name in ("light", "heavy")]

    assert len(found.reliefs) == 2
    for relief in found.reliefs:
        each = [shares(one, next(r for r in one.reliefs if r.cost == relief.cost)) for one in alone]
        logs = [np.log1p(own["latency_ns"]) for own in each]
        assert shares(found, relief)["latency_ns"] == pytest.approx(np.expm1(np.mean(logs)))


def test_room_for_error_is_that_of_the_sought_metrics_by_their_weight(task: Task) -> None:
    found = explain(task, task.space.default_indices)
    terms = (Term("latency_ns", "minimise", 1.0), Term("power_mw", "at-most", 19.0, 1e6))
    weak = replace(task, objective=Objective("weak", terms))

    # Both terms count half; of the other objective one counts little, and the limit is met.
    assert reward_room(found, 5) == pytest.approx(np.log(1.05), rel=0.02)
    assert reward_room(replace(found, task=weak), 5) == pytest.approx(np.log(1.05) / 20, rel=0.02)


def test_metrics_that_say_the_same_are_told_once(task: Task) -> None:
    names = ("p50_latency_ns", "p99_latency_ns", "tpot_mean_ms", "power_mw", "work_per_joule")
    specs = tuple(MetricSpec(name, "1", "minimise", 1.0, "") for name in names)
    objective = replace(task.objective, terms=(replace(task.objective.terms[0], metric=names[2]),))
    made = SimpleNamespace(metrics=specs, objective=objective)
    found: Any = SimpleNamespace(task=made, values=np.full(5, 100.0))

    values = np.array([90.0, 80.0, 99.9, 105.0, 100 / 1.05])

    moved = shares(found, Relief("a", "", values, np.log(values / 100), 0.0))

    assert {name: round(share, 6) for name, share in moved.items()} == {
        "tpot_mean_ms": -0.001,
        "p99_latency_ns": -0.2,
        "power_mw": 0.05,
    }


def test_every_entry_can_be_computed_again(task: Task) -> None:
    found = explain(task, task.space.default_indices)
    default = task.space.design_at(task.space.default_indices)

    points = tradeoffs(found, error_percent=50)

    assert {point.kind for point in points} >= {"sensitivity", "risk"}
    for point in points:
        if point.change is not None:
            design = task.space.indices_of({**default, point.parameter: point.change.new})
            evaluation = task.evaluate(task.space.canonical(design[None, :]))
            assert float(evaluation.reward[0]) == point.change.reward


def test_default_design_file_and_study_are_explained(archgym: Archgym, swept: Path) -> None:
    said = archgym("explain", "default", "plugin", "--json")
    assert said.code == 0, said.err
    Path("design.json").write_text(json.dumps(said.json["design"]))

    from_file = archgym("explain", "design.json", "plugin", "--json")
    of_study = archgym("explain", swept / "light/small/seed-0")

    assert from_file.json == said.json
    assert "Best single change" in of_study.out
    assert "To evaluate " in of_study.out


def test_heading_without_content_is_left_out(archgym: Archgym) -> None:
    ran = archgym("explain", "default", "plugin", "-w", "light")
    data = archgym("explain", "default", "plugin", "-w", "light", "--json").json

    assert ran.code == 0, ran.err
    assert data["without"]
    assert ("Largest parts" in ran.out) == bool(data["parts"])
    assert not data["parts"]


def test_a_study_has_its_task(archgym: Archgym, swept: Path) -> None:
    ran = archgym("explain", swept / "light/small/seed-0", "plugin")

    assert ran.code == 1
    assert "has its task" in ran.err


def test_no_design_and_a_proxy_for_a_study_are_refused(archgym: Archgym, swept: Path) -> None:
    assert "takes no empty text" in archgym("explain", "", "plugin").err
    ran = archgym("explain", swept / "light/small/seed-0", "--from-proxy", "absent.npz")
    assert ran.code == 1
    assert "`--from-proxy` needs a task" in ran.err


def test_task_without_all_explaining_metrics_is_explained() -> None:
    whole = Task.make("dram", "gups", device="hbm3", requests="100")
    names = [spec.name for spec in whole.metrics if spec.identifies]
    task = whole.recording(names)
    assert len(task.metrics) < len(task.simulator.metrics)

    found = explain(task, task.space.default_indices)

    assert found.reliefs
    assert all(len(each.moved) == len(task.metrics) for each in found.reliefs)


def test_column_of_costs_is_a_metric_of_the_objective_or_none(archgym: Archgym) -> None:
    ran = archgym("explain", "default", "soc")

    (header,) = [line for line in ran.out.splitlines() if line.startswith("without ")]
    assert header.split() == ["without", "other", "metrics"]
