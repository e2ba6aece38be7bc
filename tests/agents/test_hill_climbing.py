"""Tests of hill climbing."""

from typing import Any

import numpy as np
import pytest

from archgym.agents.hill_climbing import HillClimbingAgent
from archgym.errors import InvalidArgumentError
from archgym.spaces.parameter import Integer
from archgym.spaces.space import DesignSpace
from archgym.testing import proving_tasks
from tests.agents.telling import asked, trials
from tests.toys import toy_task

MIXED, MAPPING, TINY = proving_tasks()
# With steps of 0.001 of its values, each step leads to one of the two next values.
LINE = DesignSpace("line", [Integer(name="a", low=0, high=999)])
STEP = 0.001
BOWL = DesignSpace("bowl", [Integer(name=name, low=0, high=29) for name in "abcd"])


def bowl(designs: np.ndarray) -> np.ndarray:
    worth: np.ndarray = -((designs - np.array([3, 29, 11, 20])) ** 2).sum(axis=1).astype(float)
    return worth


@pytest.mark.parametrize("improvement", ["first", "best"])
@pytest.mark.parametrize("restart", ["random", "perturbation"])
def test_top_of_a_single_hill_is_reached(improvement: str, restart: str) -> None:
    for seed in range(5):
        agent = HillClimbingAgent(
            BOWL, seed=seed, step=0.05, improvement=improvement, restart=restart
        )

        assert asked(agent, bowl, 600)[1].max() == 0


def test_climb_starts_at_the_best_of_the_first_ask() -> None:
    agent = HillClimbingAgent(LINE, seed=0, batch_size=8, step=STEP)
    starts = agent.ask()
    agent.tell(trials(starts, np.arange(8.0)))

    near = agent.ask()

    assert sorted(near[:, 0] - starts[7, 0]) == [-1, 1]


def test_climb_never_starts_at_a_design_that_cannot_be_built() -> None:
    agent = HillClimbingAgent(LINE, seed=0, batch_size=4, patience=500, step=STEP)
    starts = agent.ask()
    agent.tell(trials(starts, -25.0, feasible=False))

    again = agent.ask()

    assert len(again) == 4
    assert np.abs(again - starts[0]).max() > 5


def test_first_improvement_moves_after_the_ask_that_held_it() -> None:
    agent = HillClimbingAgent(LINE, seed=0, batch_size=1, step=STEP, improvement="first")
    agent.tell(trials(agent.ask(), 0.0))
    better = agent.ask()
    agent.tell(trials(better, 1.0))

    assert abs(agent.ask()[0, 0] - better[0, 0]) == 1


def test_best_improvement_moves_to_the_best_when_patience_ends() -> None:
    agent = HillClimbingAgent(BOWL, seed=0, batch_size=1, step=STEP, patience=4, improvement="best")
    start = agent.ask()
    agent.tell(trials(start, 0.0))
    tried = []
    for reward in (1.0, 3.0, 2.0, 1.0):
        tried.append(agent.ask())
        agent.tell(trials(tried[-1], reward))

    near = agent.ask()

    assert max(np.abs(one - start).max() for one in tried) == 1
    assert np.abs(near - tried[1]).max() == 1


@pytest.mark.parametrize("improvement", ["first", "best"])
def test_restart_comes_after_as_many_neighbours_as_patience_says(improvement: str) -> None:
    agent = HillClimbingAgent(
        BOWL,
        seed=0,
        batch_size=5,
        patience=12,
        step=STEP,
        improvement=improvement,
        restart="random",
    )
    asks = []
    for reward in (0.0, -1.0, -1.0, -1.0, 0.0):
        asks.append(agent.ask())
        agent.tell(trials(asks[-1], reward))

    assert [len(ask) for ask in asks] == [5, 5, 5, 2, 5]
    assert np.abs(np.concatenate(asks[1:4]) - asks[0][0]).max() == 1
    assert np.abs(asks[4] - asks[0][0]).max() > 5


def test_perturbation_starts_again_near_the_best_so_far() -> None:
    agent = HillClimbingAgent(
        BOWL, seed=0, batch_size=4, patience=4, step=STEP, restart="perturbation", kick=0.01
    )
    starts = agent.ask()
    agent.tell(trials(starts, np.array([1.0, 5.0, 2.0, 3.0])))
    agent.tell(trials(agent.ask(), 0.0))

    again = agent.ask()

    assert (np.abs(again - starts[1]).sum(axis=1) == 1).all()


def test_known_neighbours_end_a_climb() -> None:
    agent = HillClimbingAgent(LINE, seed=0, batch_size=8, patience=99, step=STEP, restart="random")
    start = agent.ask()[:1]
    agent.tell(trials(start, 0.0))
    agent.tell(trials(agent.ask(), -1.0))

    assert len(agent.ask()) == 8


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0},
        {"patience": 0},
        {"step": 0},
        {"kick": 0},
        {"improvement": "second"},
        {"restart": "never"},
    ],
    ids=str,
)
def test_hyperparameter_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=f"`{next(iter(wrong))}`"):
        HillClimbingAgent(toy_task().space, seed=0, **wrong)
