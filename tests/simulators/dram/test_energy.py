"""Energy and power by hand: constants per device and command of the reference's data sheet."""

from pathlib import Path

import numpy as np
import pytest

from archgym.simulators.dram import DramSimulator
from archgym.simulators.dram.dramsys.devices import device
from archgym.simulators.dram.dramsys.kernel.energy import CAUSES
from archgym.simulators.dram.dramsys.kernel.timing import rules
from tests.simulators.dram.test_kernel import READ, WRITE, address, run

# ddr3-1600, one of eight chips: 28 * 1.25 ns * (70 - 45) mA * 1.5 V and so on.
ACTIVATE_PJ = 1312.5
PRECHARGE_PJ = 468.75
READ_PJ = 712.5
WRITE_PJ = 750.0
REFRESH_PJ = 20625.0
BACKGROUND_PJ = 84.375  # a cycle


def test_one_read_and_one_write_cost_what_the_currents_say() -> None:
    found = run([(0, READ, address(1, 0)), (0, WRITE, address(1, 1))]).outputs

    assert found["activate_energy_pj"] == pytest.approx(8 * 2 * ACTIVATE_PJ)
    assert found["precharge_energy_pj"] == 0
    assert found["read_energy_pj"] == pytest.approx(8 * READ_PJ)
    assert found["write_energy_pj"] == pytest.approx(8 * WRITE_PJ)
    assert found["refresh_energy_pj"] == 0
    # The account runs to one cycle before the write's data is safe: WL 8 + burst 4 + WR 12.
    assert found["background_energy_pj"] == pytest.approx(
        8 * BACKGROUND_PJ * found["accounted_cycles"]
    )


def test_automatic_precharge_is_counted_when_it_happens() -> None:
    found = run([(0, READ, address(1, 0))], page_policy="Closed").outputs

    # RDA at 10; its precharge waits for RAS = 28 from the ACT, and the account for RP - 1 more.
    assert found["precharge_energy_pj"] == pytest.approx(8 * PRECHARGE_PJ)
    assert found["accounted_cycles"] == 28 + 10 - 1


def test_refresh_costs_its_own_energy() -> None:
    found = run(
        [(0, READ, address(1, 0)), (7000, READ, address(1, 0))], refresh_policy="AllBank"
    ).outputs

    assert found["refresh_energy_pj"] == pytest.approx(8 * REFRESH_PJ)


def test_power_down_saves_background_energy() -> None:
    requests = [(0, READ, address(1, 0)), (5000, READ, address(1, 0))]

    awake = run(requests).outputs
    asleep = run(requests, power_down_policy="Staggered").outputs

    # Almost all of the time the open bank sleeps at IDD3P0 = 35 mA in place of IDD3N = 45 mA.
    share = asleep["background_energy_pj"] / awake["background_energy_pj"]
    assert share == pytest.approx(35 / 45, rel=0.01)


def test_causes_name_every_energy_output() -> None:
    found = run([(0, READ, 0)]).outputs

    total = sum(found[f"{cause}_energy_pj"] for cause in CAUSES)
    assert total == pytest.approx(found["energy_pj"], rel=1e-12)


def test_energy_of_four_ranks_counts_four_backgrounds() -> None:
    one = run([(0, READ, 0)]).outputs
    four = run([(0, READ, 0)], device_name="ddr3-1600-4ranks").outputs

    assert four["background_energy_pj"] == pytest.approx(4 * one["background_energy_pj"])
    assert four["read_energy_pj"] == one["read_energy_pj"]


def test_ddr4_adds_the_second_supply() -> None:
    found = run([(0, READ, 0)], device_name="ddr4-2400").outputs

    cycle_ns = 1000 / 1200
    first = 39 * cycle_ns * (60.75 - 44.0) * 1.2
    second = 39 * cycle_ns * 4.05 * 2.5
    assert found["activate_energy_pj"] == pytest.approx(8 * (first + second))


def test_rules_name_read_to_write_of_ddr3() -> None:
    # RL 10 + burst 4 + 2 - WL 8.
    assert "rank: RD/RDA -> WR/WRA 8" in {str(rule) for rule in rules(device("ddr3-1600"))}


def test_no_energy_without_currents() -> None:
    assert np.isnan(run([(0, READ, 0)], device_name="hbm2").outputs["energy_pj"])


def test_energy_of_an_lpddr4_read_is_that_of_its_currents(tmp_path: Path) -> None:
    # One activation and one read of one device, by DRAMPower 6.2's equations and data/currents:
    # act = V (I0 - I3N) RAS tCK = 1.8 V * 2 mA * 42.5 ns + 1.1 V * 14 mA * 42.5 ns = 807.5 pJ;
    # read = V (I4R - I3N) BL/2 tCK = 1.8 V * 1 mA * 5 ns + 1.1 V * 199 mA * 5 ns = 1103.5 pJ.
    path = tmp_path / "one.stl"
    path.write_text("0: read 0x0\n")
    simulator = DramSimulator("dramsys", "lpddr4-3200")
    design = {p.name: p.default for p in simulator.space.parameters}

    found = simulator.evaluate(design | {"refresh_policy": "NoRefresh"}, simulator.workload(path))

    assert found["activate_energy_pj"] == pytest.approx(807.5, rel=1e-12)
    assert found["read_energy_pj"] == pytest.approx(1103.5, rel=1e-12)
    assert found["precharge_energy_pj"] == 0.0
    assert "Illustrative" in next(m.doc for m in simulator.metrics if m.name == "total_energy_pj")
