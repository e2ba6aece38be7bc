"""The DRAM simulator as the rest of the package sees it."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.errors import FileFormatError, InvalidArgumentError, SimulatorError, UnknownNameError
from archgym.evaluation.capabilities import facts_about
from archgym.simulators.dram import DramSimulator
from archgym.simulators.dram.controllers.dramsys import dramsys_of
from archgym.simulators.dram.dramsys.devices import dramsys_device_names
from archgym.simulators.dram.dramsys.kernel.bursts import _Latest, prepared
from archgym.simulators.dram.workloads.generators import random_access
from archgym.simulators.dram.workloads.shipped import SHIPPED, shipped_trace
from archgym.simulators.dram.workloads.trace import Trace, write_trace
from archgym.tasks.task import Task


def default_design(simulator: DramSimulator, **values: object) -> dict[str, object]:
    space = simulator.space
    return {**space.design_at(space.default_indices), **values}


def metrics_of(simulator: DramSimulator, workload: str, **values: object) -> Mapping[str, float]:
    return simulator.evaluate(default_design(simulator, **values), simulator.workload(workload))


def test_stream_gives_the_published_numbers() -> None:
    # The real simulator on ArchGym's stream.stl, whose addresses are ours: one-at-a-time results,
    # first row (Open, FrFcfs, Bankwise 8, Oldest, Fifo, AllBank 8/8, Simple 128).
    found = metrics_of(DramSimulator("archgym-2023"), "stream")

    assert found["total_time_ns"] == 50025.0
    assert round(found["total_energy_pj"], 2) == 85109250.00
    assert round(found["power_mw"], 2) == 1701.33
    assert round(found["bandwidth_percent"], 2) == 99.94
    assert round(8 * found["bandwidth_gb_per_s"], 2) == 102.34


def test_closed_pages_give_the_published_numbers() -> None:
    # archgym_random, second row.
    found = metrics_of(
        DramSimulator("archgym-2023"),
        "stream",
        page_policy="Closed",
        scheduler_buffer="ReadWrite",
        request_buffer_size=4,
        refresh_max_postponed=3,
        refresh_max_pulled_in=1,
    )

    assert found["total_time_ns"] == 467977.5
    assert round(found["total_energy_pj"], 2) == 461627625.00
    assert round(found["power_mw"], 2) == 986.40


def test_default_space_contains_the_published_default() -> None:
    wide = metrics_of(DramSimulator("default"), "cloud-1")
    published = metrics_of(DramSimulator("archgym-2023"), "cloud-1")

    assert dict(wide) == dict(published)


@pytest.mark.parametrize("device", dramsys_device_names())
def test_every_device_runs_every_workload(device: str) -> None:
    simulator = DramSimulator(device=device)
    designs = simulator.space.sample(3, np.random.default_rng(1))

    for name in simulator.workload_names():
        result = simulator.evaluate_batch(designs, simulator.workload(name))
        assert (result.reason == 0).all()
        assert (result.values[:, 0] > 0).all()


# The space that replays files of DRAMSys has no inactive parameters.
@pytest.mark.parametrize("space", sorted({*DramSimulator.spec.space_names} - {"dramsys"}))
def test_inactive_parameters_change_nothing(space: str) -> None:
    simulator = DramSimulator(space, "lpddr4-3200")
    rng = np.random.default_rng(2)
    raw = rng.integers(simulator.space.sizes, size=(200, simulator.space.n_parameters))
    raw[::2, simulator.space.names.index("request_buffer_size")] = 0
    raw = raw[simulator.space.feasible(raw) & ~simulator.space.is_canonical(raw)][:20]
    workload = simulator.workload("multicore-rw")

    values = simulator.simulate(raw, workload).values

    assert len(raw) == 20
    canonical = simulator.simulate(simulator.space.canonical(raw), workload).values
    assert np.array_equal(values, canonical)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"device": "ddr3-1601"}, "'ddr3-1600'"),
        ({"space": "archgym"}, "'archgym-2023'"),
    ],
)
def test_unknown_names_list_the_near_ones(arguments: dict[str, str], match: str) -> None:
    with pytest.raises(UnknownNameError, match=match):
        DramSimulator(**arguments)


def test_unknown_workload_lists_the_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="'mixed-rw'"):
        DramSimulator().workload("mixed_rw")


def test_deadlock_is_a_result_with_a_reason() -> None:
    simulator = DramSimulator()
    # The space excludes this design; the model finds by itself that it stops.
    design = default_design(simulator, command_mux="Strict", scheduler="FrFcfsGrp")
    indices = simulator.space.indices_of(design)[None, :]
    workload = simulator.workload("mixed-rw")

    result = simulator.simulate(indices, workload)

    assert simulator.spec.reasons[int(result.reason[0])].startswith("the controller waits for ever")
    assert np.isnan(result.values).all()
    judged = simulator.evaluate(design, workload)
    assert judged.infeasible is not None
    assert "Strict needs Fifo" in judged.infeasible


def test_energy_is_absent_where_it_is_unknown() -> None:
    for device in dramsys_device_names():
        simulator = DramSimulator(device=device)
        has_energy = not device.startswith("hbm2")
        names = {spec.name for spec in simulator.metrics}

        assert ("power_mw" in names) == ("total_energy_pj" in names) == has_energy
        assert set(simulator.spec.objectives) >= {"least-time", "low-latency", "balanced"}
        for objective in ("low-power", "low-energy", "archgym-2023"):
            assert (objective in simulator.spec.objectives) == has_energy
        for found in simulator.spec.objectives.values():
            assert {term.metric for term in found.terms} <= names


def test_groups_hold_every_parameter_once() -> None:
    for space in DramSimulator.spec.space_names:
        for device in ("ddr3-1600", "hbm2"):
            simulator = DramSimulator(space, device)
            members = [name for group in simulator.spec.groups.values() for name in group]
            assert sorted(members) == sorted(simulator.space.names)


@pytest.mark.parametrize(
    ("objective", "version"),
    [
        ("least-time", "v1"),
        ("low-latency", "v1"),
        ("balanced", "v1"),
        ("low-energy", "v1"),
        ("archgym-2023", "v1"),
    ],
)
def test_task_of_each_objective_rewards(objective: str, version: str) -> None:
    task = Task.make("dram", "stream", objective)

    reward = task.evaluate(task.space.default_indices[None, :]).reward

    assert task.id == f"dram/default/stream/{objective}-{version}"
    if objective == "archgym-2023":
        # 1 W / |1.70133 - 1| times 0.1 ms / |0.050025 - 0.1|.
        assert reward[0] == pytest.approx(1.0 / 0.70133 * 0.1 / 0.049975, rel=1e-4)
    else:
        assert reward[0] == 0.0


def test_task_of_another_device_says_so() -> None:
    task = Task.make("dram", "stream", device="hbm2")

    assert task.id == "dram[device=hbm2]/default/stream/balanced-v1"
    assert Task.from_json(task.to_json()).digest == task.digest


def test_shipped_workload_read_from_a_file_gives_the_same(tmp_path: Path) -> None:
    for name in ("cloud-1", "pointer-chase"):
        trace = shipped_trace(name)
        path = tmp_path / f"{name}.{'rstl' if trace.relative else 'stl'}.gz"
        write_trace(trace, path)
        simulator = DramSimulator()

        from_file = metrics_of(simulator, str(path))

        assert simulator.workload(path).digest == simulator.workload(name).digest
        assert dict(from_file) == dict(metrics_of(simulator, name))


def test_workload_beyond_the_device_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "far.stl"
    path.write_text("0: read 0x0\n5: write 0x40000000\n")

    with pytest.raises(FileFormatError, match=r"far\.stl:2: .*'ddr3-1600'"):
        DramSimulator().workload(path)
    assert DramSimulator(device="ddr4-2400").workload(path).name == "far"


def test_request_of_64_bytes_moves_64_bytes_on_every_device() -> None:
    for device in ("ddr3-1600", "lpddr4-3200", "hbm2"):
        found = metrics_of(DramSimulator(device=device), "multicore-rw", arbiter="Fifo")
        n_bytes = found["bandwidth_gb_per_s"] * found["total_time_ns"]
        assert n_bytes == pytest.approx(640_000, rel=1e-12)


def test_latency_of_a_split_request_lasts_until_its_last_burst(tmp_path: Path) -> None:
    # Two requests of two bursts each, far apart: each waits for two bursts, of which the second
    # ends one clock (1 ns) of the player or one burst after the first.
    path = tmp_path / "two.stl"
    path.write_text("# clock_mhz: 1000\n0: read 0x0 64\n1000: read 0x40 64\n")
    alone = tmp_path / "alone.stl"
    alone.write_text("# clock_mhz: 1000\n0: read 0x0 32\n1000: read 0x40 32\n")
    simulator = DramSimulator(device="hbm2")

    whole = metrics_of(simulator, str(path))
    half = metrics_of(simulator, str(alone))

    # CCDL: 3 cycles of 1 ns between reads of one bank group.
    assert whole["mean_latency_ns"] == half["mean_latency_ns"] + 3.0
    assert whole["p99_latency_ns"] == half["p99_latency_ns"] + 3.0


@pytest.mark.parametrize(
    ("metric", "factor", "match"),
    [
        ("row_hits", 1.01, "row hits, misses and conflicts"),
        ("bandwidth_gb_per_s", 1.001, "bandwidth x time"),
        ("total_energy_pj", 1.000001, "energies by cause"),
        ("p50_latency_ns", 1e3, "p50_latency_ns is at most"),
        ("mean_latency_ns", 1e6, "mean_latency_ns is at most"),
    ],
)
def test_numbers_that_do_not_add_up_are_refused(metric: str, factor: float, match: str) -> None:
    simulator = DramSimulator()
    workload = simulator.workload("cloud-1")
    values = simulator.evaluate_batch(simulator.space.default_indices[None, :], workload).values
    simulator.check(values, workload)
    column = [spec.name for spec in simulator.metrics].index(metric)

    values[0, column] *= factor

    with pytest.raises(SimulatorError, match=match):
        simulator.check(values, workload)


def test_workload_is_described() -> None:
    simulator = DramSimulator()
    workload = simulator.workload("cloud-1")

    assert facts_about(simulator, workload)["requests"] == (10_000, "")


def test_workloads_are_those_that_ship() -> None:
    assert DramSimulator().workload_names() == tuple(SHIPPED)
    assert DramSimulator.spec.default_workload in SHIPPED


def test_prepared_traces_are_kept_up_to_a_limit() -> None:
    device = dramsys_of(DramSimulator()).device
    held = _Latest(max_bytes=600_000)
    traces = [random_access(5000, seed=seed, footprint_bytes=2**20) for seed in range(4)]

    for trace in traces:
        held.put((trace.digest, device.name, None, False), prepared(trace, device))

    kept = [held.get((trace.digest, device.name, None, False)) is not None for trace in traces]
    assert kept == [False, False, True, True]


@pytest.mark.parametrize("device", ["ddr3-1600", "ddr5"])
def test_first_requests_are_an_option_of_the_task(device: str) -> None:
    made: Any = DramSimulator
    few = made(device=device, requests="100")

    assert few.options["requests"] == "100"
    workload = few.workload("stream")
    assert len(workload.content) == 100
    assert (workload.content.addresses == shipped_trace("stream").addresses[:100]).all()
    assert pickle.loads(pickle.dumps(few)).options == few.options


def test_more_requests_than_there_are_leave_the_trace_as_it_is() -> None:
    many, whole = DramSimulator(requests="1000000"), DramSimulator()

    assert many.workload("stream").digest == whole.workload("stream").digest


@pytest.mark.parametrize("text", ["0", "-5", "some", "1.5e0"])
def test_number_of_requests_must_be_a_whole_number(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="`requests` must be a whole number from 1"):
        DramSimulator(requests=text)


def test_one_request_under_way_makes_each_wait_for_the_answer_before(tmp_path: Path) -> None:
    # Eight rows in eight banks, all asked for at time 0: together they overlap, in a walk they do
    # not.
    simulator = DramSimulator(address_mapping="row-bank-column")
    zeros = np.zeros(8, dtype=np.int64)
    addresses = np.arange(8, dtype=np.int64) << 13
    for n, name in ((1, "one"), (8, "walk")):
        write_trace(Trace(name, zeros[:n], zeros[:n] > 0, addresses[:n]), tmp_path / f"{name}.stl")
    walk, one = str(tmp_path / "walk.stl"), str(tmp_path / "one.stl")
    waiting = {"arbiter": "Fifo", "max_active_transactions": 1}

    free = metrics_of(simulator, walk, arbiter="Fifo", max_active_transactions=128)
    chained = metrics_of(simulator, walk, **waiting)
    single = metrics_of(simulator, one, **waiting)

    assert chained["total_time_ns"] == pytest.approx(8 * single["total_time_ns"], rel=0.1)
    assert free["total_time_ns"] < 0.5 * chained["total_time_ns"]
