"""Tests of SMS-EMOA; what it shares with NSGA-II is tested in tests/agents/test_pymoo.py."""

import numpy as np
import pytest

from archgym.agents.nsga2 import Nsga2Agent
from archgym.agents.sms_emoa import SmsEmoaAgent
from archgym.testing import check_agent
from tests.agents.recorder import search
from tests.toys import toy_task


@pytest.mark.slow
def test_agent_conforms() -> None:
    check_agent(SmsEmoaAgent, n_designs=60)


def test_it_says_that_it_has_several_objectives() -> None:
    assert (SmsEmoaAgent.kind, SmsEmoaAgent.library) == ("multi-objective", "pymoo")


def test_it_searches_elsewhere_than_nsga2() -> None:
    one = search(SmsEmoaAgent, toy_task(), 150)
    other = search(Nsga2Agent, toy_task(), 150)

    # The same random start; then each keeps others.
    assert np.array_equal(one.designs[:20], other.designs[:20])
    assert not np.array_equal(one.designs[:150], other.designs[:150])
