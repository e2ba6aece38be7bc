"""Price and carbon of chips against published tools' own numbers."""

import math
from typing import Any

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError, UnknownNameError
from archgym.physics.economics import (
    NODES,
    PACKAGE_DOLLARS,
    PACKAGE_KG,
    Ownership,
    chip_metrics,
    chip_yield,
    die_dollars,
    embodied_kg,
    operational_kg,
)
from archgym.simulators.cpu import CpuSimulator
from archgym.spaces.expression import Expression, P
from archgym.tasks.task import Task


def value(expression: Expression, **columns: float) -> float:
    return float(expression.evaluate({name: np.array([x]) for name, x in columns.items()})[0])


# Grams that ACT (facebookresearch/ACT) gives for area in mm2 and yield, one package included.
ACT = (
    ("7nm", 100.0, 0.875, 2468.2285714285713),
    ("14nm", 50.0, 0.9, 906.7222222222222),
    ("5nm", 300.0, 0.6, 12303.75),
    ("28nm", 20.0, 0.95, 394.67368421052635),
    ("10nm", 80.0, 0.8, 1704.925),
)


@pytest.mark.parametrize(("node", "area", "works", "grams"), ACT)
def test_carbon_of_a_die_is_that_of_act_at_the_same_yield(
    node: str, area: float, works: float, grams: float
) -> None:
    own = value(chip_yield(P("a"), NODES[node]), a=area)

    made = value(embodied_kg(P("a"), NODES[node]), a=area) * own / works

    assert made + PACKAGE_KG == pytest.approx(grams / 1000.0, rel=1e-9)


def test_carbon_of_use_is_that_of_act() -> None:
    # 5 W for 26,280 hours on the grid of the USA.
    assert value(operational_kg(P("w"), "usa", 26_280.0), w=5.0) == pytest.approx(49.932)


@pytest.mark.parametrize(
    ("node", "area", "works"),
    [
        ("7nm", 100.0, 0.8203482998751551),
        ("7nm", 300.0, 0.5583947769151179),
        ("22nm", 50.0, 0.9608661010102666),
    ],
)
def test_yield_is_that_of_eco_chip(node: str, area: float, works: float) -> None:
    assert value(chip_yield(P("a"), NODES[node]), a=area) == pytest.approx(works, rel=1e-12)


def test_price_of_a_die_is_its_share_of_a_wafer() -> None:
    node = NODES["7nm"]
    dies = math.pi * 300.0 * (300.0 / (4.0 * 100.0) - 1.0 / math.sqrt(200.0))

    price = value(die_dollars(P("a"), node), a=100.0)

    assert price == pytest.approx(9346.0 / dies / 0.8203482998751551)


def test_splitting_pays_for_large_chips_alone() -> None:
    def dollars(area: float, dies: int) -> float:
        price = chip_metrics("5nm", "world", 1.0, dies)[0].formula
        assert price is not None
        return value(price, area_mm2=area)

    assert dollars(600.0, 4) < 0.8 * dollars(600.0, 1)
    assert dollars(40.0, 4) > dollars(40.0, 1) + 2 * PACKAGE_DOLLARS


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="7nm"):
        chip_metrics("7", "usa", 1.0)
    with pytest.raises(UnknownNameError, match="usa"):
        chip_metrics("7nm", "us", 1.0)


def test_metrics_of_a_simulator_are_those_of_its_area_and_power() -> None:
    simulator = CpuSimulator(node="7nm", grid="europe", hours=1000.0, instructions=4096)
    workload = simulator.workload("sort")

    found = simulator.evaluate_batch(simulator.space.default_indices[None], workload)

    row = dict(zip((spec.name for spec in simulator.metrics), found.values[0], strict=True))
    assert row["operational_kg_co2"] == pytest.approx(row["power_mw"] / 1e3 * 1000 * 295 / 1e6)
    die = value(die_dollars(P("a"), NODES["7nm"]), a=row["area_mm2"])
    assert row["dollars"] == pytest.approx(die + PACKAGE_DOLLARS)
    assert row["total_kg_co2"] == row["embodied_kg_co2"] + row["operational_kg_co2"]


def test_ownership_adds_electricity_to_the_price() -> None:
    ownership = Ownership(years=3.0, pue=1.2, electricity=0.08, grid="usa")
    price, carbon = (spec.formula for spec in ownership.metrics())
    assert price is not None
    assert carbon is not None

    # 10 kW for three years at a PUE of 1.2 are 315,360 kWh.
    assert value(price, dollars=1000.0, power_kw=10.0) == pytest.approx(1000 + 315_360 * 0.08)
    assert value(carbon, dollars=1000.0, power_kw=10.0) == pytest.approx(315_360 * 0.380)


@pytest.mark.parametrize(
    ("simulator", "options", "names"),
    [
        ("cpu", {"node": "7nm"}, ("dollars", "embodied_kg_co2")),
        ("soc", {"node": "7nm", "dies": "2"}, ("dollars", "total_kg_co2")),
        ("cluster", {"years": "3"}, ("total_cost_of_ownership_dollars", "operational_kg_co2")),
        ("moe", {"years": "3"}, ("total_cost_of_ownership_dollars", "operational_kg_co2")),
    ],
)
def test_tasks_have_price_and_carbon_as_objectives(
    simulator: str, options: dict[str, Any], names: tuple[str, ...]
) -> None:
    task = Task.make(simulator, minimise=names, **options)

    row = task.evaluate(task.space.default_indices[None])

    assert np.isfinite(row.reward).all()
    assert Task.from_json(task.to_json()).id == task.id


@pytest.mark.parametrize(
    ("simulator", "options"),
    [
        ("soc", {"hours": "9"}),
        ("cluster", {"pue": "2"}),
        ("moe", {"grid": "usa"}),
        ("moe", {"accelerator_dollars": "9000"}),
    ],
)
def test_options_that_nothing_reads_are_refused(simulator: str, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match="need"):
        Task.make(simulator, **options)


def test_price_of_another_accelerator_is_told(caplog: pytest.LogCaptureFixture) -> None:
    Task.make("moe", years="3", hardware="rtx-4090", accelerator_dollars="2000")
    Task.make("moe", years="3", hardware="hgx-h200", space="single-server")
    assert not caplog.text
    Task.make("moe", years="3", hardware="rtx-4090")

    assert "for rtx-4090 too: give `accelerator_dollars`" in caplog.text


def test_ownership_of_servers_is_their_price_and_the_electricity_of_their_tokens() -> None:
    task = Task.make("moe", years="3", accelerator_dollars="20000", electricity="0.2", pue="1.5")

    row = dict(zip((s.name for s in task.metrics), task.reference[0], strict=True))

    # 350 W of its server for each accelerator, of which the energy has 150 W already.
    kilowatts = row["energy_per_token_mj"] * row["output_per_s"] / 1e6
    kilowatts += 0.35 * row["n_gpus"] - 0.15
    electricity = kilowatts * 1.5 * 3 * 8760 * 0.2
    assert 0.01 < kilowatts < 100
    assert row["total_cost_of_ownership_dollars"] == pytest.approx(
        20_000 * row["n_gpus"] + electricity
    )


def test_ownership_of_a_cluster_includes_its_links_and_servers() -> None:
    task = Task.make("cluster", years="2", pue="1.0", electricity="0.1")

    row = dict(zip((s.name for s in task.metrics), task.reference[0], strict=True))

    hours = 2 * 8760
    assert row["server_kw"] == pytest.approx(0.5 * row["power_kw"])
    assert 0.001 < row["network_kw"] / row["power_kw"] < 0.5
    assert row["total_cost_of_ownership_dollars"] == pytest.approx(
        row["dollars"] + (1.5 * row["power_kw"] + row["network_kw"]) * hours * 0.1
    )
    assert "network_kw" not in {s.name for s in Task.make("cluster").metrics}
