"""The DRAM simulator with the controller `ramulator`."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import FileFormatError, InvalidArgumentError, UnknownNameError
from archgym.simulators.dram import DramSimulator
from archgym.simulators.dram.ramulator.run import Configuration, Requests, run
from archgym.simulators.dram.ramulator.standard import FAMILIES, extended, standard
from archgym.testing.simulators import check_simulator


def _default(simulator: DramSimulator, **changes: object) -> dict[str, object]:
    design = {p.name: p.default for p in simulator.space.parameters}
    return design | changes


@pytest.mark.parametrize("family", ["ddr5", "hbm3"])
def test_simulator_keeps_the_interface(family: str) -> None:
    simulator = DramSimulator(controller="ramulator", device=family)

    check_simulator(simulator, n_designs=3, workloads=["mixed-rw"])


@pytest.mark.parametrize("family", FAMILIES)
def test_default_design_serves_the_workload(family: str) -> None:
    simulator = DramSimulator(controller="ramulator", device=family)

    found = simulator.evaluate(_default(simulator), simulator.workload("kv-cache-gather"))

    assert found.infeasible is None
    assert 5.0 < found["bandwidth_percent"] < 100.0
    assert found["p50_latency_ns"] <= found["p99_latency_ns"]
    assert ("total_energy_pj" in found) == (family in ("ddr4", "ddr5", "lpddr5"))


def test_more_channels_take_less_time() -> None:
    simulator = DramSimulator(controller="ramulator", device="ddr5")
    workload = simulator.workload("weight-stream")

    times = [
        simulator.evaluate(_default(simulator, channels=n), workload)["total_time_ns"]
        for n in (1, 2, 4)
    ]

    assert times[0] > 1.7 * times[1] > 1.7 * 1.7 * times[2]


def test_workload_beyond_the_capacity_is_infeasible() -> None:
    simulator = DramSimulator(controller="ramulator", device="hbm3")
    design = _default(simulator, organisation="HBM3_4Gb", channels=1)

    found = simulator.evaluate(design, simulator.workload("mixed-rw"))

    assert found.infeasible is not None
    assert "exceed the capacity" in found.infeasible


@pytest.mark.parametrize("cost", ["rows", "activation-rate", "turnaround", "data-bus", "refresh"])
def test_memory_without_a_cost_is_not_slower(cost: str) -> None:
    simulator = DramSimulator(controller="ramulator", device="ddr5")
    workload = simulator.workload("gups")
    indices = simulator.space.indices_of(_default(simulator))[None, :]
    time = [m.name for m in simulator.metrics].index("total_time_ns")

    paid = simulator.evaluate_batch(indices, workload).values[0, time]
    free = simulator.evaluate_without(cost, indices, workload).values[0, time]

    # Removing a rule can reorder commands, which may cost a little elsewhere.
    assert free < 1.02 * paid


def test_simulator_survives_pickling() -> None:
    simulator = DramSimulator(controller="ramulator", device="lpddr5")

    found = pickle.loads(pickle.dumps(simulator))

    assert found.options == {"controller": "ramulator", "device": "lpddr5"}
    assert found.space == simulator.space


def test_device_file_is_cited_with_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "format: 1\nextends: hbm3\nsource: a test\n"
        "bins:\n  SLOW: {base: HBM3_6400Mbps, tCK_ps: 1000}\n"
    )
    simulator = DramSimulator(controller="ramulator", device=str(path))
    cited = simulator.options["device"]

    found = simulator.evaluate(_default(simulator), simulator.workload("gups"))

    assert cited.startswith(f"{path}#")
    assert len(cited) == len(f"{path}#") + 16
    assert found["total_time_ns"] > 0
    path.write_text(path.read_text().replace("1000", "1001"))
    with pytest.raises(FileFormatError, match="has changed"):
        DramSimulator(controller="ramulator", device=cited)


def test_results_do_not_depend_on_the_batch() -> None:
    simulator = DramSimulator(controller="ramulator", device="gddr6")
    workload = simulator.workload("expert-load")
    rng = np.random.default_rng(7)
    indices = np.stack([rng.integers(p.size, size=6) for p in simulator.space.parameters], axis=1)

    whole = simulator.evaluate_batch(indices, workload).values
    rows = [simulator.evaluate_batch(row[None], workload).values for row in indices]

    np.testing.assert_array_equal(whole, np.concatenate(rows))


def test_unknown_controller_or_space_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="controller 'ramulater'"):
        DramSimulator(controller="ramulater")
    with pytest.raises(UnknownNameError, match="space"):
        DramSimulator(space="archgym-2023", controller="ramulator")


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


def _extension(**changes: object) -> Configuration:
    values = {"refresh": "AllBank", **changes}
    return Configuration(organisation="DDR5_16Gb_x8", timing="DDR5_4800BN", **values)  # type: ignore[arg-type]


def test_same_bank_refresh_follows_its_intervals() -> None:
    made = extended(standard("ddr5"))
    values = made.bins["DDR5_4800BN"].values("DDR5_16Gb_x8")
    n = 2000
    rng = np.random.default_rng(1)
    times = np.arange(n, dtype=np.int64) * 20_000  # ps: forty microseconds
    requests = Requests.of(times, np.zeros(n, bool), rng.integers(1 << 26, size=n) * 64)

    outcome = run(made, _extension(refresh="SameBank"), requests, max_log=50_000)

    names = [command.name for command in made.commands]
    # Each of a group's four banks has its turn within one interval.
    turns = outcome.ticks // (values["nREFI"] // 4)
    assert outcome.commands["REFab"] == 0
    assert turns - 1 <= outcome.commands["REFsb"] <= turns
    # 130 ns and 30 ns in clocks of 416 ps.
    assert (values["nRFCsb"], values["nREFSBRD"]) == (313, 73)
    log = outcome.log
    for tick, command, _, bank, _, _ in log.tolist():
        if names[command] != "REFsb":
            continue
        later = log[(log[:, 0] > tick) & (log[:, 1] == names.index("ACT"))]
        same = later[later[:, 3] % 4 == bank % 4]
        # An activation takes two clocks, and counts from its second.
        assert not len(same) or same[0, 0] >= tick + 313 - 1
        assert not len(later) or later[0, 0] >= tick + 73 - 1


def test_hammered_bank_gets_refresh_management() -> None:
    made = extended(standard("ddr5"))
    n = 408  # the last refresh comes before the last requests
    row_bytes = 1 << 20
    requests = Requests.of(
        np.zeros(n, np.int64), np.zeros(n, bool), np.arange(n, dtype=np.int64) * row_bytes
    )
    hammered = _extension(refresh="NoRefresh", mapping="RoBaRaCoCh", activation_limit=16)

    outcome = run(made, hammered, requests)

    assert outcome.commands["ACT"] == n
    assert outcome.commands["REFsb"] == n // 16


def test_extensions_are_named_in_the_task() -> None:
    simulator = DramSimulator(controller="ramulator", extensions="refresh")
    workload = simulator.workload("gups")

    all_bank = simulator.evaluate(_default(simulator), workload)
    same_bank = simulator.evaluate(_default(simulator, refresh="SameBank"), workload)
    plain = DramSimulator(controller="ramulator")

    assert simulator.options == {"controller": "ramulator", "extensions": "refresh"}
    expected = plain.evaluate(_default(plain), workload)
    assert all_bank["total_time_ns"] == expected["total_time_ns"]
    assert same_bank["total_time_ns"] < all_bank["total_time_ns"]
    with pytest.raises(InvalidArgumentError, match="only ddr5 has some"):
        DramSimulator(controller="ramulator", device="hbm3", extensions="refresh")
    with pytest.raises(InvalidArgumentError, match="'dramsys', which has none"):
        DramSimulator(extensions="refresh")
