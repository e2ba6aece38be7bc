"""Signs and bounds of calibrated metrics: factors where values are positive, shares up to 100 %."""

from pathlib import Path

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.evaluation.function import FunctionSimulator
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.options import make_simulator
from archgym.evaluation.simulator import simulator_class, simulator_names
from archgym.measurements.calibrated import CalibratedSimulator
from archgym.measurements.file import append_measurements
from archgym.measurements.points import facts_of, points_of
from archgym.measurements.prior import bounds, chosen_prior, corrected, shipped_prior
from archgym.measurements.process import ErrorProcess, Residuals
from archgym.report.decision import decide
from archgym.searching import search
from archgym.spaces.parameter import Integer
from archgym.studies.snapshot import read_study
from archgym.studies.spreadsheet import measured
from archgym.studies.study import Study
from archgym.tasks.task import Task

NAMES = ("time_ms", "score", "energy_pj")


def cost(name: str, low: float) -> FunctionSimulator:
    """Return a function with one metric, of which only the goal is given."""
    space = [Integer("ways", 1, 8, default=2)]
    return FunctionSimulator(lambda d: {name: low + float(d["ways"])}, space, {name: "minimise"})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("low", "is_factor"), [(0.0, True), (-4.0, False)])
def test_error_of_own_metric_is_a_factor_unless_a_value_is_not_above_0(
    name: str, low: float, is_factor: bool, tmp_path: Path
) -> None:
    simulator = cost(name, low)
    search(simulator, budget=8, agent="grid", folder=tmp_path / "s")
    with Study.open(tmp_path / "s", Task.make(simulator)) as study:
        study.measure({"ways": 1}, {name: 8.0 * (low + 1.0)})
        study.measure({"ways": 7}, {name: 1.2 * (low + 7.0)})

    found = decide(read_study(tmp_path / "s"))

    low_ends = [c.metrics[name][1] for c in found.candidates]
    assert (min(low_ends) > 0) == is_factor
    assert any(f"{name} is taken as positive" in s for s in found.sentences()) == is_factor


def test_errors_of_time_far_above_the_model_keep_it_positive(tmp_path: Path) -> None:
    simulator = cost("time_ms", 0.0)
    task = Task.make(simulator)
    rows = [measured(task, {"ways": n}, {"time_ms": 8.0 * n}) for n in (2, 5)]
    append_measurements(tmp_path / "m.jsonl", rows)

    values = CalibratedSimulator(simulator, tmp_path / "m.jsonl").evaluate(
        {"ways": 1}, task.workloads[0].workload
    )

    assert 0 < values["low_time_ms"] < values["time_ms"] < values["high_time_ms"]
    low, high = (
        values["time_ms"] / values["low_time_ms"],
        values["high_time_ms"] / values["time_ms"],
    )
    assert low == pytest.approx(high)
    assert values["time_ms"] == pytest.approx(8.0, rel=0.15)


def test_negative_time_of_a_design_simulated_above_0_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="declare it with signed=True"):
        measured(Task.make(cost("time_ms", 0.0)), {"ways": 3}, {"time_ms": -3.0})
    assert measured(Task.make(cost("slack", 0.0)), {"ways": 3}, {"slack": -3.0})


@pytest.mark.parametrize("name", simulator_names())
def test_errors_keep_shares_and_what_they_are_tied_to_within_bounds(name: str) -> None:
    """Twice as much of everything is corrected to no more than what metrics may be."""
    kind = simulator_class(name)
    for space in kind.spec.space_names:
        specs = make_simulator(kind, space, None, {}).spec.simulated_metrics
        prior = chosen_prior(specs, "a test")
        values = {s.name: np.array([80.0, 100.0]) for s in specs}
        for factor in (0.5, 2.0):
            errors = np.clip(
                np.full((2, len(prior.quantities)), np.log(factor)), *bounds(specs, values, prior)
            )
            for spec in specs:
                parts = prior.error_of(spec.name)
                if parts is not None and np.abs(parts).sum() == 1 and not spec.signed:
                    most = np.minimum(spec.highest, values.get(spec.below, np.inf))
                    real = corrected(values[spec.name], errors @ parts, spec)
                    assert (values[spec.name] * np.exp(errors @ parts) <= most + 1e-9).all()
                    assert (real <= most + 1e-9).all()


def test_hits_and_their_share_keep_to_the_optimum() -> None:
    specs = [
        MetricSpec("hit_percent", "%", "maximise", 0.01, "H.", highest=100.0, below="best_percent"),
        MetricSpec("hit_tokens", "", "maximise", 1.0, "H.", tied="hit_percent"),
        MetricSpec("best_percent", "%", "none", 0.01, "B."),
    ]
    prior = chosen_prior(specs, "a test")
    values = {
        "hit_percent": np.array([60.0, 90.0]), "hit_tokens": np.array([600.0, 900.0]),
        "best_percent": np.array([90.0, 92.0]),
    }  # fmt: skip

    low, high = bounds(specs, values, prior)

    assert np.exp(high[:, 0]).tolist() == pytest.approx([1.5, 92 / 90])
    assert (low < -1e3).all()


def test_better_of_two_measured_designs_is_better_after_calibration() -> None:
    """Single runs, 8.5 % slower and 2.2 % faster than simulated, of two serving designs."""
    simulator = make_simulator(simulator_class("moe"), "closed-loop", None, {"clients": "64"})
    workload = simulator.workload("chat-128")
    rows = simulator.space.sample(2, np.random.default_rng(0))
    simulated = {"tpot_mean_ms": np.array([28.64, 31.09]), "ttft_mean_ms": np.array([190.0, 200.0])}
    points = points_of(simulator.space, rows, facts_of(simulator, workload), simulated)
    prior = shipped_prior("moe", simulator.metrics)
    assert prior is not None
    process, tpot = ErrorProcess(prior), prior.quantities.index("tpot")
    errors = np.log(np.array([31.2, 30.4]) / simulated["tpot_mean_ms"])

    process.condition(points, Residuals(np.arange(2), np.array([tpot] * 2), errors, np.arange(2)))
    found = simulated["tpot_mean_ms"] * np.exp(process.predict(points).mean[:, tpot])

    assert found[0] > found[1]
    assert found.tolist() == pytest.approx([31.2, 30.4], rel=0.015)
