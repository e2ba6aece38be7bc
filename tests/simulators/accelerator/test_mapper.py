"""The mapper: bounds that hold, optima that are met, recorded searches that are beaten."""

import math
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError, UnknownNameError
from archgym.simulators.accelerator.formats.files import load_architecture
from archgym.simulators.accelerator.kernel.buffers import work
from archgym.simulators.accelerator.kernel.evaluation import evaluate_mapping, evaluate_mappings
from archgym.simulators.accelerator.machine.architecture import Architecture, Level, MacArray
from archgym.simulators.accelerator.mapping.bounds import lower_bound
from archgym.simulators.accelerator.mapping.mapper import anneal_mapping, map_space
from archgym.simulators.accelerator.problem import Problem, convolution, matrix_multiply
from archgym.simulators.accelerator.workloads import layer_named
from evidence.accelerator.reference import _mapper
from tests.simulators.accelerator.test_counting import SMALL, roomy
from tests.simulators.accelerator.walking import random_mappings

pytestmark = pytest.mark.slow

TINY = [
    matrix_multiply("square", rows=8, inner=8, columns=8),
    matrix_multiply("tall", rows=16, inner=8, columns=4),
    matrix_multiply("heads", rows=4, inner=4, columns=6, batch=3),
    convolution("plain", channels=2, filters=4, output=(4, 2), kernel=(3, 1)),
    convolution(
        "depthwise", channels=6, filters=6, output=(4, 4), kernel=(3, 3), stride=(2, 2), groups=6
    ),
    convolution("dilated", channels=4, filters=4, output=(6, 1), kernel=(3, 1), dilation=(2, 1)),
]


TINIEST = matrix_multiply("tiny", rows=4, inner=2, columns=2)
# Least energy-delay products [pJ cycles], by an exhaustive search over all splits and orders, with
# a bound for each split, that came with ArchGym until 0.3.0.
PROVEN: list[tuple[str, Problem, float]] = [
    ("tpu-like", TINIEST, 8549.344799999999),
    ("ws-systolic-16", TINIEST, 6463.52936),
    ("gemmini-like", TINY[2], 206134.2216),
    ("gemmini-like", TINY[3], 59866.364),
    ("gemmini-like", TINY[4], 2445720.6520000002),
    ("gemmini-like", TINY[5], 72934.211),
    ("tpu-like", TINY[3], 62074.784),
    ("tpu-like", TINY[5], 62139.678),
    ("eyeriss-like", TINY[2], 232807.93344),
    ("tpu-like", TINY[0], 138751.9104),
    ("tpu-like", TINY[1], 349667.9936),
    ("tpu-like", TINY[2], 67478.1168),
    ("tpu-like", TINY[4], 1134586.528),
]


@pytest.mark.parametrize(
    ("architecture", "problem", "least"), PROVEN, ids=lambda p: getattr(p, "name", None)
)
def test_annealing_meets_the_proven_optimum(
    architecture: str, problem: Problem, least: float
) -> None:
    space = map_space(problem, load_architecture(architecture))

    found = anneal_mapping(space, tries=100_000)

    assert least * (1 - 1e-9) <= found.edp <= 1.02 * least
    assert least >= found.bound.edp


def test_plain_enumeration_finds_the_proven_optimum() -> None:
    architecture = load_architecture("ws-systolic-16")
    random = random_mappings(TINIEST, architecture, 20_000, np.random.default_rng(0))
    costs = evaluate_mappings(TINIEST, architecture, random, details=False).totals

    least = next(edp for name, problem, edp in PROVEN if name == "ws-systolic-16")
    assert least == pytest.approx(np.nanmin(costs[:, 0] * costs[:, 1]), rel=1e-9)


@pytest.mark.parametrize("counts", ["timeloop", "ideal"])
@pytest.mark.parametrize("problem", SMALL, ids=lambda p: p.name)
def test_no_mapping_beats_the_lower_bound(problem: Problem, counts: str) -> None:
    for architecture in (roomy(), load_architecture("ws-systolic-16")):
        bound = lower_bound(problem, architecture)
        mappings = random_mappings(problem, architecture, 3000, np.random.default_rng(5))
        totals = evaluate_mappings(problem, architecture, mappings, counts, details=False).totals

        assert np.nanmin(totals[:, 0]) >= bound.energy_pj
        assert np.nanmin(totals[:, 1]) >= bound.cycles


@pytest.mark.parametrize("objective", ["energy", "cycles", "edp"])
def test_equal_seeds_find_equal_mappings(objective: str) -> None:
    layer = layer_named("resnet-18/layer2.0.downsample").problem
    space = map_space(layer, load_architecture("simba-like"))

    first, second = (anneal_mapping(space, objective, tries=3000, seed=7) for _ in range(2))

    assert first == second
    assert first.mapping is not None


def test_what_is_found_costs_what_it_says() -> None:
    architecture = load_architecture("gemmini-like")
    space = map_space(TINY[3], architecture)

    found = anneal_mapping(space, tries=20_000, seed=1)

    assert found.mapping is not None
    cost = evaluate_mapping(TINY[3], architecture, found.mapping)
    assert (cost.energy_pj, cost.cycles) == (found.energy_pj, found.cycles)


def test_searching_what_is_stored_finds_no_worse() -> None:
    layer = layer_named("resnet-18/layer4.0.conv2").problem
    architecture = load_architecture("ws-systolic-16")

    fixed = anneal_mapping(map_space(layer, architecture), tries=60_000)
    free = anneal_mapping(map_space(layer, architecture, bypass=True), tries=60_000)

    assert free.edp < fixed.edp
    assert free.edp >= free.bound.edp


def test_a_layer_that_fits_nowhere_has_no_mapping() -> None:
    problem = convolution("large", channels=1, filters=1, output=(1, 1), kernel=(13, 1))
    architecture = load_architecture("eyeriss-like")
    space = map_space(problem, architecture)
    space.n_slots[:] = 0

    found = anneal_mapping(space, tries=100)

    assert found.mapping is None
    assert math.isinf(found.energy_pj)


def test_scratch_holds_all_loops_where_there_are_fewer_units() -> None:
    # The mapper lists the loops of a level there: past its end it would overwrite other memory.
    assert len(work(n_levels=2, n_dimensions=8, n_instances=1).offsets) == 8


def test_one_unit_is_mapped() -> None:
    machine = Architecture("one", (Level("registers", 64), Level("DRAM")), MacArray(1, 1, 1.0, 1.0))
    layer = convolution("c", channels=8, filters=6, output=(9, 10), kernel=(3, 5), batch=7)

    found = anneal_mapping(map_space(layer, machine), tries=3000)

    assert found.mapping is not None
    assert found.cycles == layer.n_operations


def test_wrong_arguments_are_refused() -> None:
    space = map_space(TINY[0], load_architecture("gemmini-like"))

    with pytest.raises(InvalidArgumentError, match="`tries` must be 1 or more"):
        anneal_mapping(space, tries=0)
    with pytest.raises(UnknownNameError, match="energy"):
        anneal_mapping(space, "energie")


def test_every_recorded_search_of_timeloop_is_beaten(reference: Path) -> None:
    lines = _mapper(reference / "timeloop_mapper_best.jsonl")

    assert all(line.n_met == line.n_rows for line in lines)
    assert lines[-1].worst >= 10
