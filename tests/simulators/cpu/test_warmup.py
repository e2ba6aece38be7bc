"""Warm-ups that machines share: the counters are those of machines that warm up alone."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from archgym.evaluation.capabilities import results_without
from archgym.evaluation.simulator import Simulator
from archgym.simulators.cpu import CpuSimulator
from archgym.simulators.cpu.kernel.run import Core, run, state_of
from archgym.simulators.cpu.kernel.warmup import _OWN, LIMIT_BYTES, WARM_UPS, WarmUps, key_of
from archgym.simulators.cpu.machine import machine
from archgym.simulators.cpu.space import SPACE_NAMES
from archgym.simulators.cpu.workloads.programs import load, names
from archgym.simulators.cpu_plus_dram import CpuDramSimulator
from archgym.tasks.task import Task
from archgym.tasks.workers import executor_for

LATE = ("registers",)
MEMORY = ("dram_data_rate", "dram_channels", "dram_queue")
SHORT = 6_000


@pytest.fixture(autouse=True)
def nothing_is_known() -> Iterator[None]:
    WARM_UPS.clear()
    yield
    WARM_UPS.clear()


def alike(simulator: Simulator, late: tuple[str, ...], n: int = 2, each: int = 3) -> np.ndarray:
    """Return designs in groups that differ in some parameters only, in a random order."""
    space, rng = simulator.space, np.random.default_rng(0)
    designs = np.repeat(space.sample(n, rng), each, axis=0)
    for name in late:
        if name in space.names:
            column = space.names.index(name)
            designs[:, column] = rng.integers(space.sizes[column], size=n * each)
    if "clock_ghz" in space.names:
        # Every supply allows 1 GHz; fidelity dram needs 4 GHz.
        clock, supply = (space.names.index(name) for name in ("clock_ghz", "voltage"))
        designs[:, clock] = 0
        if simulator.fidelity == "dram":
            designs[:, [clock, supply]] = space.default_indices[[clock, supply]]
    return rng.permutation(designs)


def alone(simulator: Simulator, designs: np.ndarray, workload: Any) -> np.ndarray:
    rows = []
    for design in designs:
        WARM_UPS.clear()
        rows.append(simulator.evaluate_batch(design[None, :], workload).values[0])
    return np.array(rows)


@pytest.mark.parametrize("program", names())
def test_every_program_is_counted_as_alone(program: str) -> None:
    simulator = CpuSimulator(instructions=SHORT)
    workload, designs = simulator.workload(program), alike(simulator, LATE)
    expected = alone(simulator, designs, workload)
    WARM_UPS.clear()

    found = simulator.evaluate_batch(designs, workload)

    assert np.array_equal(found.values, expected, equal_nan=True)
    different = {tuple(np.delete(d, simulator.space.names.index("registers"))) for d in designs}
    assert WARM_UPS.n_shared == len(designs) - len(different)


@pytest.mark.parametrize("space", SPACE_NAMES)
@pytest.mark.parametrize("fidelity", ["standard", "dram"])
def test_every_space_is_counted_as_alone(space: str, fidelity: str) -> None:
    simulator = CpuSimulator(space, fidelity, instructions=SHORT)
    workload = simulator.workload("sparse-matrix")
    designs = alike(simulator, LATE if fidelity == "standard" else LATE + MEMORY, n=3)
    expected = alone(simulator, designs, workload)
    WARM_UPS.clear()

    found = simulator.evaluate_batch(designs, workload)

    assert np.array_equal(found.values, expected, equal_nan=True)
    assert np.isfinite(expected).any()


@pytest.mark.parametrize("options", [{"window_us": "1"}, {"warmup": "0"}, {"cores": "2"}])
def test_every_way_to_run_is_counted_as_alone(options: dict[str, str]) -> None:
    kind: Any = CpuSimulator
    simulator = kind(instructions=str(SHORT), **options)
    workload, designs = simulator.workload("b-tree"), alike(simulator, LATE)
    expected = alone(simulator, designs, workload)
    WARM_UPS.clear()

    found = simulator.evaluate_batch(designs, workload)

    assert np.array_equal(found.values, expected, equal_nan=True)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_share_warm_ups(workers: int) -> None:
    task = Task.make("cpu", "b-tree", instructions=str(SHORT))
    designs = alike(task.simulator, LATE, each=6)
    expected = alone(task.simulator, designs, task.workloads[0].workload)
    WARM_UPS.clear()

    with executor_for(workers, task=task) as executor:
        found = executor.evaluate(task, designs)

    assert np.array_equal(found.values[:, 0], expected, equal_nan=True)
    assert WARM_UPS.n_shared > 0


def test_memories_of_one_core_share_its_warm_up() -> None:
    pair = CpuDramSimulator(**{"cpu.instructions": str(SHORT)})
    workload, space = pair.workload("b-tree"), pair.space
    designs = np.repeat(space.default_indices[None, :], 4, axis=0)
    column = space.names.index("dram.row_policy")
    designs[:, column] = np.arange(4) % space.sizes[column]
    expected = alone(pair, designs, workload)
    WARM_UPS.clear()

    found = pair.evaluate_batch(designs, workload)

    assert np.array_equal(found.values, expected, equal_nan=True)
    assert WARM_UPS.n_shared == 2


def test_states_that_share_a_warm_up_differ_in_its_unused_words_only() -> None:
    trace = load("b-tree").instructions(SHORT + 4096)
    for fidelity, late in (("standard", LATE), ("dram", LATE + MEMORY)):
        for space in SPACE_NAMES:
            simulator = CpuSimulator(space, fidelity)
            words: dict[Any, np.ndarray] = {}
            for design in alike(simulator, late, n=4, each=8):
                found = simulator.built(design)
                if isinstance(found, str):
                    continue
                key = key_of(found.running, trace, 1, None, fidelity == "dram")
                state = state_of(found.running, trace, (1, 1))
                state[_OWN[key[0]]] = 0
                assert np.array_equal(words.setdefault(key, state), state)
            assert words


def test_core_that_stops_and_continues_shares_its_warm_up() -> None:
    trace = load("sort").instructions(2 * SHORT)
    small, large = machine({"CPU.registers": 64}), machine({"CPU.registers": 200})
    expected = [run(each, trace, 2_000, 3_000) for each in (small, large)]
    WARM_UPS.clear()

    cores = [Core(each, trace, 2_000, 3_000) for each in (small, large, small, large)]
    for core in cores:
        core.advance(3_000)

    assert WARM_UPS.n_shared == 2
    for core, counters in zip(cores, expected * 2, strict=True):
        found = core.finish()
        assert found is not None
        assert counters is not None
        assert np.array_equal(found, counters)


def test_ideal_machine_has_a_warm_up_of_its_own() -> None:
    simulator = CpuSimulator(instructions=SHORT)
    workload, designs = simulator.workload("b-tree"), alike(simulator, LATE)
    expected = {}
    for cost in simulator.spec.costs:
        WARM_UPS.clear()
        rows = [results_without(simulator, cost, d[None, :], workload) for d in designs[:1]]
        expected[cost] = rows[0].values
    simulator.evaluate_batch(designs, workload)

    for cost, values in expected.items():
        for _ in range(3):
            found = results_without(simulator, cost, designs[:1], workload)
            assert np.array_equal(found.values, values)


def test_memory_is_bounded() -> None:
    held = WarmUps(limit_bytes=1_000)
    trace = load("b-tree").instructions(SHORT)
    for number in range(20):
        key = key_of({"CPU.rob": number % 10}, trace, 1, None)
        state, weights = np.full(50, number % 10), np.zeros(8, dtype=np.int8)

        now = held.warm(key, state, weights, partial(int, number % 10))

        assert now == number % 10
        assert held.n_bytes <= 1_000
    assert held.n_bytes > 0
    assert LIMIT_BYTES == 64 * 2**20


def test_state_is_kept_from_the_second_time_on() -> None:
    held, trace = WarmUps(), load("b-tree").instructions(SHORT)
    key = key_of(machine({}), trace, 1, None)
    calls: list[int] = []

    def run_alone() -> int:
        calls.append(1)
        return 0

    def warm(expected_calls: int) -> None:
        state = np.zeros(20_000, dtype=np.int64)
        held.warm(key, state, np.zeros(8, dtype=np.int8), run_alone)
        assert len(calls) == expected_calls

    warm(1)
    assert held.n_bytes == 0
    warm(2)
    warm(2)
    assert held.n_shared == 1
