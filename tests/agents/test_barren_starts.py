"""Searches in which no random design can be built go on from the default one."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from archgym.agent.agent import agent_class
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective, Term
from archgym.evaluation.simulator import BatchResult, Simulator, Workload
from archgym.evaluation.spec import SimulatorSpec
from archgym.spaces.parameter import Integer
from archgym.spaces.space import DesignSpace
from archgym.tasks.task import Task
from tests.agents.recorder import Recorder, search

FIRST = 12
"""Designs asked in vain before."""


class NarrowSimulator(Simulator):
    """Builds only what lies close to the default design: one of four thousand designs."""

    spec = SimulatorSpec(
        name="narrow",
        version=0,
        metrics=(MetricSpec("cost", "1", "minimise", 0.1, "The sum of all parameters."),),
        model_reasons=("It lies too far off.",),
        objectives={"cost": Objective("cost", (Term("cost", "minimise"),))},
        default_objective="cost",
        default_workload="only",
    )

    def __init__(self) -> None:
        space = DesignSpace(
            "narrow", [Integer(name=f"p{i}", low=0, high=63, default=32, doc="") for i in range(6)]
        )
        self.spec = self.spec.completed(space=space)

    def workload_names(self) -> tuple[str, ...]:
        return ("only",)

    def workload(self, name: str | Path) -> Workload:
        return Workload("only", "0" * 64, None)

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        is_far = np.abs(indices - 32).sum(axis=1) > 24
        values = indices.sum(axis=1, keepdims=True).astype(np.float64)
        values[is_far] = np.nan
        return BatchResult(values, is_far.astype(np.int16))


TASK = Task.make(NarrowSimulator())


def searched(name: str, seed: int) -> Recorder:
    if name == "nsga2" and importlib.util.find_spec("pymoo") is None:
        pytest.skip("pymoo is not installed")
    return search(agent_class(name), TASK, 120, seed)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", ["genetic", "hill_climbing", "simulated_annealing", "nsga2"])
def test_search_goes_on_from_the_default_design(name: str, seed: int) -> None:
    found = searched(name, seed)

    rewards = np.array(found.rewards)
    assert (rewards[:FIRST] == -25).all()
    assert (rewards == 0).any(), "the default design, which rewards are relative to"
    assert rewards.max() > 0.02


def test_default_design_is_asked_once() -> None:
    found = searched("genetic", 0)

    is_default = (found.designs == TASK.space.default_indices).all(axis=1)
    assert is_default.sum() == 1


@pytest.mark.parametrize("population", [4, 50])
def test_it_does_not_depend_on_the_population(population: int) -> None:
    if importlib.util.find_spec("pymoo") is None:
        pytest.skip("pymoo is not installed")

    found = search(agent_class("nsga2"), TASK, 200, population=population)

    assert max(found.rewards) > 0
