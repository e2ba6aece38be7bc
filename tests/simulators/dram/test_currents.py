"""Energy equations on cases that are small enough to follow by hand."""

import numpy as np
import pytest

from archgym.simulators.dram.kernel.currents import (
    PowerSpec,
    Supply,
    core_energy,
)
from archgym.simulators.dram.kernel.power import count_commands
from archgym.simulators.dram.kernel.records import KINDS, blank_account

_CURRENT = {"0": 0.06, "2n": 0.03, "3n": 0.05, "4r": 0.15, "4w": 0.14, "5": 0.25} | {
    "6": 0.02,
    "2p": 0.01,
    "3p": 0.02,
}
_CLOCKS = {"RAS": 30, "RP": 10, "RFC": 100, "RTP": 6, "WL": 8, "WR": 12}


def _spec(rho: float) -> PowerSpec:
    return PowerSpec(
        standard="DDR4",
        supplies=(Supply(voltage=1.2, current=_CURRENT),),
        n_devices=2,
        n_groups=1,
        n_banks=4,
        burst=4,
        fact_rho=rho,
        t_ck_s=1e-9,
        clocks=_CLOCKS,
    )


def _energy(commands: list[tuple[str, int, int]], end: int, rho: float = 1.0) -> dict[str, float]:
    spec = _spec(rho)
    banks, ranks = blank_account(4, 1)
    kinds, of_bank, times = (np.array(column) for column in zip(*commands, strict=True))
    codes = np.array([KINDS.index(str(kind)) for kind in kinds])
    zeros = np.zeros(len(codes), dtype=np.int64)
    count_commands(
        spec.rules(), banks, ranks, codes, zeros, of_bank.astype(int), times.astype(int), end
    )
    return core_energy(spec, banks, ranks, end)


def test_open_bank_costs_activation_and_active_background() -> None:
    found = _energy([("ACT", 0, 10), ("PRE", 0, 50)], end=100)

    # With rho 1 the rank draws IDD3N for 40 clocks and IDD2N for 60, two devices at 1.2 V.
    assert found["bg_act_shared"] == pytest.approx(2 * 1.2 * 0.05 * 40e-9)
    assert found["bg_pre"] == pytest.approx(2 * 1.2 * 0.03 * 60e-9)
    # An activation draws IDD0 - IDD3N over tRAS, a precharge IDD0 - IDD2N over tRP.
    assert found["act"] == pytest.approx(2 * 1.2 * 0.01 * 30e-9)
    assert found["pre"] == pytest.approx(2 * 1.2 * 0.03 * 10e-9)


def test_automatic_precharge_closes_after_the_row_was_restored() -> None:
    found = _energy([("ACT", 0, 0), ("RDA", 0, 12)], end=100)

    # It closes at max(0 + RAS, 12 + RTP) = 30.
    assert found["bg_act_shared"] == pytest.approx(2 * 1.2 * 0.05 * 30e-9)
    assert found["pre"] > 0.0
    assert found["RDA"] == pytest.approx(2 * 1.2 * 0.10 * 4e-9)


def test_refresh_makes_all_banks_active() -> None:
    found = _energy([("REFA", 0, 0)], end=200)

    assert found["bg_act_shared"] == pytest.approx(2 * 1.2 * 0.05 * 100e-9)
    assert found["ref_AB"] == pytest.approx(2 * 1.2 * 0.20 * 100e-9)
    assert found["pre"] == 0.0


def test_banks_share_the_background_as_rho_says() -> None:
    found = _energy([("ACT", 0, 0)], end=100, rho=0.0)

    # One of four banks adds a quarter of IDD3N - IDD2N.
    assert found["bg_act_shared"] == pytest.approx(2 * 1.2 * 0.03 * 100e-9)
    assert found["bg_act"] == pytest.approx(2 * 1.2 * 0.005 * 100e-9)
