"""Several cores with a shared last level."""

import pickle

import pytest

from archgym.errors import InvalidArgumentError, UnknownNameError
from archgym.evaluation.metrics import Metrics
from archgym.simulators.cpu import CpuSimulator
from archgym.simulators.cpu.kernel.cores.run import run_cores
from archgym.simulators.cpu.kernel.run import COUNTERS, run
from archgym.simulators.cpu.machine import machine
from archgym.simulators.cpu.workloads.programs import load

WARMUP, LENGTH = 5_000, 15_000


def test_short_run_before_a_shared_level_equals_the_single_core() -> None:
    parameters = machine({"L2C.sets": 64, "LLC.sets": 64})
    trace = load("hash-join-small").instructions(5_096)

    alone = run(parameters, trace, 200, 800)
    found = run_cores(parameters, [trace], 200, 800)

    assert alone is not None
    assert found is not None
    assert found[0].tolist() == alone.tolist()


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("program", "changes"),
    [
        ("hash-join-small", {}),
        (
            "stencil",
            {
                "LLC.rq": 2,
                "LLC.wq": 2,
                "LLC.pq": 2,
                "LLC.sets": 64,
                "LLC.replacement": 3,
                "L2C.sets": 64,
                "L2C.prefetcher": 2,
                "LLC.prefetcher": 1,
            },
        ),
    ],
)
def test_one_core_before_a_shared_level_equals_the_single_core(
    program: str, changes: dict[str, int]
) -> None:
    parameters = machine(changes)
    trace = load(program).instructions(WARMUP + LENGTH + 4096)

    alone = run(parameters, trace, WARMUP, LENGTH)
    found = run_cores(parameters, [trace], WARMUP, LENGTH)

    assert alone is not None
    assert found is not None
    different = [n for n, a, b in zip(COUNTERS, alone, found[0], strict=True) if a != b]
    assert different == []
    assert found[1] == (alone[0],)


@pytest.mark.nightly
def test_cores_slow_each_other_down() -> None:
    parameters = machine({"LLC.sets": 256})
    traces = [
        load(name).instructions(2 * (WARMUP + LENGTH) + 4096)
        for name in ("hash-join-small", "pointer-chase-small", "stencil")
    ]

    together = run_cores(parameters, traces, WARMUP, LENGTH)

    assert together is not None
    for cycles, trace in zip(together[1], traces, strict=True):
        alone = run(parameters, trace, WARMUP, LENGTH)
        assert alone is not None
        assert cycles > alone[0]


@pytest.mark.nightly
def test_fast_core_waits_for_the_warm_up_of_a_slow_one() -> None:
    # A core that ran on would be at the end of its trace before the other is warm.
    traces = [load(name).instructions(84_096) for name in ("sparse-matrix", "sort")]

    together = run_cores(machine({}), traces, 30_000, 50_000)

    assert together is not None
    assert together[0][COUNTERS.index("instructions")] >= 100_000


def evaluate(**options: str) -> Metrics:
    simulator = CpuSimulator(instructions="10000", **options)
    design = simulator.space.design_at(simulator.space.default_indices)
    return simulator.evaluate(design, simulator.workload("b-tree"))


@pytest.mark.nightly
def test_last_level_exists_once() -> None:
    one, two, four = (evaluate(cores=n)["area_mm2"] for n in ("1", "2", "4"))

    assert four - two == pytest.approx(2 * (two - one))
    assert two < 2 * one


@pytest.mark.nightly
def test_throughput_grows_with_cores() -> None:
    assert evaluate(cores="2")["ipc"] > 1.2 * evaluate()["ipc"]


@pytest.mark.nightly
def test_slots_of_a_core_that_waited_are_not_lost() -> None:
    found = evaluate(cores="2", corunners="stencil")

    assert 0.0 < found["retiring_percent"] < 100.0


def test_options_name_cores_and_corunners() -> None:
    simulator = CpuSimulator(cores="3", corunners="sort+stencil")

    assert simulator.options == {"cores": "3", "corunners": "sort+stencil"}
    assert pickle.loads(pickle.dumps(simulator)).options == simulator.options
    assert CpuSimulator(cores="1").options == {}


@pytest.mark.parametrize("cores", ["0", "5", "two"])
def test_number_of_cores_is_checked(cores: str) -> None:
    with pytest.raises(InvalidArgumentError, match="`cores` must be a whole number from 1 to 4"):
        CpuSimulator(cores=cores)


def test_corunners_must_fit_the_cores() -> None:
    with pytest.raises(InvalidArgumentError, match="a program for each core but the first, 1"):
        CpuSimulator(cores="2", corunners="sort+stencil")


def test_unknown_corunner_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="sort"):
        CpuSimulator(cores="2", corunners="sorting")


def test_several_cores_have_one_fidelity() -> None:
    with pytest.raises(InvalidArgumentError, match="`cores` must be 1 under fidelity 'dram'"):
        CpuSimulator(cores="2", fidelity="dram")
