"""Counts against Timeloop's recorded ones, and against nests walked point by point."""

from pathlib import Path

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.simulators.accelerator.formats.files import load_architecture
from archgym.simulators.accelerator.kernel.evaluation import evaluate_mapping, evaluate_mappings
from archgym.simulators.accelerator.machine.architecture import Architecture, Level, MacArray
from archgym.simulators.accelerator.machine.mapping import LevelLoops, Mapping, mapping_from_arrays
from archgym.simulators.accelerator.problem import INPUTS, Problem, convolution, matrix_multiply
from evidence.accelerator.recorded import (
    recorded_architectures,
    recorded_layers,
    recorded_mappings,
)
from evidence.accelerator.reference import disagreements
from tests.simulators.accelerator.walking import box, random_mappings, tiles

pytestmark = pytest.mark.slow

SMALL = [
    convolution("plain", channels=2, filters=2, output=(4, 3), kernel=(3, 2)),
    convolution("strided", channels=1, filters=2, output=(4, 3), kernel=(3, 1), stride=(2, 3)),
    convolution("dilated", channels=1, filters=2, output=(6, 1), kernel=(3, 1), dilation=(2, 1)),
    convolution("depthwise", channels=4, filters=4, output=(4, 1), kernel=(2, 1), groups=4),
    convolution("grouped", channels=4, filters=4, output=(3, 1), kernel=(2, 1), groups=2),
    matrix_multiply("heads", rows=4, inner=3, columns=2, batch=2),
]


def roomy() -> Architecture:
    """Two levels of instances along both axes, none of which is ever full."""
    return Architecture(
        "roomy",
        (
            Level("registers", instances=24, mesh_x=6),
            Level("buffer", instances=4, mesh_x=2),
            Level("dram"),
        ),
        MacArray(24, 6, 1.0, 1.0),
    )


def recorded_disagreements(folder: Path, name: str) -> tuple[int, list[str]]:
    """Number of rows of a file, and what does not agree in words."""
    architectures = recorded_architectures(folder / f"{name}_meta.json")
    layers = recorded_layers(folder / f"{name}_meta.json")
    wrong, n_rows = [], 0
    for row in recorded_mappings(folder / f"{name}.jsonl"):
        n_rows += 1
        found = evaluate_mapping(layers[row.layer], architectures[row.architecture], row.mapping)
        wrong += [f"row {n_rows}: {what}" for what in disagreements(found, row)]
    return n_rows, wrong


@pytest.mark.parametrize(
    ("name", "n_rows"), [("timeloop_mappings", 18), ("timeloop_link_cases", 19)]
)
def test_rows_of_timeloop_that_ship_are_met_exactly(timeloop: Path, name: str, n_rows: int) -> None:
    assert recorded_disagreements(timeloop, name) == (n_rows, [])


@pytest.mark.parametrize(
    ("name", "n_rows"), [("timeloop_mappings", 1224), ("timeloop_link_cases", 112)]
)
def test_every_recorded_row_of_timeloop_is_met_exactly(
    reference: Path, name: str, n_rows: int
) -> None:
    assert recorded_disagreements(reference, name) == (n_rows, [])


def test_a_changed_count_is_a_disagreement(timeloop: Path) -> None:
    meta = timeloop / "timeloop_mappings_meta.json"
    row = next(recorded_mappings(timeloop / "timeloop_mappings.jsonl"))
    found = evaluate_mapping(
        recorded_layers(meta)[row.layer],
        recorded_architectures(meta)[row.architecture],
        row.mapping,
        "ideal",
    )
    level = next(iter(row.statistics["levels"].values()))
    changed = {**row.statistics, "Cycles": row.statistics["Cycles"] + 1}

    assert level is not None
    assert disagreements(found, type(row)(row.architecture, row.layer, row.mapping, True, changed))


@pytest.mark.parametrize("problem", SMALL, ids=lambda p: p.name)
def test_ideal_fills_are_those_of_the_nest_walked_visit_by_visit(problem: Problem) -> None:
    architecture = roomy()
    rng = np.random.default_rng(1)
    mappings = random_mappings(problem, architecture, 40, rng)

    found = evaluate_mappings(problem, architecture, mappings, "ideal")

    for row in range(len(mappings.factors)):
        for level in range(2):
            for tensor in range(2):
                walked, before = 0, frozenset[tuple[int, ...]]()
                for now in tiles(problem, mappings, row, tensor, level):
                    walked += len(now - before)
                    before = now
                assert found.counts[row, level, tensor, 1] == walked


@pytest.mark.parametrize("problem", SMALL, ids=lambda p: p.name)
def test_reads_send_each_different_tile_once(problem: Problem) -> None:
    architecture = roomy()
    rng = np.random.default_rng(2)
    mappings = random_mappings(problem, architecture, 40, rng)

    found = evaluate_mappings(problem, architecture, mappings, "ideal")

    for row in range(len(mappings.factors)):
        factors = mappings.factors[row]
        inside = factors[:1].prod(axis=(0, 1))
        spread = factors[1, 1] * factors[1, 2]
        different = {
            box(problem, INPUTS, np.array(place) * inside, inside) for place in np.ndindex(*spread)
        }
        fills = found.counts[row, 0, INPUTS, 1]
        assert found.counts[row, 1, INPUTS, 0] == len(different) * fills


def test_modes_agree_where_no_tile_slides() -> None:
    problem, architecture = SMALL[-1], roomy()
    mappings = random_mappings(problem, architecture, 50, np.random.default_rng(3))

    by_mode = [
        evaluate_mappings(problem, architecture, mappings, mode) for mode in ("timeloop", "ideal")
    ]

    np.testing.assert_array_equal(by_mode[0].counts, by_mode[1].counts)


def test_timeloop_counts_a_wrapped_window_as_kept() -> None:
    # P inside R: at the second R the box equals the one that is remembered, that of the second P.
    problem = convolution("window", channels=1, filters=1, output=(5, 1), kernel=(3, 1))
    architecture = load_architecture("ws-systolic-16")
    every = frozenset(("Weights", "Inputs", "Outputs"))
    mapping = Mapping(
        (
            LevelLoops(keeps=every),
            LevelLoops((("P", 5), ("R", 3)), keeps=every),
            LevelLoops(keeps=every),
        )
    )

    counted = evaluate_mapping(problem, architecture, mapping)
    ideal = evaluate_mapping(problem, architecture, mapping, "ideal")

    assert counted.accesses is not None
    assert ideal.accesses is not None
    assert counted.accesses["pe_reg", "Inputs"].fills == 5 + 4 + 4
    assert ideal.accesses["pe_reg", "Inputs"].fills == 5 + 5 + 5


def test_an_infeasible_mapping_says_which_level_and_limit() -> None:
    problem = matrix_multiply("wide", rows=1, inner=1, columns=32)
    architecture = load_architecture("ws-systolic-16")
    mapping = Mapping((LevelLoops(), LevelLoops(spatial_x=(("M", 32),)), LevelLoops()))

    found = evaluate_mapping(problem, architecture, mapping)

    assert found.infeasible == "32 instances of pe_reg are used along X; there are 16"


def test_a_tile_above_capacity_says_how_many_words() -> None:
    problem = matrix_multiply("deep", rows=1, inner=1, columns=512)
    architecture = load_architecture("ws-systolic-16")
    levels = [LevelLoops((("M", 512),), keeps=frozenset({"Weights"})), LevelLoops(), LevelLoops()]

    found = evaluate_mapping(problem, architecture, Mapping(tuple(levels)))

    assert found.infeasible == "tiles of pe_reg hold 512 words; there are 192"


def test_a_mapping_of_other_bounds_is_refused() -> None:
    problem = matrix_multiply("odd", rows=3, inner=1, columns=1)
    architecture = load_architecture("ws-systolic-16")

    with pytest.raises(InvalidArgumentError, match="Loops over P must multiply to 3; got 2"):
        evaluate_mapping(
            problem,
            architecture,
            Mapping((LevelLoops((("P", 2),)), LevelLoops(), LevelLoops())),
        )


def test_a_mapping_comes_back_from_its_arrays() -> None:
    problem, architecture = SMALL[0], roomy()
    mappings = random_mappings(problem, architecture, 5, np.random.default_rng(4))

    for row in range(5):
        again = mapping_from_arrays(problem, mappings, row).arrays(problem, architecture)
        np.testing.assert_array_equal(again.factors[0], mappings.factors[row])
        costs = evaluate_mappings(problem, architecture, again)
        np.testing.assert_array_equal(
            costs.totals[0], evaluate_mappings(problem, architecture, mappings).totals[row]
        )
