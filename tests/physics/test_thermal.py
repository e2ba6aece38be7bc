"""Temperatures of floorplans against HotSpot 7's grid model of 64 x 64 cells."""

import numpy as np
import pytest

from archgym.physics.thermal import (
    Block,
    ThermalNetwork,
    floorplan,
    hottest_c,
    package_peaks,
    worst_window,
)

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


@pytest.mark.parametrize(("window", "watts"), [(0.5, 3.0), (2.0, 2.0), (10.0, 5.0 / 3.0)])
def test_worst_window_lies_within_a_phase_or_across_phases(window: float, watts: float) -> None:
    found = worst_window(np.ones(3), np.array([1.0, 3.0, 1.0]), window)

    assert found == pytest.approx(watts)


def test_worst_window_is_not_below_the_mean_of_a_run_with_its_peaks_at_both_ends() -> None:
    # Windows of two phases hold one peak each, the run of three holds both.
    assert worst_window(np.ones(3), np.array([1.0, 0.0, 1.0]), 2.0) == pytest.approx(2.0 / 3.0)


def test_package_is_as_hot_as_its_share_of_the_power_makes_it() -> None:
    # 2 W in two packages of 46.6 K/W, in air of 45 C; a long window of 4 W ends 93.2 K above it.
    assert package_peaks(np.array([2.0]), np.array([1e-6]), 2, 46.6) == pytest.approx((2e3, 91.6))
    peak, hottest = package_peaks(np.array([0.0, 4.0]), np.array([1e3, 1e3]), 2, 46.6)
    assert (peak, hottest) == pytest.approx((4e3, 138.2))


def test_windows_of_different_lengths_end_as_equal_ones_do() -> None:
    blocks = {"core": 4.0, "off-chip": 0.0, "cache": 6.0}
    watts = np.array([[2.0, 9.0, 1.0], [5.0, 9.0, 1.0], [5.0, 9.0, 1.0]])
    fine = hottest_c(watts, np.full(3, 1e-3), blocks, 0.1)

    merged = hottest_c(watts[:2], np.array([1e-3, 2e-3]), blocks, 0.1)

    assert merged == pytest.approx(fine, abs=0.3)
    assert fine > ThermalNetwork(floorplan({"core": 4.0, "cache": 6.0})).steady([2.0, 1.0]).max()
