"""Designs of the accelerator simulator as files of other tools, read back by our own readers."""

from pathlib import Path

import numpy as np
import pytest

from archgym.evaluation.capabilities import exported
from archgym.report.export import export_design
from archgym.simulators.accelerator.formats.export import expressible_mapping, shared_dimensions
from archgym.simulators.accelerator.formats.files import load_architecture, read_mapping
from archgym.simulators.accelerator.formats.timeloop_yaml import read_timeloop_problem
from archgym.simulators.accelerator.kernel.evaluation import Access, evaluate_mapping
from archgym.simulators.accelerator.simulator import AcceleratorSimulator
from archgym.tasks.task import Task


def written(task: Task, indices: np.ndarray, form: str, folder: Path) -> Path:
    export_design(task, indices, form).write(folder)
    return folder


def counts(accesses: "dict[tuple[str, str], Access]") -> dict[tuple[str, str], tuple[int, ...]]:
    return {
        key: (a.reads, a.fills, a.updates, a.tile, a.instances)
        for key, a in accesses.items()
        if not key[0].startswith("inter_")
    }


def a_design(task: Task, seed: int) -> np.ndarray:
    found: np.ndarray = task.space.sample(1, np.random.default_rng(seed))[0]
    return found


def test_architecture_is_read_back(tmp_path: Path) -> None:
    task = Task.make("accelerator", "alexnet")
    indices = a_design(task, 3)
    simulator = task.simulator
    assert isinstance(simulator, AcceleratorSimulator)

    export_design(task, indices, "architecture").write(tmp_path / "accelerator.yaml")

    expected, _ = simulator.mapped(indices, task.workloads[0].workload, maps_layers=False)
    assert load_architecture(tmp_path / "accelerator.yaml") == expected


@pytest.mark.parametrize("seed", [0, 5])
def test_files_of_timeloop_give_equal_counts_on_every_layer(seed: int, tmp_path: Path) -> None:
    task = Task.make("accelerator", "resnet-18", fidelity="fast")
    indices = task.space.default_indices if seed == 0 else a_design(task, seed)
    simulator = task.simulator
    assert isinstance(simulator, AcceleratorSimulator)

    folder = written(task, indices, "timeloop", tmp_path / "files")

    expected, layers = simulator.mapped(indices, task.workloads[0].workload)
    read = load_architecture(folder / "architecture.yaml")
    made = sorted(path.parent for path in folder.glob("*/problem.yaml"))
    assert len(made) == len(layers) == 12
    notes = (folder / "README.md").read_text()
    for (name, problem, mapping), layer in zip(layers, made, strict=True):
        assert (f"- {name}: " in notes) == bool(shared_dimensions(mapping))
        if shared_dimensions(mapping):
            other, _ = expressible_mapping(problem, expected, simulator.search)
            assert other is not None
            mapping = other
        read_problem = read_timeloop_problem(layer / "problem.yaml")
        assert read_problem.shape == problem.shape
        ours = evaluate_mapping(problem, expected, mapping)
        theirs = evaluate_mapping(
            read_problem, read, read_mapping(layer / "mapping.yaml", read_problem, read)
        )
        assert theirs.cycles == ours.cycles
        assert theirs.utilisation == ours.utilisation
        assert ours.accesses is not None
        assert theirs.accesses is not None
        assert counts(dict(theirs.accesses)) == counts(dict(ours.accesses))


def test_cheaper_mapping_of_a_restricted_search_is_a_mapping_the_first_search_missed() -> None:
    task = Task.make("accelerator", "alexnet", fidelity="fast")
    simulator = task.simulator
    assert isinstance(simulator, AcceleratorSimulator)
    built, layers = simulator.mapped(task.space.default_indices, task.workloads[0].workload)
    problem, first = next((p, m) for name, p, m in layers if name == "conv2")

    other, ratio = expressible_mapping(problem, built, simulator.search)
    files = exported(
        task.simulator, "timeloop", task.space.default_indices, task.workloads[0].workload
    )

    # Both costs are of the same accelerator, without the restriction.
    assert other is not None
    before, after = (evaluate_mapping(problem, built, mapping) for mapping in (first, other))
    assert ratio < 1
    assert after.energy_pj * after.cycles == pytest.approx(ratio * before.energy_pj * before.cycles)
    assert "- conv2: a cheaper mapping was found for this layer, with 0.807" in files["README.md"]


def test_layer_is_mapped_where_a_restricted_dimension_makes_room_for_another(
    tmp_path: Path,
) -> None:
    path = tmp_path / "one.csv"
    path.write_text(
        "layer,kind,count,groups,channels,filters,output_x,output_y,kernel_x,kernel_y,stride_x,"
        "stride_y,dilation_x,dilation_y,batch\n"
        "conv1,conv,1,1,16,32,8,8,3,3,2,2,1,1,1\n"
    )
    task = Task.make("accelerator", str(path))
    design = {
        "array_x": 32,
        "array_y": 32,
        "dataflow": "flexible",
        "precision_bits": 8,
        "output_words": 4,
        "weight_words": 16,
        "input_words": 12,
        "buffer_kib": 8,
        "buffer_banks": 32,
        "buffer_bandwidth": 256,
        "buffer_weights": "bypass",
        "dram_bandwidth": 64,
    }
    simulator = task.simulator
    assert isinstance(simulator, AcceleratorSimulator)
    indices = task.space.indices_of(design)
    built, [(_, problem, mapping)] = simulator.mapped(indices, task.workloads[0].workload)

    other, ratio = expressible_mapping(problem, built, simulator.search)

    assert shared_dimensions(mapping)
    assert other is not None
    assert not shared_dimensions(other)
    assert ratio < 1.2


def test_mappings_that_are_exported_cost_what_the_simulator_says() -> None:
    task = Task.make("accelerator", "alexnet", fidelity="fast")
    simulator = task.simulator
    assert isinstance(simulator, AcceleratorSimulator)

    built, layers = simulator.mapped(task.space.default_indices, task.workloads[0].workload)

    network = task.workloads[0].workload.content
    energy = sum(
        layer.count * evaluate_mapping(problem, built, mapping).energy_pj
        for layer, (_, problem, mapping) in zip(network.layers, layers, strict=True)
    )
    names = [spec.name for spec in task.metrics]
    assert energy / 1e6 == pytest.approx(task.reference[0, names.index("energy_uj")], rel=1e-12)


def test_mapping_of_a_layer_is_exported_with_its_architecture(tmp_path: Path) -> None:
    task = Task.make("accelerator", space="mapping-table")
    indices = next(
        row
        for row in task.space.sample(50, np.random.default_rng(0))
        if not task.evaluate(row[None, :]).reason.any()
    )

    folder = written(task, indices, "timeloop", tmp_path / "files")

    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.yaml"))
    assert len(names) == 3
    assert names[-1] == "architecture.yaml"
    read = load_architecture(folder / "architecture.yaml")
    problem = read_timeloop_problem(folder / names[1])
    cost = evaluate_mapping(problem, read, read_mapping(folder / names[0], problem, read))
    column = [spec.name for spec in task.metrics].index("latency_cycles")
    assert cost.cycles == task.evaluate(indices[None, :]).values[0, 0, column]
