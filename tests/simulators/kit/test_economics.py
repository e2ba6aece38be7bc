"""Price and carbon of chips against published tools' own numbers."""

import math

import numpy as np
import pytest

from archgym.errors import UnknownNameError
from archgym.simulators.cpu import CpuSimulator
from archgym.simulators.kit.economics import (
    NODES,
    PACKAGE_DOLLARS,
    PACKAGE_KG,
    chip_metrics,
    chip_yield,
    die_dollars,
    embodied_kg,
    operational_kg,
)
from archgym.spaces.expression import Expression, P


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
