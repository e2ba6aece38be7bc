"""Architectures and mappings in files: what is written reads back, all else is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import ArchGymError, FileFormatError
from archgym.simulators.accelerator.formats.files import (
    ARCHITECTURES,
    architecture_yaml,
    load_architecture,
    read_architecture,
    read_mapping,
)
from archgym.simulators.accelerator.machine.mapping import LevelLoops, Mapping
from archgym.simulators.accelerator.problem import matrix_multiply

PROBLEM = matrix_multiply("product", rows=8, inner=4, columns=6)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_reads_back_as_it_was_written(tmp_path: Path, name: str) -> None:
    architecture = load_architecture(name)
    path = tmp_path / "mine.yaml"
    path.write_text(architecture_yaml(replace(architecture, name="mine")))

    assert replace(read_architecture(path), name=name) == architecture


def test_the_eyeriss_like_area_is_that_of_its_parts() -> None:
    # 168 x (414.68 + 3634.68 + 379.68 + 1239.5) + 14 x 235.68 + 1162549.
    assert load_architecture("eyeriss-like").area_um2 == pytest.approx(2118163.24, abs=0.01)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("name: x", "an architecture must have 'mac'"),
        ("mac: {instances: 4}\nlevels: []", "levels must be a list"),
        ("mac: {instances: 4}\nlevels:\n  - {name: a, size: 4}", "a level may have the keys"),
        ("mac: {instances: 0}\nlevels:\n  - {name: a}", "instances must be a whole number"),
        ("mac: {instances: 4}\nlevels:\n  - {name: a, keeps: [Bias]}", "keeps must list some of"),
        ("mac: {instances: 4}\nlevels:\n  - {name: a, capacity: 9}", "must end in a level without"),
        ("mac: {instances: 4}\nlevels:\n  - {name: a, instances: 3}", "whole number of instances"),
        ("mac: {instances: 4}\nlevels:\n  - {name: a, read_bandwidth: 0}", "bandwidths above 0"),
    ],
)
def test_a_wrong_architecture_is_refused(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)

    with pytest.raises(FileFormatError, match=what):
        read_architecture(path)


def test_damaged_architectures_are_refused_in_one_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = architecture_yaml(load_architecture("gemmini-like")).encode()
    path = tmp_path / "damaged.yaml"
    refusals = []
    for _ in range(200):
        damaged = bytearray(whole)
        for place in rng.integers(len(whole), size=4):
            damaged[place] = rng.integers(256)
        path.write_bytes(bytes(damaged))
        try:
            read_architecture(path)
        except ArchGymError as error:
            refusals.append(str(error))

    assert len(refusals) > 150
    assert not any("\n" in refusal for refusal in refusals)


def test_a_mapping_reads_back_as_it_was_written(tmp_path: Path) -> None:
    architecture = load_architecture("ws-systolic-16")
    keeps = [level.keeps for level in architecture.levels]
    mapping = Mapping(
        (
            LevelLoops((("P", 2),), keeps=keeps[0]),
            LevelLoops((("P", 4), ("C", 2)), (("M", 6),), (("C", 2),), keeps[1]),
            LevelLoops(keeps=keeps[2]),
        )
    )
    path = tmp_path / "mapping.json"
    path.write_text(mapping.json_text(architecture))

    assert read_mapping(path, PROBLEM, architecture) == mapping


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: 1", "a mapping must be a list"),
        ("- level: L9", "each level must be one of"),
        ("- {level: DRAM, temporal: P8 C4}", "Loops over M must multiply to 6; got 1"),
        ("- {level: DRAM, temporal: P8 C4 M}", "a dimension"),
        ("- {level: DRAM, temporal: P2 C4 M6 P4}", "must have one temporal loop over P"),
        ("- {level: DRAM, keep: [Bias]}", "keep must list some of"),
    ],
)
def test_a_wrong_mapping_is_refused(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)

    with pytest.raises(FileFormatError, match=what):
        read_mapping(path, PROBLEM, load_architecture("ws-systolic-16"))


def test_the_text_of_a_mapping_reads_like_a_nest() -> None:
    architecture = load_architecture("ws-systolic-16")
    mapping = Mapping(
        (
            LevelLoops(keeps=frozenset({"Weights"})),
            LevelLoops((("P", 8),), (("M", 6),), (("C", 4),), frozenset({"Inputs", "Outputs"})),
            LevelLoops(),
        )
    )

    assert mapping.text(architecture).splitlines() == [
        "DRAM [Weights, Inputs, Outputs]",
        "shared_glb [Inputs, Outputs]",
        "  for P in 8",
        "    for-y C in 4",
        "      for-x M in 6",
        "      pe_reg [Weights]",
        "        mac",
    ]
