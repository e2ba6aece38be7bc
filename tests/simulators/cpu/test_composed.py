"""The core in front of the DRAM simulator's controllers."""

from typing import Any

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.evaluation.metrics import Metrics
from archgym.simulators.cpu import CpuSimulator
from archgym.simulators.cpu.kernel.composed.memory import (
    Composed,
    memory_of,
    run_composed,
    simulate,
)
from archgym.simulators.cpu.kernel.run import COUNTERS
from archgym.simulators.cpu.machine import machine
from archgym.simulators.cpu.workloads.programs import load
from archgym.simulators.dram.ramulator.kernel.run import Requests, decode, run

WARMUP, LENGTH = 5_000, 15_000


def composed(program: str, **changes: int) -> Composed:
    parameters = machine({name.replace("_", ".", 1): v for name, v in changes.items()})
    trace = load(program).instructions(WARMUP + LENGTH + 4096)
    found = run_composed(parameters, trace, WARMUP, LENGTH)
    assert found is not None
    return found


def cycles(found: Composed) -> int:
    return int(found.counters[COUNTERS.index("cycles")])


@pytest.mark.parametrize(
    ("program", "changes"),
    [
        ("hash-join-small", {}),
        ("stencil", {"DRAM.channels": 2, "L2C.prefetcher": 2}),
        ("b-tree", {"DRAM.data_rate": 6400, "DRAM.ranks": 2}),
        ("sort", {"L1D.sets": 16, "L2C.sets": 16, "LLC.sets": 16, "LLC.ways": 2}),
    ],
)
def test_requests_are_served_as_the_dram_simulator_serves_them_alone(
    program: str, changes: dict[str, int]
) -> None:
    parameters = machine(changes)
    memory = memory_of(parameters)
    trace = load(program).instructions(WARMUP + LENGTH + 4096)

    work = simulate(parameters, trace, (WARMUP, LENGTH), None, memory)[2]

    served = work.requests[: int(np.flatnonzero(work.requests["address"])[-1]) + 1]
    assert len(served) > 100
    # Requests that waited for room were offered out of order, which a trace cannot say.
    assert (served["due"] == served["arrive"]).all()
    tick_ps = memory.made.tick_ps(memory.configuration.timing)
    addresses = 64 * served["address"].astype(np.int64)
    alone = run(
        memory.made,
        memory.configuration,
        Requests.of(served["due"] * tick_ps, served["is_write"] == 1, addresses),
    )
    done = served["depart"] >= 0
    assert done.mean() > 0.9
    assert (alone.depart[done] == served["depart"][done]).all()


def test_places_of_requests_are_those_of_the_mapping() -> None:
    parameters = machine({"DRAM.channels": 2})
    memory = memory_of(parameters)
    c = memory.configuration
    trace = load("sparse-matrix").instructions(WARMUP + LENGTH + 4096)

    work = simulate(parameters, trace, (WARMUP, LENGTH), None, memory)[2]

    served = work.requests[: int(np.flatnonzero(work.requests["address"])[-1]) + 1]
    expected = decode(64 * served["address"].astype(np.int64), memory.made, c)
    assert c.mapping == "MOP4CLXOR"
    assert len(np.unique(expected["bank"])) > 4
    for name in ("channel", "bank", "row", "column"):
        assert (served[name] == expected[name]).all(), name


def test_read_takes_at_least_the_time_of_an_idle_device() -> None:
    memory = memory_of(machine({}))
    values = memory.made.bins["DDR4_3200AA"].values("DDR4_8Gb_x8")
    least_ps = (values["nCL"] + values["nBL"]) * memory.made.tick_ps("DDR4_3200AA")

    found = composed("pointer-chase")

    assert 250 * found.mean_read_cycles >= least_ps


def test_slower_memory_takes_longer() -> None:
    slow = composed("stencil", DRAM_data_rate=1600)
    fast = composed("stencil", DRAM_data_rate=6400)

    assert cycles(slow) > 1.02 * cycles(fast)


def test_small_queue_delays_requests() -> None:
    small = composed("sparse-matrix", DRAM_rq=4)

    assert small.mean_read_cycles > composed("sparse-matrix").mean_read_cycles


def test_run_is_repeated_in_every_number() -> None:
    one, other = composed("sort"), composed("sort")

    assert (one.counters == other.counters).all()
    assert one.dram_pj == other.dram_pj > 0.0


def test_other_data_rates_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"`DRAM.data_rate` must be one of 1,600, 2,400"):
        memory_of(machine({"DRAM.data_rate": 2666}))


def evaluate(fidelity: str, **changes: Any) -> Metrics:
    simulator = CpuSimulator(fidelity=fidelity, instructions="20000")
    design = dict(simulator.space.design_at(simulator.space.default_indices)) | changes
    return simulator.evaluate(design, simulator.workload("hash-join-small"))


def test_fidelity_changes_memory_alone() -> None:
    standard, dram = evaluate("standard"), evaluate("dram")

    assert dram["area_mm2"] == standard["area_mm2"]
    assert dram["total_cycles"] != standard["total_cycles"]
    assert dram["total_cycles"] == pytest.approx(standard["total_cycles"], rel=0.5)
    assert 0.0 < dram["dram_row_hit_percent"] < 100.0
