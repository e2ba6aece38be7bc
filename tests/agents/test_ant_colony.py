"""Tests of ant colony optimisation."""

from typing import Any

import numpy as np
import pytest

from archgym.agents.ant_colony import AntColonyAgent
from archgym.errors import InvalidArgumentError
from archgym.spaces.design import Condition, Constraint
from archgym.spaces.expression import P
from archgym.spaces.parameter import Categorical, Factorisation, Integer, Permutation
from archgym.spaces.space import DesignSpace
from archgym.testing import proving_tasks
from tests.agents.telling import asked, trials
from tests.toys import toy_task

MIXED, MAPPING, TINY = proving_tasks()
PAIR = DesignSpace(
    "pair", [Categorical(name="a", choices=tuple("uvwx")), Integer(name="b", low=1, high=5)]
)
PLAIN: dict[str, Any] = {"decay": 0.0, "spread": 0.0, "least": 0.0, "depositing": 1}


def pheromone(agent: AntColonyAgent) -> list[list[float]]:
    """Pheromone of each choice's options."""
    return [part.tolist() for part in np.split(agent._pheromone, agent._firsts[1:])]


def test_pheromone_is_even_at_the_start() -> None:
    assert pheromone(AntColonyAgent(PAIR, seed=0)) == [[0.25] * 4, [0.2] * 5]


def test_pheromone_evaporates_by_the_share_and_the_best_gets_it() -> None:
    agent = AntColonyAgent(PAIR, seed=0, evaporation=0.3, **PLAIN)
    agent.tell(trials(np.array([[1, 0], [2, 4]]), np.array([0.0, 1.0])))

    first, second = pheromone(agent)
    assert first == pytest.approx([0.7 * 0.25, 0.7 * 0.25, 0.7 * 0.25 + 0.3, 0.7 * 0.25])
    assert second == pytest.approx([0.7 * 0.2] * 4 + [0.7 * 0.2 + 0.3])


def test_evaporation_goes_on_and_the_best_so_far_deposits_again() -> None:
    agent = AntColonyAgent(PAIR, seed=0, evaporation=0.5, **PLAIN)
    for design, reward in (([3, 0], 1.0), ([0, 1], 0.0), ([1, 2], -1.0)):
        agent.tell(trials(np.array([design]), reward))

    first, _ = pheromone(agent)
    assert first == pytest.approx([0.25 / 8, 0.25 / 8, 0.25 / 8, 0.25 / 8 + 7 / 8])


def test_better_designs_deposit_more() -> None:
    agent = AntColonyAgent(PAIR, seed=0, evaporation=0.6, **{**PLAIN, "depositing": 2})
    agent.tell(trials(np.array([[0, 0], [1, 0], [2, 0]]), np.array([1.0, 3.0, 2.0])))

    first, _ = pheromone(agent)
    assert first == pytest.approx([0.1, 0.1 + 0.6 * 2 / 3, 0.1 + 0.6 * 1 / 3, 0.1])


def test_what_ants_take_decays_towards_the_start() -> None:
    agent = AntColonyAgent(PAIR, seed=0, evaporation=0.5, **{**PLAIN, "decay": 0.2})
    agent.tell(trials(np.array([[3, 0]]), 1.0))
    agent._evaporation = 0.0

    # Two ants take what has 0.625, one takes what has 0.125.
    agent.tell(trials(np.array([[3, 1], [3, 2], [1, 3]]), 0.0))

    first, _ = pheromone(agent)
    assert first == pytest.approx([0.125, 0.25 - 0.8 * 0.125, 0.125, 0.25 + 0.64 * 0.375])


def test_ordered_values_share_a_deposit_with_their_neighbours() -> None:
    settings = {**PLAIN, "spread": 0.5}
    inside = AntColonyAgent(PAIR, seed=0, evaporation=1.0, **settings)
    inside.tell(trials(np.array([[1, 2]]), 0.0))
    edge = AntColonyAgent(PAIR, seed=0, evaporation=1.0, **settings)
    edge.tell(trials(np.array([[1, 4]]), 0.0))

    assert pheromone(inside) == [[0, 1, 0, 0], [0, 0.25, 0.5, 0.25, 0]]
    assert pheromone(edge) == [[0, 1, 0, 0], [0, 0, 0, 0.25, 0.75]]


def test_limits_keep_every_option_possible() -> None:
    agent = AntColonyAgent(PAIR, seed=0, evaporation=0.9, **{**PLAIN, "least": 0.2})
    for _ in range(50):
        agent.tell(trials(np.array([[2, 3]]), 1.0))

    assert pheromone(agent) == [
        pytest.approx([0.05, 0.05, 0.85, 0.05]),
        pytest.approx([0.04, 0.04, 0.04, 0.84, 0.04]),
    ]


def test_designs_that_cannot_be_built_deposit_nothing() -> None:
    agent = AntColonyAgent(PAIR, seed=0, **PLAIN)
    agent.tell(trials(np.array([[2, 3]]), -25.0, feasible=False))

    assert pheromone(agent) == [[0.25] * 4, [0.2] * 5]


def test_parameter_without_meaning_keeps_its_pheromone() -> None:
    space = DesignSpace(
        "conditional",
        [Categorical(name="mode", choices=("off", "on")), Integer(name="boost", low=0, high=3)],
        conditions=[Condition("boost", P("mode") == "on")],
    )
    agent = AntColonyAgent(space, seed=0, evaporation=0.5, **PLAIN)
    agent.tell(trials(np.array([[0, 0]]), 1.0))
    assert pheromone(agent) == [[0.75, 0.25], [0.25] * 4]

    agent.tell(trials(np.array([[1, 2]]), 2.0))
    assert pheromone(agent) == [[0.375, 0.625], [0.125, 0.125, 0.625, 0.125]]


def test_greedy_ants_take_the_most_and_others_draw_in_proportion() -> None:
    shares = []
    for greediness in (1.0, 0.5):
        agent = AntColonyAgent(PAIR, seed=0, greediness=greediness)
        agent._pheromone = np.array([0.1, 0.4, 0.2, 0.1, *[0.2] * 5])
        shares.append(np.bincount(agent._walk(8000, 1.0)[:, 0], minlength=4) / 8000)

    assert shares[0].tolist() == [0, 1, 0, 0]
    # Half take the second; half draw it with probability 0.5. 0.02 is four standard deviations.
    assert shares[1] == pytest.approx([0.0625, 0.75, 0.125, 0.0625], abs=0.02)


def test_greedy_ants_part_where_options_are_alike() -> None:
    picks = AntColonyAgent(PAIR, seed=0, greediness=1.0)._walk(4000, 1.0)

    assert np.bincount(picks[:, 0]) / 4000 == pytest.approx([0.25] * 4, abs=0.03)
    assert np.bincount(picks[:, 1]) / 4000 == pytest.approx([0.2] * 5, abs=0.03)


def test_ants_are_led_less_on_a_new_walk() -> None:
    agent = AntColonyAgent(PAIR, seed=0, greediness=1.0)
    agent._pheromone = np.array([0.1, 0.7, 0.1, 0.1, *[0.2] * 5])

    shares = [np.bincount(agent._walk(4000, lead)[:, 0]) / 4000 for lead in (1.0, 0.5, 0.0)]

    assert shares[0].tolist() == [0, 1]
    assert shares[1] == pytest.approx([0.0875, 0.7375, 0.0875, 0.0875], abs=0.03)
    assert shares[2] == pytest.approx([0.25] * 4, abs=0.03)


def test_ants_walk_round_what_constraints_forbid() -> None:
    # One in 1,000 combinations is feasible: ants that only looked after the walk would be lost.
    space = DesignSpace(
        "tight",
        [Integer(name=f"p{n}", low=0, high=9) for n in range(4)],
        [Constraint(f"c{n}", P(f"p{n}") == P(f"p{n + 1}"), "They differ.") for n in range(3)],
    )
    agent = AntColonyAgent(space, seed=0)

    designs = agent._choices.compose(agent._walk(200, 1.0))

    assert space.feasible(designs).all()
    assert len(np.unique(designs, axis=0)) == 10


def test_permutation_has_pheromone_for_each_item_at_each_position() -> None:
    space = DesignSpace("order", [Permutation(name="p", items=("x", "y", "z"))])
    agent = AntColonyAgent(space, seed=0, evaporation=1.0, greediness=1.0, **PLAIN)
    order = space.indices_of({"p": ("z", "x", "y")})[None, :]

    agent.tell(trials(order, 1.0))

    # The last position is no choice.
    assert pheromone(agent) == [[0, 0, 1], [1, 0, 0]]
    assert (agent._choices.compose(agent._walk(5, 1.0)) == order).all()


def test_large_permutations_and_factorisations_need_no_table_of_their_values() -> None:
    space = DesignSpace(
        "vast",
        [
            Permutation(name="order", items=tuple("abcdefghijklmnopqrst")),
            Factorisation(name="tiles", total=1024 * 3, parts=3),
        ],
    )
    agent = AntColonyAgent(space, seed=0)

    # 19 positions of 20 items; 66 ways to share ten twos, and 3 to share one three.
    assert len(agent._pheromone) == 19 * 20 + 66 + 3

    def worth(designs: np.ndarray) -> np.ndarray:
        orders = space.parameters[0].array(designs[:, 0])
        places = [[order.index(item) for item in "abcdefghijklmnopqrst"] for order in orders]
        away: np.ndarray = -np.abs(np.array(places) - np.arange(20)).sum(axis=1)
        return away / 1.0

    designs, rewards = asked(agent, worth, 480)
    random = worth(space.sample(10_000, np.random.default_rng(0)))
    assert len(np.unique(designs, axis=0)) == 480
    assert rewards.max() > random.max()


@pytest.mark.parametrize(
    "wrong",
    [
        {"ants": 0},
        {"evaporation": 1.5},
        {"greediness": -0.1},
        {"decay": float("nan")},
        {"depositing": 0},
        {"spread": 2},
        {"least": -1},
    ],
    ids=str,
)
def test_hyperparameter_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=f"`{next(iter(wrong))}`"):
        AntColonyAgent(toy_task().space, seed=0, **wrong)
