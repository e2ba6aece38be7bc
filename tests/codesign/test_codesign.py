"""Strategies at equal cost, and the proven joint optimum."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import archgym as ag
from archgym.codesign import compare_strategies, strategies_of
from archgym.errors import InvalidArgumentError
from archgym.evaluation.capabilities import bounds_of
from archgym.tables import prove
from tests.composition.test_composition import composed

SHORT: dict[str, Any] = {"accelerator.layers": "1"}
VALUES: Mapping[str, Any] = {
    "accelerator.array_height": [32, 64],
    "accelerator.array_width": [32],
    "accelerator.weight_kib": [64],
    "accelerator.input_kib": [16, 64],
    "accelerator.output_kib": [64],
    "dram.organisation": ["DDR4_8Gb_x8"],
    "dram.speed_bin": ["DDR4_1600K", "DDR4_3200AA"],
    "dram.ranks": [1],
    "dram.channels": [1, 2],
    "dram.interleave_bits": [0],
    "dram.scheduler": ["FRFCFS"],
    "dram.cap": [4],
    "dram.scatter_interval": [0],
    "dram.read_buffer": [32],
    "dram.write_buffer": [32],
    "dram.wr_low": [0.2],
    "dram.wr_high": [0.8],
}


def reduced(objective: str = "low-latency") -> ag.Task:
    return ag.Task.make(
        "accelerator+dram",
        "resnet-18",
        objective,
        values=VALUES,
        **SHORT,
    )


def test_strategies_are_all_orders_of_the_parts() -> None:
    assert strategies_of(ag.Task.make(composed())) == (
        "separate",
        "core, then memory",
        "memory, then core",
        "joint",
    )


def test_strategies_have_the_same_number_of_evaluations(tmp_path: Path) -> None:
    task = ag.Task.make(composed(), "short")

    found = list(compare_strategies(task, tmp_path, budget=6, agent="random"))

    assert [each.strategy for each in found] == list(strategies_of(task))
    assert all(each.evaluations <= 6 for each in found)
    for each in found:
        again = task.evaluate(task.space.indices_of(each.design)[None, :])
        assert again.reward[0] == each.reward


def test_comparison_that_was_stopped_continues_to_the_same_result(tmp_path: Path) -> None:
    task = ag.Task.make(composed(), "short")
    first = next(compare_strategies(task, tmp_path, budget=6, agent="genetic"))

    assert next(compare_strategies(task, tmp_path, budget=6, agent="genetic")) == first


def test_proof_finds_the_optimum_of_all_designs() -> None:
    task = ag.Task.make(composed(), "short")
    every = np.indices(tuple(task.space.sizes.tolist())).reshape(task.space.n_parameters, -1).T
    feasible = every[task.space.feasible(every)]

    found = prove(task)

    assert found.reward == task.evaluate(feasible).reward.max()
    assert found.is_optimal
    assert found.digest(task) == prove(task).digest(task)


@pytest.mark.parametrize(
    "objective", ["low-latency", pytest.param("latency-and-area", marks=pytest.mark.nightly)]
)
def test_bounds_prune_and_keep_the_optimum(objective: str) -> None:
    task = reduced(objective)
    every = np.indices(tuple(task.space.sizes.tolist())).reshape(task.space.n_parameters, -1).T
    feasible = np.unique(task.space.canonical(every[task.space.feasible(every)]), axis=0)

    found = prove(task)

    assert found.reward == task.evaluate(feasible).reward.max()
    assert (found.method, found.is_optimal) == ("bounds", True)
    assert found.n_evaluated < len(feasible)


def test_limit_without_a_bound_rules_no_design_out() -> None:
    task = ag.Task.make(
        "accelerator+dram",
        "resnet-18",
        minimise="latency_us",
        subject_to="area_mm2 <= 3, dram.capacity_mib >= 32768",
        values={
            **{name: values[:1] for name, values in VALUES.items()},
            "dram.organisation": ["DDR4_4Gb_x8", "DDR4_8Gb_x8", "DDR4_16Gb_x8"],
        },
        **{"accelerator.layers": "1"},
    )
    every = np.indices(task.space.sizes).reshape(task.space.n_parameters, -1).T
    every = np.unique(task.space.canonical(every[task.space.feasible(every)]), axis=0)
    rewards = task.evaluate(every).reward

    # All miss the area; the largest part meets the other limit, of which nothing is known before.
    found = prove(task, every[int(rewards.argmin())])

    assert found.is_optimal
    assert found.reward == rewards.max() > rewards.min()


def test_bounds_are_never_worse_than_results() -> None:
    whole: Any = ag.Task.make("accelerator+dram", **SHORT).simulator
    workload = whole.workload("resnet-18")
    rng = np.random.default_rng(1)
    drawn = rng.integers(0, whole.space.sizes, size=(12, whole.space.n_parameters))

    bounds = bounds_of(whole, drawn, workload)
    found = whole.evaluate_batch(drawn, workload)

    built = found.reason == 0
    assert built.sum() >= 8
    assert (bounds[built, 0] <= found.values[built, 0]).all()
    assert bounds[built, 1] == pytest.approx(found.values[built, 1])


def test_bounds_know_nothing_before_their_parameters_are_chosen() -> None:
    whole: Any = ag.Task.make("accelerator+dram", **SHORT).simulator
    workload = whole.workload("resnet-18")
    partial = np.full((2, whole.space.n_parameters), -1)
    for name in whole.spec.bounded_by:
        place = whole.space.names.index(name)
        partial[1, place] = whole.space.default_indices[place]

    nothing, latency = bounds_of(whole, partial, workload)[:, 0]

    assert np.isnan(nothing)
    assert latency > 0.0


def test_simulator_without_parts_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="several parts"):
        strategies_of(ag.Task.make("dram"))


def test_parts_with_factors_are_held_while_the_other_is_searched(tmp_path: Path) -> None:
    task = ag.Task.make("accelerator+cluster", workload="resnet-18")
    assert task.space.parameter("cluster.npus").kind == "factorisation"

    found = list(compare_strategies(task, tmp_path, budget=4, agent="random"))

    assert [outcome.strategy for outcome in found] == list(strategies_of(task))
