"""Price, carbon, and power over windows of time, on every simulator that can have them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.evaluation.options import declared_options
from archgym.evaluation.simulator import simulator_class, simulator_names
from archgym.report.decision import decide
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from archgym.tasks.task import Task
from tests.conformance.small import declared

# Simulators with an area and a power, as quick as they can be.
PRICED: dict[str, dict[str, Any]] = {
    "accelerator": {"layers": "1", "fidelity": "fast"},
    "cpu": {"instructions": "4096", "workload": "sort"},
    "soc": {},
    "translation": {"records": "2000"},
}
# Simulators whose runs have a course in time.
OBSERVED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("cpu", PRICED["cpu"]),
    ("dram", {"requests": "500"}),
    ("dram", {"device": "ddr5", "requests": "500"}),
    ("soc", {}),
)
# Simulators with metrics that are expressions of others.
DERIVED = {
    **{name: {"node": "7nm", **options} for name, options in PRICED.items()},
    "cluster": {"years": "3"},
    "moe": {"years": "3"},
}


def rows(task: Task, n: int = 3) -> dict[str, np.ndarray]:
    """Return metrics of the default and of random designs that can be built."""
    space = task.space
    designs = np.vstack([space.default_indices, space.sample(n, np.random.default_rng(1))])
    found = task.evaluate(designs)
    kept = found.values[found.reason[:, 0] == 0, 0]
    return dict(zip((spec.name for spec in task.metrics), kept.T, strict=True))


def test_every_simulator_with_area_and_power_has_a_node() -> None:
    declaring = {
        name
        for name in simulator_names()
        if {"node", "dies", "grid", "hours"}
        <= {o.name for o in declared_options(simulator_class(name))}
    }

    assert declaring == set(PRICED)
    # A composition has the options of its parts.
    assert {name for name in simulator_names() if "+" not in name} - declaring == set(
        declared("WITHOUT_NODE")
    )


def test_every_simulator_with_derived_metrics_is_known() -> None:
    declaring = {
        name
        for name in simulator_names()
        if "+" not in name
        and {"node", "years"} & {o.name for o in declared_options(simulator_class(name))}
    }

    assert declaring == set(DERIVED)


@pytest.mark.parametrize("name", DERIVED)
def test_errors_go_through_expressions_of_metrics(name: str, tmp_path: Path) -> None:
    derived = [
        s for s in Task.make(name, **DERIVED[name]).simulator.metrics if s.formula is not None
    ]
    task = Task.make(name, minimise=tuple(s.name for s in derived), **DERIVED[name])
    Study.create(tmp_path / "study", task, "random", seed=1, budget=6).run()

    best = decide(read_study(tmp_path / "study")).best

    names = ("likely", "low", "high")
    ends = {metric: dict(zip(names, e, strict=True)) for metric, e in best.metrics.items()}
    n_inherited = 0
    for spec in derived:
        assert spec.formula is not None
        likely, low, high = (
            float(spec.formula.evaluate({n: np.array([ends[n][end]]) for n in ends})[0])
            for end in names
        )
        own = ends[spec.name]
        assert own["likely"] == pytest.approx(likely)
        # Price and carbon grow with each of their parts, whose errors are independent.
        assert 0.999 * low <= own["low"] <= own["likely"] <= own["high"] <= 1.001 * high
        assert (own["low"] < own["high"]) == (low < high)
        n_inherited += own["low"] < own["high"]
    assert n_inherited


@pytest.mark.parametrize("name", DERIVED)
def test_derived_metrics_of_calibrated_simulators_are_their_expressions(name: str) -> None:
    plain = rows(Task.make(name, **DERIVED[name]))
    task = Task.make(name, confidence=0.9, **DERIVED[name])

    found = rows(task)

    # Nothing is measured: the most likely values are those simulated.
    for metric, values in plain.items():
        np.testing.assert_allclose(found[metric], values)
    for spec in task.metrics:
        if spec.formula is not None:
            np.testing.assert_allclose(found[spec.name], spec.formula.evaluate(found))
        if spec.name.startswith("low_"):
            assert (found[spec.name] <= found[spec.name.removeprefix("low_")]).all()


@pytest.mark.parametrize("name", PRICED)
def test_price_and_carbon_follow_from_area_and_power_at_every_node(name: str) -> None:
    areas = []
    for node in ("22nm", "7nm"):
        task = Task.make(name, minimise=("dollars", "total_kg_co2"), node=node, **PRICED[name])
        found = rows(task)
        area = found["area_no_dram_mm2" if name == "soc" else "area_mm2"]
        watts = found["mean_power_w"] if name == "soc" else found["power_mw"] / 1e3
        order = np.argsort(area)
        assert (np.diff(found["dollars"][order]) >= 0).all()
        assert (np.diff(found["embodied_kg_co2"][order]) >= 0).all()
        # Three years on the world's mean grid, 301 g/kWh.
        np.testing.assert_allclose(found["operational_kg_co2"], watts * 26_280 * 0.301 / 1e3)
        np.testing.assert_allclose(
            found["total_kg_co2"], found["embodied_kg_co2"] + found["operational_kg_co2"]
        )
        assert Task.from_json(task.to_json()).id == task.id
        areas.append(area.sum())

    assert areas[1] < areas[0]


@pytest.mark.parametrize("name", [name for name in PRICED if name != "cpu"])
def test_without_a_node_nothing_changes(name: str) -> None:
    plain = Task.make(name, **PRICED[name])

    assert "node" not in plain.id
    assert not {"dollars", "total_kg_co2"} & {spec.name for spec in plain.metrics}
    with pytest.raises(InvalidArgumentError, match="need a `node`"):
        Task.make(name, grid="usa", **PRICED[name])


@pytest.mark.parametrize(("name", "options"), OBSERVED)
def test_windows_add_peaks_and_change_no_other_metric(name: str, options: dict[str, Any]) -> None:
    plain = rows(Task.make(name, **options))
    task = Task.make(name, window_us="1", minimise="peak_temperature_c", **options)
    fine = rows(task)
    coarse = rows(Task.make(name, window_us="1000", **options))

    for metric, values in plain.items():
        np.testing.assert_array_equal(fine[metric], values)
    mean = "mean_power_w" if name == "soc" else "power_mw"
    scale = 1e3 if name == "soc" else 1.0
    assert (fine["peak_power_mw"] >= 0.999 * scale * plain[mean]).all()
    assert (fine["peak_power_mw"] >= 0.999 * coarse["peak_power_mw"]).all()
    assert (fine["peak_temperature_c"] > 45.0).all()
    assert Task.from_json(task.to_json()).id == task.id
    if name != "soc":
        # One window of the whole run: its mean power.
        np.testing.assert_allclose(coarse["peak_power_mw"], plain["power_mw"], rtol=0.02)


@pytest.mark.parametrize(
    ("name", "options"),
    [*OBSERVED, ("cpu", {"instructions": "4096", "workload": "k-mer-count"})],
)
@pytest.mark.parametrize("window_us", ["0.3", "0.7", "1.3", "9", "700"])
def test_no_peak_is_below_the_mean_power(
    name: str, options: dict[str, Any], window_us: str
) -> None:
    found = rows(Task.make(name, window_us=window_us, **options), 12)

    mean_mw = 1e3 * found["mean_power_w"] if name == "soc" else found["power_mw"]
    assert (found["peak_power_mw"] >= (1.0 - 1e-9) * mean_mw).all()


@pytest.mark.parametrize(("name", "options"), OBSERVED)
def test_a_worse_way_to_the_air_is_hotter(name: str, options: dict[str, Any]) -> None:
    warm = rows(Task.make(name, window_us="10", sink_k_per_w="10", **options), 0)
    hot = rows(Task.make(name, window_us="10", sink_k_per_w="60", **options), 0)

    assert hot["peak_temperature_c"] > warm["peak_temperature_c"]
    np.testing.assert_array_equal(hot["peak_power_mw"], warm["peak_power_mw"])


def test_windows_need_a_device_with_currents() -> None:
    for device in ("hbm3", "hbm2", "lpddr4-3200"):
        with pytest.raises(InvalidArgumentError, match="public currents"):
            Task.make("dram", device=device, window_us="1")
