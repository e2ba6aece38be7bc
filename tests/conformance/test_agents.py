"""Every agent that is found passes the suite."""

import subprocess
import sys

import pytest

from archgym.agent import Agent
from archgym.conformance import check_agent
from archgym.discovery import agent_class, agent_names


@pytest.mark.slow
@pytest.mark.parametrize("name", agent_names())
def test_agent_conforms(name: str) -> None:
    check_agent(agent_class(name), n_designs=40)


@pytest.mark.parametrize("name", agent_names())
def test_agent_is_named_as_its_file(name: str) -> None:
    kind: type[Agent] = agent_class(name)

    assert kind.name == name


def test_listing_agents_imports_nothing_heavy() -> None:
    code = (
        "import sys, archgym.discovery as d; [d.agent_class(n) for n in d.agent_names()]; "
        "print(sorted({'optuna', 'torch', 'ray', 'sklearn', 'pandas'} & set(sys.modules)))"
    )

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout.strip() == "[]"
