"""Area and power of designs, against the specification's figures and each other."""

from dataclasses import replace

import numpy as np
import pytest

from archgym.simulators.translation.kernel.counters import COUNTERS
from archgym.simulators.translation.machine import Hardware, l2_cache_cycles, l2_tlb_cycles
from archgym.simulators.translation.metrics import area_mm2, power_mw, translation_area_mm2

DEFAULT = Hardware()


def counted(**events: int) -> np.ndarray:
    """Counters of a run in which only these events happened."""
    counters = np.zeros(len(COUNTERS), dtype=np.int64)
    for name, number in events.items():
        counters[COUNTERS.index(name)] = number
    return counters


def test_default_design_fills_the_slice() -> None:
    assert area_mm2(DEFAULT) == 32.0


def test_large_l2_tlb_takes_the_area_of_its_array() -> None:
    large = replace(DEFAULT, l2_entries=65536, l2_ways=16)

    # CACTI: 0.6293 mm2 in place of the 0.0318 of the array for 1536 entries.
    assert area_mm2(large) - area_mm2(DEFAULT) == pytest.approx(0.6293 - 0.0318)


def test_victima_takes_two_tag_bits_a_line() -> None:
    grown = area_mm2(replace(DEFAULT, mechanism="victima")) - area_mm2(DEFAULT)

    # 64 Kibit for 2 MiB, about 0.015 mm2: 0.05 % of the slice, published as 0.04 % of a processor.
    assert grown == pytest.approx(0.015, rel=0.01)
    assert 100 * grown / 32 == pytest.approx(0.04, abs=0.02)


def test_smaller_l2_cache_gives_area_back() -> None:
    small = replace(DEFAULT, l2_cache_kib=512)

    assert area_mm2(small) - area_mm2(DEFAULT) == pytest.approx(0.6229 - 2.2597)
    assert translation_area_mm2(small) == translation_area_mm2(DEFAULT)


@pytest.mark.parametrize(
    ("mechanism", "costs_area"),
    [("l3_tlb", True), ("cluster", True), ("pom_tlb", False), ("prefetch", False), ("hash", False)],
)
def test_mechanism_on_the_chip_costs_area_and_one_in_memory_none(
    mechanism: str, costs_area: bool
) -> None:
    assert (area_mm2(replace(DEFAULT, mechanism=mechanism)) > 32.0) == costs_area


def test_nested_tlb_is_there_only_in_a_virtual_machine() -> None:
    assert area_mm2(replace(DEFAULT, nested_entries=256)) == 32.0
    assert area_mm2(replace(DEFAULT, nested_entries=256, virtualised=True)) > 32.0


@pytest.mark.parametrize(
    ("kib", "cycles"), [(512, 9), (1024, 12), (2048, 16), (4096, 22), (8192, 30)]
)
def test_l2_cache_latency_is_the_artifacts(kib: int, cycles: int) -> None:
    assert l2_cache_cycles(kib) == cycles


def test_ideal_l2_tlb_is_as_fast_as_the_default_one() -> None:
    assert l2_tlb_cycles(131072, "ideal") == 12
    assert l2_tlb_cycles(131072, "published") == 48
    assert l2_tlb_cycles(131072, "cacti-ratio") == 77


def test_idle_design_takes_its_leakage() -> None:
    idle = power_mw(DEFAULT, counted(), 1000.0)

    # 568.5 mW each for the L2 and L3 caches, 10.9 each for the L1 caches, 9.6 for the L2 TLB, and
    # under 2 for all small arrays.
    assert idle == pytest.approx(2 * 568.534 + 2 * 10.9207 + 9.64463, abs=2.0)


def test_read_of_memory_takes_fifteen_nanojoules() -> None:
    idle = power_mw(DEFAULT, counted(), 2600.0)
    busy = power_mw(DEFAULT, counted(l3_cache_data_misses=1), 2600.0)

    # 2600 cycles at 2.6 GHz are 1000 ns.
    assert busy - idle == pytest.approx(15_000 / 1000)


def test_same_work_in_half_the_time_takes_twice_the_dynamic_power() -> None:
    work = counted(accesses=1000, l2_hits=10, walks=3, l1_cache_data_reads=900)
    idle = power_mw(DEFAULT, counted(), 1.0)

    slow, fast = (power_mw(DEFAULT, work, cycles) - idle for cycles in (2e4, 1e4))

    assert fast == pytest.approx(2 * slow)
