"""Arrays cost what CACTI computed, and more is never cheaper."""

from itertools import pairwise

import pytest

from archgym.simulators.translation.cacti import (
    cache_array,
    published_cycles,
    ratio_cycles,
    tlb_array,
)


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
