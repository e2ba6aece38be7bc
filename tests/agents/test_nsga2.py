"""Tests of NSGA-II; what it shares with SMS-EMOA is tested in tests/agents/test_pymoo.py."""

import pytest

from archgym.agents.nsga2 import Nsga2Agent
from archgym.testing import check_agent
from tests.agents.recorder import search
from tests.toys import toy_task


@pytest.mark.slow
def test_agent_conforms() -> None:
    check_agent(Nsga2Agent, n_designs=60)


def test_it_says_that_it_has_several_objectives() -> None:
    assert (Nsga2Agent.kind, Nsga2Agent.library) == ("multi-objective", "pymoo")


def test_first_ask_is_no_larger_than_a_batch() -> None:
    found = search(Nsga2Agent, toy_task(), 60, population=20, batch_size=6)

    assert [len(ask) for ask in found.asks[:5]] == [6, 6, 6, 2, 6]
