"""Tests of the agent on pymoo."""

import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from archgym.agent.agent import Agent
from archgym.agents.nsga2 import Nsga2Agent
from archgym.agents.random import RandomAgent
from archgym.analysis import pareto
from archgym.errors import BudgetExhausted, InvalidArgumentError, MissingExtraError
from archgym.evaluation.objective import reference_point
from archgym.evaluation.trials import Trials
from archgym.spaces.parameter import Categorical, Factorisation, Integer, Permutation
from archgym.spaces.space import DesignSpace
from archgym.tasks.task import Task
from archgym.testing import ProvingSimulator, proving_tasks
from tests.agents.recorder import search
from tests.toys import toy_task

MIXED, MAPPING, TINY = proving_tasks()


def hypervolume(task: Task, budget: int, seed: int, kind: type[Agent] = Nsga2Agent) -> float:
    """Of what an agent has found within a budget."""
    designs = search(kind, task, budget, seed).designs[:budget]
    known = np.zeros(len(designs), dtype=bool)
    terms = task.trials(designs, task.evaluate(designs), known).terms
    corner = reference_point(task.objective, task.reference, task.metrics, task.weights)
    return pareto.hypervolume(terms, corner)


def test_designs_are_canonical() -> None:
    assert MIXED.space.is_canonical(search(Nsga2Agent, MIXED, 300).designs).all()


def test_front_is_larger_than_that_of_random_search() -> None:
    task = toy_task("light", "balanced")

    found = [hypervolume(task, 150, seed) for seed in range(6)]

    random = [hypervolume(task, 150, seed, RandomAgent) for seed in range(6)]
    assert np.mean(found) > np.mean(random) + np.std(random)
    assert min(found) > np.mean(random)


def test_most_of_the_exact_front_of_the_toy_is_found() -> None:
    task = toy_task("light", "balanced")
    designs = np.concatenate(list(task.space.enumerate(canonical=True)))
    every = task.trials(designs, task.evaluate(designs), np.zeros(len(designs), dtype=bool))
    exact = every.terms[every.feasible]
    exact = np.unique(exact[pareto.front(exact)], axis=0)

    asked = search(Nsga2Agent, task, 400).designs
    found = task.trials(asked, task.evaluate(asked), np.zeros(len(asked), dtype=bool)).terms

    assert pareto.adrs(found, exact) < 0.02


@pytest.mark.nightly
def test_front_on_dram_is_larger_than_that_of_random_search() -> None:
    task = Task.make("dram", "cloud-1", "balanced")

    found = [hypervolume(task, 200, seed) for seed in range(4)]

    random = [hypervolume(task, 200, seed, RandomAgent) for seed in range(4)]
    assert np.mean(found) > np.mean(random) + 0.02


def test_objective_of_one_term_is_optimised() -> None:
    task = toy_task("light", "low-latency")
    best = max(task.evaluate(rows).reward.max() for rows in task.space.enumerate(canonical=True))

    found = [max(search(Nsga2Agent, task, 400, seed).rewards) for seed in range(3)]

    assert found == [best] * 3


def test_four_terms_are_searched() -> None:
    from archgym.evaluation.objective import Objective, Term

    objective = Objective(
        "four",
        (
            Term("latency_ns", "minimise"),
            Term("power_mw", "at-most", target=15.0),
            Term("throughput_gbs", "at-least", target=2.0),
            Term("entries", "minimise"),
        ),
    )
    task = Task.make(toy_task().simulator, "light", objective)

    assert len(search(Nsga2Agent, task, 120).rewards) >= 120


def test_search_of_a_space_smaller_than_the_population_ends() -> None:
    assert len(search(Nsga2Agent, TINY, 100).rewards) == 6


def test_two_searches_at_once_do_not_disturb_each_other() -> None:
    alone = search(Nsga2Agent, MIXED, 120, seed=3).designs
    inner: list[np.ndarray] = []
    outer: list[np.ndarray] = []

    def evaluate(indices: np.ndarray) -> Trials:
        outer.append(indices.copy())
        if len(outer) in (4, 9):
            inner.append(search(Nsga2Agent, MIXED, 120, seed=5).designs)
        if sum(map(len, outer)) >= 120:
            raise BudgetExhausted("done")
        known = np.zeros(len(indices), dtype=bool)
        return MIXED.trials(indices, MIXED.evaluate(indices), known)

    with suppress(BudgetExhausted):
        Nsga2Agent(MIXED.space, seed=3).search(evaluate, MIXED)

    assert np.array_equal(np.concatenate(outer)[:120], alone[:120])
    first, second = inner
    assert np.array_equal(first, second)


def test_what_is_twice_as_bad_as_the_default_is_bred_from_last() -> None:
    task = Task.make(ProvingSimulator("mixed", has_failures=False), "near", "balanced")
    asks: list[np.ndarray] = []

    def evaluate(indices: np.ndarray) -> Trials:
        # The larger the first parameter, the better in one term and the worse in the other; only
        # its first two values are within the reference point.
        asks.append(indices.copy())
        if len(asks) > 60:
            raise BudgetExhausted("done")
        trials = task.trials(indices, task.evaluate(indices), np.zeros(len(indices), dtype=bool))
        slope = indices[:, 0] * 0.5
        return replace(trials, terms=np.stack([slope, -slope], axis=1), feasible=slope >= 0)

    with suppress(BudgetExhausted):
        made = Nsga2Agent(task.space, seed=0, mutation=0.5)
        made.search(evaluate, task)

    late = np.concatenate(asks[20:])[:, 0]
    assert np.mean(late <= 1) > 0.75


def test_child_is_made_of_its_parents_choices() -> None:
    space = DesignSpace(
        "m",
        [
            Permutation(name="p", items=tuple("abcde")),
            Factorisation(name="f", total=360, parts=3),
            Categorical(name="c", choices=("x", "y", "z")),
            Integer(name="i", low=0, high=99),
        ],
    )
    search = Nsga2Agent(
        space, seed=0, population=4, batch_size=4, crossover=1.0, mutation=0.01, step=0.01
    )
    rng = np.random.default_rng(0)
    parents = space.sample(400, rng).reshape(200, 2, space.n_parameters)

    children = search._children(parents, rng)

    n_foreign = 0
    for child, pair in zip(children, parents, strict=True):
        digits = search._choices.split(child[None, :])[0]
        n_foreign += int((digits != search._choices.split(pair)).all(axis=0).any())
        # One parameter steps; every other has only what its parents have.
        places = search._choices.places[(digits != search._choices.split(pair)).all(axis=0)]
        assert len(set(places)) <= 1
    assert n_foreign > 100


def test_nothing_is_printed_or_warned_where_pymoo_is_not_compiled() -> None:
    code = (
        "import sys, warnings; warnings.simplefilter('error')\n"
        "sys.modules['pymoo.functions.compiled.info'] = None\n"
        "from archgym.agents.nsga2 import Nsga2Agent\n"
        "from tests.agents.recorder import search\n"
        "from tests.toys import toy_task\n"
        "from pymoo.config import Config\n"
        "search(Nsga2Agent, toy_task(), 60)\n"
        "from pymoo.functions import FunctionLoader\n"
        "assert not FunctionLoader.get_instance().is_compiled\n"
        "assert Config.warnings['not_compiled']\n"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_absent_pymoo_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(MissingExtraError, match=r"archgym\[evolution\]"):
        Nsga2Agent(TINY.space, seed=0)


@pytest.mark.parametrize(
    "hyperparameter",
    [
        {"population": 1},
        {"batch_size": 0},
        {"crossover": 1.1},
        {"mutation": 0},
        {"step": 0},
        {"step": "far"},
    ],
    ids=str,
)
def test_hyperparameter_that_cannot_be_is_refused(hyperparameter: dict[str, Any]) -> None:
    make: Any = Nsga2Agent

    with pytest.raises(InvalidArgumentError, match=f"`{next(iter(hyperparameter))}`"):
        make(TINY.space, seed=0, **hyperparameter)
