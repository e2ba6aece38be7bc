"""Tests of the portfolio."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from archgym.agents.auto import AutoAgent, _Island
from archgym.agents.few import FewAgent
from archgym.agents.genetic import GeneticAgent
from archgym.errors import InvalidArgumentError
from archgym.evaluation.function import FunctionSimulator
from archgym.spaces.parameter import Categorical, Integer
from archgym.spaces.space import DesignSpace
from archgym.tasks.task import Task
from archgym.testing import proving_tasks
from tests.agents.recorder import search
from tests.agents.telling import trials

MIXED, MAPPING, TINY = proving_tasks()


def test_opening_is_that_of_few() -> None:
    auto, few = search(AutoAgent, MIXED, 15), search(FewAgent, MIXED, 15)

    assert np.array_equal(auto.designs, few.designs)


def test_few_continues_while_it_finds_new_bests() -> None:
    auto, few = search(AutoAgent, MIXED, 40, opening=12, patience=400), search(FewAgent, MIXED, 40)

    assert np.array_equal(auto.designs, few.designs)


def test_others_take_turns_once_the_search_is_stuck() -> None:
    auto, few = search(AutoAgent, MIXED, 40, opening=12, patience=1), search(FewAgent, MIXED, 40)

    assert np.array_equal(auto.designs[:12], few.designs[:12])
    assert not np.array_equal(auto.designs, few.designs)


def test_same_seed_asks_the_same() -> None:
    one, other = (search(AutoAgent, MIXED, 80, seed=3, opening=8, patience=4) for _ in range(2))

    assert np.array_equal(one.designs, other.designs)


def test_no_design_is_asked_for_twice() -> None:
    found = search(AutoAgent, MAPPING, 60, opening=10, turn=2, patience=1)

    assert found.n_repeated == 0


@pytest.mark.parametrize("patience", [1, 400])
def test_search_ends_when_the_space_is_known(patience: int) -> None:
    assert len(search(AutoAgent, TINY, 100, opening=3, patience=patience).rewards) == 6


def _trap(design: Mapping[str, Any]) -> dict[str, float]:
    """Return a peak of 2 at the default design, and a path to 3 that begins below it elsewhere."""
    values = list(design.values())
    changed = sum(value != "a" for value in values)
    prefix = next((n for n, value in enumerate(values) if value != "b"), len(values))
    peak = 1.0 - 0.1 * changed if changed <= 2 else 0.0
    return {"gain": 1.0 + max(peak, 0.1 + 0.19 * prefix)}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 2])
def test_search_leaves_a_local_optimum(seed: int) -> None:
    space = [Categorical(name=f"p{n}", choices=("a", "b", "c"), doc="Choice.") for n in range(10)]
    task = Task.make(FunctionSimulator(_trap, space, {"gain": "maximise"}))

    found = search(AutoAgent, task, 400, seed=seed, opening=20)

    # The default design, a gain of 2, has the reward 0.
    assert max(found.rewards[:20]) == 0.0
    assert max(found.rewards) == pytest.approx(math.log(3.0 / 2.0), abs=1e-5)


def test_island_asks_what_it_would_ask_alone() -> None:
    island, alone = _Island(MIXED.space, 4, GeneticAgent), GeneticAgent(MIXED.space, seed=4)
    for _ in range(4):
        designs = alone.ask()
        assert np.array_equal(island.ask(), designs)
        results = trials(designs, -designs.sum(axis=1).astype(float))
        alone.tell(results)
        island.tell(results)


def test_island_asks_for_no_design_that_is_known() -> None:
    island, alone = _Island(MIXED.space, 4, GeneticAgent), GeneticAgent(MIXED.space, seed=4)
    first = alone.ask()
    island.learn(trials(first[1:], 0.0))

    asked = island.ask()
    island.tell(trials(asked, 1.0))
    alone.tell(trials(first, np.array([1.0] + [0.0] * (len(first) - 1))))

    assert np.array_equal(asked, first[:1])
    assert np.array_equal(island.ask(), alone.ask())


def test_island_starts_again_when_it_is_stuck_and_logs_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "archgym.agents.auto")
    island = _Island(MIXED.space, 4, GeneticAgent)
    while len(island._known) <= 120:
        island.tell(trials(island.ask(), 0.0))

    again = _Island(MIXED.space, 5, GeneticAgent)
    again.learn(trials(np.array([trial.indices for trial in island._known.values()]), 0.0))

    assert not caplog.messages
    assert np.array_equal(island.ask(), again.ask())
    assert "it starts again with seed 5" in caplog.messages[0]


def test_island_with_models_begins_away_from_the_default_and_starts_again_when_it_is_stuck() -> (
    None
):
    island = _Island(MIXED.space, 4, FewAgent)
    island.begin(None)
    default = MIXED.space.canonical(MIXED.space.default_indices[None, :])
    while len(island._known) <= 48:
        asked = island.ask()
        assert not (asked == default).all(axis=1).any()
        island.tell(trials(asked, 0.0))

    again = _Island(MIXED.space, 5, FewAgent)
    again.begin(None)
    again.learn(trials(np.array([trial.indices for trial in island._known.values()]), 0.0))

    assert np.array_equal(island.ask(), again.ask())


def test_study_without_an_island_in_its_settings_keeps_the_genetic_one() -> None:
    given: list[dict[str, Any]] = [{}, {"island": "genetic"}, {"island": "few"}]
    runs = [search(AutoAgent, MIXED, 60, opening=10, patience=4, **each) for each in given]

    assert np.array_equal(runs[0].designs, runs[1].designs)
    assert not np.array_equal(runs[0].designs, runs[2].designs)


@pytest.mark.parametrize("island", ["genetic", "few"])
def test_all_designs_of_a_small_space_are_asked_for_once(island: str) -> None:
    found = search(AutoAgent, TINY, 100, opening=2, patience=1, island=island)

    assert (len(found.rewards), found.n_repeated) == (6, 0)


def test_turns_go_to_the_method_that_finds_better_designs() -> None:
    agent = AutoAgent(MIXED.space, seed=0)
    agent._credit, agent._weight = [1.0, 8.0], [20.0, 20.0]

    assert agent._best_index() == 1


def test_new_best_is_worth_more_than_any_rank() -> None:
    agent = AutoAgent(MIXED.space, seed=0)
    designs = MIXED.space.sample(1, np.random.default_rng(0))
    agent._learn(agent._few, trials(designs, 0.5))
    assert agent._credit[0] == 1.0
    agent._rewards = np.array([0.0, 1.0, 2.0, 3.0])

    assert agent._worth(3.0) == pytest.approx(0.3 * 0.75**8)
    assert agent._worth(-1.0) == 0.0


@pytest.mark.parametrize("name", ["opening", "turn", "patience", "island"])
def test_hyperparameter_that_cannot_be_is_refused(name: str) -> None:
    wrong: dict[str, Any] = {name: 0}

    with pytest.raises(InvalidArgumentError, match=name):
        AutoAgent(MIXED.space, seed=0, **wrong)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_search_with_designs_in_flight_ends_when_the_space_is_known(batch_size: int) -> None:
    found = search(AutoAgent, TINY, 100, opening=3, patience=1, batch_size=batch_size)

    assert len(found.rewards) == 6


def test_no_design_in_flight_is_asked_for_twice() -> None:
    found = search(AutoAgent, MAPPING, 120, opening=10, turn=2, patience=1, batch_size=8)

    # The island asks as if it were alone, so that it may repeat what is in flight.
    assert found.n_repeated <= 2


def test_cheap_evaluations_leave_most_designs_to_the_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MIXED.simulator, "spec", replace(MIXED.simulator.spec, evaluation_s=1e-6))
    n_asks = 0
    ask = FewAgent.ask

    def counted(agent: FewAgent) -> np.ndarray:
        nonlocal n_asks
        n_asks += 1
        return ask(agent)

    monkeypatch.setattr(FewAgent, "ask", counted)
    monkeypatch.setattr("archgym.agents.auto._FREE_S", 0.1)

    found = search(AutoAgent, MIXED, 900, thinking=0.5)

    # 0.1 s are some 12 asks; 900 evaluations of 0.1 ms pay for 11 more.
    assert 10 <= n_asks <= 30
    assert len(found.rewards) >= 900


def test_models_of_a_large_cheap_space_think_for_two_hundred_evaluations() -> None:
    space = DesignSpace("large", [Integer(name=f"p{n}", low=0, high=3) for n in range(175)])
    agent = AutoAgent(space, seed=0, thinking=0.5)

    assert all(agent._thinker() is agent._few for _ in range(200))


def test_stuck_search_tries_single_changes_of_its_best_design() -> None:
    tried: list[np.ndarray] = []
    for polish in (0.0, 0.5):
        found = search(AutoAgent, MIXED, 60, opening=10, patience=6, polish=polish)
        best = found.designs[[int(np.argmax(found.rewards))]]
        later = found.designs[int(np.argmax(found.rewards)) + 7 :]
        tried.append((MIXED.space.canonical(later) != best).sum(axis=1) == 1)
        assert found.n_repeated == 0

    assert tried[1].sum() > tried[0].sum()


def test_changes_of_the_best_design_are_one_of_each_parameter() -> None:
    agent = AutoAgent(MIXED.space, seed=0)
    designs = MIXED.space.sample(12, np.random.default_rng(0))
    agent._few.take(trials(designs, np.arange(12.0)))
    best = MIXED.space.canonical(designs[-1:])

    asked = []
    while len(found := agent._few.ask_change(agent._changed)):
        asked.append(found[0])
        agent._few.expect(found)
    changed = [int((design != best[0]).argmax()) for design in asked]

    assert len(set(changed)) == len(changed) > 1
    assert len(changed) <= MIXED.space.n_parameters
    assert agent._changed == set(changed)


def test_search_that_tries_changes_resumes_to_the_same_designs() -> None:
    given: dict[str, Any] = {"opening": 10, "patience": 4, "polish": 0.5, "batch_size": 3}
    short, long = (search(AutoAgent, MIXED, n, seed=5, **given) for n in (40, 70))

    assert np.array_equal(long.designs[:40], short.designs[:40])


def test_suited_hyperparameters_depend_on_the_stated_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def suited(evaluation_s: float, workers: int) -> dict[str, Any]:
        monkeypatch.setattr(
            MIXED.simulator, "spec", replace(MIXED.simulator.spec, evaluation_s=evaluation_s)
        )
        return AutoAgent.suited(MIXED, workers)

    assert suited(1.0, 8) == {"batch_size": 8, "island": "few", "polish": 0.25}
    assert suited(1.0, 1) == {"island": "few", "polish": 0.25}
    assert suited(0.002, 8) == {"island": "few", "polish": 0.25}
    assert suited(1e-5, 8) == {"thinking": 0.5, "polish": 0.25}
