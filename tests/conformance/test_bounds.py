"""Bounds of partial designs, over all simulators that give some: no result is better."""

from typing import Any

import numpy as np
import pytest

from archgym.evaluation.capabilities import Bounded, bounds_of
from archgym.evaluation.options import make_simulator
from archgym.evaluation.simulator import (
    FEASIBLE,
    default_workload,
    simulator_class,
    simulator_names,
)
from tests.conformance.small import declared

_CASES = declared("BOUNDS")
_N = 24


def _bounded() -> set[str]:
    return {name for name in simulator_names() if issubclass(simulator_class(name), Bounded)} - {
        "kv+dram"
    }


def test_all_simulators_with_bounds_are_tried() -> None:
    assert set(_CASES) == _bounded()


@pytest.mark.parametrize(
    ("name", "space", "workload", "options"),
    [(name, *case) for name, cases in _CASES.items() for case in cases],
)
def test_no_result_is_better_than_the_bound_of_some_of_its_choices(
    name: str, space: str, workload: str, options: dict[str, Any]
) -> None:
    simulator = make_simulator(simulator_class(name), space, None, options)
    opened = simulator.workload(workload or default_workload(simulator))
    rng = np.random.default_rng(5)
    drawn = rng.integers(0, simulator.space.sizes, size=(20 * _N, simulator.space.n_parameters))
    drawn = drawn[simulator.space.feasible(drawn)][:_N]
    designs = simulator.space.canonical(drawn)
    result = simulator.evaluate_batch(designs, opened)
    is_built = result.reason == FEASIBLE
    n_known = 0
    for share in (0.0, 0.1, 0.5):
        free = rng.random(designs.shape) < share

        bounds = bounds_of(simulator, np.where(free, -1, designs), opened)

        for column, spec in enumerate(simulator.metrics):
            known = is_built & ~np.isnan(bounds[:, column])
            # Sums in another order differ in the last digits.
            found = result.values[known, column]
            margin = 1e-9 * np.abs(found)
            n_known += int(known.sum())
            if spec.goal == "maximise":
                assert (bounds[known, column] >= found - margin).all(), spec.name
            else:
                assert (bounds[known, column] <= found + margin).all(), spec.name
    assert n_known > 0
