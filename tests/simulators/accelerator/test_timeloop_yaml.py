"""Timeloop's YAML: what the model has is read as Timeloop means it, all else is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import ArchGymError, FileFormatError
from archgym.simulators.accelerator.formats.files import (
    load_architecture,
    read_architecture,
    read_mapping,
)
from archgym.simulators.accelerator.formats.timeloop_problem import problem_text
from archgym.simulators.accelerator.formats.timeloop_yaml import (
    read_timeloop_problem,
    timeloop_mapping_text,
)
from archgym.simulators.accelerator.kernel.evaluation import evaluate_mapping
from archgym.simulators.accelerator.machine.architecture import Architecture, Level, MacArray
from archgym.simulators.accelerator.machine.mapping import LevelLoops, Mapping
from archgym.simulators.accelerator.problem import Problem, convolution, matrix_multiply
from evidence.accelerator.recorded import recorded_layers, recorded_mappings
from evidence.accelerator.reference import disagreements

PRODUCT = matrix_multiply("product", rows=8, inner=4, columns=6)
ALL = frozenset({"Weights", "Inputs", "Outputs"})


def written(folder: Path, text: str) -> Path:
    """A file with this text."""
    path = folder / "file.yaml"
    path.write_text(text)
    return path


def costs(architecture: Architecture) -> list[float]:
    """Energies and areas of all parts."""
    found = [architecture.mac.energy_pj, architecture.mac.area_um2]
    for level in architecture.levels:
        found += [level.read_energy_pj, level.write_energy_pj, level.area_um2]
    return found


def stored(architecture: Architecture) -> Architecture:
    """The levels that store tensors, free in their loops."""
    levels = [
        replace(level, spatial_x=None, spatial_y=None, temporal=None, order=None)
        for level in architecture.levels
        if level.keeps
    ]
    return replace(architecture, levels=tuple(levels))


def without_costs(architecture: Architecture) -> tuple[list[Level], MacArray]:
    """The parts of an architecture, energies and areas left out."""
    levels = [
        replace(level, read_energy_pj=0.0, write_energy_pj=0.0, area_um2=0.0)
        for level in architecture.levels
    ]
    return levels, replace(architecture.mac, energy_pj=0.0, area_um2=0.0)


def test_storage_of_a_published_architecture_is_that_of_the_preset(timeloop: Path) -> None:
    found = stored(load_architecture(timeloop / "eyeriss_like_v4.yaml"))

    preset = stored(load_architecture("eyeriss-like"))
    assert without_costs(found) == without_costs(preset)
    # Presets have Accelergy's figures, which it rounds to five digits.
    assert costs(found) == pytest.approx(costs(preset), rel=2e-5, abs=0.01)


@pytest.mark.slow
def test_recorded_mappings_in_timeloops_form_meet_timeloops_counts(
    timeloop: Path, tmp_path: Path
) -> None:
    architecture = load_architecture("eyeriss-like")
    layers = recorded_layers(timeloop / "timeloop_mappings_meta.json")
    rows = [
        row
        for row in recorded_mappings(timeloop / "timeloop_mappings.jsonl")
        if row.architecture == "eyeriss_like"
    ]
    assert sum(row.is_valid for row in rows) >= 3

    for row in rows:
        layer = layers[row.layer]
        path = written(tmp_path, timeloop_mapping_text(row.mapping, layer, architecture))
        mapping = read_mapping(path, layer, architecture)

        found = evaluate_mapping(layer, architecture, mapping)
        assert list(disagreements(found, row)) == []


# A recorded mapping of ResNet's first layer, written by hand.
BY_HAND = """
mapping:
  - {target: DRAM, type: temporal, factors: M4 P2 Q4 R1 C1 N1 S1, permutation: MPRQCNS}
  - {target: shared_glb, type: temporal, factors: R7 P=7, permutation: "M N S Q R P C"}
  - {target: shared_glb, type: spatial, factors: [M2], permutation: MNPQSRC, split: 2}
  - {target: shared_glb, type: bypass, bypass: [Weights]}
  - {target: DummyBuffer, type: temporal, factors: Q14 S7 P2, permutation: NQMRCSP}
  - {target: DummyBuffer, type: spatial, factors: Q2 C0 M2, permutation: PRSQCMN, split: 3}
  - {target: DummyBuffer, type: datatype, bypass: [Weights, Inputs, Outputs]}
  - {target: 2, type: temporal, factors: P2, permutation: MCQPRSN}
  - {target: 2, type: datatype, bypass: [Weights, Outputs]}
  - {target: weights_spad, type: temporal, factors: M4 P2, permutation: SQMNRCP}
  - {target: weights_spad, type: datatype, keep: [Weights], bypass: [Inputs, Outputs]}
  - {target: psum_spad, type: datatype, bypass: [Inputs, Weights]}
"""


@pytest.mark.slow
def test_a_mapping_written_by_hand_has_the_recorded_counts(tmp_path: Path) -> None:
    layer = convolution(
        "r18_conv1", channels=3, filters=64, output=(112, 112), kernel=(7, 7), stride=(2, 2)
    )
    architecture = load_architecture("eyeriss-like")

    mapping = read_mapping(written(tmp_path, BY_HAND), layer, architecture)

    found = evaluate_mapping(layer, architecture, mapping)
    assert found.accesses is not None
    counts = {key: (a.reads, a.fills, a.updates) for key, a in found.accesses.items()}
    # Printed by Timeloop for this mapping.
    assert found.cycles == 4917248
    assert counts == {
        ("psum_spad", "Outputs"): (4816896, 4816896, 4917248),
        ("weights_spad", "Weights"): (4917248, 87808, 0),
        ("ifmap_spad", "Inputs"): (4917248, 2151296, 0),
        ("shared_glb", "Inputs"): (12907776, 167628, 0),
        ("shared_glb", "Outputs"): (38535168, 0, 39337984),
        ("DRAM", "Weights"): (1053696, 0, 0),
        ("DRAM", "Inputs"): (167628, 0, 0),
        ("DRAM", "Outputs"): (0, 0, 802816),
    }


def test_every_key_means_what_timeloop_means(tmp_path: Path) -> None:
    architecture = load_architecture("ws-systolic-16")
    text = """
mapping:
  - {target: DRAM, type: temporal, factors: P2 C=1 M1, permutation: PCM}
  - {target: shared_glb, type: temporal, factors: P4 C2 M1, permutation: CPM}
  - {target: shared_glb, type: spatial, factors: M0 C2, permutation: MPC, split: 2}
  - {target: pe_reg, type: bypass, bypass: [Inputs, Z]}
"""

    mapping = read_mapping(written(tmp_path, text), PRODUCT, architecture)

    assert mapping == Mapping(
        (
            LevelLoops(keeps=frozenset({"Weights"})),
            LevelLoops((("C", 2), ("P", 4)), (("M", 6),), (("C", 2),), ALL),
            LevelLoops((("P", 2),), keeps=ALL),
        )
    )


def test_without_a_split_all_spatial_loops_lie_along_x(tmp_path: Path) -> None:
    text = "mapping: [{target: shared_glb, type: spatial, factors: C4 M2, permutation: MCP}]"
    text += "\n"
    text = text.replace("]\n", ", {target: DRAM, type: temporal, factors: P8 M3, permutation: MP}]")

    mapping = read_mapping(written(tmp_path, text), PRODUCT, load_architecture("ws-systolic-16"))

    assert mapping.levels[1].spatial_x == (("M", 2), ("C", 4))
    assert mapping.levels[1].spatial_y == ()


@pytest.mark.parametrize(
    "problem",
    [
        convolution("strided", channels=3, filters=8, output=(9, 7), kernel=(3, 2), stride=(2, 3)),
        convolution(
            "dilated", channels=3, filters=8, output=(9, 7), kernel=(3, 3), dilation=(2, 2)
        ),
        convolution("depthwise", channels=8, filters=8, output=(9, 7), kernel=(3, 3), groups=8),
        matrix_multiply("heads", rows=8, inner=4, columns=6, batch=3),
    ],
    ids=lambda problem: problem.name,
)
def test_a_problem_reads_back_as_it_was_written(tmp_path: Path, problem: Problem) -> None:
    assert read_timeloop_problem(written(tmp_path, problem_text(problem))) == problem


def test_a_product_of_matrices_may_have_timeloops_names(tmp_path: Path) -> None:
    text = """
problem:
  shape:
    name: GEMM
    dimensions: [M, N, K]
    data_spaces:
      - {name: A, projection: [[[M]], [[K]]]}
      - {name: B, projection: [[[N]], [[K]]]}
      - {name: Z, projection: [[[M]], [[N]]], read_write: True}
  instance: {M: 8, N: 6, K: 4}
"""

    found = read_timeloop_problem(written(tmp_path, text))

    axis = {d: ((d, 1),) for d in "MNK"}
    assert found.bounds == {"M": 8, "N": 6, "K": 4}
    assert found.projections == (
        (axis["N"], axis["K"]),
        (axis["M"], axis["K"]),
        (axis["M"], axis["N"]),
    )


SMALL = """
architecture:
  version: 0.4
  nodes:
    - !Component
      name: MainMemory
      class: DRAM
      attributes: {datawidth: 8, n_words: 8, width: 64}
    - !Container
      name: PE
      spatial: {meshX: 16}
    - !Component
      name: RegisterFile
      class: SRAM
      attributes: {depth: 64, datawidth: 8, vector_access_energy: 1.5}
    - !Component
      name: MACC
      class: intmac
      attributes: {datawidth: 8}
"""


def test_capacity_and_energy_of_a_component_are_its_attributes(tmp_path: Path) -> None:
    registers, _, memory = read_architecture(written(tmp_path, SMALL)).levels

    assert (registers.name, registers.capacity, registers.instances) == ("RegisterFile", 64, 16)
    assert (registers.read_energy_pj, registers.write_energy_pj) == (1.5, 1.5)
    assert (memory.capacity, memory.block, memory.read_energy_pj) == (None, 8, 512.0)


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        ("class: SRAM", "class: abacus", 14, "'abacus' of 'RegisterFile' is not modelled"),
        ("class: intmac", "class: SRAM", 18, "innermost component's class"),
        ("depth: 64", "depth: 0", 15, "depth must be a whole number from 1"),
        ("depth: 64", "depth: 64, entries: 3", 12, "needs its size as one of"),
        ("depth: 64", "width: 32, depth: 64, block_size: 2", 12, "clusters of several"),
        ("depth: 64", "depth: 64, cluster_size: 4", 12, "clusters of several"),
        ("depth: 64", "depth: 64, network_read: n", 15, "'network_read' of 'RegisterFile'"),
        (
            "attributes: {datawidth: 8}",
            "attributes: {datawidth: 8, technology: slow}",
            19,
            "technology must be such as 45nm",
        ),
        (", vector_access_energy: 1.5", "", 12, "An SRAM must have a width, ports and banks"),
        ("RegisterFile", "RegisterFile[0..9]", 12, "instances must be given by `spatial`"),
        ("RegisterFile", "4 registers", 13, "a name must be such as"),
        ("width: 64}", "width: 64, type: HBM2}", 5, "there is no energy of HBM2"),
        ("class: DRAM", "class: regfile", 5, "needs its size as one of"),
        ("- !Container", "-", 10, "must be tagged !Comp"),
        ("  nodes:", "  subtree:", 2, "must have `nodes`, as in Timeloop 0.4"),
        ("architecture:", "sparse_optimizations: {}\narchitecture:", 2, "is not modelled"),
    ],
)
def test_an_architecture_that_is_not_modelled_is_refused_where_it_stands(
    tmp_path: Path, old: str, new: str, line: int, what: str
) -> None:
    assert SMALL.count(old) == 1
    path = written(tmp_path, SMALL.replace(old, new))

    with pytest.raises(FileFormatError, match=what) as caught:
        read_architecture(path)

    assert caught.value.line == line


@pytest.mark.parametrize(
    ("directive", "what"),
    [
        ("{target: DRAM, type: temporal, factors: P8 C4 M6.5}", "factors must be such as"),
        ("{target: DRAM, type: temporal, factors: 'P8,3 C4 M6'}", "factors must be perfect"),
        (
            "{target: DRAM, type: temporal, factors: P8 C4 M5, permutation: PCM}",
            "must multiply to 6; got 5",
        ),
        ("{target: DRAM, type: temporal, factors: P8 C4 M6, permutation: P}", "C, M are missing"),
        ("{target: DRAM, type: temporal, factors: P8 P1}", "one factor; P has two"),
        ("{target: DRAM, type: temporal, factors: X8}", "one of C, M, P; got 'X'"),
        ("{target: DRAM, type: temporal, permutation: PCP}", "one occurs twice"),
        ("{target: DRAM, type: temporal, no_temporal_reuse: [Inputs]}", "is not modelled"),
        ("{target: DRAM, type: skew, modulo: 4}", "'skew' is not modelled"),
        ("{target: L9, type: temporal}", "target must be one of"),
        ("{target: 3, type: temporal}", "target must be a whole number from 0 to 2"),
        ("{target: DRAM}", "a directive must have 'type'"),
        ("{target: DRAM, type: datatype, keep: [Bias]}", "a data space must be one of"),
        ("{target: DRAM, type: spatial, split: -1}", "split must be a whole number"),
        ("3", "a directive must be a mapping"),
    ],
)
def test_a_mapping_that_is_not_modelled_is_refused(
    tmp_path: Path, directive: str, what: str
) -> None:
    path = written(tmp_path, f"mapping:\n  - {directive}\n")

    with pytest.raises(FileFormatError, match=what) as caught:
        read_mapping(path, PRODUCT, load_architecture("ws-systolic-16"))

    assert caught.value.line in (1, 2)


AXES = """problem:
  instance: {R: 3, S: 2}
  shape:
    dimensions: [R, S]
    data_spaces:
      - {name: Weights, projection: [[[R]], [[S]]]}
      - {name: Inputs, projection: [[[R]]]}
      - {name: Outputs, projection: [[[S]]], read_write: True}
"""


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("problem: {instance: {R: 3}}", "a problem must have 'shape'"),
        ("problem: {shape: cube, instance: {}}", "a shape must be a mapping"),
        (AXES.replace("R: 3, ", ""), "needs bounds of R"),
        (AXES.replace("R: 3", "R: 3, densities: {}"), "'densities' is not modelled"),
        (AXES.replace("[R, S]", "[R, R]"), "dimensions must be distinct"),
        (
            "problem: {shape: {dimensions: [A], data_spaces: []}, instance: {}}",
            "Weights is missing",
        ),
        ("mapping: []", "must be under the key `problem`"),
    ],
)
def test_a_problem_that_is_not_modelled_is_refused(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(FileFormatError, match=what):
        read_timeloop_problem(written(tmp_path, text))


def damaged(text: str, rng: np.random.Generator) -> bytes:
    """A text with bytes, words or lines changed, repeated or lost."""
    kind = rng.integers(4)
    if kind == 0:
        content = bytearray(text.encode())
        for place in rng.integers(len(content), size=3):
            content[place] = rng.integers(256)
        return bytes(content)
    lines = text.splitlines()
    if kind == 1:
        del lines[int(rng.integers(1, len(lines)))]
    elif kind == 2:
        lines.insert(int(rng.integers(1, len(lines))), lines[int(rng.integers(1, len(lines)))])
    else:
        place = int(rng.integers(1, len(lines)))
        words = lines[place].split(" ")
        others = ["-1", "0", "[]", "{}", "1e30", "null", "[[1]]", "9" * 40, "x" * 300, "!x", "&a"]
        words[int(rng.integers(len(words)))] = others[int(rng.integers(len(others)))]
        lines[place] = " ".join(words)
    return "\n".join(lines).encode()


@pytest.mark.slow
def test_damaged_files_are_refused_in_one_line(timeloop: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    architecture = load_architecture("eyeriss-like")
    layer = recorded_layers(timeloop / "timeloop_mappings_meta.json")["r18_conv1"]
    path = tmp_path / "damaged.yaml"
    readers = [
        ((timeloop / "eyeriss_like_v4.yaml").read_text(), read_architecture),
        (BY_HAND, lambda path: read_mapping(path, layer, architecture)),
        (problem_text(layer), read_timeloop_problem),
    ]
    refusals = []
    for number in range(600):
        text, read = readers[number % 3]
        path.write_bytes(damaged(text, rng))
        try:
            read(path)
        except ArchGymError as error:
            refusals.append(str(error))

    assert len(refusals) > 300
    assert not any("\n" in refusal or len(refusal) > 900 for refusal in refusals)
    assert all("damaged.yaml" in refusal for refusal in refusals)
