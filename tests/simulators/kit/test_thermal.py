"""Temperatures of floorplans against HotSpot 7's grid model of 64 x 64 cells."""

import numpy as np
import pytest

from archgym.simulators.kit.thermal import Block, ThermalNetwork, floorplan

# Blocks of HotSpot's example 3 (width, height, left, bottom in mm), power [W], and the temperature
# that `hotspot -model_type grid` gives with the configuration of example 1 [C].
THREE = (
    ("Unit1", 8.0, 8.0, 0.0, 8.0, 10.0, 51.41),
    ("Unit2", 16.0, 8.0, 0.0, 0.0, 5.0, 50.01),
    ("Unit3", 8.0, 8.0, 8.0, 8.0, 20.0, 52.92),
)
EV6 = (
    ("L2_left", 4.9, 6.2, 0.0, 9.8, 1.44, 54.58), ("L2", 16.0, 9.8, 0.0, 0.0, 7.37, 53.50),
    ("L2_right", 4.9, 6.2, 11.1, 9.8, 1.44, 55.38), ("Icache", 3.1, 2.6, 4.9, 9.8, 8.27, 62.88),
    ("Dcache", 3.1, 2.6, 8.0, 9.8, 14.3, 66.07), ("Bpred", 3.1, 0.7, 4.9, 12.4, 4.55, 65.34),
    ("DTB", 3.1, 0.7, 8.0, 12.4, 0.18, 62.81), ("FPAdd", 2.2, 0.9, 4.9, 13.1, 1.24, 61.77),
    ("FPReg", 2.2, 0.38, 4.9, 14.0, 0.775, 60.37), ("FPMul", 2.2, 0.95, 4.9, 14.38, 1.33, 59.18),
    ("FPMap", 2.2, 0.67, 4.9, 15.33, 0.05, 57.17), ("IntMap", 0.9, 1.35, 7.1, 14.65, 1.07, 60.90),
    ("IntQ", 1.3, 1.35, 8.0, 14.65, 0.365, 64.40), ("IntReg", 1.8, 0.67, 9.3, 15.33, 5.17, 75.61),
    ("IntExec", 1.8, 2.23, 9.3, 13.1, 7.7, 68.41), ("FPQ", 0.9, 1.55, 7.1, 13.1, 0.04, 61.48),
    ("LdStQ", 1.3, 0.95, 8.0, 13.7, 3.46, 68.70), ("ITB", 1.3, 0.6, 8.0, 13.1, 0.4, 64.42),
)  # fmt: skip


@pytest.mark.parametrize(("rows", "within"), [(THREE, 0.5), (EV6, 1.8)], ids=["three", "ev6"])
def test_steady_temperatures_are_those_of_hotspot(
    rows: tuple[tuple[str, float, float, float, float, float, float], ...], within: float
) -> None:
    blocks = [Block(name, *(1e-3 * size for size in sizes)) for name, *sizes, _, _ in rows]

    found = ThermalNetwork(blocks).steady([row[5] for row in rows])

    np.testing.assert_allclose(found, [row[6] for row in rows], rtol=0, atol=within)


def test_floorplan_has_the_areas_and_no_gaps() -> None:
    areas = {f"b{i}": float(1 + i % 5) for i in range(13)}

    blocks = floorplan(areas)

    np.testing.assert_allclose([b.area * 1e6 for b in blocks], list(areas.values()))
    side = sum(areas.values()) ** 0.5 * 1e-3
    assert max(b.left + b.width for b in blocks) == pytest.approx(side)
    assert max(b.bottom + b.height for b in blocks) == pytest.approx(side)


def test_constant_power_keeps_the_steady_state_and_a_burst_heats() -> None:
    network = ThermalNetwork(floorplan({"core": 4.0, "cache": 6.0}))
    calm = np.tile([2.0, 1.0], (5, 1))
    burst = calm.copy()
    burst[3, 0] = 20.0

    np.testing.assert_allclose(network.course(calm, 1e-4)[-1], network.steady([2.0, 1.0]))
    heated = network.course(burst, 1e-4)[:, 0]
    assert heated.argmax() == 3
    assert heated[3] > heated[2] + 1.0
    assert heated[4] < heated[3]


def test_all_heat_leaves_through_the_sink() -> None:
    # With a sink that hardly cools, the rise is the power times the resistance to the air.
    network = ThermalNetwork(floorplan({"a": 10.0}), convection_k_per_w=100.0)

    assert network.steady([1.0])[0] == pytest.approx(145.0, abs=1.0)
