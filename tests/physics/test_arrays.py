"""Arrays cost what CACTI computed, and more is never cheaper."""

from itertools import pairwise

import pytest

from archgym.physics.arrays import cache_array, cells, node_ratios, tlb_array
from archgym.simulators.accelerator.machine.energy import Cost, node_shares, scaled
from archgym.simulators.translation.machine import published_cycles, ratio_cycles


def test_array_of_the_table_is_as_computed() -> None:
    array = tlb_array(65536)

    assert array.area_mm2 == 0.6293
    assert array.read_pj == 35.4316
    assert array.leakage_mw == 259.96
    assert array.access_ns == 1.1046


def test_cache_of_the_table_is_as_computed() -> None:
    array = cache_array(2048)

    assert (array.area_mm2, array.read_pj, array.leakage_mw) == (2.2597, 231.745, 568.534)


def test_array_between_two_lies_between_them_in_ratio() -> None:
    # Half way between 2048 and 8192 entries in ratio are 4096; between 4096 and 8192, 5793.
    between = tlb_array(5793)

    assert between.area_mm2 == pytest.approx((0.042 * 0.0779) ** 0.5, rel=1e-3)


def test_larger_array_never_costs_less() -> None:
    sizes = [
        8,
        16,
        64,
        100,
        512,
        700,
        1024,
        1536,
        2048,
        10_000,
        16384,
        32768,
        65536,
        131072,
        262144,
    ]
    arrays = [tlb_array(size) for size in sizes]

    for small, large in pairwise(arrays):
        assert small.area_mm2 <= large.area_mm2
        assert small.read_pj <= large.read_pj
        assert small.leakage_mw <= large.leakage_mw
        assert small.access_ns <= large.access_ns


def test_fully_associative_array_takes_two_and_a_half_times_the_area() -> None:
    assert tlb_array(64, True).area_mm2 == pytest.approx(2.5 * tlb_array(64).area_mm2)


def test_array_of_no_entries_costs_nothing() -> None:
    assert (tlb_array(0).area_mm2, tlb_array(0).leakage_mw, tlb_array(0).read_pj) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("entries", "cycles"),
    # Specification of the latency model: published anchors are 1536 -> 12 and 65536 -> 39.
    [
        (1536, 12),
        (2048, 13),
        (4096, 16),
        (8192, 20),
        (16384, 25),
        (32768, 31),
        (65536, 39),
        (131072, 48),
    ],
)
def test_latency_goes_through_the_published_ones(entries: int, cycles: int) -> None:
    assert published_cycles(entries) == cycles


@pytest.mark.parametrize(("entries", "cycles"), [(1536, 12), (65536, 55), (131072, 77)])
def test_latency_by_the_arrays_time_alone(entries: int, cycles: int) -> None:
    assert ratio_cycles(entries) == cycles


# Sizes that the table leaves out: KiB, ways and ports, and what CACTI 7 gives: time [ns], energy of
# a read and a write [nJ], leakage [mW] and area [mm2] (`experiments/cacti_arrays.py`).
LEFT_OUT = (
    (("ram", 8, 1), (0.13748, 0.002175, 0.003549, 2.9386, 0.0075842)),
    (("ram", 512, 1), (0.80448, 0.026819, 0.023874, 153.93, 0.46217)),
    (("ram", 2048, 2), (2.0091, 0.13139, 0.1276, 714.82, 3.8699)),
    (("cache", 64, 8, 1), (0.81173, 0.0835, 0.086568, 22.36, 0.22726)),
    (("cache", 1024, 2, 1), (1.1981, 0.11538, 0.12195, 315.32, 1.2856)),
    (("cache", 1024, 8, 2), (2.0215, 0.3115, 0.32982, 379.58, 2.6808)),
    (("cache", 4096, 8, 1), (2.2548, 0.25834, 0.26928, 1266.1, 5.1468)),
    (("cache", 4096, 8, 2), (3.0866, 0.67056, 0.70889, 1484.5, 10.809)),
)


@pytest.mark.parametrize(("array", "cacti"), LEFT_OUT)
def test_array_between_those_of_the_table_is_near_cacti(
    array: tuple[str, *tuple[int, ...]], cacti: tuple[float, ...]
) -> None:
    found = cells(*array)

    own = (found.access_ns, found.read_pj / 1e3, found.write_pj / 1e3, found.leakage_mw)
    assert own == pytest.approx(cacti[:4], rel=0.26)
    assert found.area_mm2 == pytest.approx(cacti[4], rel=0.16)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_larger_more_associative_and_more_ported_caches_take_more_area(axis: int) -> None:
    sizes: list[float] = [256, 1, 1]
    areas = []
    for factor in (1, 2, 4):
        sizes[axis] = (256, 1, 1)[axis] * factor if axis < 2 else min(factor, 2)
        areas.append(cells("cache", *sizes).area_mm2)

    assert areas == sorted(areas)
    assert areas[-1] > areas[0]


def test_smaller_nodes_are_smaller_faster_and_thriftier() -> None:
    at = [node_ratios(node) for node in ("28nm", "22nm", "14nm", "10nm", "7nm", "5nm")]

    for older, newer in pairwise(at):
        assert all(new <= old for new, old in zip(newer, older, strict=True))
    assert all(new < old for new, old in zip(at[-1], at[0], strict=True))
    assert tlb_array(1536).at_node("22nm") is tlb_array(1536)
    assert cache_array(2048).at_node("7nm").area_mm2 == pytest.approx(
        cache_array(2048).area_mm2 * node_ratios("7nm")[0]
    )


def test_costs_of_accelerators_shrink_from_45_to_22_nm_as_in_cacti() -> None:
    # Median of CACTI 7's RAMs of 4 KiB to 2 MiB at 45 nm over those at 22 nm: 4.12 in area, 3.38 in
    # energy of a read.
    at_22 = scaled(Cost(1.0, 1.0, 1.0), 22)

    assert 1 / at_22.area_um2 == pytest.approx(4.12, rel=0.03)
    assert 1 / at_22.read_pj == pytest.approx(3.38, rel=0.08)
    memory, logic, energy = node_shares("22nm")
    assert (memory, logic, energy) == (at_22.area_um2, at_22.area_um2, at_22.read_pj)
