"""Tests of the portfolio."""

import numpy as np
import pytest

from archgym.agents.auto import AutoAgent
from archgym.agents.few import FewAgent
from archgym.errors import InvalidArgumentError
from archgym.testing import proving_tasks
from tests.agents.recorder import search

MIXED, MAPPING, TINY = proving_tasks()


def test_opening_is_that_of_few() -> None:
    auto, few = search(AutoAgent, MIXED, 15), search(FewAgent, MIXED, 15)

    assert np.array_equal(auto.designs, few.designs)


def test_others_take_turns_after_the_opening() -> None:
    auto, few = search(AutoAgent, MIXED, 40, opening=12), search(FewAgent, MIXED, 40)

    assert np.array_equal(auto.designs[:12], few.designs[:12])
    assert not np.array_equal(auto.designs, few.designs)


def test_no_design_is_asked_for_twice() -> None:
    found = search(AutoAgent, MAPPING, 40, opening=10, turn=2)

    assert found.n_repeated == 0


def test_search_ends_when_the_space_is_known() -> None:
    assert len(search(AutoAgent, TINY, 100, opening=3).rewards) == 6


def test_turns_go_to_the_method_that_finds_better_designs() -> None:
    agent = AutoAgent(MIXED.space, seed=0)
    agent._credit, agent._weight = [1.0, 8.0, 1.0], [20.0, 20.0, 20.0]

    assert agent._best_index() == 1


def test_new_best_is_worth_more_than_any_rank() -> None:
    agent = AutoAgent(MIXED.space, seed=0)
    agent._rewards = np.array([0.0, 1.0, 2.0, 3.0])

    assert agent._worth(3.5) == 1.0
    assert agent._worth(3.0) == pytest.approx(0.3 * 0.75**8)
    assert agent._worth(-1.0) == 0.0


@pytest.mark.parametrize("name", ["opening", "turn"])
def test_hyperparameter_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match=name):
        AutoAgent(MIXED.space, seed=0, **{name: 0})
