"""Errors of metrics that follow from others: of products, ties, signed metrics and parts."""

from pathlib import Path

import numpy as np
import pytest

from archgym.evaluation.function import FunctionSimulator
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.options import make_simulator
from archgym.evaluation.restriction import bare
from archgym.evaluation.simulator import simulator_class, simulator_names
from archgym.measurements.calibrated import (
    SIMULATED,
    CalibratedSimulator,
    own_metric,
    without_error,
)
from archgym.measurements.calibration import Calibration, calibration_of
from archgym.measurements.file import Measurements, append_measurements
from archgym.measurements.points import facts_of, points_of
from archgym.report.decision import decide
from archgym.spaces.parameter import Integer
from archgym.studies.spreadsheet import measured
from archgym.studies.study import Study
from archgym.tasks.task import Task

SPECS = [
    MetricSpec("power_w", "W", "minimise", 1e-6, "Power."),
    MetricSpec("time_s", "s", "minimise", 1e-6, "Time."),
    MetricSpec("energy_j", "J", "minimise", 1e-6, "Energy.", tied="power_w * time_s"),
    MetricSpec("slack_s", "s", "maximise", 1e-6, "Slack.", signed=True),
]


def simulate(design: dict[str, int]) -> dict[str, float]:
    ways = float(design["ways"])
    return {"power_w": ways, "time_s": 9 - ways, "energy_j": ways * (9 - ways), "slack_s": ways - 5}


def simulator() -> FunctionSimulator:
    return FunctionSimulator(simulate, [Integer("ways", 1, 8, default=2)], SPECS)


def calibrated(**metrics: float) -> tuple[Calibration, dict[str, tuple[float, float]]]:
    """Return the calibration with one measurement, and error and spread of each metric there."""
    task = Task.make(simulator(), minimise="time_s")
    plain = bare(task.simulator)
    row = measured(task, {"ways": 2}, metrics)
    found = calibration_of(plain, Measurements(Path("none"), (row,)))
    workload = task.workloads[0].workload
    points = points_of(plain.space, np.array([[1]]), facts_of(plain, workload))
    posterior = found.process.predict(points)
    shown = {}
    for column, parts in found.errors(plain.metrics).items():
        spread = np.sqrt(max(parts @ posterior.covariance @ parts, 0.0))
        shown[SPECS[column].name] = (float(posterior.mean[0] @ parts), float(spread))
    return found, shown


def test_a_measured_product_leaves_its_factors_open() -> None:
    _, before = calibrated(slack_s=-3.0)
    _, after = calibrated(energy_j=1.3 * 14.0)
    assert after["energy_j"][0] == pytest.approx(np.log(1.3), rel=0.1)
    assert after["energy_j"][1] < 0.3 * before["energy_j"][1]
    for factor in ("power_w", "time_s"):
        assert after[factor][0] == pytest.approx(0.5 * after["energy_j"][0])
        assert after[factor][1] > 0.6 * before[factor][1]
    _, both = calibrated(energy_j=1.3 * 14.0, time_s=7.0)
    assert both["power_w"][0] == pytest.approx(np.log(1.3), rel=0.2)
    assert both["power_w"][1] < 0.5 * before["power_w"][1]


def test_tied_measurements_that_contradict_each_other_are_named() -> None:
    found, _ = calibrated(power_w=2.0, time_s=7.0, energy_j=140.0)
    assert any("energy_j" in note and "factor of up to 10" in note for note in found.notes)
    found, _ = calibrated(power_w=2.0, time_s=7.0, energy_j=14.1)
    assert not found.notes


@pytest.mark.parametrize("real", [-5.0, 0.0, 4.0])
def test_signed_metrics_have_a_difference(real: float, tmp_path: Path) -> None:
    task = Task.make(simulator(), minimise="time_s")
    path = tmp_path / "m.jsonl"
    append_measurements(path, [measured(task, {"ways": 2}, {"slack_s": real})] * 4)
    calibrated_one = CalibratedSimulator(task.simulator, path)
    shown = calibrated_one.evaluate({"ways": 2}, task.workloads[0].workload)
    assert shown["slack_s"] == pytest.approx(real, abs=0.5)
    assert shown["low_slack_s"] < shown["slack_s"] < shown["high_slack_s"]


@pytest.mark.parametrize("name", simulator_names())
def test_quantiles_of_every_simulator_are_read_back(name: str) -> None:
    one = CalibratedSimulator(make_simulator(simulator_class(name), None, None, {}), None, 0.995)
    names = [spec.name for spec in one.metrics]
    own = [n.removeprefix(SIMULATED) for n in names if n.startswith(SIMULATED)]
    assert own
    for metric in own:
        for further in (f"low_{metric}", f"high_{metric}", *(one._bound(metric, s) for s in "<>")):
            if further in names:
                assert own_metric(further, names) == metric


def test_metrics_without_an_error_are_named() -> None:
    task = Task.make("moe", maximise="promised_percent", confidence=0.9)
    assert without_error(task.objective, task.metrics, task.reference) == ["promised_percent"]
    names = [spec.name for spec in task.metrics]
    assert {SIMULATED + "e2e_mean_ms", SIMULATED + "total_time_ms"} <= {*names}
    plain = Task.make("moe", maximise="promised_percent")
    assert without_error(plain.objective, plain.metrics, plain.reference) == []


def test_correlations_hold_only_where_they_were_learned() -> None:
    def between(space: str) -> float:
        simulator = make_simulator(simulator_class("moe"), space, None, {})
        return calibration_of(simulator).prior.correlation[1][2]

    assert between("closed-loop") < -0.9
    assert between("single-server") == 0.0


def test_equals_share_the_chance_and_the_least_loss_is_taken(tmp_path: Path) -> None:
    task = Task.make(simulator(), objective="target:time_s<=1000")
    start = [{"ways": ways} for ways in (1, 4, 8)]
    with Study.create(tmp_path / "s", task, "random", seed=1, budget=3, start=start) as study:
        found = decide(study.run().log)
    assert [c.p_best for c in found.candidates] == pytest.approx([1 / 3] * 3)
    near = Task.make(simulator(), objective="target:time_s<=5.3")
    with Study.create(tmp_path / "n", near, "random", seed=1, budget=3, start=start) as study:
        found = decide(study.run().log)
    assert found.best.loss == min(c.loss for c in found.candidates)
    assert sum(c.p_best for c in found.candidates) == pytest.approx(1.0)


def test_a_single_measured_product_is_no_outlier() -> None:
    found, shown = calibrated(energy_j=0.1 * 14.0)
    assert shown["energy_j"][0] == pytest.approx(np.log(0.1), rel=0.1)
    assert not any("others" in note for note in found.notes)


def test_the_interval_of_a_measured_product_is_narrow(tmp_path: Path) -> None:
    task = Task.make(simulator(), minimise="time_s")
    path = tmp_path / "m.jsonl"
    append_measurements(path, [measured(task, {"ways": 2}, {"energy_j": 1.4})])
    shown = CalibratedSimulator(task.simulator, path).evaluate(
        {"ways": 2}, task.workloads[0].workload
    )
    assert 1.2 < shown["low_energy_j"] < 1.4 < shown["high_energy_j"] < 1.6
    assert shown["high_power_w"] > 2.0 * shown["low_power_w"]
