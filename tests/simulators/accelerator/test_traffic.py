"""Traffic of mappings as packets for a network on chip."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from archgym.errors import InvalidDesignError
from archgym.simulators.accelerator import AcceleratorSimulator
from archgym.simulators.accelerator.formats.files import ARCHITECTURES, load_architecture
from archgym.simulators.accelerator.formats.traffic import traffic_files
from archgym.simulators.accelerator.kernel.evaluation import evaluate_mapping
from archgym.simulators.accelerator.mapping.mapper import Search, find_mapping
from archgym.simulators.accelerator.problem import convolution


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_packets_carry_the_words_that_the_mapping_counts(architecture: str) -> None:
    small = convolution("small", channels=4, filters=8, output=(6, 6), kernel=(3, 3))
    loaded = load_architecture(architecture)
    # A word is a flit, so that none is filled in part.
    built = replace(loaded, levels=tuple(replace(each, word_bits=128) for each in loaded.levels))
    mapping = find_mapping(small, built, Search("edp", 500, 0, "ideal", None)).mapping
    assert mapping is not None
    found = evaluate_mapping(small, built, mapping, "ideal").accesses
    assert found is not None

    files = traffic_files(built, [("small", small, mapping)], "ideal")

    rows = list(csv.DictReader(files["traffic.csv"].splitlines()))
    paths = list(csv.DictReader(files["paths.csv"].splitlines()))
    node = {row["block"]: row["node"] for row in csv.DictReader(files["nodes.csv"].splitlines())}
    assert all(path["listed_words"] == path["words"] for path in paths)
    assert sum(int(row["flits"]) for row in rows) == sum(int(path["words"]) for path in paths)
    assert all(not r["waits_for"] or int(r["waits_for"]) < n for n, r in enumerate(rows))
    for level in built.levels:
        if level.name in node:
            # What a buffer takes is what is filled from outside and updated from inside.
            taken = sum(int(r["flits"]) for r in rows if r["destination"] == node[level.name])
            counted = [each for (name, _), each in found.items() if name == level.name]
            assert taken == sum(each.fills + each.updates for each in counted)
    assert {row[end] for row in rows for end in ("source", "destination")} <= {*node.values()}


def test_layer_with_too_many_packets_is_cut_and_says_so() -> None:
    simulator = AcceleratorSimulator(fidelity="fast", layers=1)

    files = simulator.export(
        "traffic", simulator.space.default_indices, simulator.workload("alexnet")
    )

    paths = list(csv.DictReader(files["paths.csv"].splitlines()))
    assert all(0 < int(path["listed_steps"]) < int(path["steps"]) for path in paths)
    assert all(int(path["listed_words"]) < int(path["words"]) for path in paths)
    assert len(files["traffic.csv"].splitlines()) < 2**17


def test_mapping_that_does_not_fit_has_no_traffic() -> None:
    simulator = AcceleratorSimulator("mapping", architecture="ws-systolic-16")
    workload = simulator.workload(simulator.workload_names()[0])
    rows = simulator.space.sample(20, np.random.default_rng(1))
    reasons = simulator.evaluate_batch(rows, workload).reason
    assert reasons.any()

    for row in rows[reasons > 0]:
        with pytest.raises(InvalidDesignError, match="The mapping cannot run: "):
            simulator.export("traffic", row, workload)
