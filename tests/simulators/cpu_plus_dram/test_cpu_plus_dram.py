"""The core with its memory controller, against fidelity `dram` of the core alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import archgym as ag
from archgym.errors import InvalidArgumentError, InvalidDesignError, UnknownNameError
from archgym.evaluation.capabilities import bounds_of, exported, results_without
from archgym.simulators.cpu import CpuSimulator
from archgym.simulators.cpu.kernel.composed.memory import DEVICES, Memory, simulate
from archgym.simulators.cpu.machine import machine
from archgym.simulators.cpu.workloads.programs import load
from archgym.simulators.cpu_plus_dram import CpuDramSimulator
from archgym.simulators.dram.ramulator.kernel.run import MAPPINGS, Configuration, decode
from archgym.simulators.dram.ramulator.machine import standard
from archgym.tables.proof import prove, reward_bounds

N = "12000"


def composed(**options: str) -> CpuDramSimulator:
    return CpuDramSimulator(**{"cpu.instructions": N, **options})


def default_of(simulator: ag.Simulator) -> dict[str, Any]:
    return dict(simulator.space.design_at(simulator.space.default_indices))


def joint_design(alone: dict[str, Any], whole: ag.Simulator) -> dict[str, Any]:
    """Return the joint design whose memory is the one that fidelity `dram` has."""
    _, organisation, speed = DEVICES[alone["dram_data_rate"]]
    own = {n: v for n, v in alone.items() if not n.startswith("dram_")}
    pairs = 2 if organisation.startswith("DDR5") else 1
    memory = {
        "organisation": organisation,
        "speed_bin": speed,
        "channels": pairs * alone["dram_channels"],
        "address_mapping": "MOP4CLXOR",
        "read_buffer": alone["dram_queue"],
        "write_buffer": alone["dram_queue"],
    }
    return {
        **default_of(whole),
        **{f"cpu.{n}": v for n, v in own.items()},
        **{f"dram.{n}": v for n, v in memory.items()},
    }


@pytest.mark.parametrize(
    ("program", "rate", "channels", "queue", "seed"),
    [
        ("sparse-matrix", 3200, 1, 64, 0),
        ("b-tree", 1600, 4, 4, 1),
        ("hash-join", 6400, 2, 16, 2),
        ("graph-search", 4800, 1, 16, 3),
        ("sort", 2400, 2, 4, 4),
    ],
)
def test_every_metric_is_that_of_the_core_with_fidelity_dram(
    program: str, rate: int, channels: int, queue: int, seed: int
) -> None:
    core = CpuSimulator(fidelity="dram", instructions=int(N))
    drawn = np.random.default_rng(seed).integers(0, core.space.sizes)
    alone = dict(core.space.design_at(core.space.canonical(drawn[None, :])[0]))
    alone |= {"dram_data_rate": rate, "dram_channels": channels, "dram_queue": queue}
    whole = composed(**{"dram.device": DEVICES[rate][0]})

    expected = core.evaluate(alone, core.workload(program))
    found = whole.evaluate(joint_design(alone, whole), whole.workload(program))

    assert expected
    assert {n: found[f"cpu.{n}"] for n in expected} == dict(expected)
    assert found["ipc"] == expected["ipc"]


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize(("family", "channels", "below"), [("ddr4", 4, 2), ("ddr5", 2, 6)])
def test_places_of_requests_are_those_of_each_mapping(
    mapping: str, family: str, channels: int, below: int
) -> None:
    made = standard(family)
    organisation = "DDR4_8Gb_x8" if family == "ddr4" else "DDR5_16Gb_x8"
    c = Configuration(
        organisation=organisation,
        timing=next(iter(made.bins)),
        ranks=2,
        channels=channels,
        interleave_bits=below,
        mapping=mapping,
        width=8,
    )
    trace = load("sparse-matrix").instructions(3 * 4096)

    work = simulate(machine({}), trace, (2000, 6000), None, Memory(made, c))[2]

    served = work.requests[: int(np.flatnonzero(work.requests["address"])[-1]) + 1]
    expected = decode(64 * served["address"].astype(np.int64), made, c)
    assert len(served) > 300
    for name in ("channel", "bank", "row", "column"):
        assert (served[name] == expected[name]).all(), name


def test_memory_and_core_agree_on_what_was_moved() -> None:
    whole = composed()

    found = whole.evaluate(default_of(whole), whole.workload("sparse-matrix"))

    served = sum(found[f"dram.row_{kind}"] for kind in ("hits", "misses", "conflicts"))
    share = 100.0 * found["dram.row_hits"] / served
    assert found["cpu.dram_row_hit_percent"] == pytest.approx(share)
    assert found["dram.total_time_ns"] == pytest.approx(found["time_ns"], rel=1e-3)


def test_core_pays_for_the_memory_controllers_choices() -> None:
    whole = composed()
    design = default_of(whole)
    workload = whole.workload("sparse-matrix")

    closed = whole.evaluate({**design, "dram.row_policy": "ClosedCAP", "dram.cap": 1}, workload)
    wide = whole.evaluate({**design, "dram.channels": 4}, workload)
    usual = whole.evaluate(design, workload)

    assert len({closed["ipc"], wide["ipc"], usual["ipc"]}) == 3
    assert wide["area_mm2"] == usual["area_mm2"] + 4.0


def test_memory_without_a_cost_speeds_up_the_core() -> None:
    whole = composed()
    indices, workload = whole.space.default_indices[None, :], whole.workload("sparse-matrix")

    paid = whole.evaluate_batch(indices, workload).values[0]
    free = results_without(whole, "dram.rows", indices, workload).values[0]
    ideal = results_without(whole, "cpu.l2-misses", indices, workload).values[0]

    place = [spec.name for spec in whole.metrics].index("ipc")
    assert free[place] > paid[place]
    assert ideal[place] > free[place]


def test_space_of_a_part_is_an_option() -> None:
    whole = composed(**{"cpu.space": "core"})

    assert whole.options == {"cpu.space": "core", "cpu.instructions": N}
    assert "cpu.rob" in whole.space.names
    assert "cpu.llc_sets" not in whole.space.names


def test_composed_instances_keep_what_they_hold() -> None:
    core = ag.Task.make("cpu", fixed={"rob": 224}, instructions=N).simulator

    whole = ag.compose(cpu=core, dram="dram")

    assert whole.space.parameter("cpu.rob").size == 1
    assert whole.options["cpu.instructions"] == N


def test_exports_are_those_of_the_parts(tmp_path: Path) -> None:
    whole = composed()

    with pytest.raises(InvalidDesignError, match="ChampSim lacks the devices of dram"):
        exported(whole, "cpu.champsim", whole.space.default_indices, whole.workload("sort"))
    memory = exported(whole, "dram.ramulator", whole.space.default_indices, whole.workload("sort"))

    assert any("DDR4_8Gb_x8" in text for text in memory.values())


@pytest.mark.parametrize("device", ["ddr3-1600", "hbm3"])
def test_device_whose_bursts_are_no_lines_is_refused(device: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"dram\.device"):
        composed(**{"dram.device": device})


def test_options_that_the_composition_decides_are_unknown() -> None:
    with pytest.raises(UnknownNameError, match=r"cpu\.cores"):
        composed(**{"cpu.cores": "2"})


def test_bound_of_the_area_is_the_area() -> None:
    whole = composed()
    drawn = np.random.default_rng(6).integers(
        0, whole.space.sizes, size=(4, whole.space.n_parameters)
    )
    workload = whole.workload("sort")

    bounds = bounds_of(whole, drawn, workload)
    found = whole.evaluate_batch(drawn, workload)

    place = [spec.name for spec in whole.metrics].index("area_mm2")
    built = found.reason == 0
    assert built.any()
    assert bounds[built, place] == pytest.approx(found.values[built, place])


@pytest.mark.parametrize(
    ("program", "is_written"), [("hash-join-small", False), ("matrix-product", True)]
)
def test_proof_equals_every_design_and_runs_once_what_no_write_can_change(
    program: str, is_written: bool
) -> None:
    space = composed().space
    short: dict[str, Any] = {"cpu.instructions": "4000"}
    small = {"cpu.llc_sets": 512, "cpu.llc_ways": 8, "cpu.l2_ways": 4, "dram.read_buffer": 8}
    held = {
        "cpu.l2_sets": [128, 256, 1024],
        "dram.address_mapping": ["RoBaRaCoCh", "MOP4CLXOR"],
        "dram.write_buffer": [4, 8, 32],
        "dram.wr_low": [0.1, 0.5],
        "dram.wr_high": [0.6, 0.9],
    }
    default = space.design_at(space.default_indices)
    fixed = {n: v for n, v in {**default, **small}.items() if n not in held}
    task = ag.Task.make(
        "cpu+dram", program, "performance", fixed=fixed, values=held,
        subject_to="area_mm2 <= 17.7", **short,
    )  # fmt: skip
    every = np.concatenate(list(task.space.enumerate(canonical=True)))
    rewards = task.evaluate(every).reward
    is_free = np.array([name.startswith("dram.wr") for name in task.space.names])

    found = prove(task, every[np.argmax(rewards)], seconds=120)
    bounds = reward_bounds(task, np.where(is_free, -1, every))

    assert len(every) == 72
    assert (found.method, found.is_optimal) == ("bounds", True)
    assert found.reward == rewards.max()
    assert (bounds >= rewards).all()
    # Two thirds of the designs are within the area, and each has twelve buffers of writes.
    assert found.n_evaluated > 24 if is_written else found.n_evaluated == 1
    assert (bounds[bounds > -1e3] == rewards[bounds > -1e3]).all() != is_written
