"""The DRAM simulator on devices of Ramulator 2.1."""

from pathlib import Path

import numpy as np
import pytest

from archgym.errors import FileFormatError
from archgym.evaluation.capabilities import results_without
from archgym.simulators.dram.ramulator.kernel.run import Configuration, Requests, run
from archgym.simulators.dram.ramulator.machine import FAMILIES, standard
from archgym.simulators.dram.simulator import DramSimulator
from archgym.testing.simulators import check_simulator


def _default(simulator: DramSimulator, **changes: object) -> dict[str, object]:
    design = {p.name: p.default for p in simulator.space.parameters}
    return design | changes


@pytest.mark.parametrize("family", ["ddr5", "hbm3"])
def test_simulator_keeps_the_interface(family: str) -> None:
    simulator = DramSimulator(device=family)

    check_simulator(simulator, n_designs=3, workloads=["mixed-rw"])


@pytest.mark.parametrize("family", FAMILIES)
def test_default_design_serves_the_workload(family: str) -> None:
    simulator = DramSimulator(device=family)

    found = simulator.evaluate(_default(simulator), simulator.workload("kv-cache-gather"))

    assert found.infeasible is None
    assert 5.0 < found["bandwidth_percent"] < 100.0
    assert found["p50_latency_ns"] <= found["p99_latency_ns"]
    assert ("total_energy_pj" in found) == (family in ("ddr4", "ddr5", "lpddr5"))


def test_more_channels_take_less_time() -> None:
    simulator = DramSimulator(device="ddr5")
    workload = simulator.workload("weight-stream")

    times = [
        simulator.evaluate(_default(simulator, channels=n), workload)["total_time_ns"]
        for n in (1, 2, 4)
    ]

    assert times[0] > 1.7 * times[1] > 1.7 * 1.7 * times[2]


def test_workload_beyond_the_capacity_is_infeasible() -> None:
    simulator = DramSimulator(device="hbm3")
    design = _default(simulator, organisation="HBM3_4Gb", channels=1)

    found = simulator.evaluate(design, simulator.workload("mixed-rw"))

    assert found.infeasible is not None
    assert "exceed the capacity" in found.infeasible


@pytest.mark.parametrize("cost", ["rows", "activation-rate", "turnaround", "data-bus", "refresh"])
def test_memory_without_a_cost_is_not_slower(cost: str) -> None:
    simulator = DramSimulator(device="ddr5")
    workload = simulator.workload("gups")
    indices = simulator.space.indices_of(_default(simulator))[None, :]
    time = [m.name for m in simulator.metrics].index("total_time_ns")

    paid = simulator.evaluate_batch(indices, workload).values[0, time]
    free = results_without(simulator, cost, indices, workload).values[0, time]

    # Removing a rule can reorder commands, which may cost a little elsewhere.
    assert free < 1.02 * paid


def test_device_file_is_cited_with_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "format: 1\nextends: hbm3\nsource: a test\n"
        "bins:\n  SLOW: {base: HBM3_6400Mbps, tCK_ps: 1000}\n"
    )
    simulator = DramSimulator(device=str(path))
    cited = simulator.options["device"]

    found = simulator.evaluate(_default(simulator), simulator.workload("gups"))

    assert cited.startswith(f"{path}#")
    assert len(cited) == len(f"{path}#") + 16
    assert found["total_time_ns"] > 0
    path.write_text(path.read_text().replace("1000", "1001"))
    with pytest.raises(FileFormatError, match="has changed"):
        DramSimulator(device=cited)


def test_speed_bin_is_a_device_with_no_choice_of_speed() -> None:
    simulator = DramSimulator(device="ddr5-4800bn")
    family = DramSimulator(device="ddr5")
    workload = simulator.workload("gups")

    found = simulator.evaluate(_default(simulator), workload)
    same = family.evaluate(_default(family, speed_bin="DDR5_4800BN"), workload)

    assert "speed_bin" not in simulator.space.names
    assert simulator.options == {"device": "ddr5-4800bn"}
    assert dict(found) == dict(same)


def test_costs_of_a_design_have_a_direction_and_leave_tasks_as_they_were() -> None:
    metrics = {spec.name: spec for spec in DramSimulator(device="ddr5").metrics}

    assert metrics["data_pins"].goal == "minimise"
    assert metrics["capacity_mib"].goal == "maximise"
    assert metrics["bandwidth_percent"].goal == "none"
    # ArchGym 0.2 recorded tasks with these.
    assert not metrics["data_pins"].identifies
    assert not metrics["capacity_mib"].identifies
    assert metrics["bandwidth_percent"].identifies


def test_own_organisation_is_a_choice_of_the_space(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        """format: 1
extends: ddr5
source: a test
organisations:
  MINE_24Gb_x8:
    density_mbit: 24576
    dq: 8
    channel_width: 32
    burst_beats: 16
    sizes: {Rank: 1, BankGroup: 8, Bank: 4, Row: 131072, Column: 1024}
bins:
  MY_4800:
    base: DDR5_4800BN
    tCK_ps: 416
    by_organisation: {nFAW: {MINE_24Gb_x8: 32}, nRFC: {MINE_24Gb_x8: 850}}
"""
    )
    simulator = DramSimulator(device=str(path))
    design = _default(simulator, organisation="MINE_24Gb_x8")

    found = simulator.evaluate(design, simulator.workload("gups"))

    assert found.infeasible is None


def test_idle_channel_is_in_write_mode_when_its_first_requests_come() -> None:
    # Without reads, the first tick turns to writes; a read with a write in one round keeps that.
    made = standard("ddr5")
    configuration = Configuration(
        organisation="DDR5_8Gb_x8",
        timing="DDR5_4800BN",
        refresh="NoRefresh",
        write_buffer=4,
        wr_low=0.1,
        width=2,
    )
    times = np.array([1_000_000, 1_000_000], np.int64)
    requests = Requests.of(times, np.array([False, True]), np.array([0, 1 << 22], np.int64))

    outcome = run(made, configuration, requests, max_log=8)

    assert outcome.log[0, 4] == 1  # the first activation is the write's
