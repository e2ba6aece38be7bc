"""The compiled model: mechanisms by hand-computed times, recorded scenarios, invariants."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from archgym.errors import InvalidArgumentError
from archgym.simulators.dram.dramsys.devices import device, dramsys_device_names
from archgym.simulators.dram.dramsys.kernel.batch import OUTPUTS, simulate, tables
from archgym.simulators.dram.dramsys.kernel.commands import CONTROLLER_CODES, CONTROLLER_COLUMNS
from archgym.simulators.dram.dramsys.mapping import decode, layout, reference_mapping
from archgym.simulators.dram.workloads.trace import read_trace
from tests.simulators.dram.recording import Recording, command_counts, record

DEFAULTS: dict[str, Any] = {
    "page_policy": "Open",
    "scheduler": "Fifo",
    "scheduler_buffer": "Bankwise",
    "request_buffer_size": 8,
    "command_mux": "Oldest",
    "response_queue": "Fifo",
    "refresh_policy": "NoRefresh",
    "refresh_max_postponed": 0,
    "refresh_max_pulled_in": 0,
    "power_down_policy": "NoPowerDown",
    "arbiter": "Simple",
    "max_active_transactions": 64,
}
READ, WRITE = False, True

# ddr3-1600: times of one request's milestones, in clock cycles of 1.25 ns (data-sheet values):
# ACT to RD 10 (RCD), data after 10 + 4 (RL, burst), RD to RD 4 (CCD), PRE to ACT 10 (RP).
CYCLE = 1250


def controller(**settings: Any) -> npt.NDArray[np.int64]:
    values = {**DEFAULTS, **settings}
    return np.array(
        [
            CONTROLLER_CODES[column].index(values[column])
            if column in CONTROLLER_CODES
            else values[column]
            for column in CONTROLLER_COLUMNS
        ],
        dtype=np.int64,
    )


def address(row: int, bank: int, burst: int = 0) -> int:
    return row << 16 | bank << 13 | burst << 6


def run(
    requests: list[tuple[int, bool, int]],
    *,
    device_name: str = "ddr3-1600",
    is_relative: bool = False,
    **settings: Any,
) -> Recording:
    memory = device(device_name)
    ticks = np.array([tick for tick, _, _ in requests], np.int64)
    is_write = np.array([kind for _, kind, _ in requests])
    addresses = np.array([place for _, _, place in requests], np.int64)
    return record(
        controller(**settings),
        decode(addresses, [layout("row-bank-column", memory)], memory)[0],
        addresses,
        ticks,
        is_write,
        player_clock_ps=memory.clock_ps,
        is_relative=is_relative,
        device=tables(memory),
    )


def commands_of(recording: Recording) -> list[tuple[str, int]]:
    from archgym.simulators.dram.dramsys.kernel.commands import COMMAND_NAMES

    return [
        (COMMAND_NAMES[entry["command"]], int(entry["time"]) // CYCLE)
        for entry in recording.commands
    ]


def test_single_read_takes_activation_read_and_burst() -> None:
    found = run([(0, READ, address(1, 0))])

    assert commands_of(found) == [("ACT", 0), ("RD", 10)]
    assert found.outputs["total_time_ns"] == 24 * 1.25
    assert found.outputs["mean_latency_ns"] == 24 * 1.25


def test_open_page_conflict_waits_for_precharge() -> None:
    found = run([(0, READ, address(1, 0)), (0, READ, address(2, 0))])

    # PRE may follow ACT after RAS = 28, then RP = 10 and RCD = 10.
    assert commands_of(found) == [("ACT", 0), ("RD", 10), ("PRE", 28), ("ACT", 38), ("RD", 48)]
    assert found.outputs["row_misses"] == 1
    assert found.outputs["row_conflicts"] == 1


def test_row_hits_follow_each_other_at_the_burst_rate() -> None:
    found = run([(0, READ, address(1, 0, burst)) for burst in range(3)])

    assert commands_of(found) == [("ACT", 0), ("RD", 10), ("RD", 14), ("RD", 18)]
    assert found.outputs["row_hits"] == 2


def test_closed_page_precharges_with_every_access() -> None:
    found = run(
        [(0, READ, address(1, 0, burst)) for burst in range(2)],
        page_policy="Closed",
    )

    # The second activation waits for RC = 38 from the first.
    assert commands_of(found) == [("ACT", 0), ("RDA", 10), ("ACT", 38), ("RDA", 48)]


def test_frfcfs_serves_a_hit_before_an_older_conflict() -> None:
    requests = [(0, READ, address(row, 0, burst)) for row, burst in ((1, 0), (2, 0), (1, 1))]

    found = run(requests, scheduler="FrFcfs")

    assert [int(index) for index in np.argsort(found.requests["issued"])] == [0, 2, 1]


def test_write_to_read_turns_the_bus_round() -> None:
    found = run([(0, WRITE, address(1, 0)), (0, READ, address(1, 0, 1))])

    # WR at 10; RD after WL 8 + burst 4 + WTR 6.
    assert commands_of(found) == [("ACT", 0), ("WR", 10), ("RD", 28)]


def test_five_activations_respect_the_window_of_four() -> None:
    found = run([(0, READ, address(1, bank)) for bank in range(5)])
    activations = [time for command, time in commands_of(found) if command == "ACT"]

    # One request a cycle arrives, RRD = 5, and the fifth waits for FAW = 24.
    assert activations == [0, 5, 11, 16, 24]


def test_refresh_comes_after_its_interval() -> None:
    found = run(
        [(0, READ, address(1, 0)), (7000, READ, address(1, 0))],
        refresh_policy="AllBank",
    )

    # REFI = 6240; the open bank is precharged first; REFA after RP = 10.
    assert commands_of(found)[2:4] == [("PREA", 6240), ("REFA", 6250)]
    assert found.outputs["refreshes"] == 1


def test_buffer_of_one_holds_back_the_next_request() -> None:
    requests = [(0, READ, address(1, 0)), (0, READ, address(1, 1))]

    found = run(requests, scheduler_buffer="Shared", request_buffer_size=1)

    # It is taken in when the first's RD leaves the buffer, and its ACT follows a cycle later.
    assert int(found.requests["accepted"][1]) == 10 * CYCLE
    assert commands_of(found) == [("ACT", 0), ("RD", 10), ("ACT", 11), ("RD", 21)]


def test_one_active_transaction_serialises_the_requests() -> None:
    requests = [(0, READ, address(1, 0)), (0, READ, address(1, 1))]

    found = run(requests, arbiter="Fifo", max_active_transactions=1)

    assert int(found.requests["admitted"][1]) == int(found.requests["received"][0])


def test_relative_ticks_count_from_the_tick_after_the_request_before() -> None:
    found = run([(5, READ, 0), (100, READ, 0)], is_relative=True)

    assert [int(time) for time in found.requests["sent"]] == [5 * CYCLE, 106 * CYCLE]


def test_request_due_before_its_predecessor_is_sent_right_after_it() -> None:
    found = run([(50, READ, 0), (3, READ, 64), (80, READ, 128)])

    assert [int(time) for time in found.requests["sent"]] == [50 * CYCLE, 51 * CYCLE, 80 * CYCLE]


def test_staggered_power_down_begins_at_once() -> None:
    found = run([(50, READ, 0)], power_down_policy="Staggered")

    assert commands_of(found)[0] == ("PDEP", 0)
    assert "PDXP" in command_counts(found.commands) or "SREFEX" in command_counts(found.commands)


def test_controller_that_admits_nothing_ends_as_a_deadlock() -> None:
    for refresh in ("NoRefresh", "AllBank"):
        found = run(
            [(0, READ, 0)],
            arbiter="Fifo",
            max_active_transactions=0,
            refresh_policy=refresh,
        )

        assert found.outputs["status"] == 1
        assert np.isnan(found.outputs["total_time_ns"])


def test_strict_order_with_a_full_buffer_ends_as_a_deadlock() -> None:
    # Request 1 waits for the row that request 0 of the other direction must have first.
    requests = [(0, READ, address(row, 0, burst)) for row, burst in ((1, 0), (2, 0), (1, 1))]
    found = run(requests, scheduler="FrFcfs", command_mux="Strict")

    assert found.outputs["status"] == 1


@pytest.mark.parametrize(
    ("device_name", "first"),
    # From ACT to the end of the data: RCD + RL + burst, and what the standard adds.
    [
        ("ddr4-2400", (16 + 16 + 4) * 833),
        ("lpddr4-3200", (29 + 28 + 6 + 8 + 3) * 625),
        # The first command leaves 1 ps before the first clock edge.
        ("hbm2", 999 + (12 + 1 + 17 + 1 + 2) * 1000),
    ],
)
def test_first_read_of_other_standards(device_name: str, first: int) -> None:
    found = run([(0, READ, 0)], device_name=device_name)

    assert round(1000 * found.outputs["total_time_ns"]) == first


def test_per_bank_refresh_visits_every_bank_once_a_round() -> None:
    found = run(
        [(0, READ, 0), (8000, READ, 0)], device_name="lpddr4-3200", refresh_policy="PerBank"
    )
    refreshed = [int(c["target"]) for c in found.commands if c["command"] == 6]

    # Every 780 cycles; the idle banks come in their order.
    assert sorted(refreshed[:8]) == list(range(8))


@pytest.mark.parametrize("name", dramsys_device_names())
def test_results_add_up_on_random_designs(name: str) -> None:
    memory = device(name)
    rng = np.random.default_rng(7)
    n_requests, n_designs = 300, 40
    addresses = rng.integers(0, memory.capacity_bytes // 64, n_requests) * 64 % 2**22
    is_write = rng.random(n_requests) < 0.4
    ticks = np.cumsum(rng.integers(0, 30, n_requests))
    designs = np.stack(
        [
            controller(
                page_policy=rng.choice(CONTROLLER_CODES["page_policy"]),
                scheduler=rng.choice(CONTROLLER_CODES["scheduler"]),
                scheduler_buffer=rng.choice(CONTROLLER_CODES["scheduler_buffer"]),
                request_buffer_size=int(rng.integers(1, 9)),
                response_queue=rng.choice(CONTROLLER_CODES["response_queue"]),
                refresh_policy=rng.choice(["NoRefresh", "AllBank"]),
                refresh_max_postponed=int(rng.integers(0, 9)),
                refresh_max_pulled_in=int(rng.integers(0, 9)),
                power_down_policy=rng.choice(CONTROLLER_CODES["power_down_policy"]),
                arbiter=rng.choice(CONTROLLER_CODES["arbiter"]),
                max_active_transactions=int(rng.integers(1, 20)),
            )
            for _ in range(n_designs)
        ]
    )

    values = simulate(
        designs,
        np.zeros(n_designs, np.int64),
        decode(addresses, [layout("row-bank-column", memory)], memory),
        addresses,
        ticks,
        is_write,
        player_clock_ps=1250,
        is_relative=False,
        device=tables(memory),
    )
    found = {output: values[:, place] for place, output in enumerate(OUTPUTS)}

    assert not found["status"].any()
    served = found["row_hits"] + found["row_misses"] + found["row_conflicts"]
    np.testing.assert_array_equal(served, n_requests)
    np.testing.assert_array_equal(found["writes"], is_write.sum())
    np.testing.assert_array_equal(found["reads"] + found["writes"], n_requests)
    assert (found["p50_latency_ns"] <= found["p95_latency_ns"]).all()
    assert (found["p95_latency_ns"] <= found["p99_latency_ns"]).all()
    assert (found["p99_latency_ns"] <= found["total_time_ns"]).all()
    assert (found["bandwidth_percent"] <= 100).all()
    if memory.has_energy:
        causes = sum(found[output] for output in OUTPUTS[10:16])
        np.testing.assert_allclose(causes, found["energy_pj"], rtol=1e-12)
        account_ns = found["accounted_cycles"] * 1000.0 / memory.clock_mhz
        np.testing.assert_allclose(found["power_mw"] * account_ns, found["energy_pj"], rtol=1e-12)
    else:
        assert np.isnan(found["energy_pj"]).all()


def test_percentiles_are_latencies_of_requests() -> None:
    rng = np.random.default_rng(5)
    requests = [(int(tick), READ, int(rng.integers(0, 2**20)) * 64) for tick in range(400)]
    for name in ("ddr3-1600", "ddr4-2400"):
        found = run(requests, device_name=name, request_buffer_size=2)
        latencies = np.sort(found.requests["received"] - found.requests["sent"]) / 1000

        assert found.outputs["mean_latency_ns"] == pytest.approx(latencies.mean())
        assert found.outputs["p50_latency_ns"] == latencies[199]
        assert found.outputs["p95_latency_ns"] == latencies[379]
        assert found.outputs["p99_latency_ns"] == latencies[395]


def test_empty_trace_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="at least one request"):
        run([])


HEADINGS = (
    "PagePolicy", "Scheduler", "SchedulerBuffer", "RequestBufferSize", "CmdMux", "RespQueue",
    "RefreshPolicy", "RefreshMaxPostponed", "RefreshMaxPulledin", "PowerDownPolicy", "Arbiter",
    "MaxActiveTransactions",
)  # fmt: skip
MILESTONES = {
    "sent": "player_sends_ps",
    "admitted": "arbiter_admits_ps",
    "accepted": "controller_accepts_ps",
    "issued": "column_command_ps",
    "received": "response_at_player_ps",
}
SCENARIOS = (
    "s1_random_archgym_default",
    "s2_random_openadaptive_grp_shared_fifoarb",
    "s3_cloud1_closedadaptive_reorderarb",
    "s4_mixed_rw_open_readwrite",
    "s5_mixed_rw_openadaptive_grp",
    "s6_refresh_pulledin_postponed",
    "s7_stream_closed_maxact1",
    "s8_random_refresh_postponed",
)


def recorded_scenario(folder: Path) -> tuple[dict[str, Any], Recording]:
    scenario = json.loads((folder / "scenario.json").read_text())
    settings = scenario["mcconfig"]
    memory = device("ddr3-1600")
    assert memory.reference == scenario["memspec"]
    trace = read_trace(folder / "trace.stl")
    settings_in_order = [settings[heading] for heading in HEADINGS]
    values = dict(zip(CONTROLLER_COLUMNS, settings_in_order, strict=True))
    found = record(
        controller(**values),
        decode(trace.addresses, [reference_mapping(scenario["mapping"])], memory)[0],
        trace.addresses,
        trace.ticks,
        trace.is_write,
        player_clock_ps=round(1e6 / scenario["clkMhz"]),
        is_relative=False,
        device=tables(memory),
    )
    return scenario, found


@pytest.mark.parametrize("name", SCENARIOS)
def test_milestones_of_every_request_equal_the_recorded_ones(name: str, reference: Path) -> None:
    folder = reference / "debug_traces" / name
    _, found = recorded_scenario(folder)
    with (folder / "requests.csv").open() as lines:
        rows = list(csv.DictReader(lines))

    for milestone, heading in MILESTONES.items():
        recorded = [int(row[heading]) for row in rows]
        assert found.requests[milestone].tolist() == recorded, heading


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_command_equals_the_recorded_one(name: str, reference: Path) -> None:
    from archgym.simulators.dram.dramsys.kernel.commands import COMMAND_NAMES

    folder = reference / "debug_traces" / name
    scenario, found = recorded_scenario(folder)
    with (folder / "commands.csv").open() as lines:
        recorded = [
            (int(row["time_ps"]), row["command"], int(row["request_id"] or 0))
            for row in csv.DictReader(lines)
        ]

    issued = [
        (int(c["time"]), COMMAND_NAMES[c["command"]], int(c["request"]) + 1) for c in found.commands
    ]
    assert issued == recorded
    counts = scenario["command_counts"]
    assert found.outputs["reads"] == counts["nrd"]
    assert found.outputs["writes"] == counts["nwr"]
    assert found.outputs["activations"] == counts["nact"]
    assert found.outputs["refreshes"] == counts["nref"]
