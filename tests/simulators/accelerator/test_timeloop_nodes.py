"""Architectures in the form of Timeloop 0.4."""

from pathlib import Path

import pytest

from archgym.errors import FileFormatError
from archgym.simulators.accelerator.formats.files import (
    architecture_yaml,
    load_architecture,
    read_architecture,
    read_mapping,
)
from archgym.simulators.accelerator.kernel.evaluation import Access, Evaluation, evaluate_mapping
from archgym.simulators.accelerator.machine.architecture import Architecture
from archgym.simulators.accelerator.mapping.mapper import anneal_mapping, map_space
from archgym.simulators.accelerator.problem import convolution

LAYER = convolution("layer", channels=16, filters=32, output=(28, 28), kernel=(3, 3))
# Timeloop's own names of levels, and those of the nodes.
MAPPING = """mapping:
  - {target: DRAM, type: temporal, factors: [M=4, P=7], permutation: [P, M, C, R, S, N, Q]}
  - {target: shared_glb, type: temporal, factors: P4 Q2 C2, permutation: QPCRSMN}
  - {target: shared_glb, type: bypass, keep: [Inputs, Outputs], bypass: [Weights]}
  - {target: COLUMN, type: spatial, factors: Q14, permutation: QMCRSNP}
  - {target: ROW, type: spatial, factors: S3 C4, permutation: NPQRSCM, split: SPLIT}
  - {target: ifmap_spad, type: bypass, bypass: [Weights, Outputs]}
  - {target: weights_spad, type: temporal, factors: R3 C2, permutation: NMPQSCR}
  - {target: weights_spad, type: bypass, bypass: [Inputs, Outputs]}
  - {target: psum_spad, type: temporal, factors: M8}
  - {target: psum_spad, type: bypass, bypass: [Weights, Inputs]}
"""


def evaluated(folder: Path, machine: Architecture, mapping: str) -> Evaluation:
    path = folder / "mapping.yaml"
    path.write_text(mapping)
    return evaluate_mapping(LAYER, machine, read_mapping(path, LAYER, machine), "timeloop")


def counts(access: Access) -> tuple[int, ...]:
    return access.reads, access.fills, access.updates, access.tile, access.instances


@pytest.mark.parametrize(
    ("column", "row"), [("PE_column", "PE"), ("inter_PE_column_spatial", "inter_PE_spatial")]
)
def test_nodes_cost_what_levels_listed_one_by_one_cost(
    timeloop: Path, tmp_path: Path, column: str, row: str
) -> None:
    listed = MAPPING.replace("COLUMN", "shared_glb").replace("ROW", "DummyBuffer")
    listed = listed.replace("SPLIT", "4") + "  - {target: DummyBuffer, type: bypass, bypass: '*'}\n"
    mapping = MAPPING.replace("COLUMN", column).replace("ROW", row).replace("SPLIT", "4")
    mapping += "  - {target: inter_PE_column_spatial, type: bypass, bypass: '*'}\n"
    mapping += "  - {target: inter_PE_spatial, type: bypass, bypass: '*'}\n"

    old = evaluated(tmp_path, load_architecture("eyeriss-like"), listed)
    new = evaluated(tmp_path, read_architecture(timeloop / "eyeriss_like_v4.yaml"), mapping)

    assert old.infeasible is None
    assert new.infeasible is None
    # The shipped architecture has Accelergy's figures, which it rounds to five digits.
    assert new.energy_pj == pytest.approx(old.energy_pj, rel=2e-5)
    assert new.cycles == old.cycles
    assert old.accesses
    assert new.accesses
    # What lies in the array stores nothing.
    assert {k: counts(a) for k, a in new.accesses.items() if "inter_" not in k[0]} == {
        k: counts(a) for k, a in old.accesses.items() if k[0] != "DummyBuffer"
    }


def test_containers_with_instances_are_levels_that_spread_loops(timeloop: Path) -> None:
    levels = {
        level.name: level for level in read_architecture(timeloop / "eyeriss_like_v4.yaml").levels
    }

    columns, rows = levels["inter_PE_column_spatial"], levels["inter_PE_spatial"]
    assert (columns.instances, rows.instances, rows.mesh_x) == (1, 14, 14)
    assert (columns.spatial_x, columns.spatial_y) == (("G", "M", "Q"), ("G",))
    assert (rows.spatial_x, rows.spatial_y) == (("G",), ("G", "C", "M", "S"))
    assert (columns.keeps, columns.temporal) == (frozenset(), ())
    assert levels["ifmap_spad"].temporal == ()
    assert levels["weights_spad"].order == ("N", "M", "P", "Q", "S", "C", "R")


def test_mapper_keeps_the_order_that_an_architecture_gives(timeloop: Path, tmp_path: Path) -> None:
    path = tmp_path / "written.yaml"
    machine = read_architecture(timeloop / "eyeriss_like_v4.yaml")
    path.write_text(architecture_yaml(machine))
    place = machine.level_index("weights_spad")

    found = anneal_mapping(map_space(LAYER, read_architecture(path)), "edp", tries=2000)

    assert found.mapping is not None
    order = [d for d, _ in found.mapping.levels[place].temporal]
    assert order in ([], ["C"], ["R"], ["C", "R"])


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (
            "!Container\n      name: system",
            "!!python/name:os.system\n      name: s",
            "the tag 'tag:",
        ),
        ("!Container\n      name: system", "!Abacus\n      name: s", "the tag '!Abacus'"),
        ("meshX: 14", "meshX: fourteen", "meshX must be a whole number"),
        ("meshX: 14", "meshX: 65536", "there may be up to 65536"),
        ("keep: [Weights]", "keep: [Inputs]", "Inputs is in 'ifmap_spad' too"),
        ("dataspace: {keep: [Weights]}\n", "\n", "needs a dataspace constraint with `keep`"),
        ("name: mac\n", "name: mac[0..3]\n", "must be given by `spatial`"),
        ("name: mac\n", "name: mac\n      constraints: {temporal: {}}\n", "that computes are not"),
        ("adder_width: 16", "adder_width: 16, meshX: 3", "must be given by `spatial`"),
        (
            "Q, S, C, R], factors: [N=1, M=1, P=1, Q=1, S=1]",
            "Q, C, R], factors: [M=1]",
            "S is missing",
        ),
        ("[N=1, M=1, P=1", "[N=1, M=2, P=1", "may only set factors to 1"),
        ("factors_only: []", "maximize_dims: [[M]]", "may have the keys"),
        ("!Parallel\n      nodes:", "!Parallel\n      members:", "may have the keys nodes"),
    ],
)
def test_what_is_not_modelled_is_refused_where_it_stands(
    timeloop: Path, tmp_path: Path, old: str, new: str, what: str
) -> None:
    text = (timeloop / "eyeriss_like_v4.yaml").read_text()
    assert old in text
    path = tmp_path / "file.yaml"
    path.write_text(text.replace(old, new, 1))

    with pytest.raises(FileFormatError, match=what) as caught:
        read_architecture(path)
    assert caught.value.line is not None
