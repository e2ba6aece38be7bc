"""Tests of the agent interface."""

from typing import Annotated, Any

import numpy as np
import pytest

from archgym.agent.agent import AskTellAgent, make_agent
from archgym.errors import BudgetExhausted, InvalidArgumentError, UnknownNameError
from archgym.evaluation.trials import Trials
from archgym.spaces.parameter import Integer
from archgym.spaces.space import DesignSpace
from tests.toys import SPACE, ToyAgent, ToySimulator, toy_task


def trials(indices: np.ndarray) -> Trials:
    n = len(indices)
    no = np.zeros(n, dtype=bool)
    reward = np.arange(n) * 1.0
    reason = np.zeros(n, dtype=np.int16)
    specs = ToySimulator().metrics
    return Trials(indices, reward, reward[:, None], np.ones((n, 4)), reason, ~no, no, no, specs)


def test_trials_give_a_row_each() -> None:
    rows = list(trials(np.zeros((3, 5), dtype=np.int64)))

    assert [row.reward for row in rows] == [0.0, 1.0, 2.0]
    assert [type(value) for value in vars(rows[0]).values()] == [
        np.ndarray,
        float,
        np.ndarray,
        np.ndarray,
        int,
        bool,
        bool,
        bool,
    ]


def test_hyperparameters_reach_the_agent() -> None:
    agent = make_agent(ToyAgent, SPACE, 0, {"batch_size": 7})

    assert isinstance(agent, ToyAgent)
    assert len(agent.ask()) == 7


def test_unknown_hyperparameter_offers_near_names() -> None:
    with pytest.raises(
        UnknownNameError, match=r"Unknown hyperparameter 'batchsize' of agent 'toy'.*'batch_size'"
    ):
        make_agent(ToyAgent, SPACE, 0, {"batchsize": 7})


@pytest.mark.parametrize("seed", [-1, 2**63, 1.0, True, None, "1"])
def test_seed_that_is_no_whole_number_is_refused(seed: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="`seed`"):
        make_agent(ToyAgent, SPACE, seed, {})


def test_argument_that_the_constructor_cannot_take_is_an_error_of_ours() -> None:
    class Strict(ToyAgent):
        def __init__(self, space: DesignSpace, *, seed: int) -> None:
            super().__init__(space, seed=seed)

    with pytest.raises(InvalidArgumentError, match="batch_size"):
        make_agent(Strict, SPACE, 0, {"batch_size": 7})


class Thrice(AskTellAgent):
    """Asks thrice."""

    name = "thrice"

    def __init__(self, space: DesignSpace, *, seed: int) -> None:
        self.told: list[int] = []

    def ask(self) -> np.ndarray:
        return np.zeros((1 if len(self.told) < 3 else 0, 5), dtype=np.int64)

    def tell(self, trials: Trials) -> None:
        self.told.append(len(trials))


def test_ask_without_a_design_ends_the_search() -> None:
    agent = Thrice(SPACE, seed=0)

    agent.search(trials, toy_task())

    assert agent.told == [1, 1, 1]


@pytest.mark.parametrize("asked", [None, 5, np.array(5)])
def test_ask_that_returns_no_designs_is_refused_with_the_agents_name(asked: Any) -> None:
    class Speechless(Thrice):
        def ask(self) -> Any:
            return asked

    with pytest.raises(InvalidArgumentError, match=r"`ask` of agent 'thrice'.*empty array"):
        Speechless(SPACE, seed=0).search(trials, toy_task())


def test_end_of_the_budget_passes_through() -> None:
    def over(indices: np.ndarray) -> Trials:
        raise BudgetExhausted("over")

    agent = Thrice(SPACE, seed=0)

    with pytest.raises(BudgetExhausted):
        agent.search(over, toy_task())
    assert agent.told == []


def test_value_outside_a_declared_range_is_refused() -> None:
    class Own(ToyAgent):
        def __init__(
            self,
            space: DesignSpace,
            *,
            seed: int,
            batch_size: Annotated[int, Integer(name="batch_size", low=1, high=9)] = 3,
        ) -> None:
            super().__init__(space, seed=seed, batch_size=batch_size)

    assert make_agent(Own, SPACE, 0, {"batch_size": 9})
    for value in (0, 10, 2.5, "3"):
        with pytest.raises(
            InvalidArgumentError, match="`batch_size` must be a whole number from 1"
        ):
            make_agent(Own, SPACE, 0, {"batch_size": value})
