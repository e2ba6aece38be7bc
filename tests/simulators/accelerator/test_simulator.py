"""The simulator: spaces, limits, published designs."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError, UnknownNameError
from archgym.evaluation.simulator import default_workload
from archgym.physics.economics import NODES
from archgym.simulators.accelerator import AcceleratorSimulator
from archgym.simulators.accelerator.formats.files import load_architecture
from archgym.simulators.accelerator.kernel.evaluation import evaluate_mapping
from archgym.simulators.accelerator.space import (
    HARDWARE_SPACES,
    machine_of,
    published_hardware,
    published_space,
)
from archgym.tasks.task import Task
from evidence.accelerator.reference import (
    _archgym,
    _published_values,
    validate,
)

pytestmark = pytest.mark.slow


def default(simulator: AcceleratorSimulator) -> dict[str, object]:
    return dict(simulator.space.design_at(simulator.space.default_indices))


def test_default_design_is_the_eyeriss_like_one() -> None:
    built, known = machine_of("default", {}), load_architecture("eyeriss-like")

    assert (built.mac.instances, built.mac.mesh_x) == (168, 14)
    assert built.mac.energy_pj == pytest.approx(known.mac.energy_pj)
    for mine, theirs in ((0, 0), (1, 1), (2, 2), (3, 4)):
        ours, other = built.levels[mine], known.levels[theirs]
        assert (ours.capacity, ours.instances) == (other.capacity, other.instances)
        assert ours.read_energy_pj == pytest.approx(other.read_energy_pj, abs=1e-4)
        assert ours.area_um2 == pytest.approx(other.area_um2, abs=1)


def test_every_row_that_ships_is_met() -> None:
    result = validate()

    assert result.problems == ()
    assert sum(line.n_rows for line in result.lines) == 7


def test_published_space_has_26_parameters() -> None:
    space = published_space()

    assert space.n_parameters == 26
    # 24 x 3 x (4 x 16 x 3 x 4 x 4)^3 x (4 x 16 x 3) x (4 x 7 x 4 x 3 x 4 x 4)
    assert space.size == 72 * 3072**3 * 192 * 5376


def test_published_designs_are_met(reference: Path) -> None:
    lines = {
        line.quantity.partition(", ")[2]: line
        for line in _archgym(reference / "archgym_timeloop_random.jsonl")
    }

    assert (lines["given mappings"].n_rows, lines["given mappings"].n_met) == (113, 113)
    assert (lines["no mapping exists"].n_rows, lines["no mapping exists"].n_met) == (12, 12)
    assert (lines["CACTI refuses"].n_rows, lines["CACTI refuses"].n_met) == (14, 14)


def test_published_energies_and_areas_are_met(reference: Path) -> None:
    names = {"ifmap_spad": 2, "psum_spad": 0, "weights_spad": 1, "DummyBuffer": 3, "shared_glb": 4}
    n_compared = 0
    for line in (reference / "archgym_timeloop_random.jsonl").read_text().splitlines():
        row = json.loads(line)
        built = published_hardware(_published_values(row["params"]))
        if built is None:
            assert "ert_max_pJ" not in row
            continue
        for name, place in names.items():
            energies, level = row["ert_max_pJ"][name], built.levels[place]
            assert level.read_energy_pj == pytest.approx(energies["read"], rel=2e-5, abs=2e-5)
            assert level.write_energy_pj == pytest.approx(energies["write"], rel=2e-5, abs=2e-5)
            assert level.area_um2 == pytest.approx(row["art_um2"][name], rel=1e-5, abs=0.06)
            n_compared += 1

    assert n_compared == 67 * 5


def test_an_area_above_the_limit_is_not_built() -> None:
    simulator = AcceleratorSimulator(fidelity="fast", area_mm2="2.0")
    design = {**default(simulator), "buffer_kib": 512}

    result = simulator.evaluate(design, simulator.workload("alexnet"))

    assert result.infeasible == "the area is above the limit"


def test_default_design_shrinks_until_it_fits_the_area() -> None:
    usual = default(AcceleratorSimulator())

    small = default(AcceleratorSimulator(area_mm2="1.0"))

    assert machine_of("default", usual).area_um2 == pytest.approx(2.11486372e6)
    assert machine_of("default", small).area_um2 == pytest.approx(0.96628712e6)
    changed = {name: small[name] for name in usual if small[name] != usual[name]}
    assert changed == {"weight_words": 96, "buffer_kib": 32}


def test_limit_that_the_default_design_fits_leaves_the_space_as_it_is() -> None:
    assert AcceleratorSimulator(area_mm2="2.115").space == AcceleratorSimulator().space


@pytest.mark.parametrize("space", HARDWARE_SPACES)
@pytest.mark.parametrize("node", ["", "22nm", "7nm"])
def test_limit_is_in_the_area_that_the_result_shows(space: str, node: str) -> None:
    free = AcceleratorSimulator(space, "fast", layers=1, node=node)
    workload = free.workload("alexnet-convolutions")
    area = free.evaluate(default(free), workload)["area_mm2"]

    fits, shrunk = (
        AcceleratorSimulator(space, "fast", layers=1, node=node, area_mm2=share * area)
        for share in (1.001, 0.8)
    )

    assert fits.space == free.space
    smaller = shrunk.evaluate(default(shrunk), shrunk.workload("alexnet-convolutions"))
    assert 0.5 * area < smaller["area_mm2"] <= 0.8 * area


@pytest.mark.parametrize("space", HARDWARE_SPACES)
def test_nodes_differ_in_energy_and_area_but_not_in_time(space: str) -> None:
    found = []
    for node in ("", *NODES):
        simulator = AcceleratorSimulator(space, "fast", layers=2, node=node)
        workload = simulator.workload("alexnet-convolutions")
        metrics = simulator.evaluate(default(simulator), workload)
        assert metrics.infeasible is None
        # The mapping that is exported, on the accelerator that is exported, costs the same.
        indices = simulator.space.default_indices
        built, layers = simulator.mapped(indices, workload)
        costs = [evaluate_mapping(problem, built, mapping) for _, problem, mapping in layers]
        assert sum(each.energy_pj for each in costs) == pytest.approx(1e6 * metrics["energy_uj"])
        assert sum(each.cycles for each in costs) == metrics["latency_cycles"]
        assert built.area_um2 / 1e6 == metrics["area_mm2"]
        # Energies by cost add up at the node too.
        parts = ("arithmetic", "dram-energy", "buffer-energy", "register-energy")
        paid = [
            metrics["energy_uj"]
            - simulator.simulate_without(part, indices[None], workload).values[0, 0]
            for part in parts
        ]
        assert sum(paid) == pytest.approx(metrics["energy_uj"])
        found.append(
            [metrics[name] for name in ("latency_cycles", "dram_energy_uj", "edp_nj_s", "area_mm2")]
        )

    cycles, dram, edp, area = np.array(found).T
    assert len(set(cycles)) == len(set(dram)) == 1
    assert (np.diff(edp) < 0).all()
    assert (np.diff(area) < 0).all()


@pytest.mark.parametrize(
    ("space", "options", "message"),
    [
        ("default", {"area_mm2": "0.1"}, "`area_mm2` must be at least 0.1562"),
        ("timeloop-2023", {"area_mm2": "0.1"}, "`area_mm2` must be at least 0.4746"),
        ("default", {"power_mw": "1"}, "`power_mw` must be at least 2.* A smaller `area_mm2`"),
        ("mapping", {"area_mm2": "2"}, "`area_mm2` must be at least 2.11816"),
    ],
)
def test_limit_without_a_default_design_is_refused(
    space: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Task.make(AcceleratorSimulator(space, "fast", **options))


def test_a_power_above_the_limit_is_not_built() -> None:
    simulator = AcceleratorSimulator(fidelity="fast", power_mw="260")
    workload = simulator.workload("alexnet")
    large = {**default(simulator), "array_x": 32, "array_y": 32}

    result = simulator.evaluate(large, workload)

    assert result.infeasible == "the power is above the limit"


def test_more_bandwidth_and_buffer_cost_no_latency() -> None:
    simulator = AcceleratorSimulator(mapper="cycles")
    workload = simulator.workload("alexnet")
    slow = {**default(simulator), "dram_bandwidth": 2}
    fast = {**default(simulator), "dram_bandwidth": 64}

    cycles = [simulator.evaluate(d, workload)["latency_cycles"] for d in (slow, fast)]

    assert cycles[1] < cycles[0]


def test_eight_bits_take_less_energy_than_sixteen() -> None:
    simulator = AcceleratorSimulator(fidelity="fast")
    workload = simulator.workload("alexnet")

    energy = [
        simulator.evaluate({**default(simulator), "precision_bits": bits}, workload)["energy_uj"]
        for bits in (8, 16)
    ]

    assert energy[0] < 0.8 * energy[1]


def test_a_mapping_as_a_design_costs_what_the_mapping_costs() -> None:
    simulator = AcceleratorSimulator("mapping", architecture="gemmini-like")
    rng = np.random.default_rng(0)
    indices = simulator.space.sample(300, rng)

    result = simulator.evaluate_batch(indices, simulator.workload(default_workload(simulator)))

    built = result.reason == 0
    assert 3 <= built.sum() < 300
    assert (result.values[built, 0] > 0).all()


def test_options_are_checked() -> None:
    with pytest.raises(InvalidArgumentError, match="`area_mm2` must be a number from"):
        AcceleratorSimulator(area_mm2="-1")
    with pytest.raises(UnknownNameError, match="timeloop"):
        AcceleratorSimulator(counts="timelop")
    with pytest.raises(UnknownNameError, match="eyeriss-like"):
        AcceleratorSimulator("mapping", architecture="eyeris-like")
    with pytest.raises(UnknownNameError, match="conv1"):
        AcceleratorSimulator("mapping", layer="resnet-18/conv9")
    with pytest.raises(UnknownNameError, match="'resnet-18'"):
        AcceleratorSimulator("mapping", layer="/etc/passwd")
    with pytest.raises(UnknownNameError, match="'eyeriss-like'"):
        load_architecture("")


def test_a_copy_keeps_its_options() -> None:
    import pickle

    simulator = AcceleratorSimulator("mapping", counts="ideal", architecture="tpu-like")

    copy = pickle.loads(pickle.dumps(simulator))

    assert copy.options == {"counts": "ideal", "architecture": "tpu-like"}
    assert copy.space == simulator.space


def test_few_layers_are_an_option_of_the_task() -> None:
    few, whole = AcceleratorSimulator(layers="2"), AcceleratorSimulator()

    assert few.options == {"layers": "2"}
    assert few.describe_workload(few.workload("resnet-18"))["different_shapes"] == (2.0, "")
    assert few.workload("resnet-18").digest != whole.workload("resnet-18").digest
    assert pickle.loads(pickle.dumps(few)).options == few.options


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "123456"])
def test_number_of_layers_must_be_a_whole_number(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="`layers` must be a whole number from 1"):
        AcceleratorSimulator(layers=text)


def test_spaces_of_mappings_have_one_layer() -> None:
    with pytest.raises(InvalidArgumentError, match="`layers` must be left out in space 'mapping'"):
        AcceleratorSimulator("mapping", layers="2")
