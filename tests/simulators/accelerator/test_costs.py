"""Ideal machines: against the kernel on hardware that has the ideal, and against closed forms."""

from dataclasses import replace

import numpy as np
import pytest

from archgym.evaluation.capabilities import results_without
from archgym.evaluation.simulator import default_workload
from archgym.simulators.accelerator import AcceleratorSimulator
from archgym.simulators.accelerator.costs import COSTS, without
from archgym.simulators.accelerator.kernel.evaluation import ManyEvaluations, evaluate_mappings
from archgym.simulators.accelerator.machine.architecture import Architecture, Level, MacArray
from archgym.simulators.accelerator.machine.mapping import LevelLoops, Mapping
from archgym.simulators.accelerator.metrics import METRICS
from archgym.simulators.accelerator.problem import Problem, convolution, matrix_multiply
from tests.simulators.accelerator.walking import random_mappings

pytestmark = pytest.mark.slow

REGISTERS = Level(
    "registers", None, 24, 6, 1, 16, 0.5, 0.75, read_bandwidth=2.0, write_bandwidth=1.5
)
BUFFER = Level("buffer", None, 4, 2, 2, 16, 3.0, 4.0, read_bandwidth=3.0, write_bandwidth=2.0)
DRAM = Level("dram", None, 1, 1, 4, 16, 100.0, 120.0, shared_bandwidth=1.0)
UNITS = MacArray(24, 6, 2.0, 1.0)
MACHINE = Architecture("machine", (REGISTERS, BUFFER, DRAM), UNITS)
LAYER = convolution("layer", channels=8, filters=12, output=(6, 4), kernel=(3, 3), stride=(2, 1))


def at_no_energy(level: Level) -> Level:
    """The level, whose accesses cost nothing."""
    return replace(level, read_energy_pj=0.0, write_energy_pj=0.0)


def at_any_speed(level: Level) -> Level:
    """The level without limits of bandwidth."""
    return replace(level, read_bandwidth=None, write_bandwidth=None, shared_bandwidth=None)


# The hardware that does not pay a cost.
IDEAL = {
    "register-energy": (at_no_energy(REGISTERS), BUFFER, DRAM),
    "buffer-energy": (REGISTERS, at_no_energy(BUFFER), DRAM),
    "dram-energy": (REGISTERS, BUFFER, at_no_energy(DRAM)),
    "buffer-bandwidth": (at_any_speed(REGISTERS), at_any_speed(BUFFER), DRAM),
    "dram-bandwidth": (REGISTERS, BUFFER, at_any_speed(DRAM)),
}
# Only DRAM may be slower than the units.
FAST_CHIP = Architecture("fast chip", IDEAL["buffer-bandwidth"], UNITS)


def some(architecture: Architecture = MACHINE, n: int = 60) -> ManyEvaluations:
    """What the same random mappings cost on an accelerator."""
    mappings = random_mappings(LAYER, MACHINE, n, np.random.default_rng(7))
    return evaluate_mappings(LAYER, architecture, mappings)


def one(problem: Problem, buffer: LevelLoops, dram: LevelLoops) -> ManyEvaluations:
    """What a mapping on one unit costs."""
    mapping = Mapping((LevelLoops(), buffer, dram))
    return evaluate_mappings(problem, FAST_CHIP, mapping.arrays(problem, FAST_CHIP))


@pytest.mark.parametrize("cost", IDEAL)
def test_a_cost_is_gone_as_on_hardware_without_it(cost: str) -> None:
    ideal = some(Architecture("ideal", IDEAL[cost], UNITS))

    energy, cycles, dram = without(cost, LAYER, MACHINE, some(), UNITS.instances)

    np.testing.assert_allclose(energy, ideal.totals[:, 0], rtol=1e-12)
    np.testing.assert_array_equal(cycles, ideal.totals[:, 1])
    np.testing.assert_allclose(dram, ideal.energies[:, -1].sum(axis=1), rtol=1e-12)


@pytest.mark.parametrize("cost", IDEAL)
def test_every_cost_of_hardware_is_paid_by_some_mapping(cost: str) -> None:
    paid = some()

    energy, cycles, _ = without(cost, LAYER, MACHINE, paid, UNITS.instances)

    assert (energy < paid.totals[:, 0]).any() or (cycles < paid.totals[:, 1]).any()


@pytest.mark.parametrize("cost", COSTS)
def test_nothing_gets_worse_without_a_cost(cost: str) -> None:
    paid = some()

    energy, cycles, dram = without(cost, LAYER, MACHINE, paid, UNITS.instances)

    assert (energy <= paid.totals[:, 0]).all()
    assert (cycles <= paid.totals[:, 1]).all()
    assert (dram <= paid.energies[:, -1].sum(axis=1)).all()


def test_arithmetic_and_three_kinds_of_storage_make_up_all_energy() -> None:
    paid = some()
    freed = [
        paid.totals[:, 0] - without(cost, LAYER, MACHINE, paid, UNITS.instances)[0]
        for cost in ("arithmetic", "register-energy", "buffer-energy", "dram-energy")
    ]

    np.testing.assert_allclose(sum(freed), paid.totals[:, 0], rtol=1e-12)


def test_without_idle_units_all_compute_in_as_many_rounds_as_there_must_be() -> None:
    fast = Architecture("fast", tuple(at_any_speed(level) for level in MACHINE.levels), UNITS)

    _, cycles, _ = without("idle-units", LAYER, fast, some(fast), UNITS.instances)

    assert (cycles == 8 * 12 * 6 * 4 * 9 / 24).all()


def test_without_arithmetic_a_matrix_and_a_vector_come_as_fast_as_dram_gives_them() -> None:
    problem = matrix_multiply("decode", rows=1, inner=8, columns=6)
    paid = one(problem, LevelLoops(temporal=(("C", 8), ("M", 6))), LevelLoops())

    energy, cycles, _ = without("arithmetic", problem, FAST_CHIP, paid, UNITS.instances)

    # DRAM moves a word a cycle: weights and inputs in, results out.
    assert cycles[0] == 48 + 8 + 6
    assert paid.totals[0, 0] - energy[0] == pytest.approx(48 * 2.0)


def test_without_refetching_each_word_crosses_once() -> None:
    problem = matrix_multiply("product", rows=4, inner=8, columns=16)
    # Rows are the outermost loop and the buffer holds a column, so all weights come four times.
    dram_loops = LevelLoops(temporal=(("M", 16), ("P", 4)))
    paid = one(problem, LevelLoops(temporal=(("C", 8),)), dram_loops)

    energy, cycles, dram = without("refetching", problem, FAST_CHIP, paid, UNITS.instances)

    # Lines of four words at 100 pJ to read and 120 to write.
    again = (4 * 128 + 32) / 4 * 100 + 64 / 4 * 120
    once = (128 + 32) / 4 * 100 + 64 / 4 * 120
    assert paid.energies[0, -1].sum() == again
    assert dram[0] == once
    assert paid.totals[0, 0] - energy[0] == pytest.approx(again - once)
    # A word a cycle at first; then the one unit is slower.
    assert paid.totals[0, 1] == 4 * 128 + 32 + 64
    assert cycles[0] == 4 * 8 * 16


def test_a_design_keeps_its_mappings() -> None:
    simulator = AcceleratorSimulator(fidelity="fast")
    workload = simulator.workload("alexnet-convolutions")
    design = simulator.space.default_indices[None, :]

    paid = simulator.simulate(design, workload).values[0]
    free = results_without(simulator, "dram-energy", design, workload).values[0]

    names = [spec.name for spec in METRICS]
    before, after = (dict(zip(names, values, strict=True)) for values in (paid, free))
    # Mapped anew for a machine with free DRAM, the network would take other cycles.
    assert after["latency_cycles"] == before["latency_cycles"]
    assert after["utilisation_percent"] == before["utilisation_percent"]
    assert after["energy_uj"] == pytest.approx(before["energy_uj"] - before["dram_energy_uj"])
    assert after["dram_energy_uj"] == 0


def test_utilisation_of_a_mapping_is_of_its_layer_alone() -> None:
    simulator = AcceleratorSimulator("mapping-table")
    workload = simulator.workload(default_workload(simulator))
    design = simulator.space.default_indices[None, :]
    used = [spec.name for spec in METRICS].index("utilisation_percent")

    paid = simulator.simulate(design, workload).values[0]
    cheap = results_without(simulator, "dram-energy", design, workload).values[0]
    fast = results_without(simulator, "buffer-bandwidth", design, workload).values[0]

    assert cheap[used] == paid[used]
    # One of 256 units works, and buffers never make it wait.
    assert fast[used] == pytest.approx(100 / 256)


def test_a_limit_of_power_is_not_that_of_the_ideal_machine() -> None:
    simulator = AcceleratorSimulator("mapping-table", power_mw="70")
    workload = simulator.workload(default_workload(simulator))
    rng = np.random.default_rng(0)
    designs = rng.integers(0, [p.size for p in simulator.space.parameters], size=(400, 5))

    paid = simulator.simulate(designs, workload)
    free = results_without(simulator, "idle-units", designs, workload)

    power = [spec.name for spec in METRICS].index("power_mw")
    np.testing.assert_array_equal(free.reason, paid.reason)
    assert np.isnan(free.values[paid.reason != 0]).all()
    assert paid.values[paid.reason == 0, power].max() <= 70
    assert free.values[paid.reason == 0, power].max() > 70
