"""Energies and areas against Accelergy's."""

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.simulators.accelerator.machine import energy
from archgym.simulators.accelerator.machine.energy import (
    ADDRESS_GENERATORS,
    Cost,
    buffer_registers,
    multiply_accumulate,
    one_port_shares,
    registers,
    scaled,
    sram,
)


@pytest.mark.parametrize(
    ("cost", "read_pj", "area"),
    [
        # Accelergy 0.3 with Aladdin's tables at 45 nm.
        (multiply_accumulate(16), 2.20035, 1239.5),
        (multiply_accumulate(8), 0.5608, 332.25),
        (registers(16, 16), 0.20203, 235.68),
        (buffer_registers(16, 16), 0.25083, 414.68),
        (buffer_registers(192, 16), 1.58552, 3634.68),
    ],
)
def test_costs_are_those_of_accelergy(cost: Cost, read_pj: float, area: float) -> None:
    assert cost.read_pj == pytest.approx(read_pj, abs=1e-5)
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


def test_sram_deeper_than_the_table_has_the_stated_error() -> None:
    # README: the deepest row of each kind, from one of half and of a quarter of its lines.
    rows = energy._sram_rows()
    found = []
    for times in (2, 4):
        errors = []
        for kind in {key[:3] for key in rows}:
            deepest = max(depth for *of, depth in rows if tuple(of) == kind)
            small, large = rows.get((*kind, deepest // times)), rows[(*kind, deepest)]
            if small is None or large is None:
                continue
            cost = energy._deeper(small, deepest // times, deepest, kind[0])
            assert cost is not None
            errors.append([a / b - 1 for a, b in zip(cost[:3], large[:3], strict=True)])
        found.append(np.median(np.abs(errors), axis=0))

    assert found[0] == pytest.approx([0.07, 0.06, 0.05], abs=0.01)
    assert found[1] == pytest.approx([0.28, 0.07, 0.13], abs=0.01)
    end, deeper = sram(65536, 64), sram(131072, 64)
    assert end is not None
    assert deeper is not None
    assert deeper.is_estimated
    assert deeper.area_um2 == pytest.approx(2.0 * end.area_um2, rel=0.05)


def test_scaling_to_65_nm_is_near_cacti() -> None:
    # CACTI 7: 8 KiB, 64 bits, two ports: 7.67023 pJ and 53934 um2 at 45 nm; at 65 nm these.
    small = sram(1024, 64)

    assert small is not None
    large = scaled(small, 65)
    assert large.read_pj == pytest.approx(13.884, rel=0.05)
    assert large.area_um2 == pytest.approx(112501, rel=0.05)


def _one_port_errors(banked: bool) -> np.ndarray:
    """Return (n_rows, 3), the relative errors of estimated rows, each left out of the rule."""
    rows = energy._sram_rows()
    errors = []
    for (bits, ports, banks, depth), cost in rows.items():
        double = rows.get((bits, 2, banks, depth))
        if ports == 2 or (banks > 1) != banked or cost is None or double is None:
            continue
        shares = one_port_shares(bits * depth // 8, banks, (bits, banks, depth))
        errors.append([d * s / c - 1 for d, s, c in zip(double[:3], shares, cost[:3], strict=True)])
    return np.abs(np.array(errors))


def test_one_port_rule_has_the_stated_leave_one_out_error() -> None:
    # README: one bank, then several; read, write, area.
    alone, banked = _one_port_errors(False), _one_port_errors(True)

    assert (len(alone), len(banked)) == (17, 5)
    assert alone.max(axis=0) == pytest.approx([0.128, 0.078, 0.162], abs=0.002)
    assert np.median(alone, axis=0) == pytest.approx([0.021, 0.027, 0.010], abs=0.002)
    assert banked.max(axis=0) == pytest.approx([0.110, 0.133, 0.098], abs=0.002)


def test_one_port_share_is_interpolated_over_bytes() -> None:
    # Read energies of 4 KiB and 1 KiB of 64 bits; 2 KiB is the row of 32 bits and that of 64 bits.
    below, above = 1.66966 / 1.98901, (2.23182 / 2.67732 + 2.75566 / 3.37489) / 2

    assert one_port_shares(1024, 1)[0] == pytest.approx(below)
    assert one_port_shares(2048, 1)[0] == pytest.approx(above)
    assert one_port_shares(1448, 1)[0] == pytest.approx((below + above) / 2, abs=1e-4)


def test_cost_says_whether_a_table_has_the_memory() -> None:
    in_table, between, one_port = sram(1024, 64), sram(1500, 64), sram(16384, 16, 16, 1)

    assert in_table is not None
    assert not in_table.is_estimated
    assert between is not None
    assert between.is_estimated
    assert one_port is not None
    assert one_port.is_estimated
    assert one_port.plus(ADDRESS_GENERATORS).is_estimated
    assert scaled(one_port, 65).is_estimated
