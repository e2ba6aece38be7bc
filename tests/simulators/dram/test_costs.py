"""Ideal memories against what the timings of DDR3-1600 allow, counted by hand."""

from typing import Any

import numpy as np
import pytest

from archgym.evaluation.capabilities import results_without
from archgym.evaluation.simulator import Workload
from archgym.simulators.dram.costs import COSTS
from archgym.simulators.dram.dramsys.devices import device, dramsys_device_names
from archgym.simulators.dram.dramsys.kernel.timing import device_table
from archgym.simulators.dram.simulator import DramSimulator
from archgym.simulators.dram.workloads.trace import Trace

CLOCK_NS = 1.25
N = 400
ROW, BANK, BURST = 2**16, 2**13, 64
"""Bytes from one row, bank and burst to the next, with the default mapping."""
SIMULATOR = DramSimulator()
DESIGN = {
    **SIMULATOR.space.design_at(SIMULATOR.space.default_indices),
    "scheduler": "Fifo",
    "scheduler_buffer": "Shared",
    "request_buffer_size": 128,
}


def requests(step: int, *, is_write: Any = False, every: int = 0) -> Workload:
    """Requests `step` bytes apart, one due each `every` player clocks."""
    places = np.arange(N)
    trace = Trace(
        "made", places * every, np.broadcast_to(is_write, N).copy(), places * step % 2**30
    )
    return Workload(trace.name, trace.digest, trace)


def without(cost: str, workload: Workload) -> dict[str, float]:
    indices = SIMULATOR.space.indices_of(DESIGN)[None, :]
    result = results_without(SIMULATOR, cost, indices, workload)
    return dict(zip([spec.name for spec in SIMULATOR.metrics], result.values[0], strict=True))


def cycles_each(values: Any) -> float:
    return float(values["total_time_ns"] / CLOCK_NS / N)


def paid(workload: Workload) -> float:
    return cycles_each(SIMULATOR.evaluate(DESIGN, workload))


def test_conflicts_cost_a_row_cycle_and_without_rows_little_more_than_the_bus() -> None:
    conflicts = requests(ROW)

    assert paid(conflicts) == pytest.approx(38, rel=0.02)  # tRC
    # Not below tCCD, and above it since the controller decides on three commands, one by one.
    assert 4 <= cycles_each(without("rows", conflicts)) < 7


def test_misses_of_all_banks_cost_the_window_and_without_it_a_share_of_the_row_cycle() -> None:
    places = np.arange(N)
    addresses = places % 8 * BANK + places // 8 * ROW
    trace = Trace("made", np.zeros(N, np.int64), np.zeros(N, bool), addresses)
    misses = Workload(trace.name, trace.digest, trace)

    assert paid(misses) == pytest.approx(24 / 4, rel=0.05)  # tFAW
    assert cycles_each(without("activation-rate", misses)) == pytest.approx(38 / 8, rel=0.05)


def test_turning_the_bus_costs_two_turns_and_without_them_two_bursts() -> None:
    turning = requests(0, is_write=np.arange(N) % 2 == 1)

    # From RD to WR and from WR to RD, JESD79-3F.
    assert paid(turning) == pytest.approx(((10 + 4 + 2 - 8) + (8 + 4 + 6)) / 2, rel=0.05)
    assert cycles_each(without("turnaround", turning)) == pytest.approx(4, rel=0.05)


def test_hits_cost_a_burst_each_and_without_it_a_cycle() -> None:
    hits = requests(BURST)

    assert paid(hits) == pytest.approx(4, rel=0.1)
    assert cycles_each(without("data-bus", hits)) < 2


def test_without_refresh_there_is_none() -> None:
    idle = requests(BURST, every=400)

    indices = SIMULATOR.space.indices_of(DESIGN)[None, :]
    names = [spec.name for spec in SIMULATOR.metrics]
    with_refresh = SIMULATOR.simulate(indices, idle).values[0]

    assert with_refresh[names.index("refreshes")] > 10
    relieved = without("refresh", idle)
    assert relieved["refreshes"] == 0
    assert relieved["refresh_energy_pj"] == 0


@pytest.mark.parametrize("name", dramsys_device_names())
def test_each_cost_shortens_rules_of_every_device_and_lengthens_none(name: str) -> None:
    whole = device_table(device(name))[0]
    for cost in set(COSTS) - {"refresh"}:
        relieved = device_table(device(name), cost)[0]
        for scope in ("bank", "group", "rank", "other"):
            assert (relieved[scope] <= whole[scope]).all(), (cost, scope)
        assert any((relieved[s] < whole[s]).any() for s in ("bank", "group", "rank", "other")), cost
