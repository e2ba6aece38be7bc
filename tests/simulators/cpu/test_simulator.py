"""The simulator as a whole: designs in, metrics out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.errors import FileFormatError, InvalidArgumentError, UnknownNameError
from archgym.evaluation.capabilities import results_without
from archgym.evaluation.metrics import Metrics
from archgym.simulators.cpu import CpuSimulator
from archgym.simulators.cpu.machine import DEFAULTS, latencies
from archgym.simulators.cpu.space import machine_of
from archgym.traces.instructions.generators import GENERATORS, generate
from archgym.traces.instructions.records import write_records


def evaluate(simulator: CpuSimulator, workload: str = "b-tree", **changes: Any) -> Metrics:
    space = simulator.space
    design = dict(space.design_at(space.default_indices)) | changes
    return simulator.evaluate(design, simulator.workload(workload))


def test_latencies_of_the_default_design_are_its_own() -> None:
    assert {name: DEFAULTS[name] for name in latencies(DEFAULTS)} == latencies(DEFAULTS)


def test_larger_arrays_are_slower() -> None:
    large = {**DEFAULTS, "L2C.sets": 2048, "L2C.ways": 16, "LLC.sets": 8192, "STLB.sets": 256}

    found = latencies(large)

    assert found["L2C.hit_latency"] > DEFAULTS["L2C.hit_latency"]
    assert found["LLC.hit_latency"] > DEFAULTS["LLC.hit_latency"]
    assert found["STLB.hit_latency"] >= DEFAULTS["STLB.hit_latency"]


def test_default_design_is_champsims(simulator: CpuSimulator) -> None:
    design = simulator.space.design_at(simulator.space.default_indices)

    assert machine_of("default", design) == dict(DEFAULTS)


def test_default_space_has_over_forty_parameters(simulator: CpuSimulator) -> None:
    assert len(simulator.space.parameters) == 43


def test_better_predictor_has_fewer_mispredictions(simulator: CpuSimulator) -> None:
    poor = evaluate(simulator, "rules", branch_predictor="bimodal")
    good = evaluate(simulator, "rules", branch_predictor="hashed-perceptron")

    assert good["branch_mpki"] < 0.5 * poor["branch_mpki"]
    assert good["bad_speculation_percent"] < poor["bad_speculation_percent"]


def test_prefetcher_covers_a_stencil(simulator: CpuSimulator) -> None:
    none = evaluate(simulator, "stencil")
    stride = evaluate(simulator, "stencil", l1d_prefetcher="next-line")

    assert none["prefetch_coverage_percent"] == 0.0
    assert stride["prefetch_coverage_percent"] > 20.0
    assert stride["ipc"] > none["ipc"]


def test_small_l2_misses_more(simulator: CpuSimulator) -> None:
    large = evaluate(simulator, "pointer-chase-small", l2_sets=2048, l2_ways=16)
    small = evaluate(simulator, "pointer-chase-small", l2_sets=128, l2_ways=4)

    assert small["l2_mpki"] > 1.5 * large["l2_mpki"]


def test_wider_core_is_larger(simulator: CpuSimulator) -> None:
    assert (
        evaluate(simulator, execute_width=8, dispatch_width=8)["area_mm2"]
        > evaluate(simulator)["area_mm2"]
    )


def test_recorded_trace_is_a_workload(simulator: CpuSimulator, tmp_path: Path) -> None:
    path = tmp_path / "mine.champsimtrace.xz"
    write_records(path, generate("rules", 4000))

    found = simulator.evaluate_batch(
        simulator.space.default_indices[None], simulator.workload(path)
    )

    assert np.isfinite(found.values).all()
    assert simulator.workload(path).name == "mine"


def test_short_trace_is_refused(simulator: CpuSimulator, tmp_path: Path) -> None:
    path = tmp_path / "mine.champsimtrace"
    write_records(path, generate("rules", 400))

    with pytest.raises(FileFormatError, match="must have 1,000 instructions; it has 400"):
        simulator.workload(path)


def test_unknown_workload_is_refused(simulator: CpuSimulator) -> None:
    with pytest.raises(UnknownNameError, match="b-tree"):
        simulator.workload("b-treee")


@pytest.mark.parametrize("cost", CpuSimulator.spec.costs)
def test_ideal_machine_is_not_slower(simulator: CpuSimulator, cost: str) -> None:
    workload = simulator.workload("b-tree")
    indices = simulator.space.default_indices[None]
    names = [spec.name for spec in simulator.metrics]

    paid = dict(zip(names, simulator.evaluate_batch(indices, workload).values[0], strict=True))
    free = results_without(simulator, cost, indices, workload).values[0]
    free = dict(zip(names, free, strict=True))

    # Fewer waits change the order of requests, which may cost a little.
    assert free["ipc"] > 0.98 * paid["ipc"]
    assert free["area_mm2"] == paid["area_mm2"]


@pytest.mark.parametrize("instructions", ["999", "many", "-5", "20000001"])
def test_number_of_instructions_is_checked(instructions: str) -> None:
    with pytest.raises(InvalidArgumentError, match="must be a whole number from 1,000"):
        CpuSimulator(instructions=instructions)


@pytest.mark.parametrize("name", GENERATORS)
def test_programs_jump_only_at_branches(name: str) -> None:
    records = generate(name, 20_000)

    following = records["ip"][1:]
    jumps = following != records["ip"][:-1] + 4

    assert not (jumps & (records["is_branch"][:-1] == 0)).any()
    assert (records["taken"][:-1][jumps] == 1).all()


@pytest.mark.parametrize("name", GENERATORS)
def test_longer_trace_begins_as_the_shorter(name: str) -> None:
    assert (generate(name, 3000)[:1000] == generate(name, 1000)).all()


def test_warm_up_is_not_counted() -> None:
    cold, warm = (CpuSimulator(instructions=5000, warmup=n) for n in (0, 4000))
    names = [spec.name for spec in cold.metrics]

    def run(simulator: CpuSimulator) -> dict[str, float]:
        workload = simulator.workload("b-tree")
        values = simulator.evaluate_batch(simulator.space.default_indices[None], workload).values
        return dict(zip(names, values[0], strict=True))

    # IPC times cycles are the counted instructions; a phase may retire a few more.
    assert run(cold)["total_cycles"] * run(cold)["ipc"] == pytest.approx(5000, abs=16)
    assert run(warm)["total_cycles"] * run(warm)["ipc"] == pytest.approx(1000, abs=16)
    with pytest.raises(InvalidArgumentError, match="must be below `instructions`, 5000"):
        CpuSimulator(instructions=5000, warmup=5000)
