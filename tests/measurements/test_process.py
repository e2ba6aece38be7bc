"""Gaussian process of the error: what measurements say of other designs."""

from dataclasses import replace

import numpy as np
import pytest

from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.options import make_simulator
from archgym.evaluation.simulator import simulator_class, simulator_names
from archgym.measurements.calibration import _errors
from archgym.measurements.file import Measurement
from archgym.measurements.points import points_of
from archgym.measurements.prior import Component, ErrorPrior, chosen_prior, shipped_prior
from archgym.measurements.process import ErrorProcess, Residuals, quantile
from archgym.simulators.dram import DramSimulator
from archgym.simulators.moe import MoeSimulator
from archgym.spaces.parameter import Integer
from archgym.spaces.space import DesignSpace
from archgym.tasks.task import Task

SPACE = DesignSpace("line", [Integer(name="x", low=1, high=64)])
SPECS = (MetricSpec("time_ns", "ns", "minimise", 1.0, "Time."),)


def prior(factor: float = 1.0) -> ErrorPrior:
    found = chosen_prior(SPECS, "a test")
    parts = tuple(replace(c, spread=tuple(factor * s for s in c.spread)) for c in found.components)
    return replace(found, components=parts, noise=tuple(factor * n for n in found.noise))


def process_of(
    rows: list[int], errors: list[float], *, factor: float = 1.0, runs: list[int] | None = None
) -> ErrorProcess:
    process = ErrorProcess(prior(factor))
    points = points_of(SPACE, np.arange(64)[:, None], {"workload": "w"})
    n = len(rows)
    order = np.array(runs if runs is not None else list(range(n)))
    process.condition(points, Residuals(np.array(rows), np.zeros(n, int), np.array(errors), order))
    return process


def test_error_of_a_measured_design_is_known_and_of_a_near_one_better_than_of_a_far_one() -> None:
    process = process_of([10], [0.2])
    points = points_of(SPACE, np.array([[10], [12], [63]]), {"workload": "w"})

    mean, spread = process.marginals(points)

    assert mean[0, 0] == pytest.approx(0.2, abs=0.02)
    assert mean[0, 0] > mean[1, 0] > mean[2, 0] > 0.05
    assert spread[0, 0] < spread[1, 0] < spread[2, 0]


def test_difference_of_similar_designs_is_known_better_than_either() -> None:
    process = ErrorProcess(prior())
    points = points_of(SPACE, np.array([[10], [11]]), {"workload": "w"})

    found = process.predict(points)

    difference = found.covariance[0, 0] + found.covariance[1, 1] - 2.0 * found.covariance[0, 1]
    assert np.sqrt(difference) < 0.2 * found.spread[0, 0]


def test_designs_that_are_limited_alike_share_more_of_the_error() -> None:
    load = Component("load", near={"time_ns": 1.0}, spread=(0.2,))
    process = ErrorProcess(replace(prior(), components=(load,)))
    # The second takes a tenth longer in the simulator, the third thirty times as long.
    times = {"time_ns": np.array([10.0, 11.0, 300.0])}
    points = points_of(SPACE, np.array([[10], [60], [11]]), {"workload": "w"}, times)
    first = np.zeros(1, int)
    process.condition(points.rows(first), Residuals(first, first, np.array([0.3]), first))

    mean, _ = process.marginals(points)

    assert mean[1, 0] > 0.27
    assert mean[2, 0] < 0.05


def test_measurement_of_another_workload_says_nothing() -> None:
    process = process_of([10], [0.2])

    mean, _ = process.marginals(points_of(SPACE, np.array([[10]]), {"workload": "other"}))

    assert mean[0, 0] == 0.0


def test_marginals_are_those_of_the_joint_prediction() -> None:
    process = process_of([3, 40, 41], [0.1, -0.05, -0.02])
    points = points_of(SPACE, np.array([[0], [20], [45]]), {"workload": "w"})

    mean, spread = process.marginals(points)
    joint = process.predict(points)

    assert joint.mean == pytest.approx(mean)
    assert joint.spread == pytest.approx(spread)


def test_typo_is_named_and_hardly_counts_until_a_repeat_confirms_it() -> None:
    rows, errors = [8, 10, 12, 14, 16], [0.10, 0.11, 2.3, 0.10, 0.09]
    points = points_of(SPACE, np.array([[13]]), {"workload": "w"})

    alone = process_of(rows, errors)
    confirmed = process_of([*rows, 12], [*errors, 2.31])

    assert np.flatnonzero(alone.weights < 1.0).tolist() == [2]
    assert alone.deviations[2] > 4.0
    assert alone.marginals(points)[0][0, 0] == pytest.approx(0.1, abs=0.05)
    assert (confirmed.weights[[2, 5]] == 1.0).all()


def test_prior_that_is_five_times_too_small_is_noticed_by_five_measurements() -> None:
    rng = np.random.default_rng(3)
    points = points_of(SPACE, np.arange(64)[:, None], {"workload": "w"})
    noticed = 0
    for seed in range(20):
        truth = ErrorProcess(prior()).predict(points).draws(2, np.random.default_rng(seed))[0]
        rows = rng.choice(64, 5, replace=False)
        noise = 0.02 * rng.standard_normal(5)
        errors = (truth[rows, 0] + noise).tolist()
        small = process_of(rows.tolist(), errors, factor=0.2)
        noticed += small.is_contradicted and small.scale > 1.5

    assert noticed >= 17


def test_right_prior_is_seldom_called_wrong() -> None:
    points = points_of(SPACE, np.arange(64)[:, None], {"workload": "w"})
    rng = np.random.default_rng(4)
    called = 0
    for seed in range(20):
        truth = ErrorProcess(prior()).predict(points).draws(2, np.random.default_rng(seed))[0]
        rows = rng.choice(64, 5, replace=False)
        noise = 0.02 * rng.standard_normal(5)
        called += process_of(rows.tolist(), (truth[rows, 0] + noise).tolist()).is_contradicted

    assert called <= 2


def test_draws_have_the_mean_and_the_spread_of_the_process() -> None:
    process = process_of([10], [0.2])
    points = points_of(SPACE, np.array([[10], [40]]), {"workload": "w"})

    found = process.predict(points)
    draws = found.draws(20_000, np.random.default_rng(0))

    assert draws.mean(axis=0) == pytest.approx(found.mean)
    assert draws.std(axis=0) == pytest.approx(found.spread, rel=0.05)


def test_quantile_is_that_of_a_variable_of_standard_deviation_one() -> None:
    # Student's t with 6 degrees of freedom: 1.943 at 95 %, its deviation is sqrt(6 / 4).
    assert quantile(6.0, 0.95) == pytest.approx(1.9432 / 1.2247, abs=1e-3)


def test_exact_simulator_keeps_an_error_of_zero() -> None:
    simulator = DramSimulator()
    found = shipped_prior("dram", simulator.metrics)
    assert found is not None
    process = ErrorProcess(found)
    points = points_of(simulator.space, simulator.space.default_indices[None], {})
    n = len(found.quantities)

    process.condition(
        points, Residuals(np.zeros(n, int), np.arange(n), np.zeros(n), np.zeros(n, int))
    )
    mean, spread = process.marginals(points)

    assert found.origin == "exact"
    assert (mean == 0.0).all()
    assert (spread == 0.0).all()


def test_two_hundred_measurements_take_milliseconds() -> None:
    from time import perf_counter

    rng = np.random.default_rng(0)
    rows = rng.integers(0, 64, 200).tolist()
    process_of(rows, rng.normal(0.0, 0.02, 200).tolist())
    start = perf_counter()
    process_of(rows, rng.normal(0.0, 0.02, 200).tolist())

    # Some 10 ms alone; the machine may be busy.
    assert perf_counter() - start < 0.5


@pytest.mark.parametrize(
    ("name", "space"),
    [(n, s) for n in simulator_names() for s in simulator_class(n).spec.space_names],
)
def test_tied_metrics_have_the_error_of_one_that_has_its_own(name: str, space: str) -> None:
    specs = make_simulator(simulator_class(name), space, None, {}).metrics
    found = chosen_prior(specs, "a test")
    errors = {spec.name: found.error_of(spec.name) for spec in specs}

    for spec in specs:
        factors = spec.tied.split(" * ") if spec.tied else []
        assert {text.strip("-") for text in factors} <= {*errors}
        known = [(text, errors[text.strip("-")]) for text in factors]
        total = sum(
            each * (-1.0 if text[0] == "-" else 1.0) for text, each in known if each is not None
        )
        if errors[spec.name] is not None and np.any(total):
            assert errors[spec.name] == pytest.approx(total)


def test_products_say_what_their_factors_leave_open() -> None:
    specs = [MetricSpec(n, "", "minimise", 1.0, n) for n in ("power", "time")]
    energy = MetricSpec("energy", "", "minimise", 1.0, "energy", tied="power * time")
    rate = MetricSpec("rate", "", "maximise", 1.0, "rate", tied="-time")
    found = chosen_prior([energy, rate, *specs], "a test")
    row = Measurement(
        simulator="s", version=0, space="d", options={}, workload="w", facts={}, design={},
        metrics={}, simulated=dict.fromkeys(("power", "time", "energy", "rate"), 1.0),
    )  # fmt: skip

    def errors(**logs: float) -> dict[str, float]:
        given = replace(row, metrics={name: float(np.exp(log)) for name, log in logs.items()})
        values, known, _ = _errors(given, found, [energy, rate, *specs])
        return {found.quantities[q]: float(values[q]) for q in np.flatnonzero(np.diag(known))}

    assert found.quantities == ("power", "time")
    assert errors(energy=0.3, time=0.1) == pytest.approx({"time": 0.1, "power": 0.2})
    assert errors(energy=0.3, rate=-0.1) == pytest.approx({"time": 0.1, "power": 0.2})
    assert errors(energy=0.3) == pytest.approx({"time": 0.15, "power": 0.15})
    assert errors(energy=0.9, time=0.1, power=0.2) == pytest.approx({"time": 0.1, "power": 0.2})


def test_cost_of_served_tokens_has_the_error_of_their_time() -> None:
    found = chosen_prior(make_simulator(simulator_class("kv"), "serving", None, {}).metrics, "test")

    # The rent is exact.
    assert found.error_of("usd_per_mtoken") == pytest.approx(found.error_of("duration_s"))
    assert found.error_of("usd_per_hour") is None


@pytest.mark.parametrize("name", ["accelerator", "cluster", "dram", "translation"])
def test_tied_metrics_are_in_proportion(name: str) -> None:
    task = Task.make(name)
    indices = task.space.sample(4, np.random.default_rng(0))
    result = task.simulator.evaluate_batch(indices, task.workloads[0].workload)
    values = np.asarray(result.values)[np.asarray(result.reason) == 0]
    columns = {spec.name: values[:, at] for at, spec in enumerate(task.simulator.metrics)}
    assert len(values) > 1
    for spec in task.simulator.metrics:
        # Those in percent also depend on the peak, which designs have of their own.
        if spec.tied and spec.unit != "%":
            ratios = columns[spec.name].copy()
            for text in spec.tied.split(" * "):
                ratios /= columns[text.removeprefix("-")] ** (-1.0 if text[0] == "-" else 1.0)
            assert ratios == pytest.approx(ratios[0], rel=0.01)


def test_prior_of_serving_has_larger_errors_for_hardware_that_is_new() -> None:
    simulator = MoeSimulator("closed-loop")
    found = shipped_prior("moe", simulator.metrics)
    assert found is not None

    for component in found.components:
        if component.news:
            assert all(
                new >= old for new, old in zip(component.spread_new, component.spread, strict=True)
            )
    assert ErrorPrior.from_json(found.to_json()) == found
