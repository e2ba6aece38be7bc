"""Tests of simulated annealing."""

import math
from typing import Any

import numpy as np
import pytest

from archgym.agents.simulated_annealing import SimulatedAnnealingAgent
from archgym.errors import InvalidArgumentError
from archgym.spaces.parameter import Integer
from archgym.spaces.space import DesignSpace
from archgym.testing import proving_tasks
from tests.agents.telling import asked, trials
from tests.toys import toy_task

MIXED, MAPPING, TINY = proving_tasks()
# So large that 2,000 chains do not meet.
WIDE = DesignSpace("wide", [Integer(name=f"p{n}", low=0, high=99) for n in range(8)])
LINE = DesignSpace("line", [Integer(name="a", low=0, high=999)])


def moved(agent: SimulatedAnnealingAgent, gain: float) -> int:
    """Chains that move when all start at 0 and are offered `gain`."""
    agent.tell(trials(agent.ask(), 0.0))
    offered = agent.ask()
    agent.tell(trials(offered, gain))
    places = np.array([chain.design for chain in agent._chains])
    return int((places == offered).all(axis=1).sum())


@pytest.mark.parametrize("temperature", [0.01, 3.0])
@pytest.mark.parametrize("probability", [0.75, 0.25, 0.05])
def test_worse_is_accepted_with_boltzmanns_probability(
    temperature: float, probability: float
) -> None:
    agent = SimulatedAnnealingAgent(
        WIDE, seed=0, chains=2000, temperature=temperature, cooling=1.0, horizon=10**6
    )

    n_moved = moved(agent, temperature * math.log(probability))

    # Four standard deviations either way.
    assert abs(n_moved - 2000 * probability) < 4 * math.sqrt(2000 * probability * (1 - probability))


@pytest.mark.parametrize("gain", [0.0, 0.001, 5.0])
def test_better_and_equal_are_always_accepted(gain: float) -> None:
    agent = SimulatedAnnealingAgent(WIDE, seed=0, chains=200, temperature=0.001, horizon=10**6)

    assert moved(agent, gain) == 200


def test_temperature_falls_to_its_share_at_the_horizon_and_is_back() -> None:
    agent = SimulatedAnnealingAgent(
        WIDE, seed=0, chains=10, temperature=0.5, cooling=0.01, horizon=100
    )
    temperatures = []
    for _ in range(11):
        temperatures.append(agent.temperature)
        agent.tell(trials(agent.ask(), 0.0))

    assert temperatures[0] == 0.5
    assert temperatures[5] == pytest.approx(0.05)
    assert temperatures[9] == pytest.approx(0.5 * 0.01**0.9)
    assert temperatures[10] == 0.5


def test_reheating_gathers_chains_at_the_best_design() -> None:
    agent = SimulatedAnnealingAgent(WIDE, seed=0, chains=5, horizon=10, step=0.001)
    starts = agent.ask()
    agent.tell(trials(starts, np.array([0.0, 3.0, 1.0, 2.0, 0.5])))
    assert (np.abs(agent.ask() - starts).max(axis=1) == 1).all()
    agent.tell(trials(agent.ask(), -5.0))

    near = agent.ask()

    assert np.abs(near - starts[1]).max() == 1


def test_known_designs_are_walked_through_without_an_evaluation() -> None:
    agent = SimulatedAnnealingAgent(LINE, seed=0, chains=1, step=0.001, horizon=10**6)

    designs, _ = asked(agent, lambda rows: np.zeros(len(rows)), 60)

    # All is alike, so the walk goes to and fro, and leaves for an unknown design next to a known
    # one; now and then it finds none and is offered a random one.
    places = designs[:, 0]
    beside = [np.abs(places[:n] - places[n]).min() == 1 for n in range(1, 60)]
    assert len(np.unique(places)) == 60
    assert np.mean(beside) > 0.8


@pytest.mark.parametrize(
    "wrong",
    [
        {"chains": 0},
        {"temperature": 0},
        {"temperature": float("nan")},
        {"cooling": 0},
        {"cooling": 1.5},
        {"horizon": 0},
        {"step": 0},
    ],
    ids=str,
)
def test_hyperparameter_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=f"`{next(iter(wrong))}`"):
        SimulatedAnnealingAgent(toy_task().space, seed=0, **wrong)
