"""Energies and areas against Accelergy's."""

import pytest

from archgym.errors import InvalidArgumentError
from archgym.simulators.accelerator.energy import (
    ADDRESS_GENERATORS,
    Cost,
    buffer_registers,
    multiply_accumulate,
    registers,
    scaled,
    sram,
)


@pytest.mark.parametrize(
    ("cost", "energy", "area"),
    [
        # Accelergy 0.3 with Aladdin's tables at 45 nm.
        (multiply_accumulate(16), 2.20035, 1239.5),
        (multiply_accumulate(8), 0.5608, 332.25),
        (registers(16, 16), 0.20203, 235.68),
        (buffer_registers(16, 16), 0.25083, 414.68),
        (buffer_registers(192, 16), 1.58552, 3634.68),
    ],
)
def test_costs_are_those_of_accelergy(cost: Cost, energy: float, area: float) -> None:
    assert cost.read_pj == pytest.approx(energy, abs=1e-5)
    assert cost.area_um2 == pytest.approx(area, abs=0.01)


def test_global_buffer_is_that_of_the_eyeriss_like_one() -> None:
    array = sram(16384, 64, 32)

    assert array is not None
    cost = array.plus(ADDRESS_GENERATORS)
    assert cost.read_pj == pytest.approx(74.1442, abs=1e-4)
    assert cost.write_pj == pytest.approx(75.2148, abs=1e-4)
    assert cost.area_um2 == pytest.approx(1162549.0, abs=1)


def test_an_sram_between_two_rows_costs_something_between() -> None:
    low, between, high = sram(1024, 64), sram(1500, 64), sram(2048, 64)

    assert low is not None
    assert between is not None
    assert high is not None
    assert low.read_pj < between.read_pj < high.read_pj
    assert low.area_um2 < between.area_um2 < high.area_um2


def test_banks_that_cacti_refuses_have_no_cost() -> None:
    assert sram(1024, 64, 64) is None
    assert sram(2048, 64, 128) is None


def test_an_sram_beyond_the_table_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="must have a width, ports and banks among"):
        sram(1 << 20, 64)
    with pytest.raises(InvalidArgumentError, match="must have a width, ports and banks among"):
        sram(1024, 48)


def test_scaling_to_65_nm_is_near_cacti() -> None:
    # CACTI 7: 8 KiB, 64 bits, two ports: 7.67023 pJ and 53934 um2 at 45 nm; at 65 nm these.
    small = sram(1024, 64)

    assert small is not None
    large = scaled(small, 65)
    assert large.read_pj == pytest.approx(13.884, rel=0.05)
    assert large.area_um2 == pytest.approx(112501, rel=0.05)
