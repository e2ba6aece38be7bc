"""Metrics that explain or are derived, and what they change in a task."""

import dataclasses
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import archgym as ag
from archgym.errors import InvalidArgumentError
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.simulator import BatchResult, Simulator, Workload
from archgym.spaces.expression import P
from tests.toys import ToySimulator

EXTRA = MetricSpec("extra", "", "none", 1.0, "Constant that only explains.")
PRODUCT = MetricSpec(
    "energy_nj",
    "nJ",
    "none",
    1e-3,
    "Energy as power times latency.",
    formula=P("power_mw") * P("latency_ns") / 1000,
)


class WithExtra(ToySimulator):
    """The toy with a metric that only explains, returned by the model."""

    spec = replace(
        ToySimulator.spec,
        metrics=(*ToySimulator.spec.metrics, EXTRA),
    )

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        result = super().simulate(indices, workload)
        column = np.where(result.reason == 0, 7.0, np.nan)[:, None]
        return dataclasses.replace(result, values=np.hstack([result.values, column]))


class WithProduct(ToySimulator):
    """The toy with a derived metric, which the model knows nothing of."""

    spec = replace(
        ToySimulator.spec,
        metrics=(*ToySimulator.spec.metrics, PRODUCT),
    )


def task_of(kind: type[Simulator]) -> ag.Task:
    return ag.Task.make(kind(), "light", "balanced")


@pytest.mark.parametrize("kind", [WithExtra, WithProduct])
def test_metric_that_only_explains_does_not_change_the_digest(kind: type[Simulator]) -> None:
    assert task_of(kind).digest == task_of(ToySimulator).digest


def test_metric_with_a_goal_changes_the_digest() -> None:
    class WithGoal(WithExtra):
        metrics = (
            *ToySimulator.spec.metrics,
            dataclasses.replace(EXTRA, goal="minimise", identifies=None),
        )

    assert task_of(WithGoal).digest != task_of(ToySimulator).digest


def test_derived_metric_is_the_value_of_its_formula() -> None:
    task = task_of(WithProduct)
    found = task.simulator.evaluate(
        task.space.design_at(task.space.default_indices), task.workloads[0].workload
    )

    assert found["energy_nj"] == found["power_mw"] * found["latency_ns"] / 1000


def test_study_recorded_before_a_metric_was_added_continues_byte_for_byte(tmp_path: Path) -> None:
    for name, kinds in (("whole", [ToySimulator] * 2), ("parts", [ToySimulator, WithExtra])):
        task = task_of(kinds[0])
        with ag.Study.create(tmp_path / name, task, "random", seed=3, budget=20) as study:
            study.run(budget=8)
        recorded = ag.read_study(tmp_path / name).header.task
        again = ag.Task.from_json(recorded, kinds[1]())
        with ag.Study.open(tmp_path / name, again) as study:
            study.run(budget=20)

    journals = [(tmp_path / name / "journal.jsonl").read_bytes() for name in ("whole", "parts")]
    assert journals[0] == journals[1]


def test_metric_that_identifies_the_task_cannot_be_left_out() -> None:
    with pytest.raises(InvalidArgumentError, match="`metrics` must have `power_mw`"):
        task_of(ToySimulator).recording(["latency_ns"])


def test_specification_with_a_formula_travels_through_json() -> None:
    again = MetricSpec.from_json(PRODUCT.to_json())

    assert again == PRODUCT
    assert again.formula is not None
    assert again.formula.text == "(power_mw * latency_ns) / 1000"
